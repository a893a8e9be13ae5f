package native

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/engine"
)

// Bounds of talking to trackers.
const (
	answerTimeout = 15 * time.Second // a socket that leaves two announces unanswered this long is dead
	writeTimeout  = 10 * time.Second
	leaveTimeout  = time.Second
	outMax        = 64 // messages that wait for the socket
)

// closedRevoked is the code with which the tracker closes once it was told that our ticket is revoked (tracker.StatusRevoked).
const closedRevoked = 4403

var errNoTracker = errors.New("no tracker")

// tracker keeps a socket to the first tracker that answers, while policy allows it. Its fields belong to the host's
// goroutine, except for what goes through channels.
type tracker struct {
	host     *Host
	allowed  bool
	wanted   bool // the engine announced once
	uplink   int
	last     announce.Request
	offers   map[announce.OfferID]pendingOffer
	outcomes []announce.Outcome // of introductions, not told yet
	renewal  renewal            // of the socket at hand
	shown    string             // the swarm ticket that was announced last
	barred   string             // the one that was revoked: it is not shown again
	stop     context.CancelFunc // of the goroutine that keeps the socket
	out      chan outgoing      // to that goroutine
	left     chan struct{}      // closed when it has ended
}

// outgoing is a message for the socket.
type outgoing struct {
	text []byte // nil: none, and the socket is to be closed
	asks bool   // an answer must come
}

type pendingOffer struct {
	to     bt.PeerID
	answer chan string
}

func newTracker(h *Host) *tracker {
	return &tracker{host: h, offers: map[announce.OfferID]pendingOffer{}}
}

// allow is the policy's word.
func (t *tracker) allow(peers bool, uplinkKbps int) {
	t.allowed, t.uplink = peers, uplinkKbps
	if peers {
		t.start()
	} else {
		t.leave()
	}
}

// announce is outside's: it is sent now, or when there is a socket.
func (t *tracker) announce(positionMs int64, rendition, want uint32, flags engine.Flags) {
	title := &t.host.cfg.Title
	s := t.host.core.stats.taken()
	t.last = announce.Request{
		InfoHash: title.InfoHash, PeerID: title.PeerID,
		Uploaded: s.SentBytes, Downloaded: s.PeerBytes, Left: t.host.core.left(), NumWant: int(min(want, math.MaxInt32)),
		Viewer: &announce.Viewer{PositionMs: max(positionMs, 0), Rendition: int(rendition), UplinkKbps: t.uplink},
	}
	switch {
	case flags&engine.FlagStarted != 0:
		t.last.Event = announce.EventStarted
	case flags&engine.FlagCompleted != 0:
		t.last.Event = announce.EventCompleted
	case flags&engine.FlagStopped != 0:
		t.last.Event = announce.EventStopped
	}
	t.wanted = true
	if t.stop == nil {
		t.start()
		return // the first thing said on a new socket is this announce
	}
	switch t.renewal.next(t.now(), t.self(), t.last.Event != announce.EventUpdate || want > 0 || len(t.outcomes) > 0) {
	case sayNothing:
	case sayStill:
		t.renewal.tell(t.now(), sayStill, t.self())
		t.push(outgoing{text: announce.AppendRequest(nil, &announce.Request{
			Kind: announce.KindStill, InfoHash: title.InfoHash, PeerID: title.PeerID,
		})})
	case sayAll:
		t.push(outgoing{t.message(t.last.Event), true})
	}
}

// now is the host's time, for renewals.
func (t *tracker) now() time.Duration { return time.Since(t.host.epoch) }

// self is what the last announce says of us, with the ticket of the moment.
func (t *tracker) self() selfie {
	v := t.last.Viewer
	return selfie{
		position: time.Duration(v.PositionMs) * time.Millisecond, rendition: v.Rendition, uplink: v.UplinkKbps,
		ticket: t.host.cfg.Tickets().Swarm, seed: t.last.Left == 0,
	}
}

// message is the last announce once more, with the ticket of the moment.
func (t *tracker) message(event announce.Event) []byte {
	r := t.last
	r.Event = event
	if event == announce.EventStopped {
		r.NumWant = 0 // also where it is not the engine that leaves
	}
	self := t.self()
	t.renewal.tell(t.now(), sayAll, self)
	t.shown = self.ticket
	v := *r.Viewer
	v.Ticket = self.ticket
	v.Outcomes = t.outcomes
	r.Viewer = &v
	m := announce.AppendRequest(nil, &r)
	t.outcomes = t.outcomes[:0]
	return m
}

// tell notes what became of an introduction, for the next announce. When there is more than one may hold, what is told first
// is forgotten: it is the oldest.
func (t *tracker) tell(peer bt.PeerID, f announce.Fate) {
	t.host.core.stats.Met[f]++
	t.note(peer, f)
}

func (t *tracker) note(peer bt.PeerID, f announce.Fate) {
	if len(t.outcomes) == announce.OutcomesMax {
		t.outcomes = slices.Delete(t.outcomes, 0, 1)
	}
	t.outcomes = append(t.outcomes, announce.Outcome{PeerID: peer, Fate: f})
}

// recall notes all those to whom we are connected: a tracker that does not know us may not know them either, and is to find out who of
// them does not come back to it.
func (t *tracker) recall() {
	for _, l := range t.host.rtc.links {
		if l.open && !slices.ContainsFunc(t.outcomes, func(o announce.Outcome) bool { return o.PeerID == l.id }) {
			t.note(l.id, announce.FateConnected)
		}
	}
}

