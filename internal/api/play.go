package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"essaim/internal/vod"
)

// ticketLife is how long a play session's tickets are good for; the heartbeat renews them at half of it.
const ticketLife = 10 * time.Minute

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
	report  vod.Heartbeat
	seen    time.Time
	bans    []vod.BannedPeer // of the report, those that the one before did not name
	told    int              // how many were told of so far

	place     place
	rehearsal vod.RehearsalLabel // empty for a viewer's
	until     time.Time          // of a rehearsal: the end of the operator's token
}

// swarms says whether the session has a swarm: that of an open title, or its rehearsal's own. The tracker would let ticket
// holders into that of a members' title; but what it holds is clear text yet, and must not lie in others' caches.
func (x *play) swarms(open bool) bool { return open || x.rehearsal != "" }

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

// beat records a report, and returns the session; false for one that is not known.
func (p *plays) beat(id string, report vod.Heartbeat) (play, bool) {
	now := p.clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	x, ok := p.byID[id]
	if !ok {
		return play{}, false
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
	t, d, err := s.visible(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	x := play{
		id: newSessionID(), title: t.ID, version: t.Version.ID, member: d.Member.ID, device: d.ID, share: s.shares(in),
		place: s.placeOf(ctx),
	}
	out, err := s.begin(ctx, &t, &x)
	if err != nil {
		return nil, err
	}
	s.plays.add(x)
	s.opened(&x, &t)
	return out, nil
}

// shares is the viewer's answer; unanswered is yes in a demonstration only.
func (s *Server) shares(in *playInput) bool {
	if in.Body.Share != nil {
		return *in.Body.Share
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
		Nodes:   vod.PlayNodes{Origins: []string{"/"}, Trackers: []string{}, ICE: []string{}},
		Tickets: tickets, Policy: s.policyFor(x, t.Open), Protection: s.protection(t),
	}}
	if x.swarms(t.Open) {
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
	if x.rehearsal != "" {
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
	if !x.swarms(t.Open) {
		return out, nil
	}
	ticket.Audience = vod.AudienceSwarm
	out.Swarm, err = s.c.Tickets.Issue(ticket)
	return out, err
}

// policyFor is what the operator allows and this viewer agreed to, where there is a swarm.
func (s *Server) policyFor(x *play, open bool) vod.PlayPolicy {
	p := s.policy.Get()
	p.P2P = p.P2P && x.swarms(open) && x.share && s.policy.admits(x)
	p.Upload = p.P2P
	p.LAN = p.LAN || x.rehearsal != "" // its viewers are one operator's, often on one machine
	return p
}

func (s *Server) heartbeat(ctx context.Context, in *heartbeatInput) (*heartbeatOutput, error) {
	if err := checkReport(&in.Body); err != nil {
		return nil, err
	}
	ticket, err := s.c.Tickets.Check(vod.AudienceMedia, visitorOf(ctx).bearer)
	if err != nil {
		return nil, newProblem(http.StatusUnauthorized, "unauthorized", "The ticket is no longer good: press play again.")
	}
	if ticket.PlaySession != in.Session {
		return nil, vod.ErrForbidden
	}
	t, err := s.c.Titles.Get(ctx, ticket.Title)
	if err != nil {
		return nil, err
	}
	if ticket.Rehearsal != "" {
		x, ok := s.rehearsals.beat(in.Session, in.Body)
		if !ok {
			return nil, newProblem(http.StatusUnauthorized, "unauthorized", "The rehearsal's session is over: begin another.")
		}
		return s.beaten(ctx, &x, &t)
	}
	if !t.Open {
		// Who has signed out meanwhile watches no further than this ticket.
		if d, err := s.session(ctx); err != nil {
			return nil, err
		} else if d.ID != ticket.Device {
			return nil, vod.ErrUnauthorized
		}
	}
	x, ok := s.plays.beat(in.Session, in.Body)
	if !ok {
		// The service has started anew. The ticket proves the session; consent is not in it, and unanswered is no.
		x = play{
			id: ticket.PlaySession, title: ticket.Title, version: ticket.Version, member: ticket.Member,
			device: ticket.Device, report: in.Body, bans: newBans(nil, in.Body.Banned, vod.BannedMax),
		}
		x.told = len(x.bans)
		s.plays.add(x)
	}
	s.reported(ctx, &x, &t)
	return s.beaten(ctx, &x, &t)
}

// beaten is the answer to a heartbeat of x, a session of t.
func (s *Server) beaten(ctx context.Context, x *play, t *vod.Title) (*heartbeatOutput, error) {
	tickets, err := s.tickets(x, t)
	if err != nil {
		return nil, err
	}
	for _, b := range x.bans {
		s.log.WarnContext(ctx, "a viewer banned a peer", "session", x.id, "title", x.title, "rehearsal", x.rehearsal, "peer_id", b.PeerID, "proven", b.Proven)
	}
	s.log.DebugContext(ctx, "heartbeat", "session", x.id, "title", x.title, "rehearsal", x.rehearsal, "report", x.report)
	return &heartbeatOutput{Body: vod.HeartbeatReply{Tickets: tickets, Policy: s.policyFor(x, t.Open)}}, nil
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
