package drm

import (
	"crypto/aes"
	"encoding/binary"
	"testing"
)

// What follows reads and decrypts track files as ISO/IEC 23001-7 says, and shares nothing with the encryptor: neither its boxes nor
// its ciphers. Of crypto/aes it uses single blocks alone.

// part is a box's content, and where it lies in the file.
type part struct {
	at int
	p  []byte
}

// boxesIn lists a container's children of that kind.
func boxesIn(t testing.TB, in part, kind string) (found []part) {
	t.Helper()
	for at := 0; at < len(in.p); {
		n := int(binary.BigEndian.Uint32(in.p[at:]))
		if n < 8 || n > len(in.p)-at {
			t.Fatalf("a box of %d bytes at %d", n, in.at+at)
		}
		if string(in.p[at+4:at+8]) == kind {
			found = append(found, part{in.at + at + 8, in.p[at+8 : at+n]})
		}
		at += n
	}
	return found
}

// one finds the only box along a path.
func one(t testing.TB, in part, path ...string) part {
	t.Helper()
	for _, kind := range path {
		found := boxesIn(t, in, kind)
		if len(found) != 1 {
			t.Fatalf("%d boxes %q", len(found), kind)
		}
		in = found[0]
	}
	return in
}

// protection is what sinf says.
type protection struct {
	format, scheme string
	crypt, skip    int
	ivSize         int
	kid, fixed     [16]byte
}

// readProtection reads the sample entry; ok is false for a track in the clear.
func readProtection(t testing.TB, file []byte) (x protection, ok bool) {
	t.Helper()
	stsd := one(t, part{p: file}, "moov", "trak", "mdia", "minf", "stbl", "stsd")
	entry, fields := stsd.p[16:], 78
	switch string(stsd.p[12:16]) {
	case "encv":
	case "enca":
		fields = 28
	default:
		return x, false
	}
	sinf := one(t, part{p: entry[fields:]}, "sinf")
	x.format = string(one(t, sinf, "frma").p)
	x.scheme = string(one(t, sinf, "schm").p[4:8])
	tenc := one(t, sinf, "schi", "tenc").p
	if tenc[0] > 0 {
		x.crypt, x.skip = int(tenc[5]>>4), int(tenc[5]&15)
	}
	if tenc[6] != 1 {
		t.Fatal("tenc does not say that samples are protected")
	}
	x.ivSize = int(tenc[7])
	copy(x.kid[:], tenc[8:])
	if x.ivSize == 0 {
		if tenc[24] != 16 {
			t.Fatalf("a constant IV of %d bytes", tenc[24])
		}
		copy(x.fixed[:], tenc[25:])
	}
	return x, true
}

// aux is what a sample needs to be decrypted.
type aux struct {
	iv   []byte
	subs [][2]int // clear, protected; nil: the whole sample is protected
}

// a sample, as it lies in the file.
type sampleIn struct {
	p   []byte
	aux aux
}

// samplesIn lists the samples of a file in their order, and what is said about their encryption. It holds senc, saiz and saio
// against one another.
func samplesIn(t testing.TB, file []byte) (list []sampleIn) {
	t.Helper()
	prot, encrypted := readProtection(t, file)
	trex := one(t, part{p: file}, "moov", "mvex", "trex").p
	for _, moof := range boxesIn(t, part{p: file}, "moof") {
		traf := one(t, moof, "traf")
		size := binary.BigEndian.Uint32(trex[16:])
		tfhd := one(t, traf, "tfhd").p
		flags, at := binary.BigEndian.Uint32(tfhd)&0xffffff, 8
		for _, bit := range []uint32{2, 8, 16} {
			if flags&bit != 0 {
				if bit == 16 {
					size = binary.BigEndian.Uint32(tfhd[at:])
				}
				at += 4
			}
		}
		var auxes []aux
		if senc := boxesIn(t, traf, "senc"); len(senc) == 1 {
			auxes = readSenc(t, prot, senc[0])
			checkAux(t, file, moof.at-8, traf, senc[0])
		} else if encrypted && (prot.ivSize > 0 || prot.crypt > 0) {
			t.Fatal("no senc")
		}
		first, data := len(list), 0
		for _, trun := range boxesIn(t, traf, "trun") {
			p := trun.p
			flags, n := binary.BigEndian.Uint32(p)&0xffffff, int(binary.BigEndian.Uint32(p[4:]))
			p = p[8:]
			if flags&1 != 0 {
				data = moof.at - 8 + int(int32(binary.BigEndian.Uint32(p)))
				p = p[4:]
			}
			if flags&4 != 0 {
				p = p[4:]
			}
			for range n {
				each := int(size)
				for _, bit := range []uint32{0x100, 0x200, 0x400, 0x800} {
					if flags&bit != 0 {
						if bit == 0x200 {
							each = int(binary.BigEndian.Uint32(p))
						}
						p = p[4:]
					}
				}
				list = append(list, sampleIn{p: file[data : data+each]})
				data += each
			}
		}
		for i := range auxes {
			if first+i >= len(list) {
				t.Fatalf("senc speaks of %d samples, trun of %d", len(auxes), len(list)-first)
			}
			list[first+i].aux = auxes[i]
		}
		if auxes != nil && len(auxes) != len(list)-first {
			t.Fatalf("senc speaks of %d samples, trun of %d", len(auxes), len(list)-first)
		}
	}
	return list
}

