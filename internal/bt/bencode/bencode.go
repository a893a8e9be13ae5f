// Package bencode reads and writes BEP 3's encoding, strictly.
//
//	integer  i-12e            no leading zeros, no -0, within 64 bits
//	string   4:spam           bytes; no leading zeros in the length
//	list     l4:spami7ee
//	dict     d1:ai1e1:b2:xye  keys are strings, sorted as bytes, each once
//
// It must get right that there is one encoding for each value, because info hashes are taken over encoded bytes: what
// Parse accepts is exactly what the Append functions write. Input is a stranger's: parsing takes linear time, allocates
// nothing, and refuses nesting beyond DepthMax.
package bencode

import (
	"bytes"
	"strconv"
)

// DepthMax bounds nesting: a value inside DepthMax lists and dicts is the deepest that is accepted.
const DepthMax = 100

// Kind says what a Value is. The zero Kind is the zero Value's, which is nothing.
type Kind uint8

// The kinds of value.
const (
	None Kind = iota
	Integer
	String
	List
	Dict
)

// SyntaxError says where the input broke which rule.
type SyntaxError struct {
	Offset int
	Rule   string
}

// Error names the rule and the offset in bytes.
func (e *SyntaxError) Error() string {
	return "bencode: " + e.Rule + " at byte " + strconv.Itoa(e.Offset)
}

// Value is a value within bytes that Parse accepted. It shares their memory and costs nothing to copy. Reading it as
// another kind than it is finds nothing; no method fails or panics.
type Value struct{ raw []byte }

// Parse returns the one value that makes up all of b.
func Parse(b []byte) (Value, error) {
	v, rest, err := ParsePrefix(b)
	if err == nil && len(rest) > 0 {
		return Value{}, &SyntaxError{len(b) - len(rest), "data after the value"}
	}
	return v, err
}

// ParsePrefix returns the value at the beginning of b, and what follows it (BEP 9 puts data after a dict).
func ParsePrefix(b []byte) (v Value, rest []byte, err error) {
	p := parser{b: b}
	if err := p.value(0); err != nil {
		return Value{}, nil, err
	}
	return Value{b[:p.at:p.at]}, b[p.at:], nil
}

// Kind says what v is.
func (v Value) Kind() Kind {
	if len(v.raw) == 0 {
		return None
	}
	switch v.raw[0] {
	case 'i':
		return Integer
	case 'l':
		return List
	case 'd':
		return Dict
	}
	return String
}

// Raw is the value's encoding: what an info hash is taken over. It is nil for the zero Value.
func (v Value) Raw() []byte { return v.raw }

// Int is the integer, and whether v is one.
func (v Value) Int() (int64, bool) {
	if v.Kind() != Integer {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.raw[1:len(v.raw)-1]), 10, 64)
	return n, err == nil
}

// Bytes is the string, and whether v is one. It shares memory with the input.
func (v Value) Bytes() ([]byte, bool) {
	if v.Kind() != String {
		return nil, false
	}
	return v.raw[bytes.IndexByte(v.raw, ':')+1:], true
}

// Text is the string, empty where v is none.
func (v Value) Text() string {
	s, _ := v.Bytes()
	return string(s)
}

// Items calls yield with the elements of a list, in order, until it returns false. Use it with range.
func (v Value) Items(yield func(Value) bool) {
	if v.Kind() != List {
		return
	}
	p := parser{b: v.raw, at: 1}
	for p.b[p.at] != 'e' {
		if !yield(p.skip()) {
			return
		}
	}
}

// Entries calls yield with the keys and values of a dict, in order, until it returns false. Use it with range.
func (v Value) Entries(yield func(key []byte, v Value) bool) {
	if v.Kind() != Dict {
		return
	}
	p := parser{b: v.raw, at: 1}
	for p.b[p.at] != 'e' {
		key, _ := p.skip().Bytes()
		if !yield(key, p.skip()) {
			return
		}
	}
}

