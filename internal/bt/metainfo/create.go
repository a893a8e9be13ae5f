package metainfo

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/bencode"
)

// Source is a file to be put into a torrent.
type Source struct {
	Path string                        // within the torrent, joined by '/'
	Size int64                         // bytes, not 0
	Open func() (io.ReadCloser, error) // called once; must give exactly Size bytes
	// Leaves, if set, takes layer 0: the digest of block i, 32 bytes, at 32 times i, from several goroutines at once, each a piece's at
	// a time and in no order. The torrent's File then has none, and memory does not grow with the file: layer 0 is 2 MB a GB.
	Leaves io.WriterAt
}

// Options say what else goes into a torrent.
type Options struct {
	Name         string    // of the folder that holds the files; required
	PieceLength  uint32    // bytes; 0 takes ChoosePieceLength's
	Private      bool      // peers come from these trackers only (BEP 27)
	Trackers     []string  // URLs, in order of preference, each a tier of its own (BEP 12)
	WebSeeds     []string  // URLs (BEP 19); those that end in '/' get name and path appended
	CreatedBy    string    // for people; empty leaves it out
	CreationDate time.Time // zero leaves it out, so that the same files make the same torrent
	// Progress, if set, is told of the bytes hashed so far, and of all there are. It is called from other goroutines,
	// one at a time, and must return soon.
	Progress func(done, total int64)
}

// Create reads every source once, hashes it for v1 and v2 together on all cores, and returns the torrent. Its Files are
// sorted by path, component by component, as BEP 52 demands: not in the order of sources. It returns ErrSize when a
// source is not as long as it says, ctx's error when ctx ends, and the source's error when it cannot be read or takes no leaves.
func Create(ctx context.Context, sources []Source, o Options) (*Torrent, error) {
	t, streams, err := prepare(sources, o)
	if err != nil {
		return nil, err
	}
	var progress func(int64)
	if o.Progress != nil {
		total := int64(0)
		for i := range t.Files {
			total += t.Files[i].Size
		}
		progress = func(done int64) { o.Progress(done, total) }
	}
	if err := hashStreams(ctx, t.PieceLength, streams, progress); err != nil {
		return nil, err
	}
	for i, s := range streams {
		f := &t.Files[i]
		f.Root, f.Layer, f.Leaves = s.root(int(t.PieceLength/bt.BlockSize)), s.layer(), s.leaves
		t.Pieces = append(t.Pieces, s.pieces...)
	}
	t.encode(o)
	if len(t.Bytes) > BytesMax {
		return nil, fmt.Errorf("metainfo: a torrent file of %d bytes: choose longer pieces", len(t.Bytes))
	}
	return t, nil
}

// prepare checks all that can be known before a byte is read.
func prepare(sources []Source, o Options) (*Torrent, []*stream, error) {
	if err := checkName(o.Name); err != nil {
		return nil, nil, err
	}
	for _, list := range [][]string{o.Trackers, o.WebSeeds} {
		if err := checkURLs(list); err != nil {
			return nil, nil, err
		}
	}
	sources = slices.Clone(sources)
	slices.SortFunc(sources, func(a, b Source) int { return comparePaths(a.Path, b.Path) })
	t := &Torrent{Name: o.Name, PieceLength: o.PieceLength, Private: o.Private, Trackers: o.Trackers, WebSeeds: o.WebSeeds}
	total := int64(0)
	for i, s := range sources {
		parts := strings.Split(s.Path, "/")
		if err := checkPath(parts); err != nil {
			return nil, nil, err
		}
		if parts[0] == ".pad" {
			return nil, nil, errors.New("metainfo: the folder .pad is kept for pads (BEP 47)")
		}
		if i > 0 && (s.Path == sources[i-1].Path || strings.HasPrefix(s.Path, sources[i-1].Path+"/")) {
			return nil, nil, fmt.Errorf("metainfo: path %q is taken twice", sources[i-1].Path)
		}
		t.Files = append(t.Files, File{Path: s.Path, Size: s.Size})
		total += min(max(s.Size, 0), FileBytesMax)
	}
	if t.PieceLength == 0 {
		t.PieceLength = ChoosePieceLength(total)
	}
	if err := checkPieceLength(int64(t.PieceLength)); err != nil {
		return nil, nil, err
	}
	if err := layout(t.Files, t.PieceLength); err != nil {
		return nil, nil, err
	}
	streams := make([]*stream, len(sources))
	for i, s := range sources {
		streams[i] = newStream(s.Path, s.Size, t.PieceLength, i+1 < len(sources), s.Open)
		if streams[i].spill = s.Leaves; s.Leaves == nil {
			streams[i].leaves = make([]bt.Digest, bt.Blocks(s.Size))
		}
	}
	return t, streams, nil
}

// comparePaths orders paths as the keys of a file tree are: by their parts, as bytes.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

func checkURLs(list []string) error {
	for _, u := range list {
		if u == "" || len(u) > urlBytesMax {
			return fmt.Errorf("metainfo: address of %d bytes", len(u))
		}
	}
	if len(list) > urlsMax {
		return fmt.Errorf("metainfo: %d addresses", len(list))
	}
	return nil
}

