package native

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/bits"
	"os"

	"essaim/internal/bt"
)

// prover is what a Store may be besides: one that keeps hash answers (BEP 52) with its pieces, so that what it holds can be proven at
// the next visit though neither origin nor peers are there. What it returns is checked against the file's root like anybody's word.
type prover interface {
	// Proof returns the answer to a request of the file's piece layer, concatenated digests; nil: there is none.
	Proof(file uint32, r bt.HashRequest) []byte
	// KeepProof keeps an answer that was found to be true.
	KeepProof(file uint32, r bt.HashRequest, answer []byte)
}

// hashFile keeps the answers to hash requests of one media file's piece layer, beside its cacheFile. Each record is
//
//	base, index, length, proof (4 each, big-endian, as in BEP 52's message), number of digests (4), digests (32 each)
//
// Records are only ever added, so that a kill leaves at most a torn last one; that, and whatever else is wrong, ends the reading, and what
// was read until there is checked by who uses it.
type hashFile struct {
	name    string
	max     int64 // bytes
	answers map[bt.HashRequest][]byte
	size    int64 // of the file, as far as it could be read
	read    bool
}

const (
	hashSuffix     = ".hashes"
	hashHeadSize   = 20
	hashRecordsMax = 1 << 15 // chunks of 512 pieces of the longest file (1<<24 pieces)
)

// newHashFile is for a media file of so many pieces. Nothing is read or written before it must be.
func newHashFile(name string, pieces uint32) *hashFile {
	const uncles = 64 // no tree has more levels
	chunks := int64(pieces/bt.KnownChunk) + 1
	return &hashFile{name: name, max: min(chunks, hashRecordsMax) * (hashHeadSize + (bt.KnownChunk+uncles)*int64(len(bt.Digest{})))}
}

func (f *hashFile) load() {
	if f.read {
		return
	}
	f.read, f.answers = true, map[bt.HashRequest][]byte{}
	file, err := os.Open(f.name)
	if err != nil {
		return // mostly there is none
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, f.max))
	if err != nil {
		return
	}
	for len(b) >= hashHeadSize {
		r := bt.HashRequest{
			Base: binary.BigEndian.Uint32(b), Index: binary.BigEndian.Uint32(b[4:]),
			Length: binary.BigEndian.Uint32(b[8:]), Proof: binary.BigEndian.Uint32(b[12:]),
		}
		n := uint64(binary.BigEndian.Uint32(b[16:])) * uint64(len(bt.Digest{}))
		if n == 0 || n > uint64(len(b)-hashHeadSize) {
			return
		}
		f.answers[r] = b[hashHeadSize : hashHeadSize+n]
		b = b[hashHeadSize+n:]
		f.size += hashHeadSize + int64(n)
	}
}

// get returns an answer; r's root does not matter.
func (f *hashFile) get(r bt.HashRequest) []byte {
	f.load()
	r.Root = bt.Digest{}
	return f.answers[r]
}

// put adds an answer, unless there is no room. What a record that could not be read left behind is written over.
func (f *hashFile) put(r bt.HashRequest, answer []byte) error {
	f.load()
	r.Root = bt.Digest{}
	if string(f.answers[r]) == string(answer) || f.size+hashHeadSize+int64(len(answer)) > f.max {
		return nil
	}
	b := make([]byte, 0, hashHeadSize+len(answer))
	for _, n := range []uint32{r.Base, r.Index, r.Length, r.Proof, uint32(len(answer) / len(bt.Digest{}))} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = append(b, answer...)
	file, err := os.OpenFile(f.name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b, f.size)
	if err == nil {
		err = file.Truncate(f.size + int64(len(b)))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	f.size += int64(len(b))
	f.answers[r] = b[hashHeadSize:]
	return nil
}

// removeHashes removes what is kept beside a cacheFile.
func removeHashes(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Proof implements prover.
func (d *disk) Proof(file uint32, r bt.HashRequest) []byte { return d.hashes[file].get(r) }

// KeepProof implements prover. What cannot be written is asked for again at the next visit.
func (d *disk) KeepProof(file uint32, r bt.HashRequest, answer []byte) {
	if d.spare == nil {
		_ = d.hashes[file].put(r, answer)
	}
}

// prove answers a hash request from what the store keeps, if that is true.
func (c *core) prove(file uint32, r bt.HashRequest) []byte {
	p, ok := c.store.(prover)
	if !ok || !c.isLayer(file, r) {
		return nil
	}
	if b := p.Proof(file, r); b != nil && c.proves(file, r, b) {
		return b
	}
	return nil
}

// learned keeps an answer to a request of a piece layer, if it is true and the store keeps such. Leaves are not kept: they follow from
// the pieces.
func (c *core) learned(file uint32, r bt.HashRequest, answer []byte) {
	if p, ok := c.store.(prover); ok && c.isLayer(file, r) && c.proves(file, r, answer) {
		p.KeepProof(file, r, answer)
	}
}

// isLayer: r is of the form in which engines ask for piece layers (bt.Known), so that nothing else fills the disk.
func (c *core) isLayer(file uint32, r bt.HashRequest) bool {
	pieces := c.files.pieces(&c.title.Files[file])
	return pieces > 1 && r.Base == uint32(bits.TrailingZeros32(c.title.PieceLength/bt.BlockSize)) &&
		int(r.Length) == min(bt.KnownChunk, 1<<bits.Len32(pieces-1))
}

func (c *core) proves(file uint32, r bt.HashRequest, answer []byte) bool {
	f := &c.title.Files[file]
	digests, err := bt.ParseDigests(answer)
	return err == nil && r.Root == f.Root && r.Check(int((f.Size+bt.BlockSize-1)/bt.BlockSize), digests) == nil
}
