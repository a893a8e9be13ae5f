package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"essaim/internal/vod"
)

const (
	// ticketLife is how long a play session's tickets are good for; the heartbeat renews them at half of it.
	ticketLife = 10 * time.Minute
	// heartbeatEvery is how often players report: as often as streams must be heard of, with room for a few to get lost.
	heartbeatEvery = 30 * time.Second
)

// Policy is what the operator allows, for the whole service and for the moment. It is safe for concurrent use.
type Policy struct {
	mu    sync.Mutex
	p     vod.PlayPolicy
	heard []func(vod.PlayPolicy)
	rules rules
}

// NewPolicy starts with p. Its Upload is not looked at: that is each viewer's own word.
func NewPolicy(p vod.PlayPolicy) *Policy { return &Policy{p: p, rules: rules{policy: rulesOf(p)}} }

// Get is the policy of the moment.
func (p *Policy) Get() vod.PlayPolicy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.p
}

// Set changes the policy. Players learn of it with their next heartbeat, if nobody who watches tells them before.
func (p *Policy) Set(to vod.PlayPolicy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p = to
	for _, f := range p.heard {
		f(to)
	}
}

// Watch has f called with the policy of the moment and with every one that follows, in order. f must not use the Policy.
func (p *Policy) Watch(f func(vod.PlayPolicy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, f)
	f(p.p)
}

// play is a play session as the server remembers it.
type play struct {
	id      string
	title   vod.TitleID
	version string
	member  string // empty for a stranger
	device  string
	share   bool
	highest vod.Tier // of the pictures that the member's plan includes; empty: not known, when the service has started anew
	report  vod.Heartbeat
	seen    time.Time
	bans    []vod.BannedPeer // of the report, those that the one before did not name
	told    int              // how many were told of so far

	place     place
	rehearsal vod.RehearsalLabel // empty for a viewer's
	until     time.Time          // when it ends at the latest: a rehearsal's with the operator's token, a member's with their plan
}

// swarms says whether the session has a swarm: that of an open title or of an encrypted one, or its rehearsal's own. What a members'
// title published in the clear, before there was encryption, must not lie in others' caches.
func (x *play) swarms(t *vod.Title) bool {
	return t.Open || t.Version.Scheme != vod.Clear || x.rehearsal != ""
}

const (
	playIdle = time.Hour // a player that slept so long presses play again
	playsMax = 100_000   // 40 MB
)

// plays holds the running play sessions.
type plays struct {
	clock vod.Clock
	mu    sync.Mutex
	byID  map[string]*play
	swept time.Time
}

func newPlays(clock vod.Clock) *plays {
	return &plays{clock: clock, byID: map[string]*play{}, swept: clock()}
}

// add remembers a session. When there are too many, some other is forgotten: its next heartbeat brings it back, without
// the consent to share.
func (p *plays) add(x play) {
	now := p.clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.swept) > time.Minute {
		p.swept = now
		for id, old := range p.byID {
			if now.Sub(old.seen) > playIdle {
				delete(p.byID, id)
			}
		}
	}
	for id := range p.byID {
		if len(p.byID) < playsMax {
			break
		}
		delete(p.byID, id)
	}
	x.seen = now
	p.byID[x.id] = &x
}

// newBans is what now names and before did not, at most so many of them: a player cannot fill the log by naming others every time.
func newBans(before, now []vod.BannedPeer, most int) (list []vod.BannedPeer) {
	for _, b := range now {
		if len(list) < most && !slices.Contains(before, b) && !slices.Contains(list, b) {
			list = append(list, b)
		}
	}
	return list
}

// look is what is remembered of a session.
func (p *plays) look(id string) (play, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x, ok := p.byID[id]; ok {
		return *x, true
	}
	return play{}, false
}

// remove forgets a session.
func (p *plays) remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}

// beat records a report, and returns the session; false for one that is not known.
func (p *plays) beat(id string, report vod.Heartbeat) (play, bool) {
	now := p.clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	x, ok := p.byID[id]
	if !ok {
		return play{}, false
	}
	if report.Share != nil {
		x.share = *report.Share
	}
	before := x.report.Banned
	x.report, x.seen = report, now
	x.bans = newBans(before, report.Banned, vod.BannedMax-x.told)
	x.told += len(x.bans)
	return *x, true
}

