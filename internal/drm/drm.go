// Package drm encrypts track files as Common Encryption has it (ISO/IEC 23001-7): AES-128-CBC with a pattern (cbcs) or AES-128-CTR
// (cenc), each sample for itself, with what decoders must read before they have the key left in the clear. It must get right that
// no (key, IV) pair ever serves twice with cenc, that nothing of picture or sound stays readable, that every byte comes back with
// the key, and that memory does not grow with the film. Files come from ffmpeg, which may have read anything: every size is
// checked, and nothing here panics.
//
// What is to stay in the clear, by codec: of H.264 all NAL units but slices, and of these the header (h264.go); of VP9 the
// uncompressed headers and the superframe index (vp9.go); of AV1 everything but tiles (av1.go); of sound nothing.
package drm

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"essaim/internal/cmaf/box"
)

// Scheme is one of the protection schemes of ISO/IEC 23001-7, 4.2.
type Scheme string

// The schemes.
const (
	CBCS Scheme = "cbcs" // AES-128-CBC; of video one block in ten, of sound every whole block
	CENC Scheme = "cenc" // AES-128-CTR
)

// Options say how a track file is encrypted.
type Options struct {
	Scheme Scheme
	KID    [16]byte // the key's name, in the file in the clear
	Key    [16]byte

	// File numbers the files that are encrypted with the same key: no two of them may have the same number. With cenc it keeps
	// their initialization vectors apart.
	File uint8
	// KIDs are the names of all keys of the title, for the W3C's Common PSSH box; nil for KID alone.
	KIDs [][16]byte
	// PSSH are whole pssh boxes of other key systems, to stand behind the common one.
	PSSH [][]byte
	// Random is where initialization vectors come from; nil for crypto/rand.
	Random io.Reader
	// Progress is told how many of the source's bytes are done; may be nil.
	Progress func(done, total int64)
}

// fragmentMax bounds the samples of one fragment, which are held in memory: four seconds at 256 Mbit/s.
const fragmentMax = 128 << 20

// Encrypt reads the track file src of size bytes, in the clear and in the form that package cmaf reads, and writes it encrypted
// from dst's offset 0 on. Errors of src's content wrap box.ErrMalformed. dst is worthless unless Encrypt returns nil.
func Encrypt(ctx context.Context, dst io.WriterAt, src io.ReaderAt, size int64, o Options) error {
	e, err := newEncryptor(o)
	if err != nil {
		return err
	}
	e.src, e.size, e.dst = src, size, dst
	e.out = bufio.NewWriterSize(io.NewOffsetWriter(dst, 0), 1<<20)
	if err := e.head(); err != nil {
		return err
	}
	for e.at < size {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.next(); err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(e.at, size)
		}
	}
	if err := e.out.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return e.index()
}

// An encryptor turns one file into another.
type encryptor struct {
	o     Options
	block cipher.Block
	track track
	iv    uint64   // cenc: of the next sample
	fixed [16]byte // cbcs: of every sample

	src      io.ReaderAt
	size, at int64 // of src
	dst      io.WriterAt
	out      *bufio.Writer
	written  int64

	sidx     []byte  // whole, as read; its references are corrected in the end
	sidxAt   int64   // where it lies in dst
	refs     int     // offset of its references
	segments []int64 // where each segment ends in src
	ends     []int64 // and in dst
	boxes    int

	samples []byte // of one fragment
	layout  layout
}

