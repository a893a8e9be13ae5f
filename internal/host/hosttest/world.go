package hosttest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"sync"

	"essaim/internal/engine"
)

// queueLow is the level at which a channel says that its queue has drained, in bytes.
const queueLow = engine.SendQueueLow

// world plays the engine and the network of one script.
type world struct {
	mu       sync.Mutex
	title    engine.Title
	found    map[uint32][]byte
	now      engine.Instant
	lastNow  engine.Instant
	deadline engine.Instant
	hasDead  bool
	queued   map[engine.PeerRef]int
	closed   map[engine.PeerRef]bool // by the other side
	reads    map[string]engine.Ref
	fetches  map[string]any
	progress map[engine.Ref]uint32 // the last FetchProgress of each fetch
	step     *stepEntry
	matched  []bool
	did      []Effect
	err      error
	over     bool
}

func newWorld(s *script) *world {
	return &world{
		title: s.Title.title(), found: s.Title.found(), queued: map[engine.PeerRef]int{}, closed: map[engine.PeerRef]bool{}, reads: map[string]engine.Ref{},
		fetches: map[string]any{}, progress: map[engine.Ref]uint32{},
	}
}

// Now is the script's clock.
func (w *world) Now() engine.Instant {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Queued is the send queue of a channel.
func (w *world) Queued(p engine.PeerRef) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued[p]
}

// Deadline is what the script said last.
func (w *world) Deadline() (engine.Instant, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deadline, w.hasDead
}

// Did records an effect.
func (w *world) Did(e Effect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Type == EffectClosed && w.closed[e.Peer] {
		return
	}
	e.Data = bytes.Clone(e.Data)
	if e.Type == EffectSent {
		w.queued[e.Peer] += len(e.Data)
		for i := range w.did {
			if w.did[i].Type == EffectSent && w.did[i].Peer == e.Peer {
				w.did[i].Data = append(w.did[i].Data, e.Data...)
				return
			}
		}
	}
	w.did = append(w.did, e)
}

func (w *world) begin(st *stepEntry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step, w.matched, w.did = st, make([]bool, len(st.Inputs)), nil
	return w.err
}

// events turns a script's event into those that the host is told of.
func (w *world) events(st *stepEntry) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &st.Event
	e := Event{
		Type: s.Type, Peer: s.Peer, PeerID: s.PeerID, Initiator: s.Initiator, Status: s.Status, Headers: s.Headers,
		Read: s.Read, File: s.File, From: s.From, To: s.To, Us: s.Us, Complete: s.Complete, Incomplete: s.Incomplete,
		Cohort: s.Cohort, Place: s.Place, Size: s.Size,
	}
	if s.Fetch != "" {
		h, ok := w.fetches[s.Fetch]
		if !ok {
			w.fail(fmt.Errorf("the script names no fetch %q before this step", s.Fetch))
			return nil
		}
		e.Fetch = h
	}
	switch s.Type {
	case EventOpen:
		e.Title, e.Origin, e.Ticket, e.Found = w.title, "https://origin.test", "ticket-1", w.found
	case EventClosed:
		w.closed[s.Peer] = true
	case EventAdvance:
		w.now += engine.Instant(s.Ms * 1000)
	case EventDrained:
		was := w.queued[s.Peer]
		w.queued[s.Peer] = int(s.To)
		if was <= queueLow || s.To > queueLow {
			return nil
		}
	case EventBytes, EventBody:
		var out []Event
		for _, c := range s.chunks() {
			e.Chunk = c
			out = append(out, e)
		}
		return out
	}
	return []Event{e}
}

func (w *world) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// completion reports whether the input ends the host's own work, and so may come at any place of the step.
func completion(k engine.InputKind) bool {
	return k == engine.Hashed || k == engine.PieceHashed || k == engine.Checked || k == engine.Stored || k == engine.Evicted
}

// Step is the scripted engine.
func (w *world) Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return out
	}
	if now < w.lastNow {
		w.fail(fmt.Errorf("now fell from %d to %d", w.lastNow, now))
	}
	w.lastNow = now
	if in.Kind == engine.Tick {
		if !w.hasDead || w.now < w.deadline {
			w.fail(errors.New("a Tick before the deadline"))
		}
		w.hasDead = false
	}
	i, pass := w.match(&in)
	if i < 0 {
		if !pass {
			w.fail(fmt.Errorf("unexpected input %s peer=%d ref=%d file=%d piece=%d begin=%d length=%d from=%d to=%d reason=%d flags=%d data=%s",
				inputKind(in.Kind), in.Peer, in.Ref, in.File, in.Piece, in.Begin, in.Length, in.From, in.To, in.Reason, in.Flags, short(in.Data)))
		}
		return out
	}
	w.matched[i] = true
	x := &w.step.Inputs[i]
	if x.DeadlineMs != nil {
		w.deadline, w.hasDead = engine.Instant(*x.DeadlineMs*1000), true
	}
	for j := range x.Outputs {
		out = append(out, w.output(&x.Outputs[j]))
	}
	return out
}

