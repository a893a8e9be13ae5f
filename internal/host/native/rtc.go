package native

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/engine"
)

// Bounds of connecting to peers.
const (
	connectionsMax = 64                      // at once, those being made included
	introducedMax  = 256                     // peers that we know of and have not dialled
	gatherTimeout  = 1500 * time.Millisecond // a dead STUN server must not hold up an offer
	connectTimeout = 15 * time.Second
	closeTimeout   = 3 * time.Second // a connection not gone by then is left to itself
	readBuffer     = 256 << 10       // pion fails a Read that a message does not fit; peers announce up to 256 KiB
)

var (
	errRefused    = errors.New("peers are not allowed")
	errUnanswered = errors.New("the offer was not answered")
)

// rtc makes connections to peers. All but made belongs to the host's goroutine.
type rtc struct {
	host     *Host
	settings webrtc.SettingEngine
	allowed  bool
	ids      map[engine.PeerRef]acquaintance // introduced, not yet dialled
	links    map[engine.PeerRef]*link
	next     engine.PeerRef
	ice      iceServers
	within   time.Duration // connectTimeout
	made     atomic.Int64
}

// acquaintance is a peer as the tracker told of it.
type acquaintance struct {
	id  bt.PeerID
	far bool // in another network
}

// link is one connection, from the first thought of it to its end.
type link struct {
	rtc       *rtc
	ref       engine.PeerRef
	id        bt.PeerID
	far       bool // it is in another network, as the tracker says
	initiator bool
	ctx       context.Context
	cancel    context.CancelFunc
	told      bool        // the engine knows of it: host's goroutine
	open      bool        // its channel is: host's goroutine
	failed    atomic.Bool // pion gave the connection up, not we
	paired    atomic.Bool // ICE found a way
	low       chan struct{}
	measure   chan struct{} // the engine wants to know what a round trip takes
}

func newRTC(h *Host) *rtc {
	var s webrtc.SettingEngine
	s.DetachDataChannels()
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s.LoggerFactory = quiet
	if h.cfg.LAN {
		s.SetIncludeLoopbackCandidate(true)
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeQueryOnly)
	} else {
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
		s.SetRemoteIPFilter(public)
	}
	return &rtc{
		host: h, settings: s,
		ids: map[engine.PeerRef]acquaintance{}, links: map[engine.PeerRef]*link{}, ice: iceServers{urls: slices.Clone(h.cfg.ICE)},
		within: connectTimeout,
	}
}

// allow is the policy's word. The engine closes the peers that it knows; the others are closed here.
func (r *rtc) allow(peers bool) {
	r.allowed = peers
	if !peers {
		clear(r.ids)
		for _, l := range r.links {
			l.cancel()
		}
	}
}

// introduced takes a peer that the tracker asks us to dial.
func (r *rtc) introduced(id bt.PeerID, far bool) {
	if !r.allowed || len(r.ids) >= introducedMax || id == r.host.cfg.Title.PeerID {
		return
	}
	r.next++
	r.ids[r.next] = acquaintance{id, far}
	r.host.core.step(engine.Input{Kind: engine.Introduced, Peer: r.next, Data: id[:]})
}

// dial is outside's.
func (r *rtc) dial(ref engine.PeerRef) {
	who, ok := r.ids[ref]
	delete(r.ids, ref)
	l := r.link(ref, who, true)
	l.told = true
	r.host.workers.Add(1)
	go func() {
		defer r.host.workers.Done()
		l.run(func(ctx context.Context, pc *webrtc.PeerConnection) error {
			if !ok {
				return errRefused
			}
			return l.offer(ctx, pc)
		})
	}()
}

// measure is outside's.
func (r *rtc) measure(ref engine.PeerRef) {
	if l := r.links[ref]; l != nil {
		select {
		case l.measure <- struct{}{}:
		default: // asked already
		}
	}
}

// undial is outside's.
func (r *rtc) undial(ref engine.PeerRef) {
	delete(r.ids, ref)
	if l := r.links[ref]; l != nil {
		l.told = false
		l.cancel()
	}
}

// offered takes another peer's offer, as the tracker relayed it.
func (r *rtc) offered(from bt.PeerID, offer announce.OfferID, sdp string, far bool) {
	if !r.allowed || from == r.host.cfg.Title.PeerID {
		return
	}
	if len(r.links) >= connectionsMax {
		r.host.door.tell(from, announce.FateBudget)
		return
	}
	r.next++
	l := r.link(r.next, acquaintance{from, far}, false)
	r.host.workers.Add(1)
	go func() {
		defer r.host.workers.Done()
		l.run(func(ctx context.Context, pc *webrtc.PeerConnection) error { return l.answer(ctx, pc, offer, sdp) })
	}()
}