// encode fills in Bytes, Info and the info hashes.
func (t *Torrent) encode(o Options) {
	info := t.encodeInfo()
	entries := []bencode.Entry{{Key: "info", Value: info}, {Key: "piece layers", Value: t.encodeLayers()}}
	entries = append(entries, (&Addresses{Trackers: o.Trackers, WebSeeds: o.WebSeeds}).entries()...)
	add := func(key string, value []byte) { entries = append(entries, bencode.Entry{Key: key, Value: value}) }
	if o.CreatedBy != "" {
		add("created by", bencode.Str(o.CreatedBy))
	}
	if !o.CreationDate.IsZero() {
		add("creation date", bencode.Int(o.CreationDate.Unix()))
	}
	t.Bytes = bencode.AppendDict(nil, entries...)
	at := bytes.Index(t.Bytes, info)
	t.Info = t.Bytes[at : at+len(info)]
	t.InfoHash, t.InfoHashV2 = sha1.Sum(info), sha256.Sum256(info)
}

func (t *Torrent) encodeInfo() []byte {
	pieces := make([]byte, 0, len(t.Pieces)*sha1.Size)
	for i := range t.Pieces {
		pieces = append(pieces, t.Pieces[i][:]...)
	}
	var private []byte
	if t.Private {
		private = bencode.Int(1)
	}
	return bencode.AppendDict(
		nil,
		bencode.Entry{Key: "file tree", Value: encodeTree(t.Files, 0)},
		bencode.Entry{Key: "files", Value: t.encodeFiles()},
		bencode.Entry{Key: "meta version", Value: bencode.Int(2)},
		bencode.Entry{Key: "name", Value: bencode.Str(t.Name)},
		bencode.Entry{Key: "piece length", Value: bencode.Int(int64(t.PieceLength))},
		bencode.Entry{Key: "pieces", Value: bencode.Str(pieces)},
		bencode.Entry{Key: "private", Value: private},
	)
}

// encodeTree is the part of the file tree (BEP 52) that holds files, which are sorted and share their path's first
// depth parts.
func encodeTree(files []File, depth int) []byte {
	var entries []bencode.Entry
	for len(files) > 0 {
		parts := strings.Split(files[0].Path, "/")
		name, n := parts[depth], 1
		if depth+1 == len(parts) {
			entries = append(entries, bencode.Entry{Key: name, Value: encodeLeaf(&files[0])})
		} else {
			for n < len(files) && strings.Split(files[n].Path, "/")[depth] == name {
				n++
			}
			entries = append(entries, bencode.Entry{Key: name, Value: encodeTree(files[:n], depth+1)})
		}
		files = files[n:]
	}
	return bencode.AppendDict(nil, entries...)
}

func encodeLeaf(f *File) []byte {
	return bencode.AppendDict(nil, bencode.Entry{Key: "", Value: bencode.AppendDict(
		nil,
		bencode.Entry{Key: "length", Value: bencode.Int(f.Size)},
		bencode.Entry{Key: "pieces root", Value: bencode.Str(f.Root[:])},
	)})
}

// encodeFiles is the v1 list, with pads between the files (BEP 47).
func (t *Torrent) encodeFiles() []byte {
	var items [][]byte
	for i := range t.Files {
		f := &t.Files[i]
		items = append(items, encodeFile(f.Size, nil, strings.Split(f.Path, "/")...))
		if n := pad(f.Size, t.PieceLength); n > 0 && i+1 < len(t.Files) {
			items = append(items, encodeFile(n, bencode.Str("p"), ".pad", strconv.FormatInt(n, 10)))
		}
	}
	return bencode.AppendList(nil, items...)
}

func encodeFile(size int64, attr []byte, path ...string) []byte {
	parts := make([][]byte, len(path))
	for i, p := range path {
		parts[i] = bencode.Str(p)
	}
	return bencode.AppendDict(
		nil,
		bencode.Entry{Key: "attr", Value: attr},
		bencode.Entry{Key: "length", Value: bencode.Int(size)},
		bencode.Entry{Key: "path", Value: bencode.AppendList(nil, parts...)},
	)
}

// encodeLayers is "piece layers": once for each root, since files of the same bytes share theirs (BEP 52).
func (t *Torrent) encodeLayers() []byte {
	files := make([]*File, 0, len(t.Files))
	for i := range t.Files {
		if t.Files[i].Layer != nil {
			files = append(files, &t.Files[i])
		}
	}
	slices.SortFunc(files, func(a, b *File) int { return bytes.Compare(a.Root[:], b.Root[:]) })
	files = slices.CompactFunc(files, func(a, b *File) bool { return a.Root == b.Root })
	entries := make([]bencode.Entry, len(files))
	for i, f := range files {
		layer := bt.AppendDigests(make([]byte, 0, 32*len(f.Layer)), f.Layer)
		entries[i] = bencode.Entry{Key: string(f.Root[:]), Value: bencode.Str(layer)}
	}
	return bencode.AppendDict(nil, entries...)
}
