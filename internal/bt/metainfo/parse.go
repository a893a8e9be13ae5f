package metainfo

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"essaim/internal/bt"
	"essaim/internal/bt/bencode"
)

// Parse reads a torrent file and refuses it unless all of it is sound: within bounds, its names harmless, its v1 and v2
// halves alike in files, sizes, order and pads, and each piece layer true to its file's root. It returns ErrVersion and
// ErrNotHybrid as they say. Keys that it does not know are ignored. The torrent shares b's memory.
func Parse(b []byte) (*Torrent, error) {
	if len(b) > BytesMax {
		return nil, fmt.Errorf("metainfo: a torrent file of %d bytes", len(b))
	}
	root, err := bencode.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("metainfo: %w", err)
	}
	info := root.Get("info")
	if info.Kind() != bencode.Dict {
		return nil, errors.New("metainfo: no info dictionary")
	}
	t := &Torrent{Bytes: b, Info: info.Raw(), InfoHash: sha1.Sum(info.Raw()), InfoHashV2: sha256.Sum256(info.Raw())}
	if err := t.parseInfo(info); err != nil {
		return nil, err
	}
	if err := t.parseLayers(root.Get("piece layers")); err != nil {
		return nil, err
	}
	if t.Trackers, err = parseTrackers(root); err != nil {
		return nil, err
	}
	t.WebSeeds, err = parseURLs(root.Get("url-list"))
	return t, err
}

// ParseInfo reads an info dictionary alone, as BEP 9 brings it, and refuses it unless it is sound as Parse says. The torrent has no piece
// layers, so VerifyFile and VerifyPiece cannot be asked of it; VerifyV1 can. It shares info's memory.
func ParseInfo(info []byte) (*Torrent, error) {
	if len(info) > BytesMax {
		return nil, fmt.Errorf("metainfo: an info dictionary of %d bytes", len(info))
	}
	v, err := bencode.Parse(info)
	if err != nil {
		return nil, fmt.Errorf("metainfo: %w", err)
	}
	t := &Torrent{Info: info, InfoHash: sha1.Sum(info), InfoHashV2: sha256.Sum256(info)}
	return t, t.parseInfo(v)
}

func (t *Torrent) parseInfo(info bencode.Value) error {
	switch version, ok := info.Get("meta version").Int(); {
	case ok && version > 2:
		return ErrVersion
	case !ok || version != 2 || info.Get("pieces").Kind() == bencode.None:
		return ErrNotHybrid
	}
	t.Name = info.Get("name").Text()
	if err := checkName(t.Name); err != nil {
		return err
	}
	pieceLength, _ := info.Get("piece length").Int()
	if err := checkPieceLength(pieceLength); err != nil {
		return err
	}
	t.PieceLength = uint32(pieceLength)
	private, _ := info.Get("private").Int()
	t.Private = private == 1
	if err := t.parseTree(info.Get("file tree"), nil); err != nil {
		return err
	}
	if err := layout(t.Files, t.PieceLength); err != nil {
		return err
	}
	if err := t.compareFiles(info); err != nil {
		return err
	}
	return t.parsePieces(info.Get("pieces"))
}

var errTree = errors.New("metainfo: malformed file tree")

// parseTree collects the files below one folder of the file tree (BEP 52), in the tree's order, which is that of its
// sorted keys. A file is a node whose only key is empty. Each level reads over all that lies below it: checkPath bounds
// the depth, and so the time.
func (t *Torrent) parseTree(folder bencode.Value, path []string) error {
	if folder.Kind() != bencode.Dict {
		return errTree
	}
	empty := true
	for key, node := range folder.Entries {
		empty = false
		parts := append(path[:len(path):len(path)], string(key))
		if err := checkPath(parts); err != nil {
			return err
		}
		var err error
		if leaf, only := leafOf(node); leaf.Kind() == bencode.None {
			err = t.parseTree(node, parts)
		} else if !only {
			err = errTree
		} else {
			err = t.parseLeaf(leaf, strings.Join(parts, "/"))
		}
		if err != nil {
			return err
		}
	}
	if empty {
		return errTree
	}
	return nil
}

// leafOf returns the value under the empty key, which sorts before all others, and whether it is the only one.
func leafOf(node bencode.Value) (leaf bencode.Value, only bool) {
	keys := 0
	for key, v := range node.Entries {
		if keys++; keys > 1 || len(key) > 0 {
			break
		}
		leaf = v
	}
	return leaf, keys == 1
}

func (t *Torrent) parseLeaf(leaf bencode.Value, path string) error {
	size, ok := leaf.Get("length").Int()
	root, _ := leaf.Get("pieces root").Bytes()
	attr := leaf.Get("attr").Text()
	switch {
	case !ok || len(root) != 32:
		return errTree
	case strings.Contains(attr, "p") || strings.Contains(attr, "l"):
		return fmt.Errorf("metainfo: %q is a pad or a link in the file tree", path)
	case len(t.Files) == FilesMax:
		return fmt.Errorf("metainfo: more than %d files", FilesMax)
	}
	t.Files = append(t.Files, File{Path: path, Size: size, Root: bt.Digest(root)})
	return nil
}