// Get is the value of a dict's key; the zero Value where there is none. It takes time linear in the dict.
func (v Value) Get(key string) Value {
	for k, val := range v.Entries {
		if string(k) == key {
			return val
		}
	}
	return Value{}
}

// parser walks over b. What value has accepted, skip passes over without checks.
type parser struct {
	b  []byte
	at int
}

func (p *parser) fail(rule string) error { return &SyntaxError{p.at, rule} }

func (p *parser) value(depth int) error {
	if p.at >= len(p.b) {
		return p.fail("value cut short")
	}
	switch c := p.b[p.at]; {
	case c == 'i':
		return p.integer()
	case c >= '0' && c <= '9':
		_, err := p.str()
		return err
	case c == 'l' || c == 'd':
		if depth >= DepthMax {
			return p.fail("nested too deep")
		}
		p.at++
		if c == 'l' {
			return p.list(depth + 1)
		}
		return p.dict(depth + 1)
	}
	return p.fail("no value begins so")
}

func (p *parser) list(depth int) error {
	for p.at >= len(p.b) || p.b[p.at] != 'e' {
		if err := p.value(depth); err != nil {
			return err
		}
	}
	p.at++
	return nil
}

func (p *parser) dict(depth int) error {
	var last []byte
	for first := true; p.at >= len(p.b) || p.b[p.at] != 'e'; first = false {
		start := p.at
		key, err := p.str()
		if err != nil {
			return err
		}
		if !first && bytes.Compare(last, key) >= 0 {
			return &SyntaxError{start, "dict key out of order"}
		}
		last = key
		if err := p.value(depth); err != nil {
			return err
		}
	}
	p.at++
	return nil
}

func (p *parser) integer() error {
	start := p.at
	p.at++
	end := bytes.IndexByte(p.b[p.at:min(len(p.b), p.at+21)], 'e') // 20 characters hold any 64-bit integer
	if end < 0 {
		return p.fail("integer without an end, or too long")
	}
	digits := p.b[p.at : p.at+end]
	negative := len(digits) > 0 && digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	if len(digits) == 0 {
		return p.fail("integer without digits")
	}
	if digits[0] == '0' && (negative || len(digits) > 1) {
		return p.fail("integer with a leading zero, or -0")
	}
	limit := uint64(1<<63 - 1)
	if negative {
		limit++
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return p.fail("integer with another character than a digit")
		}
		d := uint64(c - '0')
		if n > (limit-d)/10 {
			return p.fail("integer beyond 64 bits")
		}
		n = 10*n + d
	}
	p.at = start + 1 + end + 1
	return nil
}

func (p *parser) str() ([]byte, error) {
	start, n := p.at, 0
	for ; p.at < len(p.b) && p.b[p.at] >= '0' && p.b[p.at] <= '9'; p.at++ {
		if n = 10*n + int(p.b[p.at]-'0'); n > len(p.b) {
			return nil, p.fail("string longer than the input")
		}
	}
	switch {
	case p.at == start:
		return nil, p.fail("want a string")
	case p.at-start > 1 && p.b[start] == '0':
		return nil, p.fail("string length with a leading zero")
	case p.at >= len(p.b) || p.b[p.at] != ':':
		return nil, p.fail("string length without a colon")
	}
	p.at++
	if n > len(p.b)-p.at {
		return nil, p.fail("string longer than the input")
	}
	p.at += n
	return p.b[p.at-n : p.at], nil
}

// skip passes over a value that is known to be valid, and returns it.
func (p *parser) skip() Value {
	start, depth := p.at, 0
	for {
		switch p.b[p.at] {
		case 'i':
			p.at += bytes.IndexByte(p.b[p.at:], 'e') + 1
		case 'l', 'd':
			depth++
			p.at++
		case 'e':
			depth--
			p.at++
		default:
			n := 0
			for ; p.b[p.at] != ':'; p.at++ {
				n = 10*n + int(p.b[p.at]-'0')
			}
			p.at += 1 + n
		}
		if depth == 0 {
			return Value{p.b[start:p.at:p.at]}
		}
	}
}