func newEncryptor(o Options) (*encryptor, error) {
	if o.Scheme != CBCS && o.Scheme != CENC {
		return nil, fmt.Errorf("encryption scheme %q is neither %s nor %s", o.Scheme, CBCS, CENC)
	}
	if o.KID == [16]byte{} || o.Key == [16]byte{} {
		return nil, errors.New("a key of zeros encrypts nothing")
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.KIDs == nil {
		o.KIDs = [][16]byte{o.KID}
	}
	block, err := aes.NewCipher(o.Key[:])
	if err != nil {
		return nil, err
	}
	e := &encryptor{o: o, block: block}
	if _, err := io.ReadFull(o.Random, e.fixed[:]); err != nil {
		return nil, fmt.Errorf("draw an initialization vector: %w", err)
	}
	// Each sample has 64 bits of its own before the 64 of its blocks: the file's number, and a count of samples from a random start.
	// So two samples of one file differ while there are less than 2^56 of them, two files of one key differ always, and a file
	// that is made again under its key, because the first attempt was broken off, begins elsewhere.
	e.iv = uint64(o.File)<<56 | binary.BigEndian.Uint64(e.fixed[:])>>8
	return e, nil
}

// nextIV is the initialization vector of the next sample with cenc.
func (e *encryptor) nextIV() uint64 {
	iv := e.iv
	e.iv = iv&^(1<<56-1) | (iv+1)&(1<<56-1)
	return iv
}

// head copies what comes before the first fragment, with the track's description rewritten.
func (e *encryptor) head() error {
	for e.sidx == nil {
		b, err := e.box()
		if err != nil {
			return err
		}
		switch b.Kind {
		case "ftyp", "free", "skip":
			if err := e.copy(b); err != nil {
				return err
			}
			continue
		case "moov", "sidx":
		default:
			return box.Malformed("%q before the segment index", b.Kind)
		}
		p, err := b.Payload(e.src)
		if err != nil {
			return err
		}
		if b.Kind == "moov" {
			if p, err = e.moov(p); err != nil {
				return err
			}
			if err := e.write(p); err != nil {
				return err
			}
			continue
		}
		if e.track.kind == "" {
			return box.Malformed("a segment index before the track's description")
		}
		if err := e.readIndex(p, b.End()); err != nil {
			return err
		}
		e.sidxAt = e.written
		if err := e.write(e.sidx); err != nil {
			return err
		}
	}
	return nil
}

// box reads the header of the next box in src, and passes over the box.
func (e *encryptor) box() (box.Box, error) {
	if e.boxes++; e.boxes > box.BoxesMax {
		return box.Box{}, box.Malformed("more than %d boxes", box.BoxesMax)
	}
	b, err := box.Read(e.src, e.at, e.size)
	e.at = b.End()
	return b, err
}

func (e *encryptor) write(p []byte) error {
	n, err := e.out.Write(p)
	e.written += int64(n)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// copy copies a box as it is.
func (e *encryptor) copy(b box.Box) error {
	n, err := io.Copy(e.out, io.NewSectionReader(e.src, b.Offset, b.Size))
	e.written += n
	if err == nil && n < b.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("copy %q at %d: %w", b.Kind, b.Offset, err)
	}
	return nil
}

// readIndex keeps the segment index and remembers where its segments end; end is where the index ends in src.
func (e *encryptor) readIndex(p []byte, end int64) error {
	c := &box.Cursor{P: p}
	v, _ := c.Full()
	c.Skip(8)
	c.Word(v)
	first := c.Word(v)
	c.U16()
	n := int(c.U16())
	if c.Short || n == 0 || len(c.P) != 12*n || first > uint64(e.size) {
		return box.Malformed("segment index of %d references", n)
	}
	at := end + int64(first)
	for range n {
		ref := c.U32()
		c.Skip(8)
		if ref == 0 || ref>>31 != 0 {
			return box.Malformed("segment index refers to something else than segments")
		}
		at += int64(ref)
		e.segments = append(e.segments, at)
	}
	if at != e.size {
		return box.Malformed("segments end at byte %d of %d", at, e.size)
	}
	if first != 0 {
		return box.Malformed("%d bytes between the segment index and the segments", first)
	}
	e.refs = 8 + len(p) - 12*n
	e.sidx = append(header("sidx", 8+len(p)), p...)
	return nil
}

// next encrypts the next fragment, or copies what is none.
func (e *encryptor) next() error {
	b, err := e.box()
	if err != nil {
		return err
	}
	switch b.Kind {
	case "styp", "free":
		err = e.copy(b)
	case "moof":
		err = e.fragment(b)
	default:
		err = box.Malformed("%q among the fragments", b.Kind)
	}
	if err != nil {
		return err
	}
	i := len(e.ends)
	switch {
	case i < len(e.segments) && e.at == e.segments[i]:
		e.ends = append(e.ends, e.written)
	case i == len(e.segments) || e.at > e.segments[i]:
		return box.Malformed("segment %d does not end where a fragment does", i)
	}
	return nil
}

// index corrects the segment index, now that the segments' sizes are known.
func (e *encryptor) index() error {
	if len(e.ends) != len(e.segments) {
		return box.Malformed("%d segments of %d", len(e.ends), len(e.segments))
	}
	from := e.sidxAt + int64(len(e.sidx))
	for i, end := range e.ends {
		if end-from >= 1<<31 {
			return box.Malformed("segment %d of %d bytes", i, end-from)
		}
		binary.BigEndian.PutUint32(e.sidx[e.refs+12*i:], uint32(end-from))
		from = end
	}
	if _, err := e.dst.WriteAt(e.sidx, e.sidxAt); err != nil {
		return fmt.Errorf("write sidx: %w", err)
	}
	return nil
}

// header is a box's.
func header(kind string, size int) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(size)), kind...)
}

// boxOf is a box of these parts.
func boxOf(kind string, parts ...[]byte) []byte {
	n := 8
	for _, p := range parts {
		n += len(p)
	}
	b := header(kind, n)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
