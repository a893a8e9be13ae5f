package vod

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
)

// KID names a content key (ISO/IEC 23001-7, default_KID). The zero value names none: the file is in the clear.
type KID [16]byte

// String is k in 32 lower-case hexadecimal digits.
func (k KID) String() string { return hex.EncodeToString(k[:]) }

// IsZero reports whether k names no key.
func (k KID) IsZero() bool { return k == KID{} }

// ParseKID reads what String writes; ErrInvalid for anything else.
func ParseKID(s string) (k KID, err error) {
	if len(s) != 2*len(k) {
		return k, fmt.Errorf("%w: a key's name has %d hexadecimal digits", ErrInvalid, 2*len(k))
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return KID{}, fmt.Errorf("%w: a key's name: %w", ErrInvalid, err)
	}
	return k, nil
}

// Scheme is how a version's files are encrypted (ISO/IEC 23001-7).
type Scheme string

// The schemes.
const (
	Clear Scheme = ""     // not at all: open titles
	CBCS  Scheme = "cbcs" // AES-128-CBC with a pattern of 1:9 on video: what every DRM of today takes
	CENC  Scheme = "cenc" // AES-128-CTR, for old devices
)

// Tier is what one content key opens: the sound, or the pictures of one class of quality.
type Tier string

// The tiers. A plan's highest tier is one of the pictures'; the sound belongs to all.
const (
	TierAudio Tier = "audio"
	TierSD    Tier = "sd"  // below 720 lines
	TierHD    Tier = "hd"  // to 1080 lines
	TierUHD   Tier = "uhd" // above
)

// TierOf is the tier of a file of that kind and height in lines.
func TierOf(kind Kind, height int) Tier {
	switch {
	case kind == Audio:
		return TierAudio
	case height < 720:
		return TierSD
	case height <= 1080:
		return TierHD
	}
	return TierUHD
}

// Tier is the tier whose key opens f.
func (f *File) Tier() Tier { return TierOf(f.Kind, f.Height) }

// rank orders tiers; unknown ones come below all.
func (t Tier) rank() int {
	switch t {
	case TierAudio:
		return 1
	case TierSD:
		return 2
	case TierHD:
		return 3
	case TierUHD:
		return 4
	}
	return 0
}

// Valid reports whether t is one of the tiers.
func (t Tier) Valid() bool { return t.rank() > 0 }

// Within reports whether a plan whose highest tier is highest includes t.
func (t Tier) Within(highest Tier) bool { return t.Valid() && t.rank() <= highest.rank() }

// MaxHeight is how many lines pictures within t have at most; 0 for no bound.
func (t Tier) MaxHeight() int {
	switch t {
	case TierUHD:
		return 0
	case TierHD:
		return 1080
	}
	return 719
}

// ContentKey is a key that opens films: it must reach no log, page, metric or file. Formatted or logged it shows its name
// alone.
type ContentKey struct {
	KID  KID
	Tier Tier
	Key  [16]byte
}

// String is the key's name; never the key.
func (k ContentKey) String() string { return "key " + k.KID.String() }

// GoString is String.
func (k ContentKey) GoString() string { return k.String() }

// Format writes String, whatever the verb.
func (k ContentKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// LogValue is String (log/slog).
func (k ContentKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON refuses: a licence writes keys out field by field, and nothing else has any business with them.
func (k ContentKey) MarshalJSON() ([]byte, error) {
	return nil, fmt.Errorf("%s must not be written out", k.String())
}

// ContentKeys keeps content keys, sealed with a key that is not in the database.
type ContentKeys interface {
	// Draw returns the keys of a version in the making, one for each of tiers and in their order. The same job gets the
	// same keys again, so that work goes on where it stopped; two jobs never share one.
	Draw(ctx context.Context, job string, tiers []Tier) ([]ContentKey, error)
	// Open returns the keys of these names, in their order; ErrNotFound where one is not kept.
	Open(ctx context.Context, kids []KID) ([]ContentKey, error)
	// Discard forgets the keys of a job that was given up. What was published under them can then never be played.
	Discard(ctx context.Context, job string) error
}

// ErrUpstream says that a service that this one asks on a viewer's behalf does not answer.
var ErrUpstream = errors.New("the service that was asked in turn does not answer")

// Licences answers who gets which key.
type Licences interface {
	// License returns those of the named keys that the ticket's holder may have now: of the ticket's title and version,
	// within the plan's highest tier. ErrForbidden where that is none of them, for whatever reason: the answer does not
	// tell a key that exists from one that does not. A LaterError for who asks too often.
	License(ctx context.Context, t Ticket, kids []KID) ([]ContentKey, error)
	// Forward has a commercial system's challenge answered by its vendor, for who may have keys of the ticket's title now;
	// errors as of License, ErrNotFound for a system that was not set up, and ErrUpstream with a LaterError when the vendor
	// does not answer.
	Forward(ctx context.Context, system string, t Ticket, challenge []byte) ([]byte, error)
	// Report counts what was asked since the service started.
	Report() LicenceReport
}

// LicenceReport counts requests for licences.
type LicenceReport struct {
	Granted   int64 // answered with keys, ours or a vendor's
	Refused   int64 // by people who may not have them
	Limited   int64 // asked too often
	Failed    int64 // a fault of ours, or a vendor's
	Forwarded int64 // of all, those passed on to vendors
}