type playInput struct {
	ID   string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
	Body struct {
		Share     *bool               `json:"share,omitempty" doc:"The viewer agrees to give bytes to other viewers. Unanswered is no, except in a demonstration, which says so."`
		Rehearsal *vod.RehearsalLabel `json:"rehearsal,omitempty" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9-]+$" doc:"With an operator's token: the session is of the rehearsal with this label. It needs no account, meets its own label's sessions only, and is counted apart."`
	}
}

type playOutput struct {
	Body vod.PlaySession
}

type heartbeatInput struct {
	Session string `path:"session" maxLength:"64"`
	Body    vod.Heartbeat
}

type heartbeatOutput struct {
	Body vod.HeartbeatReply
}

func (s *Server) registerPlay() {
	press := op("play", "POST", "/api/v1/titles/{id}/play", "Press play", 200)
	press.Security = []map[string][]string{{}, {"session": {}}, {"operator": {}}} // the last for rehearsals
	register(s, press, s.play)
	register(s, op("heartbeat", "POST", "/api/v1/play/{session}/heartbeat",
		"Report, renew the tickets, and learn the policy of the moment", 200, "media"), s.heartbeat)
}

func (s *Server) play(ctx context.Context, in *playInput) (*playOutput, error) {
	if in.Body.Rehearsal != nil {
		return s.rehearse(ctx, in)
	}
	t, v, err := s.visible(ctx, in.ID)
	if err != nil {
		return nil, s.notNow(ctx, vod.TitleID(in.ID), err)
	}
	d := v.d
	x := play{
		id: newSessionID(), title: t.ID, version: t.Version.ID, member: d.Member.ID, device: d.ID, share: s.shares(in.Body.Share),
		place: s.placeOf(ctx),
	}
	plan, err := s.entitled(ctx, &t, &x)
	if err != nil {
		return nil, err
	}
	x.highest = plan.Highest
	if err := s.beginStream(ctx, &t, &x, &d, plan.Streams); err != nil {
		return nil, err
	}
	out, err := s.begin(ctx, &t, &x)
	if err != nil {
		s.endStream(ctx, &x)
		return nil, err
	}
	s.plays.add(x)
	s.opened(&x, &t)
	return out, nil
}

// shares is the viewer's answer; unanswered is yes in a demonstration only.
func (s *Server) shares(answer *bool) bool {
	if answer != nil {
		return *answer
	}
	return s.c.Demo != nil
}

// begin is what the player of a new session x of t is told.
func (s *Server) begin(ctx context.Context, t *vod.Title, x *play) (*playOutput, error) {
	tickets, err := s.tickets(x, t)
	if err != nil {
		return nil, err
	}
	files, err := s.files(ctx, t)
	if err != nil {
		return nil, err
	}
	v := &t.Version
	out := &playOutput{Body: vod.PlaySession{
		ID: x.id, Title: t.ID, Name: t.Name, DurationMs: v.DurationMs, InfoHash: v.InfoHashV1.String(),
		InfoHashV2: v.InfoHashV2.String(), PieceLength: v.PieceLength, Files: files, Manifest: v.Manifest,
		Nodes:   vod.PlayNodes{Origins: s.origins(ctx, t, x), Trackers: []string{}, ICE: []string{}},
		Tickets: tickets, Policy: s.policyFor(x, t), Protection: s.protection(t, x),
		Subtitles: playSubtitles(t), Storyboard: playStoryboard(t),
		HeartbeatMs: heartbeatEvery.Milliseconds(),
	}}
	if x.swarms(t) {
		out.Body.Nodes.Trackers = []string{"/tracker"}
		out.Body.Nodes.ICE = append(out.Body.Nodes.ICE, s.c.ICE...)
	}
	if t.Open && x.rehearsal == "" { // who rehearses meets nobody else
		out.Body.Nodes.Announce = []string{announcePath}
	}
	return out, nil
}

func (s *Server) files(ctx context.Context, t *vod.Title) ([]vod.PlayFile, error) {
	files := make([]vod.PlayFile, len(t.Version.Files))
	for i := range t.Version.Files {
		f := &t.Version.Files[i]
		first, err := s.c.Hashes.FirstHashes(ctx, t, f)
		if err != nil {
			return nil, err
		}
		segments := make([][4]uint64, len(f.Index))
		for j, x := range f.Index {
			segments[j] = [4]uint64{x.From, x.To, uint64(x.StartMs), uint64(x.DurationMs)}
		}
		files[i] = vod.PlayFile{
			Path: f.Path, Size: f.Size, Root: f.Root.String(), FirstPiece: f.FirstPiece, Kind: f.Kind, Codec: f.Codec,
			Bandwidth: f.Bandwidth, Height: f.Height, Segments: segments, First: first,
		}
		if !f.KID.IsZero() {
			files[i].KID = f.KID.String()
		}
	}
	return files, nil
}

