package bencode

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// encode writes v anew through the Append functions.
func encode(v Value) []byte {
	switch v.Kind() {
	case Integer:
		n, _ := v.Int()
		return Int(n)
	case String:
		return Str(v.Text())
	case List:
		var items [][]byte
		for item := range v.Items {
			items = append(items, encode(item))
		}
		return AppendList(nil, items...)
	case Dict:
		var entries []Entry
		for key, val := range v.Entries {
			entries = append(entries, Entry{string(key), encode(val)})
		}
		return AppendDict(nil, entries...)
	}
	return nil
}

func TestParseAcceptsWhatAppendWrites(t *testing.T) {
	for _, s := range []string{
		"i0e", "i-1e", "i42e", "i9223372036854775807e", "i-9223372036854775808e",
		"0:", "4:spam", "10:0123456789", "le", "de", "l4:spami7ee", "d1:ai1e1:b2:xye", "d0:le1:ade2:aai3ee",
		strings.Repeat("l", DepthMax) + strings.Repeat("e", DepthMax),
		strings.Repeat("d1:x", DepthMax) + "i1e" + strings.Repeat("e", DepthMax),
	} {
		v, err := Parse([]byte(s))
		if err != nil {
			t.Errorf("%.40q: %v", s, err)
		} else if got := encode(v); string(got) != s || string(v.Raw()) != s {
			t.Errorf("%.40q came back as %.40q", s, got)
		}
	}
}

func TestParseRefusesOtherForms(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"nothing", ""},
		{"no such kind", "x"},
		{"lone end", "e"},
		{"integer without digits", "ie"},
		{"integer of a sign", "i-e"},
		{"minus zero", "i-0e"},
		{"leading zero", "i01e"},
		{"negative leading zero", "i-01e"},
		{"plus sign", "i+1e"},
		{"space", "i 1e"},
		{"hexadecimal", "i1Fe"},
		{"one beyond 64 bits", "i9223372036854775808e"},
		{"one below 64 bits", "i-9223372036854775809e"},
		{"overlong integer", "i" + strings.Repeat("1", 1000) + "e"},
		{"integer without an end", "i1"},
		{"string cut short", "5:spam"},
		{"string without a colon", "4spam"},
		{"string length with a leading zero", "04:spam"},
		{"string length 00", "00:"},
		{"negative string length", "-1:"},
		{"overlong string length", "99999999999999999999999999:a"},
		{"list without an end", "l"},
		{"list cut in a value", "li1e"},
		{"dict without an end", "d"},
		{"dict without a value", "d1:ae"},
		{"dict with an integer key", "di1ei2ee"},
		{"unsorted keys", "d1:bi1e1:ai2ee"},
		{"a key twice", "d1:ai1e1:ai2ee"},
		{"keys sorted by length", "d1:bi1e2:aai2ee"},
		{"data after the value", "i1ei2e"},
		{"nested one too deep", strings.Repeat("l", DepthMax+1) + strings.Repeat("e", DepthMax+1)},
		{"endless lists", strings.Repeat("l", 1<<20)},
		{"endless dicts", strings.Repeat("d0:", 1<<20)},
	} {
		_, err := Parse([]byte(c.in))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset > len(c.in) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestValuesReadAsAnotherKindAreNothing(t *testing.T) {
	v, err := Parse([]byte("d1:ai-7e1:b4:spam1:cli1ei2eee"))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := v.Get("a").Int(); !ok || n != -7 {
		t.Errorf("a = %d, %v", n, ok)
	}
	if s := v.Get("b").Text(); s != "spam" {
		t.Errorf("b = %q", s)
	}
	sum := int64(0)
	for item := range v.Get("c").Items {
		n, _ := item.Int()
		sum += n
	}
	if sum != 3 {
		t.Errorf("c sums to %d", sum)
	}
	if string(v.Get("c").Raw()) != "li1ei2ee" {
		t.Errorf("raw c = %q", v.Get("c").Raw())
	}
	if _, ok := v.Get("b").Int(); ok {
		t.Error("a string was read as an integer")
	}
	if _, ok := v.Bytes(); ok {
		t.Error("a dict was read as a string")
	}
	if v.Get("z").Kind() != None || v.Get("a").Get("b").Kind() != None || v.Get("z").Raw() != nil {
		t.Error("found what is not there")
	}
	for range v.Items {
		t.Error("a dict was read as a list")
	}
	for range v.Get("c").Entries {
		t.Error("a list was read as a dict")
	}
}

func TestParsePrefixLeavesWhatFollows(t *testing.T) {
	v, rest, err := ParsePrefix([]byte("d8:msg_typei1eerest"))
	if err != nil || string(rest) != "rest" || string(v.Raw()) != "d8:msg_typei1ee" {
		t.Errorf("ParsePrefix = %q, %q, %v", v.Raw(), rest, err)
	}
}

func TestAppendDictSortsAndLeavesOutNil(t *testing.T) {
	got := AppendDict(nil, Entry{"b", Int(2)}, Entry{"x", nil}, Entry{"a", Str("1")}, Entry{"aa", AppendList(nil)})
	if string(got) != "d1:a1:12:aale1:bi2ee" {
		t.Errorf("got %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a key twice did not panic")
		}
	}()
	AppendDict(nil, Entry{"a", Int(1)}, Entry{"a", Int(2)})
}

func TestParseDoesNotAllocate(t *testing.T) {
	in := append(append([]byte("l"), bytes.Repeat([]byte("d1:ai1e1:bl3:abcee"), 100)...), 'e')
	if n := testing.AllocsPerRun(10, func() { Parse(in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"i0e", "i-42e", "4:spam", "0:", "le", "de", "d1:ai1e1:b2:xye", "l4:spamd1:xli1eeee", "i-0e", "i01e",
		"d1:bi1e1:ai2ee", "99999999999:a", strings.Repeat("l", 101),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, rest, err := ParsePrefix(in)
		if err != nil {
			return
		}
		if got := append(encode(v), rest...); !bytes.Equal(got, in) {
			t.Fatalf("%q came back as %q", in, got)
		}
	})
}
