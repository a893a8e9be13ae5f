// Package hosttest is the contract that every host of the engine passes: language-neutral scripts (README.md defines
// their form) and their runner in Go. It must hold a host to what internal/engine/step.go says of inputs and outputs,
// and to nothing else.
package hosttest

import (
	"embed"
	"fmt"
	"path"
	"strings"
	"testing"

	"essaim/internal/engine"
)

//go:embed scripts/*.json
var scripts embed.FS

// Host is a host's core under test. Do returns when everything that the event leads to has been done, so hosts that
// work in the background wait for themselves here.
type Host interface {
	Do(Event)
	// Close ends the host. What it does from then on is not looked at.
	Close()
}

// World is what a host under test gets instead of an engine, a clock and a network.
type World interface {
	// Step and Deadline are the scripted engine.
	Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output
	Deadline() (engine.Instant, bool)
	// Now is the script's clock.
	Now() engine.Instant
	// Queued is the length of a channel's send queue in bytes, as RTCDataChannel.bufferedAmount has it.
	Queued(engine.PeerRef) int
	// Did records an effect.
	Did(Effect)
}

// EventType says what happened outside the host.
type EventType string

// The events; README.md says which fields they have.
const (
	EventOpen       EventType = "open"
	EventIntroduced EventType = "introduced"
	EventDialFailed EventType = "dial_failed"
	EventChannel    EventType = "channel"
	EventBytes      EventType = "bytes"
	EventClosed     EventType = "closed"
	EventDrained    EventType = "drain" // done only when the channel would say so
	EventResponse   EventType = "response"
	EventBody       EventType = "body"
	EventEnd        EventType = "end"
	EventFail       EventType = "fail"
	EventRead       EventType = "read"
	EventCancelRead EventType = "cancel_read"
	EventAdvance    EventType = "advance"
	EventMeasured   EventType = "measured"
	EventAnswered   EventType = "answered"
)

// Event is one outside event. Fields that its type does not have are zero.
type Event struct {
	Type      EventType
	Title     engine.Title      // open
	Origin    string            // open: the origin's prefix
	Ticket    string            // open: the media ticket
	Found     map[uint32][]byte // open: what the store holds from an earlier visit, by piece
	Peer      engine.PeerRef
	PeerID    []byte // 20 bytes, or none
	Initiator bool
	Chunk     []byte // of bytes and body: one chunk each
	Fetch     any    // the Handle of the Effect that began it
	Status    int
	Headers   map[string]string // lower-case names
	Read      string
	File      uint32
	From, To  int64
	Us        int64 // of measured: the round trip, in microseconds
	// of answered: how many seeds and how many others the tracker counts; 0: it does not say
	Complete, Incomplete int
	Cohort, Place, Size  uint32 // of answered: the cohort that it counts us into, 0: it does not say
}

// EffectType says what the host did to the outside.
type EffectType string

// The effects; README.md says which fields they have.
const (
	EffectSent     EffectType = "sent"
	EffectClosed   EffectType = "closed"
	EffectDial     EffectType = "dial"
	EffectAnnounce EffectType = "announce"
	EffectFetch    EffectType = "fetch"
	EffectAbort    EffectType = "abort"
	EffectStored   EffectType = "stored"
	EffectEvicted  EffectType = "evicted"
	EffectRead     EffectType = "read"
	EffectMeasure  EffectType = "measure"
)

// Effect is one thing that the host did. Fields that its type does not have are zero.
type Effect struct {
	Type       EffectType
	Peer       engine.PeerRef
	Data       []byte
	Piece      uint32
	Handle     any // fetch and abort: the host's own name of the fetch, comparable
	URL        string
	Headers    map[string]string
	Read       string
	Failed     bool
	PositionMs int64
	Rendition  uint32
	Want       uint32 // of announce: how many introductions
	Event      string
}

// Run plays every script, each against a new host.
func Run(t *testing.T, newHost func(t *testing.T, w World) Host) {
	t.Helper()
	files, err := scripts.ReadDir("scripts")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(f.Name(), ".json"), func(t *testing.T) {
			b, err := scripts.ReadFile(path.Join("scripts", f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			s, err := parse(b)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			t.Logf("claim: %s", s.Claim)
			if err := play(s, func(w World) Host { return newHost(t, w) }); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// play returns what the host got wrong first.
func play(s *script, newHost func(World) Host) error {
	w := newWorld(s)
	h := newHost(w)
	defer func() {
		w.over = true
		h.Close()
	}()
	for i := range s.Steps {
		st := &s.Steps[i]
		if err := w.begin(st); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		for _, e := range w.events(st) {
			h.Do(e)
		}
		if err := w.end(st); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, st.Event.Type, err)
		}
	}
	return nil
}