// tickets issues a session's tickets for t: for the swarm only where there is one, for keys only to members where there are
// some.
func (s *Server) tickets(x *play, t *vod.Title) (vod.PlayTickets, error) {
	now := s.c.Clock()
	ticket := vod.Ticket{
		Audience: vod.AudienceMedia, PlaySession: x.id, Member: x.member, Device: x.device, Title: x.title,
		Version: x.version, Rehearsal: x.rehearsal, Expires: now.Add(ticketLife),
	}
	if !x.until.IsZero() {
		ticket.Expires = earlier(ticket.Expires, x.until)
	}
	out := vod.PlayTickets{ExpiresMs: ticket.Expires.Sub(now).Milliseconds()}
	var err error
	if out.Media, err = s.c.Tickets.Issue(ticket); err != nil {
		return out, err
	}
	if t.Version.Scheme != vod.Clear && x.member != "" {
		ticket.Audience = vod.AudienceLicense
		if out.License, err = s.c.Tickets.Issue(ticket); err != nil {
			return out, err
		}
	}
	if !x.swarms(t) {
		return out, nil
	}
	ticket.Audience = vod.AudienceSwarm
	if out.Swarm, err = s.c.Tickets.Issue(ticket); err != nil || s.c.Relays == nil {
		return out, err
	}
	ticket.Audience = vod.AudienceRelay
	relay, err := s.c.Relays.RelayCredentials(ticket)
	out.Relay = &relay
	return out, err
}

// policyFor is what the operator allows and this viewer agreed to, where there is a swarm.
func (s *Server) policyFor(x *play, t *vod.Title) vod.PlayPolicy {
	p := s.policy.Get()
	p.P2P = p.P2P && x.swarms(t) && x.share && s.policy.admits(x)
	p.Upload = p.P2P
	p.LAN = p.LAN || x.rehearsal != "" // its viewers are one operator's, often on one machine
	return p
}

// mediaTicket is the media ticket that a request for a play session shows. Where the session has ended, the answer says why.
func (s *Server) mediaTicket(ctx context.Context, session string) (vod.Ticket, error) {
	ticket, err := s.c.Tickets.Check(vod.AudienceMedia, visitorOf(ctx).bearer)
	var revoked *vod.RevokedError
	switch {
	case errors.As(err, &revoked):
		return ticket, ended(revoked.Why)
	case err != nil:
		return ticket, newProblem(http.StatusUnauthorized, "unauthorized", "The ticket is no longer good: press play again.")
	case ticket.PlaySession != session:
		return ticket, vod.ErrForbidden
	}
	return ticket, nil
}

func (s *Server) heartbeat(ctx context.Context, in *heartbeatInput) (*heartbeatOutput, error) {
	if err := checkReport(&in.Body); err != nil {
		return nil, err
	}
	ticket, err := s.mediaTicket(ctx, in.Session)
	if err != nil {
		return nil, err
	}
	if in.Body.Last {
		return s.goodbye(ctx, &ticket, in.Body)
	}
	t, err := s.c.Titles.Get(ctx, ticket.Title)
	if errors.Is(err, vod.ErrNotFound) {
		return nil, ended(s.gone(ctx, ticket.Title))
	}
	if err != nil {
		return nil, err
	}
	if ticket.Rehearsal != "" {
		x, ok := s.rehearsals.beat(in.Session, in.Body)
		if !ok {
			return nil, newProblem(http.StatusUnauthorized, "unauthorized", "The rehearsal's session is over: begin another.")
		}
		return s.beaten(ctx, &x, &t, &ticket)
	}
	var d vod.DeviceSession
	if !t.Open {
		// Who has signed out meanwhile watches no further than this ticket.
		if d, err = s.session(ctx); err != nil {
			return nil, err
		}
		if d.ID != ticket.Device {
			return nil, vod.ErrUnauthorized
		}
	}
	x, ok := s.plays.beat(in.Session, in.Body)
	if !ok {
		// The service has started anew. The ticket proves the session, and the player repeats what the viewer agreed to.
		x = play{
			id: ticket.PlaySession, title: ticket.Title, version: ticket.Version, member: ticket.Member, share: s.shares(in.Body.Share),
			device: ticket.Device, report: in.Body, bans: newBans(nil, in.Body.Banned, vod.BannedMax),
		}
		x.told = len(x.bans)
		s.plays.add(x)
	}
	if !t.Open {
		if err := s.continued(ctx, &t, &x, &d); err != nil {
			return nil, err
		}
	}
	s.reported(ctx, &x, &t)
	return s.beaten(ctx, &x, &t, &ticket)
}

