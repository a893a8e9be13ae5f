package native

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/coder/websocket"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/engine"
)

// Bounds of talking to trackers.
const (
	intervalFirst = 30 * time.Second // between announces, until the tracker says
	intervalMin   = 10 * time.Second
	intervalMax   = 30 * time.Minute
	answerTimeout = 15 * time.Second // a socket that leaves two announces unanswered this long is dead
	writeTimeout  = 10 * time.Second
	leaveTimeout  = time.Second
	outMax        = 64 // messages that wait for the socket
)

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
	stop     context.CancelFunc // of the goroutine that keeps the socket
	out      chan []byte        // to that goroutine
	left     chan struct{}      // closed when it has ended
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
	t.push(t.message(t.last.Event))
}

// message is the last announce once more, with the ticket of the moment.
func (t *tracker) message(event announce.Event) []byte {
	r := t.last
	r.Event = event
	if event == announce.EventStopped {
		r.NumWant = 0 // also where it is not the engine that leaves
	}
	v := *r.Viewer
	v.Ticket = t.host.cfg.Tickets().Swarm
	v.Outcomes = t.outcomes
	r.Viewer = &v
	m := announce.AppendRequest(nil, &r)
	t.outcomes = t.outcomes[:0]
	return m
}

// tell notes what became of an introduction, for the next announce. When there is more than one may hold, what is told first
// is forgotten: it is the oldest.
func (t *tracker) tell(peer bt.PeerID, f announce.Fate) {
	if len(t.outcomes) == announce.OutcomesMax {
		t.outcomes = slices.Delete(t.outcomes, 0, 1)
	}
	t.outcomes = append(t.outcomes, announce.Outcome{PeerID: peer, Fate: f})
}

// push queues a message for the socket; when it is stuck, the message is lost, as messages to trackers may be.
func (t *tracker) push(m []byte) {
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
	var ctx context.Context
	ctx, t.stop = context.WithCancel(t.host.ctx)
	t.out, t.left = make(chan []byte, outMax), make(chan struct{})
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
	t.push(t.message(announce.EventStopped))
	t.push(nil) // and close
	stop := t.stop
	time.AfterFunc(leaveTimeout, stop)
	t.stop = nil
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
			t.push(announce.AppendRequest(nil, &announce.Request{
				Kind: announce.KindOffer, InfoHash: title.InfoHash, PeerID: title.PeerID, To: to, OfferID: id, SDP: sdp,
			}))
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
		t.push(announce.AppendRequest(nil, &announce.Request{
			Kind: announce.KindAnswer, InfoHash: title.InfoHash, PeerID: title.PeerID, To: to, OfferID: id, SDP: sdp,
		}))
	})
}

// heard takes what the tracker says, on the host's goroutine. It returns the interval that it asks for, if it does.
func (t *tracker) heard(m *announce.Message) time.Duration {
	title := &t.host.cfg.Title
	ours := func(h bt.InfoHash) bool { return h == title.InfoHash || h == title.InfoHashV2 }
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
				return 0
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
					t.host.rtc.introduced(meet.PeerID)
				}
			}
		}
		return time.Duration(m.Reply.Interval) * time.Second
	case m.Relayed != nil && ours(m.Relayed.InfoHash):
		r := m.Relayed
		if !r.Answer {
			t.host.rtc.offered(r.From, r.OfferID, r.SDP)
		} else if p, ok := t.offers[r.OfferID]; ok && p.to == r.From {
			delete(t.offers, r.OfferID)
			p.answer <- r.SDP // has room for one
		}
	}
	return 0
}

// trackerSocket keeps one socket open, on its own goroutine.
type trackerSocket struct {
	tracker *tracker
	host    *Host
	out     <-chan []byte
}

// keep connects, again and again, until ctx ends or a goodbye was sent.
func (s *trackerSocket) keep(ctx context.Context) {
	urls := s.host.cfg.Trackers
	failures := 0
	for i := 0; ; i++ {
		lasted, bye := s.session(ctx, urls[i%len(urls)])
		if bye || ctx.Err() != nil {
			return
		}
		if lasted {
			failures = 0
			i-- // the same one first
		}
		if !s.pause(ctx, TrackerRetry(failures, s.tracker.host.cfg.Jitter)) {
			return
		}
		failures++
	}
}

// session holds one connection. lasted: the tracker answered an announce; bye: we left.
func (s *trackerSocket) session(ctx context.Context, url string) (lasted, bye bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialing, done := context.WithTimeout(ctx, connectTimeout)
	c, _, err := websocket.Dial(dialing, url, &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled})
	done()
	if err != nil {
		return false, s.drain()
	}
	defer c.CloseNow()
	c.SetReadLimit(announce.MessageMax)
	s.drain() // what was meant for the socket before
	replies := make(chan time.Duration, 1)
	var first []byte
	s.host.do(func() { first = s.tracker.message(announce.EventStarted) })
	if first == nil || !s.write(ctx, c, first) {
		return false, false
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.read(ctx, c, replies)
	}()
	defer func() { cancel(); c.CloseNow(); <-gone }()

	interval := intervalFirst
	unanswered := 1
	again := time.NewTimer(answerTimeout)
	defer again.Stop()
	for {
		select {
		case m := <-s.out:
			if m == nil {
				_ = c.Close(websocket.StatusNormalClosure, "")
				return lasted, true
			}
			if !s.write(ctx, c, m) {
				return lasted, false
			}
		case d := <-replies:
			lasted, unanswered = true, 0
			if d > 0 {
				interval = max(intervalMin, min(d, intervalMax))
			}
			again.Reset(interval - time.Duration(s.tracker.host.cfg.Jitter(int64(interval/10))))
		case <-again.C:
			var m []byte
			s.host.do(func() { m = s.tracker.message(announce.EventUpdate) })
			if unanswered++; unanswered > 2 || m == nil || !s.write(ctx, c, m) {
				return lasted, false
			}
			again.Reset(answerTimeout)
		case <-gone:
			return lasted, false
		case <-ctx.Done():
			return lasted, false
		}
	}
}

// pause waits before the next try, and reports whether there shall be one.
func (s *trackerSocket) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case m := <-s.out: // nobody to send it to
			if m == nil {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// drain throws queued messages away and reports whether a goodbye was among them.
func (s *trackerSocket) drain() (bye bool) {
	for {
		select {
		case m := <-s.out:
			bye = bye || m == nil
		default:
			return bye
		}
	}
}

func (s *trackerSocket) write(ctx context.Context, c *websocket.Conn, m []byte) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.Write(ctx, websocket.MessageText, m) == nil
}

// read gives what the tracker says to the host. Messages that cannot be read are passed over.
func (s *trackerSocket) read(ctx context.Context, c *websocket.Conn, replies chan<- time.Duration) {
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			return
		}
		m, err := announce.ParseMessage(b)
		if err != nil {
			continue
		}
		var interval time.Duration
		s.host.do(func() { interval = s.tracker.heard(&m) })
		if m.Reply != nil {
			select {
			case replies <- interval:
			default:
			}
		}
	}
}