// match finds the entry that in satisfies, or says that it may pass.
func (w *world) match(in *engine.Input) (entry int, pass bool) {
	if in.Kind == engine.FetchProgress {
		if in.Length < w.progress[in.Ref] {
			w.fail(fmt.Errorf("FetchProgress of %d fell to %d", in.Ref, in.Length))
		}
		w.progress[in.Ref] = in.Length
	}
	if completion(in.Kind) {
		for i := range w.step.Inputs {
			if !w.matched[i] && w.fits(&w.step.Inputs[i], in) {
				return i, false
			}
		}
		return -1, false
	}
	for i := range w.step.Inputs {
		x := &w.step.Inputs[i]
		if w.matched[i] || completion(engine.InputKind(x.Kind)) {
			continue
		}
		if w.fits(x, in) {
			return i, false
		}
		break
	}
	if in.Kind == engine.FetchProgress {
		return -1, true
	}
	open := w.step.Event.Type == EventOpen && len(w.matched) > 0 && w.matched[0]
	return -1, open && passes(in.Kind)
}

// passes: a host may say it within the step of `open` without being asked.
func passes(k engine.InputKind) bool {
	switch k {
	case engine.IndexLoaded, engine.StoreRestored, engine.StoreFound, engine.StoreBounded, engine.PolicyChanged:
		return true
	default:
		return false
	}
}

func (w *world) fits(x *inputEntry, in *engine.Input) bool {
	if engine.InputKind(x.Kind) != in.Kind {
		return false
	}
	if x.Ref != nil {
		want := x.Ref.num
		if x.Ref.name != "" {
			if _, bound := w.reads[x.Ref.name]; !bound && in.Kind == engine.RangeWanted {
				w.reads[x.Ref.name] = in.Ref
			}
			want = w.reads[x.Ref.name]
		}
		if want != in.Ref {
			return false
		}
	}
	if in.Kind == engine.FetchProgress {
		return x.Length == nil || in.Length >= *x.Length
	}
	return (x.Flags == nil || engine.Flags(*x.Flags) == in.Flags) &&
		same(x.Reason, in.Reason) && same(x.Peer, in.Peer) && same(x.File, in.File) && same(x.Piece, in.Piece) &&
		same(x.Begin, in.Begin) && same(x.Length, in.Length) && same(x.From, in.From) && same(x.To, in.To) &&
		(x.Data == nil || bytes.Equal(*x.Data, in.Data)) && (x.Digest == nil || [32]byte(*x.Digest) == [32]byte(in.Digest))
}

func same[T comparable](want *T, got T) bool { return want == nil || *want == got }

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (w *world) output(x *outputEntry) engine.Output {
	o := engine.Output{
		Kind: engine.OutputKind(x.Kind), Flags: engine.Flags(value(x.Flags)), Reason: value(x.Reason), Source: x.Source,
		Peer: value(x.Peer), File: value(x.File), Piece: value(x.Piece), Begin: value(x.Begin), Length: value(x.Length),
		Index: x.Index, Base: x.Base, Proof: x.Proof, From: value(x.From), To: value(x.To), Data: value(x.Data),
	}
	if x.Ref != nil {
		o.Ref = x.Ref.num
		if x.Ref.name != "" {
			o.Ref = w.reads[x.Ref.name]
		}
	}
	return o
}

// end compares what the step led to with what it lists.
func (w *world) end(st *stepEntry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	for i, ok := range w.matched {
		if !ok {
			x := &st.Inputs[i]
			return fmt.Errorf("input %d, %s peer=%d piece=%d begin=%d length=%d, did not come", i+1, x.Kind, value(x.Peer), value(x.Piece), value(x.Begin), value(x.Length))
		}
	}
	for i := range st.Effects {
		j := w.find(&st.Effects[i])
		if j < 0 {
			return fmt.Errorf("effect %d, %s, did not happen; what did: %s", i+1, describe(&st.Effects[i]), list(w.did))
		}
		w.did = append(w.did[:j], w.did[j+1:]...)
	}
	if len(w.did) > 0 {
		return fmt.Errorf("unexpected effects: %s", list(w.did))
	}
	return nil
}

func (w *world) find(x *effectEntry) int {
	for j := range w.did {
		d := &w.did[j]
		if d.Type != x.Type || d.Peer != x.Peer || d.Piece != x.Piece || !bytes.Equal(d.Data, x.Data) || d.URL != x.URL ||
			d.Read != x.Read || d.Failed != x.Failed || d.PositionMs != x.PositionMs || d.Rendition != x.Rendition || d.Want != x.Want ||
			d.Event != x.Event || !maps.Equal(d.Headers, x.Headers) {
			continue
		}
		switch x.Type {
		case EffectFetch:
			w.fetches[x.As] = d.Handle
		case EffectAbort:
			if w.fetches[x.Fetch] != d.Handle {
				continue
			}
		}
		return j
	}
	return -1
}

func describe(x *effectEntry) string {
	return fmt.Sprintf("%s peer=%d piece=%d url=%q read=%q failed=%t position=%d rendition=%d want=%d event=%q data=%s", x.Type, x.Peer, x.Piece, x.URL, x.Read, x.Failed,
		x.PositionMs, x.Rendition, x.Want, x.Event, short(x.Data))
}

func list(es []Effect) string {
	if len(es) == 0 {
		return "nothing"
	}
	s := ""
	for i := range es {
		e := &es[i]
		s += fmt.Sprintf("[%s peer=%d piece=%d url=%q %v read=%q failed=%t position=%d rendition=%d want=%d event=%q data=%s]", e.Type, e.Peer, e.Piece, e.URL, e.Headers, e.Read, e.Failed,
			e.PositionMs, e.Rendition, e.Want, e.Event, short(e.Data))
	}
	return s
}

func short(b []byte) string {
	if len(b) > 24 {
		return fmt.Sprintf("%x… (%d bytes)", b[:24], len(b))
	}
	return fmt.Sprintf("%x (%d bytes)", b, len(b))
}
