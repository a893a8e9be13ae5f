package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"time"

	"essaim/internal/bt"
)

// cacheFile holds one media file's cached pieces in one file of the disk, named by the media file's root. Its form is that of
// web/src/host/cachefile.ts; big-endian:
//
//	 0  "essaim", 0, 1 (the form's version)
//	 8  piece length (4)
//	12  number of slots: the media file's pieces (4)
//	16  the media file's size (8)
//	24  when it was last watched, in ms since 1970 (8)
//	32  viewers in its swarm then (4)
//	36  copies of a piece that they held, in sixteenths (4)
//	64  for each slot the number of its piece within the media file plus one, or 0 (4 each)
//	then, from the next multiple of 4096 on, the slots, each a piece length
//
// It must be of use after a kill at any byte. A slot is named after its bytes were written and disowned before they are
// written over; and nothing in it is believed: what a slot holds is digested before it counts, so that a torn, stale or forged
// slot or table costs no more than a fetch. Nor is what was right once believed later: each block that is read is held against a
// checksum of what was written or digested, which is kept in memory, so that a disk that loses or changes bytes under a running
// host costs a fetch too. Slots, and not the media file's own places, so that what is evicted gives its room back.
type cacheFile struct {
	f     *os.File
	head  cacheHead
	data  int64               // where the slots begin
	slots []int64             // piece by slot, -1: free
	at    map[uint32]int64    // slot by piece
	sums  map[uint32][]uint32 // CRC32C of each block, by piece; none for a piece that was found and not yet looked at
	block []byte              // scratch, for blocks of which only a part is wanted
	free  []int64
	begun bool // the head is there
}

// cacheHead is what the head says.
type cacheHead struct {
	pieceLength, slots uint32
	size               uint64
	watched            time.Time
	members, copies    uint32
}

const (
	cacheHeadSize = 64
	cacheAlign    = 4096
	holesMax      = 16 // free slots within the file before the last ones are moved into them
)

var cacheMagic = []byte("essaim\x00\x01")

// parseCacheHead reads a head, and refuses what is none.
func parseCacheHead(b []byte) (h cacheHead, ok bool) {
	if len(b) < cacheHeadSize || string(b[:8]) != string(cacheMagic) {
		return h, false
	}
	h = cacheHead{
		pieceLength: binary.BigEndian.Uint32(b[8:]), slots: binary.BigEndian.Uint32(b[12:]), size: binary.BigEndian.Uint64(b[16:]),
		watched: time.UnixMilli(int64(min(binary.BigEndian.Uint64(b[24:]), 1<<52))),
		members: binary.BigEndian.Uint32(b[32:]), copies: binary.BigEndian.Uint32(b[36:]),
	}
	return h, h.pieceLength > 0 && h.size < 1<<44 && uint64(h.slots) == (h.size+uint64(h.pieceLength)-1)/uint64(h.pieceLength) && h.slots <= 1<<24
}

func (h *cacheHead) binary() []byte {
	b := make([]byte, cacheHeadSize)
	copy(b, cacheMagic)
	binary.BigEndian.PutUint32(b[8:], h.pieceLength)
	binary.BigEndian.PutUint32(b[12:], h.slots)
	binary.BigEndian.PutUint64(b[16:], h.size)
	binary.BigEndian.PutUint64(b[24:], uint64(max(h.watched.UnixMilli(), 0)))
	binary.BigEndian.PutUint32(b[32:], h.members)
	binary.BigEndian.PutUint32(b[36:], h.copies)
	return b
}

