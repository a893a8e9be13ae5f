package record

import "essaim/internal/engine"

// InstantSize is the size, in bytes, of the instant before each input in a flight record.
const InstantSize = 8

// AppendStep appends one step of a flight record: the instant (8 bytes, little-endian, signed) and in's record. A file
// of such steps, played to a fresh engine, gives the same outputs on every machine.
func AppendStep(b []byte, now engine.Instant, in *engine.Input) []byte {
	b = le.AppendUint64(b, uint64(now))
	return AppendInput(b, in)
}

// NextStep reads the first step of b into now and in, and returns the rest of b.
func NextStep(b []byte, in *engine.Input) (now engine.Instant, rest []byte, err error) {
	if len(b) < InstantSize {
		return 0, nil, ErrMalformed
	}
	now = engine.Instant(le.Uint64(b))
	rest, err = NextInput(b[InstantSize:], in)
	return now, rest, err
}