func readSenc(t testing.TB, prot protection, senc part) (list []aux) {
	t.Helper()
	p := senc.p
	subs := p[3]&2 != 0
	n := int(binary.BigEndian.Uint32(p[4:]))
	p = p[8:]
	for range n {
		a := aux{iv: p[:prot.ivSize]}
		p = p[prot.ivSize:]
		if subs {
			k := int(binary.BigEndian.Uint16(p))
			p = p[2:]
			a.subs = [][2]int{}
			for range k {
				a.subs = append(a.subs, [2]int{int(binary.BigEndian.Uint16(p)), int(binary.BigEndian.Uint32(p[2:]))})
				p = p[6:]
			}
		}
		list = append(list, a)
	}
	if len(p) != 0 {
		t.Fatalf("%d bytes too many in senc", len(p))
	}
	return list
}

// checkAux holds saiz and saio against senc: the sizes add up to its entries, and the offset, counted from the moof at moof, is where
// they begin.
func checkAux(t testing.TB, file []byte, moof int, traf, senc part) {
	t.Helper()
	saio, saiz := one(t, traf, "saio").p, one(t, traf, "saiz").p
	if n := binary.BigEndian.Uint32(saio[4:]); n != 1 {
		t.Fatalf("saio has %d entries", n)
	}
	if at := moof + int(binary.BigEndian.Uint32(saio[8:])); at != senc.at+8 {
		t.Fatalf("saio points at %d, senc's entries begin at %d", at, senc.at+8)
	}
	n := int(binary.BigEndian.Uint32(saiz[5:]))
	if n != int(binary.BigEndian.Uint32(senc.p[4:])) {
		t.Fatal("saiz and senc count differently")
	}
	sum := n * int(saiz[4])
	if saiz[4] == 0 {
		for _, s := range saiz[9 : 9+n] {
			sum += int(s)
		}
	}
	if sum != len(senc.p)-8 {
		t.Fatalf("saiz's sizes make %d, senc has %d", sum, len(senc.p)-8)
	}
}

// decrypted is a file's samples as they were.
func decrypted(t testing.TB, file []byte, key [16]byte) (list [][]byte) {
	t.Helper()
	prot, ok := readProtection(t, file)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range samplesIn(t, file) {
		p := append([]byte(nil), s.p...)
		if !ok {
			list = append(list, p)
			continue
		}
		subs := s.aux.subs
		if subs == nil {
			subs = [][2]int{{0, len(p)}}
		}
		at, counted := 0, 0
		for _, sub := range subs {
			at += sub[0]
			if at+sub[1] > len(p) {
				t.Fatalf("sample %d: its parts are larger than it is", i)
			}
			q := p[at : at+sub[1]]
			at += sub[1]
			if prot.scheme == "cenc" {
				for j := range q {
					var ctr, stream [16]byte
					copy(ctr[:], s.aux.iv)
					binary.BigEndian.PutUint64(ctr[8:], uint64(counted/16))
					if counted%16 == 0 || j == 0 {
						block.Encrypt(stream[:], ctr[:])
						copy(keystream[:], stream[:])
					}
					q[j] ^= keystream[counted%16]
					counted++
				}
				continue
			}
			last := prot.fixed
			for n := 0; (n+1)*16 <= len(q); n++ {
				if prot.crypt > 0 && n%(prot.crypt+prot.skip) >= prot.crypt {
					continue
				}
				b := q[n*16 : n*16+16]
				var c [16]byte
				copy(c[:], b)
				block.Decrypt(b, b)
				for k := range b {
					b[k] ^= last[k]
				}
				last = c
			}
		}
		if at != len(p) {
			t.Fatalf("sample %d: its parts make %d of %d bytes", i, at, len(p))
		}
		list = append(list, p)
	}
	return list
}

var keystream [16]byte
