package watch

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/host/native"
	"essaim/internal/vod"
)

// The rhythm of what goes on beside the reading.
const (
	reportEvery = 500 * time.Millisecond
	beatMin     = 5 * time.Second
	beatTimeout = 20 * time.Second
	beatRetry   = 5 * time.Second
	rateWindow  = 20 // reports over which the speed is taken
	// signOutTimeout is how long a farewell may hold up the end.
	signOutTimeout = 5 * time.Second
)

// side reports progress and the play head, and renews the tickets at half their life, until ctx ends.
func (v *viewer) side(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	beat := time.NewTimer(beatAfter(v.session.HeartbeatMs, v.session.Tickets.ExpiresMs))
	defer beat.Stop()
	beating := make(chan time.Duration)
	var busy bool
	var recent []int64
	for {
		select {
		case <-tick.C:
			if v.options.Speed > 0 {
				v.tell()
			}
			recent = append(recent, v.written())
			if len(recent) > rateWindow {
				recent = recent[1:]
			}
			v.progress(recent)
		case <-beat.C:
			busy = true
			go func() { beating <- v.beat(ctx) }()
		case d := <-beating:
			busy = false
			beat.Reset(d)
		case <-ctx.Done():
			if busy {
				<-beating
			}
			return
		}
	}
}

// beatAfter is when the service asked for the next heartbeat, after half the tickets' life at the latest.
func beatAfter(everyMs, expiresMs int64) time.Duration {
	if everyMs <= 0 {
		everyMs = expiresMs / 2
	}
	return max(time.Duration(min(everyMs, expiresMs/2))*time.Millisecond, beatMin)
}

// beat sends a report, takes the new tickets and policy, and says when the next is due. While the service cannot be
// reached the old tickets are used; it accepts them for a while.
func (v *viewer) beat(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	r, err := v.client.Heartbeat(ctx, v.session.ID, v.tickets.Load().Media, v.report())
	if err != nil {
		if errors.Is(err, vod.ErrForbidden) || errors.Is(err, vod.ErrUnauthorized) {
			return 6 * beatRetry // it will hardly change its mind
		}
		return beatRetry
	}
	if r.Tickets != nil {
		v.tickets.Store(r.Tickets)
	}
	v.host.SetPolicy(policy(r.Policy))
	return beatAfter(r.HeartbeatMs, v.tickets.Load().ExpiresMs)
}

// report is how it went so far: totals of the session.
func (v *viewer) report() vod.Heartbeat {
	s := v.host.Stats()
	now := time.Now()
	pos, _, _ := v.head.at(now)
	stalls, stalled, startup := v.head.quality(now)
	h := vod.Heartbeat{
		PositionMs: max(pos, 0), OriginBytes: s.OriginBytes, PeerBytes: s.PeerBytes, SentBytes: s.SentBytes, CachedBytes: s.CachedBytes,
		WastedBytes: s.WastedBytes, Stalls: stalls, StalledMs: stalled, StartupMs: startup, BadBlocks: s.BadBlocks, Banned: BannedPeers(&s),
		Met: Meetings(&s),
	}
	for _, t := range v.tracks {
		h.Height = max(h.Height, t.play.Height)
	}
	return h
}

// goodbye sends the last report: without it the service would never hear of what came since the one before.
func (v *viewer) goodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signOutTimeout)
	defer cancel()
	h := v.report()
	h.Last = true
	_, _ = v.client.Heartbeat(ctx, v.session.ID, v.tickets.Load().Media, h) // what is lost is lost
}

// Meetings is what became of a host's introductions, as a heartbeat reports it; nil for none.
func Meetings(s *native.Stats) *vod.Meetings {
	m := vod.Meetings{
		Connected: s.Met[announce.FateConnected], Answer: s.Met[announce.FateAnswer], ICE: s.Met[announce.FateICE],
		DTLS: s.Met[announce.FateDTLS], Channel: s.Met[announce.FateChannel], Budget: s.Met[announce.FateBudget],
	}
	for _, n := range s.Met {
		m.Introduced += n
	}
	if m.Introduced == 0 {
		return nil
	}
	return &m
}

// BannedPeers names those whom a host's engine has banned, as a heartbeat reports them.
func BannedPeers(s *native.Stats) (list []vod.BannedPeer) {
	for _, b := range s.Bans {
		list = append(list, vod.BannedPeer{PeerID: hex.EncodeToString(b.PeerID[:]), Proven: b.Proven})
	}
	return list
}

func (v *viewer) written() (n int64) {
	for _, t := range v.tracks {
		n += t.written.Load()
	}
	return n
}

// progress tells how far we are; recent are the bytes written at the last reports.
func (v *viewer) progress(recent []int64) {
	if v.options.Progress == nil {
		return
	}
	p := Progress{Bytes: recent[len(recent)-1], Elapsed: time.Since(v.started), Left: -1, Stats: v.host.Stats()}
	for _, t := range v.tracks {
		p.Total += t.play.Size
	}
	var until time.Time
	if p.Phase, until = v.head.phase(); p.Phase == Seeding {
		p.Left = max(0, time.Until(until))
	} else if v.options.Speed > 0 {
		pos, _, _ := v.head.at(time.Now())
		p.Left = time.Duration(float64(int64(v.session.DurationMs)-pos)/v.options.Speed) * time.Millisecond
	} else if got := p.Bytes - recent[0]; got > 0 {
		took := time.Duration(len(recent)-1) * reportEvery
		p.Left = time.Duration(float64(took) * float64(p.Total-p.Bytes) / float64(got))
	}
	v.options.Progress(p)
}
