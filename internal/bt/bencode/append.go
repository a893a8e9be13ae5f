package bencode

import (
	"slices"
	"strconv"
	"strings"
)

// AppendInt appends an integer.
func AppendInt(b []byte, n int64) []byte {
	b = append(b, 'i')
	b = strconv.AppendInt(b, n, 10)
	return append(b, 'e')
}

// AppendString appends a string.
func AppendString[S string | []byte](b []byte, s S) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

// AppendList appends a list of values that are already encoded.
func AppendList(b []byte, items ...[]byte) []byte {
	b = append(b, 'l')
	for _, item := range items {
		b = append(b, item...)
	}
	return append(b, 'e')
}

// Entry is a key of a dict and its value, already encoded. An entry with a nil value is left out, so that optional
// keys can be listed with the others.
type Entry struct {
	Key   string
	Value []byte
}

// AppendDict appends a dict, sorting its entries in place. It panics when a key comes twice.
func AppendDict(b []byte, entries ...Entry) []byte {
	slices.SortFunc(entries, func(x, y Entry) int { return strings.Compare(x.Key, y.Key) })
	b = append(b, 'd')
	for i, e := range entries {
		if i > 0 && entries[i-1].Key == e.Key {
			panic("bencode: key twice in a dict: " + e.Key)
		}
		if e.Value != nil {
			b = AppendString(b, e.Key)
			b = append(b, e.Value...)
		}
	}
	return append(b, 'e')
}

// Int encodes an integer.
func Int(n int64) []byte { return AppendInt(nil, n) }

// Str encodes a string.
func Str[S string | []byte](s S) []byte { return AppendString(nil, s) }
