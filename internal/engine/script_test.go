package engine_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// TestScripts plays testdata/scripts/*.txt: each line that is not indented is something that happens, the indented lines
// below it are all that the engine must answer, in order. With -rewrite the answers are written anew; read the diff.
//
//	film 60s 100000B/s piece=32768     opens a title of one video file and one audio file
//	at 1.5s                            moves the clock
//	policy peers upload uplink=500     restored 0-9          want 7 file=0 0-20000     cancel 7
//	choose 0                           moved 3s buffered=9s [paused]     seek 30s
//	introduce 1 alice                  connect 1 alice       close 1      revoke alice
//	say 1 handshake alice              say 1 have 3 | request 3 0 16384 | piece 3 0 16384 | bitfield all | …
//	queue 1 70000                      progress 1 20000      done 1       failed 1 503
//	hash 1 piece=3 begin=0 [bad]       the digest of that block, from a fetch (fetch=1) or a peer
//	hashes 2 [bad]                     answers the hash request 2, truly or not
//	stored 3                           evicted 3             tick
func TestScripts(t *testing.T) {
	names, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := newScript(t).play(string(src))
			if got == string(src) {
				return
			}
			if *rewrite {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("the trace differs (run with -rewrite and read the diff); got:\n%s", got)
		})
	}
}

type script struct {
	t        *testing.T
	film     *film
	engine   *engine.Engine
	now      engine.Instant
	requests map[string]bt.HashRequest
	files    map[string]uint32
}

func newScript(t *testing.T) *script {
	return &script{t: t, engine: engine.New(), requests: map[string]bt.HashRequest{}, files: map[string]uint32{}}
}

func (s *script) play(src string) string {
	var b strings.Builder
	for line := range strings.Lines(src) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue
		}
		b.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for _, in := range s.inputs(strings.Fields(line)) {
			for _, o := range s.engine.Step(s.now, in, nil) {
				b.WriteString("  " + s.describe(o) + "\n")
			}
		}
	}
	return b.String()
}

func (s *script) number(w string) int64 {
	if i := strings.IndexByte(w, '='); i >= 0 {
		w = w[i+1:]
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(w, "B/s"), 10, 64)
	if err != nil {
		s.t.Fatalf("%q is no number", w)
	}
	return n
}

// millis reads a time in seconds, such as 1.5s, as milliseconds.
func (s *script) millis(w string) int64 {
	if i := strings.IndexByte(w, '='); i >= 0 {
		w = w[i+1:]
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(w, "s"), 64)
	if err != nil {
		s.t.Fatalf("%q is no time", w)
	}
	return int64(f * 1000)
}

func peerID(name string) []byte {
	id := bytes.Repeat([]byte{'.'}, 20)
	copy(id, name)
	return id
}

