package announce

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON (RFC 8259) strictly and once, from front to back, without building a tree: what nobody asks
// for costs nothing but its length. Stricter than encoding/json: names match exactly, bad UTF-8 and lone
// surrogates are errors, and depth is bounded by depthMax.
type scanner struct {
	data    []byte
	i       int
	depth   int
	scratch []byte // where session descriptions are put together
	lends   bool   // session descriptions are left as they are
}

func (s *scanner) fault(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, what, s.i)
}

func (s *scanner) space() {
	for s.i < len(s.data) {
		switch s.data[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i == len(s.data) {
		return 0
	}
	return s.data[s.i]
}

func (s *scanner) expect(c byte) error {
	if s.peek() != c {
		return s.fault("expected " + strconv.QuoteRune(rune(c)))
	}
	s.i++
	return nil
}

// end checks that nothing follows.
func (s *scanner) end() error {
	if s.peek(); s.i != len(s.data) {
		return s.fault("more after the value")
	}
	return nil
}

// object calls member for each name, with the scanner before its value, which member must consume.
// The name is valid until the next call of a method of s.
func (s *scanner) object(member func(name []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.depth++; s.depth > depthMax {
		return s.fault("too deep")
	}
	defer func() { s.depth-- }()
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		name, err := s.brief(len(s.data))
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.i++
			continue
		}
		return s.expect('}')
	}
}

// array calls element with the scanner before each value, which element must consume.
func (s *scanner) array(element func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.depth++; s.depth > depthMax {
		return s.fault("too deep")
	}
	defer func() { s.depth-- }()
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.i++
			continue
		}
		return s.expect(']')
	}
}

// plain are the bytes of a string that stand for themselves: ASCII but for quotes, backslashes and control characters. Session
// descriptions are little else, so they are copied in runs.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// run is the end of the run of plain bytes that begins at s.i.
func (s *scanner) run() int {
	i := s.i
	for i < len(s.data) && plain[s.data[i]] {
		i++
	}
	return i
}

// next reads a code point that is no plain byte; ok is false at the string's end, which it consumes. U+FFFD is refused: it is what
// decoders leave of broken text.
func (s *scanner) next() (r rune, ok bool, err error) {
	if s.i == len(s.data) {
		return 0, false, s.fault("unfinished string")
	}
	switch c := s.data[s.i]; {
	case c == '"':
		s.i++
		return 0, false, nil
	case c < 0x20:
		return 0, false, s.fault("control character in a string")
	case c == '\\':
		if r, err = s.escape(); err != nil {
			return 0, false, err
		}
	default:
		var size int
		r, size = utf8.DecodeRune(s.data[s.i:])
		s.i += size
	}
	if r == utf8.RuneError {
		return 0, false, s.fault("broken text")
	}
	return r, true, nil
}

// text appends a string's UTF-8 to dst; an error if that makes dst longer than limit bytes.
func (s *scanner) text(dst []byte, limit int) ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return dst, err
	}
	for {
		if end := s.run(); end > s.i {
			dst = append(dst, s.data[s.i:end]...)
			s.i = end
		}
		r, ok, err := s.next()
		if err == nil && ok {
			dst = utf8.AppendRune(dst, r)
		}
		if len(dst) > limit {
			return dst, s.fault("string too long")
		}
		if err != nil || !ok {
			return dst, err
		}
	}
}

// whole finds the end of a string, and looks no further into it.
func (s *scanner) whole() (Text, error) {
	if s.peek() == '"' {
		from := s.i
		for i := from + 1; ; {
			n := bytes.IndexByte(s.data[i:], '"')
			if n < 0 {
				break
			}
			i += n + 1
			escaped := false
			for k := i - 2; k > from && s.data[k] == '\\'; k-- {
				escaped = !escaped
			}
			if !escaped {
				s.i = i
				return s.data[from:i], nil
			}
		}
	}
	return nil, s.fault("expected a string")
}

// brief is the text of a string of at most limit bytes: a part of the message, if nothing in it is escaped.
func (s *scanner) brief(limit int) ([]byte, error) {
	if s.peek() == '"' {
		from := s.i + 1
		for i := from; i < len(s.data) && plain[s.data[i]]; i++ {
			if i+1 < len(s.data) && s.data[i+1] == '"' && i-from < limit {
				s.i = i + 2
				return s.data[from : i+1], nil
			}
		}
	}
	return s.text(nil, limit)
}

