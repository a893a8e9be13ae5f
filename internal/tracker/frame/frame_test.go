package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// masked is a client's frame.
func masked(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{1, 0xA2, 3, 0xF4}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return b
}

type event struct {
	op      Op
	payload string
}

// all decodes a whole stream that arrives in portions of so many bytes.
func all(d *Decoder, stream []byte, portion int) (events []event, err error) {
	var pending []byte
	for len(stream) > 0 {
		n := min(portion, len(stream))
		pending, stream = append(pending, stream[:n]...), stream[n:]
		for {
			op, payload, used, err := d.Next(pending)
			if err != nil {
				return events, err
			}
			if used == 0 {
				break
			}
			if op != Continuation {
				events = append(events, event{op, string(payload)})
			}
			pending = pending[used:]
		}
	}
	return events, nil
}

func TestMessagesComeWholeHoweverTheyArrive(t *testing.T) {
	long := strings.Repeat("0123456789", 7000)
	stream := bytes.Join([][]byte{
		masked(0x81, "hello"), masked(0x01, "in "), masked(0x89, "ping"), masked(0x00, ""), masked(0x00, "three "), masked(0x80, "pieces"),
		masked(0x82, strings.Repeat("b", 126)), masked(0x8A, ""), masked(0x81, long), masked(0x81, ""), masked(0x88, "\x03\xe8bye"),
	}, nil)
	want := []event{
		{Text, "hello"},
		{Ping, "ping"},
		{Text, "in three pieces"},
		{Binary, strings.Repeat("b", 126)},
		{Pong, ""},
		{Text, long},
		{Text, ""},
		{Close, "\x03\xe8bye"},
	}
	for _, portion := range []int{1, 2, 3, 7, 100, len(stream)} {
		d := &Decoder{Max: len(long)}
		got, err := all(d, bytes.Clone(stream), portion)
		if err != nil || len(got) != len(want) {
			t.Fatalf("portions of %d: %d events, %v", portion, len(got), err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("portions of %d: event %d is %v", portion, i, got[i].op)
			}
		}
		if d.Held() != 0 {
			t.Errorf("%d bytes are held afterwards", d.Held())
		}
	}
}

func TestWhatTheRFCForbidsIsRefusedWithItsCode(t *testing.T) {
	for name, c := range map[string]struct {
		stream []byte
		want   Code
	}{
		"unmasked":                    {[]byte{0x81, 0}, CodeProtocol},
		"compressed":                  {masked(0xC1, ""), CodeProtocol},
		"second reserved bit":         {masked(0xA1, ""), CodeProtocol},
		"third reserved bit":          {masked(0x91, ""), CodeProtocol},
		"unknown opcode":              {masked(0x83, ""), CodeProtocol},
		"unknown control opcode":      {masked(0x8B, ""), CodeProtocol},
		"long ping":                   {masked(0x89, strings.Repeat("x", 126)), CodeProtocol},
		"ping in pieces":              {masked(0x09, ""), CodeProtocol},
		"nothing continued":           {masked(0x80, ""), CodeProtocol},
		"message within a message":    {append(masked(0x01, "a"), masked(0x81, "b")...), CodeProtocol},
		"one byte too many":           {masked(0x81, strings.Repeat("x", 1001)), CodeTooBig},
		"one byte too many in pieces": {append(masked(0x01, strings.Repeat("x", 1000)), masked(0x80, "x")...), CodeTooBig},
		"a length of 2⁶³":             {[]byte{0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, CodeTooBig},
		"a length of 2⁶⁴−1":           {[]byte{0x82, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4}, CodeTooBig},
		"a hundred MiB, announced":    {[]byte{0x81, 0xFF, 0, 0, 0, 0, 0x06, 0x40, 0, 0}, CodeTooBig},
		"endless empty pieces":        {append(masked(0x01, ""), bytes.Repeat(masked(0x00, ""), 1000)...), CodePolicy},
	} {
		for _, portion := range []int{1, len(c.stream)} {
			_, err := all(&Decoder{Max: 1000}, bytes.Clone(c.stream), portion)
			var refused *Error
			if !errors.As(err, &refused) || refused.Code != c.want {
				t.Errorf("%s: %v, want %d", name, err, c.want)
			}
		}
	}
}

func TestMessageThatIsMerelyAnnouncedTakesNoMemory(t *testing.T) {
	d := &Decoder{Max: 64 << 10}
	head := masked(0x81, strings.Repeat("x", 60_000))[:8]
	if _, _, used, err := d.Next(head); used != 0 || err != nil || d.Held() != 0 {
		t.Errorf("used %d, held %d, %v", used, d.Held(), err)
	}
}

func TestCloseFramesAreReadStrictly(t *testing.T) {
	for payload, want := range map[string]Code{
		"": CodeNoStatus, "\x03\xe8": 1000, "\x03\xe9away": 1001, "\x0f\xa0": 4000, "\x13\x87": 4999, "\x03\xf6": 1014,
		"x": 0, "\x03\xec": 0, "\x03\xed": 0, "\x03\xee": 0, "\x03\xf7": 0, "\x00\x00": 0, "\x13\x88": 0, "\x07\xd0": 0,
	} {
		if got, err := CloseCode([]byte(payload)); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v, want %d", payload, got, err, want)
		}
	}
}