// continued renews the stream of x, a member's session of t, unless their plan allows it no more: then it is over, and the
// answer says why.
func (s *Server) continued(ctx context.Context, t *vod.Title, x *play, d *vod.DeviceSession) error {
	plan, err := s.entitled(ctx, t, x)
	why := vod.PlayEndOf(err)
	if why == "" {
		if err != nil || s.c.Streams == nil {
			return err
		}
		err = s.c.Streams.Beat(ctx, x.id)
		if errors.Is(err, vod.ErrNotFound) {
			if x.highest == "" { // the service has started anew
				x.highest = plan.Highest
			}
			err = s.beginStream(ctx, t, x, d, plan.Streams)
		}
		var full *Problem
		if !errors.As(err, &full) {
			if err != nil { // it cannot be written just now; what runs goes on
				s.log.WarnContext(ctx, "a stream cannot be renewed", "session", x.id, "error", err)
			}
			return nil
		}
		why = vod.EndTakenOver
	}
	s.plays.remove(x.id)
	if s.c.Ends != nil {
		if err := s.c.Ends.EndPlay(ctx, x.id, why); err != nil {
			return err
		}
	}
	return ended(why)
}

// goodbye ends a session whose player leaves.
func (s *Server) goodbye(ctx context.Context, ticket *vod.Ticket, report vod.Heartbeat) (*heartbeatOutput, error) {
	s.log.DebugContext(ctx, "goodbye", "session", ticket.PlaySession, "title", ticket.Title, "report", report)
	x, ok := s.plays.beat(ticket.PlaySession, report)
	if !ok { // the service has started anew
		x = play{id: ticket.PlaySession, title: ticket.Title, member: ticket.Member, rehearsal: ticket.Rehearsal, report: report}
	}
	if t, err := s.c.Titles.Get(ctx, ticket.Title); err == nil { // else nobody counts it any more
		s.reported(ctx, &x, &t)
	}
	s.plays.remove(ticket.PlaySession)
	if s.c.Streams != nil && ticket.Member != "" && ticket.Rehearsal == "" {
		if err := s.c.Streams.End(ctx, ticket.PlaySession); err != nil {
			return nil, err
		}
	}
	return &heartbeatOutput{}, nil
}

// endStream takes back what beginStream did.
func (s *Server) endStream(ctx context.Context, x *play) {
	if s.c.Streams == nil || x.member == "" {
		return
	}
	if err := s.c.Streams.End(context.WithoutCancel(ctx), x.id); err != nil {
		s.log.WarnContext(ctx, "a stream cannot be ended", "session", x.id, "error", err)
	}
}

// beaten is the answer to a heartbeat of x, a session of t, that showed ticket. New tickets come at half the old ones' life,
// and no sooner: a tracker is told of each.
func (s *Server) beaten(ctx context.Context, x *play, t *vod.Title, ticket *vod.Ticket) (*heartbeatOutput, error) {
	out := &heartbeatOutput{Body: vod.HeartbeatReply{Policy: s.policyFor(x, t), HeartbeatMs: heartbeatEvery.Milliseconds()}}
	if ticket.Expires.Sub(s.c.Clock()) <= ticketLife/2+heartbeatEvery/2 {
		tickets, err := s.tickets(x, t)
		if err != nil {
			return nil, err
		}
		out.Body.Tickets = &tickets
	}
	for _, b := range x.bans {
		s.log.WarnContext(ctx, "a viewer banned a peer", "session", x.id, "title", x.title, "rehearsal", x.rehearsal, "peer_id", b.PeerID, "proven", b.Proven)
	}
	s.log.DebugContext(ctx, "heartbeat", "session", x.id, "title", x.title, "rehearsal", x.rehearsal, "report", x.report)
	return out, nil
}

// checkReport refuses what no player could have counted.
func checkReport(h *vod.Heartbeat) error {
	for _, n := range h.Counts() {
		if n < 0 || n > 1<<50 {
			return fmt.Errorf("%w: a report of %d", vod.ErrInvalid, n)
		}
	}
	return nil
}

// newSessionID is a random identifier of 128 bits.
func newSessionID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("api: no randomness: " + err.Error())
	}
	return hex.EncodeToString(b[:])
}