var errHalves = errors.New("metainfo: the v1 and v2 halves describe different files")

// compareFiles holds the v1 half's files against the v2 half's, which have been laid out.
func (t *Torrent) compareFiles(info bencode.Value) error {
	list := info.Get("files")
	if list.Kind() == bencode.None {
		// A torrent of one file, which is then not in a folder.
		size, _ := info.Get("length").Int()
		if len(t.Files) != 1 || t.Files[0].Path != t.Name || t.Files[0].Size != size {
			return errHalves
		}
		return nil
	}
	if list.Kind() != bencode.List || info.Get("length").Kind() != bencode.None {
		return errHalves
	}
	next, missing := 0, int64(0) // the file that must come now, after that many zeros
	for item := range list.Items {
		size, ok := item.Get("length").Int()
		if !ok || size < 0 {
			return errHalves
		}
		attr := item.Get("attr").Text()
		if strings.Contains(attr, "p") {
			if missing == 0 || size != missing {
				return errHalves
			}
			missing = 0
			t.TailPad = next == len(t.Files)
			continue
		}
		if strings.Contains(attr, "l") || missing != 0 || next == len(t.Files) ||
			t.Files[next].Size != size || !samePath(item.Get("path"), t.Files[next].Path) {
			return errHalves
		}
		missing = pad(size, t.PieceLength)
		next++
	}
	if next != len(t.Files) {
		return errHalves
	}
	return nil
}

// samePath reports whether a v1 path is the v2 one.
func samePath(list bencode.Value, path string) bool {
	var parts []string
	for item := range list.Items {
		s, ok := item.Bytes()
		if !ok || len(parts) > pathBytesMax {
			return false
		}
		parts = append(parts, string(s))
	}
	return checkPath(parts) == nil && strings.Join(parts, "/") == path
}

func (t *Torrent) parsePieces(v bencode.Value) error {
	b, ok := v.Bytes()
	last := &t.Files[len(t.Files)-1]
	want := int(last.FirstPiece + last.PieceCount(t.PieceLength))
	if !ok || len(b) != want*sha1.Size {
		return fmt.Errorf("metainfo: want %d pieces of 20 bytes in v1, got %d bytes", want, len(b))
	}
	t.Pieces = make([]HashV1, want)
	for i := range t.Pieces {
		copy(t.Pieces[i][:], b[i*sha1.Size:])
	}
	return nil
}

// parseLayers gives each file of more than one piece its layer, checked against its root, and refuses layers that no
// file has.
func (t *Torrent) parseLayers(dict bencode.Value) error {
	layers := make(map[string][]byte)
	for key, v := range dict.Entries {
		b, ok := v.Bytes()
		if !ok || len(key) != 32 {
			return errors.New("metainfo: malformed piece layers")
		}
		layers[string(key)] = b
	}
	known := make(map[string][]bt.Digest)
	for i := range t.Files {
		f := &t.Files[i]
		pieces := int(f.PieceCount(t.PieceLength))
		if pieces == 1 {
			continue
		}
		key := string(f.Root[:])
		if f.Layer = known[key]; f.Layer == nil {
			b, ok := layers[key]
			if !ok || len(b) != 32*pieces {
				return fmt.Errorf("metainfo: %q has no piece layer of %d pieces", f.Path, pieces)
			}
			f.Layer, _ = bt.ParseDigests(b)
			if bt.LayerRoot(f.Layer, int(t.PieceLength/bt.BlockSize)) != f.Root {
				return fmt.Errorf("metainfo: the piece layer of %q does not lead to its root", f.Path)
			}
			known[key] = f.Layer
		}
		if len(f.Layer) != pieces {
			return fmt.Errorf("metainfo: two files of different sizes have the root of %q", f.Path)
		}
	}
	if len(known) != len(layers) {
		return errors.New("metainfo: a piece layer that belongs to no file")
	}
	return nil
}

// parseTrackers reads announce-list, or else announce (BEP 12), leaving the tiers out.
func parseTrackers(root bencode.Value) ([]string, error) {
	tiers := root.Get("announce-list")
	if tiers.Kind() != bencode.List {
		return parseURLs(root.Get("announce"))
	}
	var all []string
	for tier := range tiers.Items {
		urls, err := parseURLs(tier)
		if err != nil {
			return nil, err
		}
		if all = append(all, urls...); len(all) > urlsMax {
			return nil, checkURLs(all)
		}
	}
	return all, nil
}

// parseURLs reads one address or a list of them; an empty string stands for none.
func parseURLs(v bencode.Value) ([]string, error) {
	var urls []string
	if s, ok := v.Bytes(); ok && len(bytes.TrimSpace(s)) > 0 {
		urls = append(urls, string(s))
	}
	for item := range v.Items {
		if len(urls) > urlsMax {
			break
		}
		urls = append(urls, item.Text())
	}
	return urls, checkURLs(urls)
}