func TestServersFramesAreWellFormed(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65_535, 65_536} {
		payload := strings.Repeat("p", n)
		f := Finish(append(make([]byte, Room), payload...), Text)
		head := 2
		length := int(f[1])
		switch {
		case n > 65_535:
			head, length = 10, int(binary.BigEndian.Uint64(f[2:]))
		case n > 125:
			head, length = 4, int(binary.BigEndian.Uint16(f[2:]))
		}
		if f[0] != 0x81 || length != n || string(f[head:]) != payload {
			t.Errorf("%d bytes: header % x", n, f[:head])
		}
	}
	if b := AppendClose(nil, CodeNoStatus, ""); !bytes.Equal(b, []byte{0x88, 0}) {
		t.Errorf("% x", b)
	}
	if b := AppendClose(nil, 4401, strings.Repeat("r", 200)); len(b) != 127 || b[1] != 125 || binary.BigEndian.Uint16(b[2:]) != 4401 {
		t.Errorf("% x", b)
	}
}

func TestHandshakeIsThatOfTheRFC(t *testing.T) {
	good := func() *http.Request {
		r, _ := http.NewRequest(http.MethodGet, "/tracker", nil)
		r.Header = http.Header{
			"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"WebSocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Extensions": {"permessage-deflate"}, "Sec-Websocket-Protocol": {"chat"},
		}
		return r
	}
	answer, status := Accept(good())
	if status != 101 || !strings.Contains(string(answer), "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") || // RFC 6455, 1.3
		strings.Contains(string(answer), "Extensions") || strings.Contains(string(answer), "Protocol:") {
		t.Errorf("%d %q", status, answer)
	}
	for name, c := range map[string]struct {
		spoil func(*http.Request)
		want  int
	}{
		"an ordinary request":  {func(r *http.Request) { r.Header = http.Header{} }, 426},
		"a POST":               {func(r *http.Request) { r.Method = http.MethodPost }, 405},
		"another upgrade":      {func(r *http.Request) { r.Header.Set("Upgrade", "h2c") }, 426},
		"no Connection header": {func(r *http.Request) { r.Header.Set("Connection", "close") }, 426},
		"HTTP/1.0":             {func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 1, 0 }, 426},
		"HTTP/2":               {func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 2, 0 }, 426},
		"version 8":            {func(r *http.Request) { r.Header.Set("Sec-Websocket-Version", "8") }, 426},
		"no key":               {func(r *http.Request) { r.Header.Del("Sec-Websocket-Key") }, 400},
		"a short key":          {func(r *http.Request) { r.Header.Set("Sec-Websocket-Key", "AAAA") }, 400},
		"two keys":             {func(r *http.Request) { r.Header.Add("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") }, 400},
	} {
		r := good()
		c.spoil(r)
		if _, status := Accept(r); status != c.want {
			t.Errorf("%s: %d, want %d", name, status, c.want)
		}
	}
}

// FuzzDecoder holds the decoder to its bounds, and to one meaning however the bytes arrive.
func FuzzDecoder(f *testing.F) {
	f.Add(masked(0x81, "hello"), uint8(1))
	f.Add(append(masked(0x01, "a"), masked(0x80, "b")...), uint8(3))
	f.Add(append(masked(0x89, "p"), masked(0x88, "\x03\xe8")...), uint8(2))
	f.Add([]byte{0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, uint8(5))
	f.Add([]byte{0x81, 0xFE, 0, 1, 0, 0, 0, 0, 'x'}, uint8(4))
	f.Fuzz(func(t *testing.T, stream []byte, portion uint8) {
		const bound = 300
		whole, errWhole := all(&Decoder{Max: bound}, bytes.Clone(stream), max(1, len(stream)))
		d := &Decoder{Max: bound}
		parts, errParts := all(d, bytes.Clone(stream), 1+int(portion))
		if len(whole) != len(parts) || !errors.Is(errParts, errWhole) {
			t.Fatalf("whole: %v, %v; in portions: %v, %v", whole, errWhole, parts, errParts)
		}
		for i, e := range whole {
			if e != parts[i] {
				t.Fatalf("event %d: %v and %v", i, e, parts[i])
			}
			if len(e.payload) > bound || e.op >= Close && len(e.payload) > ControlMax {
				t.Fatalf("event %d has %d bytes", i, len(e.payload))
			}
		}
		if d.Held() > 2*bound {
			t.Fatalf("%d bytes are held", d.Held())
		}
	})
}