// openCacheFile opens the cache of a media file of that size, which is being watched now. What is no cache of it with this
// piece length is emptied.
func openCacheFile(name string, size uint64, pieceLength uint32, now time.Time) (*cacheFile, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	slots := uint32((size + uint64(pieceLength) - 1) / uint64(pieceLength))
	c := &cacheFile{
		f: f, head: cacheHead{pieceLength: pieceLength, slots: slots, size: size, watched: now},
		data: (cacheHeadSize + 4*int64(slots) + cacheAlign - 1) / cacheAlign * cacheAlign, at: map[uint32]int64{},
		sums: map[uint32][]uint32{},
	}
	b := make([]byte, cacheHeadSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	old, ok := parseCacheHead(b[:n])
	if c.begun = ok && old.size == size && old.pieceLength == pieceLength; !c.begun {
		err = f.Truncate(0)
	} else {
		c.head = old
		c.head.watched = now
		if err = c.load(); err == nil {
			_, err = f.WriteAt(c.head.binary(), 0)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// load reads the table. Names that cannot be, or that stand twice, are free slots.
func (c *cacheFile) load() error {
	st, err := c.f.Stat()
	if err != nil {
		return err
	}
	length := int64(c.head.pieceLength)
	count := min(int64(c.head.slots), (max(st.Size()-c.data, 0)+length-1)/length)
	table := make([]byte, 4*count)
	n, err := c.f.ReadAt(table, cacheHeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for slot := range int64(n / 4) {
		piece := binary.BigEndian.Uint32(table[4*slot:]) - 1
		if _, twice := c.at[piece]; twice || piece >= c.head.slots {
			c.slots, c.free = append(c.slots, -1), append(c.free, slot)
			continue
		}
		c.slots = append(c.slots, int64(piece))
		c.at[piece] = slot
	}
	return c.compact()
}

// pieces lists the pieces that it names, in order.
func (c *cacheFile) pieces() (list []uint32) {
	for _, piece := range c.slots {
		if piece >= 0 {
			list = append(list, uint32(piece))
		}
	}
	slices.Sort(list)
	return list
}

// put writes a piece. When it fails the piece is not there.
func (c *cacheFile) put(piece uint32, data []byte) error {
	if !c.begun {
		b := make([]byte, c.data)
		copy(b, c.head.binary())
		if _, err := c.f.WriteAt(b, 0); err != nil {
			return err
		}
		c.begun = true
	}
	if err := c.remove(piece); err != nil { // written over in place it would be torn under its own name
		return err
	}
	slot := int64(len(c.slots))
	if n := len(c.free); n > 0 {
		slot, c.free = c.free[n-1], c.free[:n-1]
	}
	_, err := c.f.WriteAt(data, c.place(slot))
	if err == nil {
		err = c.name(slot, int64(piece))
	}
	if err == nil {
		c.sums[piece] = sumsOf(data)
	} else if slot < int64(len(c.slots)) {
		c.slots[slot] = -1
		c.free = append(c.free, slot)
	}
	return err
}

func (c *cacheFile) place(slot int64) int64 { return c.data + slot*int64(c.head.pieceLength) }

// name writes whose a slot is; -1: nobody's.
func (c *cacheFile) name(slot, piece int64) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(piece+1))
	if _, err := c.f.WriteAt(b, cacheHeadSize+4*slot); err != nil {
		return err
	}
	if slot == int64(len(c.slots)) {
		c.slots = append(c.slots, piece)
	}
	c.slots[slot] = piece
	if piece >= 0 {
		c.at[uint32(piece)] = slot
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumsOf is the CRC32C of each block of a piece. It finds what a disk does by accident; what a slot held before this session, which
// anybody may have written, is held against the title's hashes instead. It costs a tenth of what SHA-256 does, and 4 bytes of memory
// for each block.
func sumsOf(data []byte) []uint32 {
	sums := make([]uint32, 0, (len(data)+bt.BlockSize-1)/bt.BlockSize)
	for ; len(data) > 0; data = data[min(bt.BlockSize, len(data)):] {
		sums = append(sums, crc32.Checksum(data[:min(bt.BlockSize, len(data))], castagnoli))
	}
	return sums
}

var errChanged = errors.New("the disk gives back other bytes than it took")

// size is how many bytes of the media file a piece holds.
func (c *cacheFile) size(piece uint32) int64 {
	length := int64(c.head.pieceLength)
	return min(length, int64(c.head.size)-int64(piece)*length)
}

// peek reads a piece as it lies there, all of it. From then on readAt gives those bytes or none.
func (c *cacheFile) peek(piece uint32) ([]byte, error) {
	if _, ok := c.at[piece]; !ok {
		return nil, errNoPiece
	}
	data := make([]byte, c.size(piece))
	if err := c.raw(piece, data, 0); err != nil {
		return nil, err
	}
	c.sums[piece] = sumsOf(data)
	return data, nil
}

// known reports whether it can tell a piece's bytes from others: whether they were put or peeked at.
func (c *cacheFile) known(piece uint32) bool { return c.sums[piece] != nil }

// readAt fills p from a piece's byte off on, with what was put or peeked at. It fails where the disk does not give that back.
func (c *cacheFile) readAt(piece uint32, p []byte, off int64) error {
	size := c.size(piece)
	if !c.known(piece) || off < 0 || off+int64(len(p)) > size {
		return errNoPiece
	}
	for len(p) > 0 {
		end := off + int64(len(p))
		if end < size {
			end -= end % bt.BlockSize
		}
		if off%bt.BlockSize == 0 && end > off { // whole blocks, all at once
			if err := c.proven(piece, p[:end-off], off); err != nil {
				return err
			}
			p, off = p[end-off:], end
			continue
		}
		if c.block == nil {
			c.block = make([]byte, bt.BlockSize)
		}
		begin := off - off%bt.BlockSize
		block := c.block[:min(bt.BlockSize, size-begin)]
		if err := c.proven(piece, block, begin); err != nil {
			return err
		}
		n := copy(p, block[off-begin:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// proven reads whole blocks of a piece and holds them against their checksums.
func (c *cacheFile) proven(piece uint32, p []byte, off int64) error {
	if err := c.raw(piece, p, off); err != nil {
		return err
	}
	for sums := c.sums[piece][off/bt.BlockSize:]; len(p) > 0; sums = sums[1:] {
		n := min(bt.BlockSize, len(p))
		if crc32.Checksum(p[:n], castagnoli) != sums[0] {
			return fmt.Errorf("read piece %d: %w", piece, errChanged)
		}
		p = p[n:]
	}
	return nil
}

func (c *cacheFile) raw(piece uint32, p []byte, off int64) error {
	if _, err := c.f.ReadAt(p, c.place(c.at[piece])+off); err != nil {
		return fmt.Errorf("read piece %d: %w", piece, err)
	}
	return nil
}

// remove forgets a piece.
func (c *cacheFile) remove(piece uint32) error {
	slot, ok := c.at[piece]
	if !ok {
		return nil
	}
	delete(c.at, piece)
	delete(c.sums, piece)
	c.slots[slot] = -1
	c.free = append(c.free, slot)
	if err := c.name(slot, -1); err != nil {
		return err
	}
	if slot == int64(len(c.slots))-1 || len(c.free) > holesMax {
		return c.compact()
	}
	return nil
}

// compact moves the last pieces into free slots, and cuts the file after the last one.
func (c *cacheFile) compact() error {
	length := len(c.slots)
	buf := make([]byte, c.head.pieceLength)
	slices.SortFunc(c.free, func(a, b int64) int { return int(b - a) }) // the lowest is taken first
	for {
		for len(c.slots) > 0 && c.slots[len(c.slots)-1] < 0 {
			c.slots = c.slots[:len(c.slots)-1]
		}
		last := int64(len(c.slots)) - 1
		c.free = slices.DeleteFunc(c.free, func(slot int64) bool { return slot > last })
		if len(c.free) <= holesMax/2 {
			break
		}
		n, err := c.f.ReadAt(buf, c.place(last))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		hole := c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
		if _, err := c.f.WriteAt(buf[:n], c.place(hole)); err != nil {
			c.free = append(c.free, hole)
			return err
		}
		if err := c.name(hole, c.slots[last]); err != nil { // for a moment it stands twice, which is no harm
			return err
		}
		if err := c.name(last, -1); err != nil {
			return err
		}
	}
	if len(c.slots) < length {
		return c.f.Truncate(c.place(int64(len(c.slots))))
	}
	return nil
}

// mark writes down what the swarm is like.
func (c *cacheFile) mark(members, copies uint32) error {
	c.head.members, c.head.copies = members, copies
	if !c.begun {
		return nil
	}
	_, err := c.f.WriteAt(c.head.binary(), 0)
	return err
}

func (c *cacheFile) close() error { return c.f.Close() }