func (r *rtc) link(ref engine.PeerRef, who acquaintance, initiator bool) *link {
	l := &link{rtc: r, ref: ref, id: who.id, far: who.far, initiator: initiator, low: make(chan struct{}, 1), measure: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancel(r.host.ctx)
	r.links[ref] = l
	return l
}

// run makes a connection, by the steps that negotiate holds, serves it to its end, and cleans up.
func (l *link) run(negotiate func(context.Context, *webrtc.PeerConnection) error) {
	h := l.rtc.host
	defer h.do(func() {
		delete(l.rtc.links, l.ref)
		if l.told {
			l.told = false
			h.core.disconnected(l.ref)
		}
	})
	defer l.cancel()
	may, within := false, connectTimeout
	h.do(func() {
		may = l.rtc.allowed && len(l.rtc.links) <= connectionsMax
		within = l.rtc.within
	})
	if !may {
		l.tell(announce.FateBudget)
		return
	}
	pc, err := l.api().NewPeerConnection(l.rtc.configuration())
	if err != nil {
		l.tell(announce.FateBudget)
		return
	}
	l.rtc.made.Add(1)
	var reading <-chan struct{}
	defer func() {
		gone := l.end(func() {
			_ = pc.GracefulClose()
			if reading != nil {
				<-reading
			}
		})
		if !gone { // its sockets and its keepalives shall go all the same
			l.end(func() { _ = pc.SCTP().Transport().ICETransport().GracefulStop() })
		}
	}()
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed {
			l.failed.Store(s == webrtc.PeerConnectionStateFailed)
			l.cancel()
		}
	})
	pc.OnICEConnectionStateChange(func(s webrtc.ICEConnectionState) {
		if s == webrtc.ICEConnectionStateConnected || s == webrtc.ICEConnectionStateCompleted {
			l.paired.Store(true)
		}
	})
	opened := make(chan *rtcChannel, 1)
	attach := func(dc *webrtc.DataChannel) {
		dc.OnOpen(func() {
			rw, err := dc.Detach()
			if err != nil {
				l.cancel()
				return
			}
			select {
			case opened <- &rtcChannel{link: l, dc: dc, rw: rw}:
			default: // a second channel: nobody reads it
				_ = rw.Close()
			}
		})
	}
	if l.initiator {
		dc, err := pc.CreateDataChannel("essaim", nil) // ordered and reliable
		if err != nil {
			return
		}
		attach(dc)
	} else {
		pc.OnDataChannel(attach)
	}
	ctx, cancel := context.WithTimeout(l.ctx, within)
	defer cancel()
	if err := negotiate(ctx, pc); err != nil {
		if errors.Is(err, errUnanswered) {
			l.tell(announce.FateAnswer)
		}
		return
	}
	select {
	case ch := <-opened:
		cancel()
		l.tell(announce.FateConnected)
		reading = l.serve(pc, ch)
	case <-ctx.Done():
		if l.failed.Load() || l.ctx.Err() == nil { // and not we who ended it
			l.tell(l.stage(pc))
		}
	}
}

// tell notes for the tracker what became of the introduction.
func (l *link) tell(f announce.Fate) {
	h := l.rtc.host
	h.do(func() { h.door.tell(l.id, f) })
}

// stage is how far a connection came that did not open. What ICE found is remembered: to ask pion's transport for it while its negotiation is
// under way would be a race.
func (l *link) stage(pc *webrtc.PeerConnection) announce.Fate {
	switch {
	case !l.paired.Load():
		return announce.FateICE
	case pc.SCTP().Transport().State() != webrtc.DTLSTransportStateConnected:
		return announce.FateDTLS
	}
	return announce.FateChannel
}

// api makes connections whose handshake ends with the link. Without a context of its own pion's would not always: an
// endpoint that is made just when the connection is being closed is closed by nobody, and who waits on it for the other
// side's first flight waits for ever, as does the closing for it.
func (l *link) api() *webrtc.API {
	s := l.rtc.settings
	s.SetDTLSConnectContextMaker(func() (context.Context, func()) { return context.WithTimeout(l.ctx, connectTimeout) })
	return webrtc.NewAPI(webrtc.WithSettingEngine(s))
}

// end closes the connection, by closing, and reports whether it is gone. It waits for closeTimeout at most, since a host that
// never closes is worse than a connection that is left behind: where the other side closes while SCTP is being set up,
// pion/sctp 1.11.1 may wait for ever to tell a second time that it is, and closing waits for it, before ICE's turn.
func (l *link) end(closing func()) (gone bool) {
	l.cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closing()
	}()
	limit := time.NewTimer(closeTimeout)
	defer limit.Stop()
	select {
	case <-closed:
		return true
	case <-limit.C:
		return false
	}
}

// offer asks the peer through the tracker.
func (l *link) offer(ctx context.Context, pc *webrtc.PeerConnection) error {
	d, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	sdp, err := l.local(ctx, pc, d)
	if err != nil {
		return err
	}
	var id announce.OfferID
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	answer, err := l.rtc.host.door.offer(ctx, l.id, id, sdp)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errUnanswered
	case err != nil:
		return err
	}
	return pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: l.remote(answer)})
}

