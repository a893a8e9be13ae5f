package native

import (
	"bytes"
	"errors"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/bt/wire"
)

// atOdds is a film whose torrent is sound in every field, but says of its second piece another v1 hash than the bytes have that the v2
// hashes take.
func atOdds(t *testing.T) *film {
	t.Helper()
	return newFilm(t, 3*testPiece, 5_000).openWith(t, func(info []byte, v1 []metainfo.HashV1) {
		at := bytes.Index(info, v1[1][:])
		if at < 0 {
			t.Fatal("no such hash")
		}
		info[at] ^= 1
	})
}

func TestViewerRefusesATorrentWhoseHalvesDisagree(t *testing.T) {
	p, dir := newPlace(t, atOdds(t)), t.TempDir()
	cfg := p.config()
	cfg.Store, cfg.Info = opened(t, dir, p.film), p.film.info
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := watch(deadline(t), h, p.film, 0); !errors.Is(err, metainfo.ErrConflict) {
		t.Error("it was played:", err)
	}
	if err := h.Refused(); !errors.Is(err, metainfo.ErrConflict) {
		t.Error(err)
	}
	if _, err := h.ReadRange(t.Context(), 0, 0, 10); !errors.Is(err, metainfo.ErrConflict) {
		t.Error("read on:", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	s := opened(t, dir, p.film)
	defer s.Close()
	for _, piece := range s.Found() {
		if piece == 1 {
			t.Error("the piece was kept")
		}
	}
}

func TestViewerRefusesWhatItFindsInItsCacheToo(t *testing.T) {
	f := atOdds(t)
	p := newPlace(t, f)
	cfg := p.config()
	cfg.Store, cfg.Info = opened(t, filled(t, f, 0, 1, 2, 3), f), f.info
	h := open(t, cfg)
	if err := watch(deadline(t), h, f, 0); !errors.Is(err, metainfo.ErrConflict) {
		t.Error("it was played:", err)
	}
}

func TestSeedRefusesATorrentWhoseHalvesDisagree(t *testing.T) {
	p := newPlace(t, atOdds(t))
	h, at := seedTCP(t, p, nil)
	s := dialTCP(t, "", at)
	s.greets(wire.Handshake{InfoHash: p.film.title.InfoHash, Fast: true})
	s.send(wire.AppendInterested(nil))
	s.hears(func(m *wire.Message) bool { return m.ID == wire.Unchoke })
	s.send(wire.AppendRequest(nil, wire.Request{Piece: 0, Length: bt.BlockSize})) // of which both say the same
	if m := s.hears(func(m *wire.Message) bool { return m.ID == wire.Piece }); !bytes.Equal(m.Payload, p.film.files[0][:bt.BlockSize]) {
		t.Error("another block came")
	}
	s.send(wire.AppendRequest(nil, wire.Request{Piece: 1, Length: bt.BlockSize}))
	s.isClosed("of the piece at odds")
	if err := h.Refused(); !errors.Is(err, metainfo.ErrConflict) {
		t.Error(err)
	}
}
