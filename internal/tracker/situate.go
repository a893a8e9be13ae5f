package tracker

import (
	"net/netip"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/vod"
)

// Places tells where addresses are in the network. What it says orders introductions and nothing more: it may be wrong.
type Places interface {
	// Place must be safe for concurrent use, and quick: it is asked in every announce.
	Place(ip netip.Addr) swarm.Place
}

// warnEvery is how often one connection's exhausted introductions are logged.
const warnEvery = 10 * time.Minute

// situate adds to an announce where its sender is, whose it is, and what it tells of introductions. A rehearsal's viewers and
// those of a LAN are together on purpose: of them, nothing is said that would keep them apart or be counted.
func (s *socket) situate(a *swarm.Announce, req *announce.Request, ticket *vod.Ticket) {
	if v := req.Viewer; v != nil {
		for _, o := range v.Outcomes {
			a.Outcomes = append(a.Outcomes, swarm.Outcome{Peer: o.PeerID, Result: fates[o.Fate]})
		}
	}
	if s.lan() {
		return
	}
	a.Account = ticket.Member
	if a.Account != "" {
		a.Payer = "member " + a.Account
	}
	if places := s.tracker.cfg.Places; places != nil && !s.from.local && s.from.prefix.IsValid() {
		a.Place = places.Place(s.from.prefix.Addr())
		if a.Payer == "" {
			a.Payer = s.from.prefix.String()
		}
	}
}

var fates = map[announce.Fate]swarm.Fate{
	announce.FateConnected: swarm.Connected,
	announce.FateAnswer:    swarm.FailedAnswer,
	announce.FateICE:       swarm.FailedICE,
	announce.FateDTLS:      swarm.FailedDTLS,
	announce.FateChannel:   swarm.FailedChannel,
	announce.FateBudget:    swarm.FailedBudget,
}

// warn logs that somebody has been introduced to as many as may be within an hour: a viewer who has bad luck, or one who
// collects addresses.
func (s *socket) warn(spent bool, payer string) {
	now := s.tracker.cfg.Clock()
	if !spent || now.Before(s.warned) {
		return
	}
	s.warned = now.Add(warnEvery)
	s.tracker.cfg.Logger.Warn("introductions are used up for now", "of", payer, "socket", s.id)
}