// answer takes an offer up.
func (l *link) answer(ctx context.Context, pc *webrtc.PeerConnection, offer announce.OfferID, sdp string) error {
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: l.remote(sdp)}); err != nil {
		return err
	}
	d, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	own, err := l.local(ctx, pc, d)
	if err != nil {
		return err
	}
	l.rtc.host.door.answer(l.id, offer, own)
	return nil
}

// local settles our description, with the candidates that were gathered in time.
func (l *link) local(ctx context.Context, pc *webrtc.PeerConnection, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	limit := time.NewTimer(gatherTimeout)
	defer limit.Stop()
	select {
	case <-gathered:
	case <-limit.C:
		l.rtc.doubt()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	own := pc.LocalDescription()
	if own == nil {
		return "", errors.New("no local description")
	}
	sdp := own.SDP
	if !l.rtc.host.cfg.LAN {
		sdp = withoutPrivate(sdp)
	}
	if len(sdp) > announce.SDPMax {
		return "", fmt.Errorf("session description of %d bytes", len(sdp))
	}
	return sdp, nil
}

// remote is a peer's description without candidates that policy forbids, or that are too many.
func (l *link) remote(sdp string) string {
	if !l.rtc.host.cfg.LAN {
		sdp = withoutPrivate(sdp)
	}
	return capCandidates(sdp)
}

// serve carries a channel until it ends. What it returns is closed when nobody reads from the channel any more, which closing
// the connection brings about; nil: nobody ever did.
func (l *link) serve(pc *webrtc.PeerConnection, ch *rtcChannel) <-chan struct{} {
	h := l.rtc.host
	ch.dc.SetBufferedAmountLowThreshold(queueHigh)
	ch.dc.OnBufferedAmountLow(func() { // called with pion's locks held: must not wait
		select {
		case l.low <- struct{}{}:
		default:
		}
	})
	if !h.do(func() {
		if l.ctx.Err() == nil {
			l.told, l.open = true, true
			h.core.connectedAs(l.ref, ch, l.id[:], l.flags())
		}
	}) {
		return nil
	}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		buf := make([]byte, readBuffer)
		for {
			n, err := ch.rw.Read(buf)
			if err != nil || !h.do(func() { h.core.received(l.ref, buf[:n]) }) {
				return
			}
		}
	}()
	var trips roundTrips
	for {
		select {
		case <-l.low:
			h.do(func() { h.core.drained(l.ref) })
		case <-l.measure:
			if rtt := trips.measure(pc); rtt > 0 {
				h.do(func() { h.core.measured(l.ref, rtt) })
			}
		case <-reading:
			return reading
		case <-l.ctx.Done():
			return reading
		}
	}
}

// flags are what the engine is told of the connection.
func (l *link) flags() (f engine.Flags) {
	if l.initiator {
		f |= engine.FlagInitiator
	}
	if l.far {
		f |= engine.FlagFar
	}
	return f
}

// roundTrips reads what ICE's checks of the selected pair found, which pion repeats every two seconds. SCTP's own estimate would
// come more often, but it counts the other side's delayed acknowledgements (RFC 9260 section 6.2: up to 200 ms) as way.
type roundTrips struct {
	answers uint64
	total   float64 // seconds
}

// measure returns the mean of the checks answered since the last call; 0: there were none.
func (t *roundTrips) measure(pc *webrtc.PeerConnection) time.Duration {
	sctp := pc.SCTP()
	if sctp == nil {
		return 0
	}
	s, ok := sctp.Transport().ICETransport().GetSelectedCandidatePairStats()
	if !ok {
		return 0
	}
	return t.since(uint64(s.ResponsesReceived), s.TotalRoundTripTime)
}

// since returns the mean of the round trips that both sums, of answers and of seconds, grew by.
func (t *roundTrips) since(answers uint64, total float64) time.Duration {
	n, d := answers-t.answers, total-t.total
	grew := answers > t.answers && d > 0
	t.answers, t.total = answers, total // smaller where another pair was selected
	if !grew {
		return 0
	}
	return time.Duration(d / float64(n) * float64(time.Second))
}

// rtcChannel is a detached data channel.
type rtcChannel struct {
	link *link
	dc   *webrtc.DataChannel
	rw   datachannel.ReadWriteCloser
}

// Send queues without waiting: pion's writes do not block, and the core watches the queue.
func (c *rtcChannel) Send(b []byte) error {
	_, err := c.rw.Write(b)
	return err
}

func (c *rtcChannel) Queued() int { return int(c.dc.BufferedAmount()) }

// Close is called by the core, which does not want to hear of the end.
func (c *rtcChannel) Close() {
	c.link.told = false
	c.link.cancel()
}
