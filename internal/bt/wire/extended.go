package wire

import (
	"encoding/binary"
	"errors"

	"essaim/internal/bt/bencode"
)

// Names of extensions (BEP 10).
const (
	ExtMetadata = "ut_metadata" // BEP 9
	ExtDontHave = "lt_donthave" // BEP 54
)

// Bounds of a peer's extension handshake. What lies beyond is refused.
const (
	extHandshakeBytesMax = 16 << 10
	extensionsMax        = 64
	extensionNameMax     = 64
	versionMax           = 128 // longer ones are cut: they are for people to read
	metadataSizeMax      = 32 << 20
	requestQueueMax      = 1 << 16 // larger ones are taken as this
)

// ErrExtHandshake is returned for an extension handshake that is not what BEP 10 allows.
var ErrExtHandshake = errors.New("wire: malformed extension handshake")

// Extension is a name and the number under which its sender wants to receive it; 0 switches it off.
type Extension struct {
	Name string
	ID   uint8
}

// ExtHandshake is the dictionary that opens the extension protocol (BEP 10): extended message, extension id 0. Zero
// fields are left out when it is written, and were absent when it was read.
type ExtHandshake struct {
	Extensions   []Extension // "m"; read ones are sorted by name
	Version      string      // "v": the client's name, for people
	RequestQueue uint32      // "reqq": how many requests the sender keeps waiting
	UploadOnly   bool        // "upload_only": will not download (BEP 21)
	MetadataSize uint32      // "metadata_size": bytes of the info dictionary (BEP 9)
}

// Lookup returns the number that the sender chose for an extension. listed is false where it did not mention it: then
// an earlier handshake's choice holds (BEP 10).
func (h *ExtHandshake) Lookup(name string) (id uint8, listed bool) {
	for _, e := range h.Extensions {
		if e.Name == name {
			return e.ID, true
		}
	}
	return 0, false
}

// AppendExtHandshake appends h as a whole message, with length prefix. It panics when an extension is listed twice.
func AppendExtHandshake(b []byte, h ExtHandshake) []byte {
	m := make([]bencode.Entry, len(h.Extensions))
	for i, e := range h.Extensions {
		m[i] = bencode.Entry{Key: e.Name, Value: bencode.Int(int64(e.ID))}
	}
	entries := []bencode.Entry{{Key: "m", Value: bencode.AppendDict(nil, m...)}}
	number := func(key string, n uint32) {
		if n != 0 {
			entries = append(entries, bencode.Entry{Key: key, Value: bencode.Int(int64(n))})
		}
	}
	number("metadata_size", h.MetadataSize)
	number("reqq", h.RequestQueue)
	if h.UploadOnly {
		number("upload_only", 1)
	}
	if h.Version != "" {
		entries = append(entries, bencode.Entry{Key: "v", Value: bencode.Str(h.Version)})
	}
	return AppendExtended(b, 0, bencode.AppendDict(nil, entries...))
}

// ParseExtHandshake reads the payload of an extended message whose ExtID is 0. Keys that it does not know are ignored;
// known ones of another type or beyond their bounds are ErrExtHandshake.
func ParseExtHandshake(payload []byte) (ExtHandshake, error) {
	var h ExtHandshake
	if len(payload) > extHandshakeBytesMax {
		return h, ErrExtHandshake
	}
	dict, err := bencode.Parse(payload)
	if err != nil {
		return h, err
	}
	if dict.Kind() != bencode.Dict {
		return h, ErrExtHandshake
	}
	for key, v := range dict.Entries {
		ok := true
		switch string(key) {
		case "m":
			h.Extensions, ok = parseExtensions(v)
		case "v":
			var s []byte
			s, ok = v.Bytes()
			h.Version = string(s[:min(len(s), versionMax)])
		case "reqq":
			var n int64
			n, ok = v.Int()
			ok = ok && n >= 0
			h.RequestQueue = uint32(min(max(n, 0), requestQueueMax))
		case "upload_only":
			var n int64
			n, ok = v.Int()
			h.UploadOnly = n != 0
		case "metadata_size":
			var n int64
			n, ok = v.Int()
			ok = ok && n >= 0 && n <= metadataSizeMax
			h.MetadataSize = uint32(n)
		}
		if !ok {
			return ExtHandshake{}, ErrExtHandshake
		}
	}
	return h, nil
}

func parseExtensions(m bencode.Value) ([]Extension, bool) {
	if m.Kind() != bencode.Dict {
		return nil, false
	}
	var list []Extension
	for name, v := range m.Entries {
		id, ok := v.Int()
		if !ok || id < 0 || id > 255 || len(name) > extensionNameMax || len(list) == extensionsMax {
			return nil, false
		}
		list = append(list, Extension{string(name), uint8(id)})
	}
	return list, true
}

// AppendDontHave tells the peer that a piece is no longer held (BEP 54); id is the peer's number for ExtDontHave.
func AppendDontHave(b []byte, id uint8, piece uint32) []byte {
	b = append(head(b, Extended, 5), id)
	return binary.BigEndian.AppendUint32(b, piece)
}

// ParseDontHave reads the payload of an lt_donthave message (BEP 54), or returns ErrLength.
func ParseDontHave(payload []byte) (piece uint32, err error) {
	if len(payload) != 4 {
		return 0, ErrLength
	}
	return binary.BigEndian.Uint32(payload), nil
}