// binary reads a string of exactly len(dst) code points up to U+00FF, one byte each.
func (s *scanner) binary(dst []byte) error {
	if err := s.expect('"'); err != nil {
		return err
	}
	for n := 0; ; n++ {
		end := s.run()
		if end-s.i > len(dst)-n {
			return s.fault("not a binary string")
		}
		n += copy(dst[n:], s.data[s.i:end])
		s.i = end
		if n < len(dst) && end+1 < len(s.data) && s.data[end]&0xFE == 0xC2 && s.data[end+1]&0xC0 == 0x80 {
			dst[n] = s.data[end]<<6 | s.data[end+1]&0x3F // U+0080 to U+00FF, as UTF-8 has them
			s.i += 2
			continue
		}
		r, ok, err := s.next()
		switch {
		case err != nil:
			return err
		case !ok && n < len(dst):
			return s.fault("binary string too short")
		case !ok:
			return nil
		case r > 0xFF || n == len(dst):
			return s.fault("not a binary string")
		}
		dst[n] = byte(r)
	}
}

// skipText reads over a string.
func (s *scanner) skipText() error {
	if err := s.expect('"'); err != nil {
		return err
	}
	for {
		s.i = s.run()
		if _, ok, err := s.next(); err != nil || !ok {
			return err
		}
	}
}

func (s *scanner) escape() (rune, error) {
	if s.i++; s.i == len(s.data) {
		return 0, s.fault("unfinished escape")
	}
	c := s.data[s.i]
	s.i++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		r, err := s.hex4()
		if err != nil || !utf16.IsSurrogate(r) {
			return r, err
		}
		if s.i+1 < len(s.data) && s.data[s.i] == '\\' && s.data[s.i+1] == 'u' {
			s.i += 2
			low, err := s.hex4()
			if err != nil {
				return 0, err
			}
			return utf16.DecodeRune(r, low), nil // U+FFFD for what is no pair
		}
		return utf8.RuneError, nil
	}
	return 0, s.fault("unknown escape")
}

func (s *scanner) hex4() (rune, error) {
	if len(s.data)-s.i < 4 {
		return 0, s.fault("unfinished escape")
	}
	var r rune
	for _, c := range s.data[s.i : s.i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.fault("bad escape")
		}
		r = r<<4 | rune(c)
	}
	s.i += 4
	return r, nil
}

// number reads a number and returns its integral part; ok is false where that lies outside ±numberMax.
func (s *scanner) number() (n int64, ok bool, err error) {
	s.space()
	start := s.i
	integral := true
	if s.at('-') {
		s.i++
	}
	switch {
	case s.at('0'):
		s.i++
	case s.digits() == 0:
		return 0, false, s.fault("expected a number")
	}
	if s.at('.') {
		integral = false
		s.i++
		if s.digits() == 0 {
			return 0, false, s.fault("bad number")
		}
	}
	if s.at('e') || s.at('E') {
		integral = false
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		if s.digits() == 0 {
			return 0, false, s.fault("bad number")
		}
	}
	text := string(s.data[start:s.i])
	if integral {
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil && -numberMax <= n && n <= numberMax, nil
	}
	f, ferr := strconv.ParseFloat(text, 64)
	if ferr != nil || f < -numberMax || f > numberMax {
		return 0, false, nil
	}
	return int64(f), true, nil
}

func (s *scanner) at(c byte) bool { return s.i < len(s.data) && s.data[s.i] == c }

func (s *scanner) digits() (n int) {
	for s.i < len(s.data) && '0' <= s.data[s.i] && s.data[s.i] <= '9' {
		s.i++
		n++
	}
	return n
}

func (s *scanner) word(w string) error {
	s.space()
	if len(s.data)-s.i < len(w) || string(s.data[s.i:s.i+len(w)]) != w {
		return s.fault("unknown word")
	}
	s.i += len(w)
	return nil
}

// null consumes a null, if one is next, and says so.
func (s *scanner) null() (bool, error) {
	if s.peek() != 'n' {
		return false, nil
	}
	return true, s.word("null")
}

// skip reads over any value.
func (s *scanner) skip() error {
	switch s.peek() {
	case '{':
		return s.object(func([]byte) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		return s.skipText()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, _, err := s.number()
	return err
}
