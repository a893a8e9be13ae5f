package native

import (
	"maps"
	"slices"
	"testing"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/engine"
	"essaim/internal/host/hosttest"
)

// scripted plays a host core against hosttest's world.
type scripted struct {
	hosttest.World
	core                    *core
	wants                   map[string]engine.Ref
	origin, ticket, reading string
}

func TestCorePassesTheHostContract(t *testing.T) {
	hosttest.Run(t, func(_ *testing.T, w hosttest.World) hosttest.Host {
		return &scripted{World: w, wants: map[string]engine.Ref{}}
	})
}

func (s *scripted) Close() { s.core.ended = true }

func (s *scripted) Do(e hosttest.Event) {
	c := s.core
	switch e.Type {
	case hosttest.EventOpen:
		s.origin, s.ticket = e.Origin, e.Ticket
		s.core = newCore(e.Title, s.World, &scriptStore{Store: NewMemory(1 << 20), w: s.World, found: e.Found}, s)
		s.core.open(nil)
	case hosttest.EventIntroduced:
		c.step(engine.Input{Kind: engine.Introduced, Peer: e.Peer, Data: e.PeerID})
	case hosttest.EventDialFailed, hosttest.EventClosed:
		if e.Type == hosttest.EventDialFailed || c.peers[e.Peer] != nil {
			c.disconnected(e.Peer)
		}
	case hosttest.EventChannel:
		c.connected(e.Peer, &scriptChannel{s.World, e.Peer}, e.PeerID, e.Initiator)
	case hosttest.EventBytes:
		c.received(e.Peer, e.Chunk)
	case hosttest.EventDrained:
		c.drained(e.Peer)
	case hosttest.EventResponse:
		c.head(e.Fetch.(*fetch), e.Status, e.Headers["content-range"])
	case hosttest.EventBody:
		c.body(e.Fetch.(*fetch), e.Chunk)
	case hosttest.EventEnd:
		c.end(e.Fetch.(*fetch))
	case hosttest.EventFail:
		c.fail(e.Fetch.(*fetch))
	case hosttest.EventRead:
		s.reading = e.Read
		s.wants[e.Read] = c.read(e.File, e.From, e.To)
	case hosttest.EventCancelRead:
		c.cancelRead(s.wants[e.Read])
	case hosttest.EventAdvance:
		c.tick()
	case hosttest.EventAnswered:
		c.counted(e.Complete, e.Incomplete, announce.Cohort{ID: e.Cohort, Place: e.Place, Size: e.Size})
	case hosttest.EventMeasured:
		c.measured(e.Peer, time.Duration(e.Us)*time.Microsecond)
	}
}

func (s *scripted) now() engine.Instant { return s.Now() }

func (s *scripted) get(f *fetch) {
	h := map[string]string{"authorization": "Bearer " + s.ticket}
	if r := f.rangeHeader(); r != "" {
		h["range"] = r
	}
	s.Did(hosttest.Effect{Type: hosttest.EffectFetch, Handle: f, URL: s.origin + f.path, Headers: h})
}

func (s *scripted) abort(f *fetch) { s.Did(hosttest.Effect{Type: hosttest.EffectAbort, Handle: f}) }

func (s *scripted) dial(p engine.PeerRef) {
	s.Did(hosttest.Effect{Type: hosttest.EffectDial, Peer: p})
}

func (s *scripted) measure(p engine.PeerRef) {
	s.Did(hosttest.Effect{Type: hosttest.EffectMeasure, Peer: p})
}

func (s *scripted) undial(engine.PeerRef) {}

func (s *scripted) announce(ms int64, rendition, want uint32, flags engine.Flags) {
	e := hosttest.Effect{Type: hosttest.EffectAnnounce, PositionMs: ms, Rendition: rendition, Want: want}
	switch {
	case flags&engine.FlagStarted != 0:
		e.Event = "started"
	case flags&engine.FlagCompleted != 0:
		e.Event = "completed"
	case flags&engine.FlagStopped != 0:
		e.Event = "stopped"
	}
	s.Did(e)
}

func (s *scripted) answer(r engine.Ref, data []byte, err error) {
	name := s.reading
	for n, ref := range s.wants {
		if ref == r {
			name = n
		}
	}
	s.Did(hosttest.Effect{Type: hosttest.EffectRead, Read: name, Data: data, Failed: err != nil})
}

func (s *scripted) refuse(error)         {}
func (s *scripted) noted(*engine.Output) {}

type scriptChannel struct {
	w    hosttest.World
	peer engine.PeerRef
}

func (c *scriptChannel) Send(b []byte) error {
	c.w.Did(hosttest.Effect{Type: hosttest.EffectSent, Peer: c.peer, Data: b})
	return nil
}
func (c *scriptChannel) Queued() int { return c.w.Queued(c.peer) }
func (c *scriptChannel) Close()      { c.w.Did(hosttest.Effect{Type: hosttest.EffectClosed, Peer: c.peer}) }

// scriptStore tells the script what is put and taken out, and holds what the script says was found.
type scriptStore struct {
	Store
	w     hosttest.World
	found map[uint32][]byte
}

func (s *scriptStore) Put(piece uint32, data []byte) ([]uint32, error) {
	s.w.Did(hosttest.Effect{Type: hosttest.EffectStored, Piece: piece, Data: data})
	delete(s.found, piece)
	return s.Store.Put(piece, data)
}

func (s *scriptStore) Delete(piece uint32) error {
	if _, found := s.found[piece]; found || s.Has(piece) {
		s.w.Did(hosttest.Effect{Type: hosttest.EffectEvicted, Piece: piece})
	}
	delete(s.found, piece)
	return s.Store.Delete(piece)
}

func (s *scriptStore) Found() []uint32 { return slices.Sorted(maps.Keys(s.found)) }

func (s *scriptStore) Peek(piece uint32) ([]byte, error) {
	if len(s.found[piece]) == 0 {
		return nil, errNoPiece
	}
	return s.found[piece], nil
}

func (s *scriptStore) Accept(piece uint32) bool {
	data, ok := s.found[piece]
	if ok {
		_, err := s.Put(piece, data)
		return err == nil
	}
	return false
}

func (s *scriptStore) Others() []engine.Shelved          { return nil }
func (s *scriptStore) RemoveOther(uint32) error          { return nil }
func (s *scriptStore) Mark(uint32, uint32, uint32) error { return nil }