// push queues a message for the socket; when it is stuck, the message is lost, as messages to trackers may be.
func (t *tracker) push(m outgoing) {
	if t.stop == nil {
		return
	}
	select {
	case t.out <- m:
	default:
	}
}

func (t *tracker) start() {
	if t.stop != nil || !t.allowed || !t.wanted || len(t.host.cfg.Trackers) == 0 {
		return
	}
	if t.barred != "" && t.barred == t.host.cfg.Tickets().Swarm {
		return // it would be refused again
	}
	var ctx context.Context
	ctx, t.stop = context.WithCancel(t.host.ctx)
	t.out, t.left = make(chan outgoing, outMax), make(chan struct{})
	s := &trackerSocket{tracker: t, host: t.host, out: t.out}
	t.host.workers.Add(1)
	go func(left chan struct{}) {
		defer t.host.workers.Done()
		defer close(left)
		s.keep(ctx)
	}(t.left)
}

// leave says goodbye and lets the socket go.
func (t *tracker) leave() {
	if t.stop == nil {
		return
	}
	t.push(outgoing{text: t.message(announce.EventStopped)})
	t.push(outgoing{}) // and close
	stop := t.stop
	time.AfterFunc(leaveTimeout, stop)
	t.stop = nil
}

// revoked is called when the tracker has closed the socket that out leads to because of the ticket that was shown on it. As the browser's host does, we
// are out: without peers until policy allows them again, and without a tracker until there is another ticket.
func (t *tracker) revoked(out <-chan outgoing) {
	if t.stop == nil || (<-chan outgoing)(t.out) != out {
		return // we have left that socket
	}
	t.stop()
	t.stop, t.barred = nil, t.shown
	t.host.setPolicy(Policy{UplinkKbps: t.uplink})
}

// wait returns when a socket that was left is closed. It may be called from any goroutine, after leave.
func (t *tracker) wait() {
	var left chan struct{}
	t.host.do(func() { left = t.left })
	if left != nil {
		<-left
	}
}

// offer sends an offer to one peer and waits for its answer.
func (t *tracker) offer(ctx context.Context, to bt.PeerID, id announce.OfferID, sdp string) (string, error) {
	answer := make(chan string, 1)
	sent := false
	t.host.do(func() {
		if sent = t.stop != nil; sent {
			t.offers[id] = pendingOffer{to, answer}
			title := &t.host.cfg.Title
			t.push(outgoing{text: announce.AppendRequest(nil, &announce.Request{
				Kind: announce.KindOffer, InfoHash: title.InfoHash, PeerID: title.PeerID, To: to, OfferID: id, SDP: sdp,
			})})
		}
	})
	if !sent {
		return "", errNoTracker
	}
	defer t.host.do(func() { delete(t.offers, id) })
	select {
	case sdp := <-answer:
		return sdp, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// answer sends our answer to a peer's offer.
func (t *tracker) answer(to bt.PeerID, id announce.OfferID, sdp string) {
	t.host.do(func() {
		title := &t.host.cfg.Title
		t.push(outgoing{text: announce.AppendRequest(nil, &announce.Request{
			Kind: announce.KindAnswer, InfoHash: title.InfoHash, PeerID: title.PeerID, To: to, OfferID: id, SDP: sdp,
		})})
	})
}

// heard takes what the tracker says, on the host's goroutine.
func (t *tracker) heard(m *announce.Message) (n news) {
	title := &t.host.cfg.Title
	ours := func(h bt.InfoHash) bool { return h == title.InfoHash || h == title.InfoHashV2 }
	switch {
	case m.Reply != nil && ours(m.Reply.InfoHash):
		still := 0
		if m.Reply.Viewer != nil {
			still = m.Reply.Viewer.Still
		}
		t.renewal.answered(m.Reply.Interval, still)
		n.answered, n.served = true, true
	case m.Failure != nil && (!m.Failure.HasInfoHash || ours(m.Failure.InfoHash)):
		t.renewal.refused()
		n.answered = true
	}
	n.patience = t.renewal.patience()
	switch {
	case !t.allowed:
	case m.Reply != nil && ours(m.Reply.InfoHash):
		var cohort announce.Cohort
		if m.Reply.Viewer != nil {
			cohort = m.Reply.Viewer.Cohort
		}
		t.host.core.counted(m.Reply.Complete, m.Reply.Incomplete, cohort)
		if v := m.Reply.Viewer; v != nil {
			if v.PeersOff {
				t.host.setPolicy(Policy{UplinkKbps: t.uplink})
				return n
			}
			if len(v.Revoked) > 0 {
				var ids []byte
				for _, id := range v.Revoked {
					ids = append(ids, id[:]...)
				}
				t.host.core.step(engine.Input{Kind: engine.Revoked, Data: ids})
			}
			for _, meet := range v.Meet {
				if meet.Offer {
					t.host.rtc.introduced(meet.PeerID, meet.Far)
				}
			}
		}
	case m.Relayed != nil && ours(m.Relayed.InfoHash):
		r := m.Relayed
		if !r.Answer {
			t.host.rtc.offered(r.From, r.OfferID, r.SDP, r.Far)
		} else if p, ok := t.offers[r.OfferID]; ok && p.to == r.From {
			delete(t.offers, r.OfferID)
			p.answer <- r.SDP // has room for one
		}
	}
	return n
}

// news is what something that the tracker said means for the socket.
type news struct {
	answered bool          // what we asked
	served   bool          // and we are in the swarm
	patience time.Duration // how long it may say nothing now; 0: for good
}