func (s *script) inputs(w []string) []engine.Input {
	in := engine.Input{}
	peer := func() engine.PeerRef { return engine.PeerRef(s.number(w[1])) }
	switch w[0] {
	case "film":
		s.film = newFilm(int(s.millis(w[1])/1000), int(s.number(w[2])), uint32(s.number(w[3])))
		title := s.film.title
		title.PeerID, title.Seed = bt.PeerID(peerID("us")), 1
		list := []engine.Input{{Kind: engine.TitleOpened, Data: title.AppendBinary(nil)}}
		for i, x := range s.film.indexes {
			list = append(list, engine.Input{Kind: engine.IndexLoaded, File: uint32(i), Data: x.AppendBinary(nil)})
		}
		return list
	case "at":
		s.now = engine.Instant(s.millis(w[1]) * 1000)
		return nil
	case "policy":
		in.Kind = engine.PolicyChanged
		for _, x := range w[1:] {
			switch {
			case x == "peers":
				in.Flags |= engine.FlagPeers
			case x == "upload":
				in.Flags |= engine.FlagUpload
			default:
				in.Length = uint32(s.number(x))
			}
		}
	case "restored":
		from, to, _ := strings.Cut(w[1], "-")
		in.Kind = engine.StoreRestored
		for n := s.number(from); n <= s.number(to); n++ {
			in.Data = append(in.Data, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		}
	case "want":
		from, to, _ := strings.Cut(w[3], "-")
		in = engine.Input{Kind: engine.RangeWanted, Ref: engine.Ref(s.number(w[1])), File: uint32(s.number(w[2])), From: s.number(from), To: s.number(to)}
	case "cancel":
		in = engine.Input{Kind: engine.RangeCancelled, Ref: engine.Ref(s.number(w[1]))}
	case "choose":
		in = engine.Input{Kind: engine.RenditionChosen, File: uint32(s.number(w[1]))}
	case "moved":
		in = engine.Input{Kind: engine.PlaybackMoved, From: s.millis(w[1]), To: s.millis(w[2]), Length: 1000}
		if len(w) > 3 {
			in.Flags = engine.FlagPaused
		}
	case "seek":
		in = engine.Input{Kind: engine.Seeked, From: s.millis(w[1])}
	case "introduce":
		in = engine.Input{Kind: engine.Introduced, Peer: peer(), Data: peerID(w[2])}
	case "connect":
		in = engine.Input{Kind: engine.PeerConnected, Peer: peer(), Data: peerID(w[2])}
	case "close":
		in = engine.Input{Kind: engine.PeerClosed, Peer: peer()}
	case "revoke":
		in = engine.Input{Kind: engine.Revoked, Data: peerID(w[1])}
	case "queue":
		in = engine.Input{Kind: engine.SendQueue, Peer: peer(), Length: uint32(s.number(w[2]))}
	case "say":
		in = s.said(w)
	case "progress", "done", "failed":
		in.Kind = map[string]engine.InputKind{"progress": engine.FetchProgress, "done": engine.FetchDone, "failed": engine.FetchFailed}[w[0]]
		in.Ref = engine.Ref(s.number(w[1]))
		if len(w) > 2 && w[0] == "progress" {
			in.Length = uint32(s.number(w[2]))
		} else if len(w) > 2 {
			in.Reason = engine.Reason(s.number(w[2]))
		}
	case "hash":
		in = engine.Input{Kind: engine.Hashed, Piece: uint32(s.number(w[2])), Begin: uint32(s.number(w[3]))}
		if strings.HasPrefix(w[1], "fetch=") {
			in.Ref = engine.Ref(s.number(w[1]))
		} else {
			in.Peer = peer()
		}
		file, at, n := s.film.block(in.Piece, in.Begin)
		in.Digest = sha256.Sum256(s.film.files[file][at : at+n])
		if len(w) > 4 {
			in.Digest[0] ^= 1
		}
	case "hashes":
		req, ok := s.requests[w[1]]
		if !ok {
			s.t.Errorf("no hash request %s", w[1])
			return nil
		}
		answer, err := s.film.trees[s.files[w[1]]].Answer(req)
		if err != nil {
			s.t.Fatal(err)
		}
		in = engine.Input{Kind: engine.HashesReceived, Ref: engine.Ref(s.number(w[1])), Data: bt.AppendDigests(nil, answer)}
		if len(w) > 2 {
			in.Data[0] ^= 1
		}
	case "stored":
		in = engine.Input{Kind: engine.Stored, Piece: uint32(s.number(w[1]))}
	case "evicted":
		in = engine.Input{Kind: engine.Evicted, Piece: uint32(s.number(w[1]))}
	case "tick":
		in.Kind = engine.Tick
	default:
		s.t.Fatalf("unknown command %q", w[0])
	}
	return []engine.Input{in}
}

// said makes a peer's message.
func (s *script) said(w []string) engine.Input {
	in := engine.Input{Kind: engine.MessageReceived, Peer: engine.PeerRef(s.number(w[1]))}
	var n [3]uint32
	for i, x := range w[3:] {
		if v, err := strconv.ParseUint(x, 10, 32); err == nil && i < 3 {
			n[i] = uint32(v)
		}
	}
	r := wire.Request{Piece: n[0], Begin: n[1], Length: n[2]}
	var b []byte
	switch w[2] {
	case "handshake":
		h := wire.Handshake{InfoHash: s.film.title.InfoHash, PeerID: bt.PeerID(peerID(w[3])), Extended: true, Fast: true}
		for _, x := range w[4:] {
			switch x {
			case "slow":
				h.Fast = false
			case "v2":
				h.InfoHash = s.film.title.InfoHashV2
			case "elsewhere":
				h.InfoHash[5] ^= 1
			}
		}
		in.Flags, in.Data = engine.FlagHandshake, wire.AppendHandshake(nil, h)
		return in
	case "choke":
		b = wire.AppendChoke(b)
	case "unchoke":
		b = wire.AppendUnchoke(b)
	case "interested":
		b = wire.AppendInterested(b)
	case "bored":
		b = wire.AppendNotInterested(b)
	case "have":
		b = wire.AppendHave(b, n[0])
	case "have-all":
		b = wire.AppendHaveAll(b)
	case "have-none":
		b = wire.AppendHaveNone(b)
	case "bitfield":
		bits := make([]byte, (s.film.pieces()+7)/8)
		for i := range bits {
			bits[i] = 0xff
		}
		switch w[3] {
		case "all":
			bits[len(bits)-1] = 0xff << (8*len(bits) - s.film.pieces())
		case "long":
			bits = append(bits, 0)
		}
		b = wire.AppendBitfield(b, bits)
	case "request":
		b = wire.AppendRequest(b, r)
	case "take-back":
		b = wire.AppendCancel(b, r)
	case "reject":
		b = wire.AppendReject(b, r)
	case "piece":
		b = wire.AppendPieceHeader(b, r.Piece, r.Begin, r.Length)
		in.Length = r.Length
	case "dont-have":
		b = wire.AppendDontHave(b, 1, n[0])
	case "speaks-dont-have":
		b = wire.AppendExtHandshake(b, wire.ExtHandshake{Extensions: []wire.Extension{{Name: wire.ExtDontHave, ID: 7}}})
	case "garbage":
		b = []byte{0, 0, 0, 3, 6, 1, 2} // a request of the wrong length
	default:
		s.t.Fatalf("unknown message %q", w[2])
	}
	in.Data = b[4:]
	return in
}

var outputNames = map[engine.OutputKind]string{
	engine.RangeReady: "ready", engine.RangeFailed: "failed", engine.FetchRange: "fetch", engine.CancelFetch: "cancel-fetch", engine.Dial: "dial",
	engine.ClosePeer: "close", engine.Announce: "announce", engine.SendMessage: "send", engine.SendBlock: "send-block", engine.Discard: "discard",
	engine.Hash: "hash", engine.RequestHashes: "ask-hashes", engine.Store: "store", engine.Evict: "evict",
	engine.HashPiece: "hash-piece",
}

var noteNames = map[engine.NoteKind]string{
	engine.NoteBlock: "block", engine.NotePiece: "piece", engine.NoteRestored: "restored", engine.NoteEvicted: "evicted", engine.NoteSent: "sent",
	engine.NoteBadBlock: "bad-block", engine.NoteBanned: "banned", engine.NotePeerUp: "peer-up", engine.NotePeerDown: "peer-down",
	engine.NoteUrgent: "urgent", engine.NoteWasted: "wasted",
}

var reasonNames = []string{
	"none", "protocol", "bad-data", "wrong-swarm", "wrong-peer", "timeout", "flood", "policy", "revoked", "useless", "duplicate", "unavailable", "bad-range", "suspect",
}

func (s *script) describe(o engine.Output) string {
	switch o.Kind {
	case engine.SendMessage:
		return fmt.Sprintf("send peer=%d %s", o.Peer, message(o.Data))
	case engine.FetchRange:
		return fmt.Sprintf("fetch %d file=%d %d-%d", o.Ref, o.File, o.From, o.To)
	case engine.CancelFetch, engine.RangeReady:
		return fmt.Sprintf("%s %d", outputNames[o.Kind], o.Ref)
	case engine.RangeFailed:
		return fmt.Sprintf("failed %d %s", o.Ref, reasonNames[o.Reason])
	case engine.ClosePeer:
		return fmt.Sprintf("close peer=%d %s", o.Peer, reasonNames[o.Reason])
	case engine.Announce:
		return fmt.Sprintf("announce at=%dms rendition=%d flags=%d", o.From, o.File, o.Flags)
	case engine.RequestHashes:
		key := strconv.Itoa(int(o.Ref))
		s.requests[key] = bt.HashRequest{Root: s.film.title.Files[o.File].Root, Base: o.Base, Index: o.Index, Length: o.Length, Proof: o.Proof}
		s.files[key] = o.File
		return fmt.Sprintf("ask-hashes %d file=%d base=%d index=%d length=%d proof=%d", o.Ref, o.File, o.Base, o.Index, o.Length, o.Proof)
	case engine.Note:
		return fmt.Sprintf("note %s peer=%d piece=%d begin=%d length=%d", noteNames[o.Note], o.Peer, o.Piece, o.Begin, o.Length)
	}
	return fmt.Sprintf("%s peer=%d ref=%d piece=%d begin=%d length=%d", outputNames[o.Kind], o.Peer, o.Ref, o.Piece, o.Begin, o.Length)
}

func message(b []byte) string {
	if h, err := wire.ParseHandshake(b); err == nil {
		return "handshake " + strings.TrimRight(string(h.PeerID[:]), ".")
	}
	if len(b) == 4 {
		return "keepalive"
	}
	m, err := wire.Parse(b[4:])
	if err != nil {
		return err.Error()
	}
	names := map[wire.ID]string{
		wire.Choke: "choke", wire.Unchoke: "unchoke", wire.Interested: "interested", wire.NotInterested: "not-interested", wire.HaveAll: "have-all",
		wire.HaveNone: "have-none", wire.Bitfield: "bitfield", wire.Extended: "extended", wire.HashRequest: "hash-request", wire.Hashes: "hashes",
		wire.HashReject: "hash-reject",
	}
	switch m.ID {
	case wire.Have:
		return fmt.Sprintf("have %d", m.Request.Piece)
	case wire.RequestBlock, wire.Cancel, wire.Reject:
		return fmt.Sprintf("%s %d %d %d", map[wire.ID]string{wire.RequestBlock: "request", wire.Cancel: "cancel", wire.Reject: "reject"}[m.ID],
			m.Request.Piece, m.Request.Begin, m.Request.Length)
	}
	return names[m.ID]
}
