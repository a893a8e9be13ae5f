package tracker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/vod"
)

// gone is an issuer that has been away since a minute before the tests' tickets expire.
type gone struct{}

func (gone) Away() (time.Time, bool) { return ticketEnd.Add(-time.Minute), true }

func TestPlacesOutliveAnIssuerThatIsAwayButNoRevocation(t *testing.T) {
	var now atomic.Int64 // after the tickets' end
	clock := func() time.Time { return ticketEnd.Add(time.Duration(now.Load())) }
	now.Store(int64(-time.Second))
	tr, url := serve(t, Config{LAN: true, Clock: clock, Issuer: gone{}})
	a, b, c := dial(t, url, 1), dial(t, url, 2), dial(t, url, 3)
	a.reply(inside(membersTicket("s1", "ada", "d1")))
	b.reply(inside(membersTicket("s2", "bob", "d2")))
	c.reply(inside(membersTicket("s3", "eve", "d3")))
	now.Store(int64(vod.TicketGrace - 2*time.Minute)) // and beyond swarm.Lifetime: they announce again, with the same tickets
	tr.sweep()
	for i, x := range []*client{a, b, c} {
		x.reply(inside(membersTicket([]string{"s1", "s2", "s3"}[i], []string{"ada", "bob", "eve"}[i], []string{"d1", "d2", "d3"}[i])))
	}
	still := renewal()
	still.InfoHash = closedHash
	a.send(still)
	a.quiet()
	offer := directed(announce.KindOffer, a.id, offerID(1))
	offer.InfoHash = closedHash
	b.send(offer)
	if m := a.receive(); m.Relayed == nil {
		t.Errorf("the offer arrives as %+v", m)
	}
	tr.Revoke([]vod.Revocation{{PlaySession: "s3"}})
	c.failure(reasonRevoked)
	c.closed(StatusRevoked)
	a.receive() // who is told to drop it
	b.receive()
	now.Store(int64(vod.TicketGrace))
	tr.sweep()
	for _, x := range []*client{a, b} {
		x.failure(reasonExpired)
		x.closed(StatusTicket)
	}
}

func TestAWithdrawnTitlesViewersAreSentAwayAndMayComeBackWhenItDoes(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	a, other := dial(t, url, 1), dial(t, url, 2)
	a.reply(inside(membersTicket("s1", "ada", "d1")))
	other.reply(ours(session("s2")))
	tr.Revoke([]vod.Revocation{{Title: "members", Why: vod.EndWithdrawn}})
	a.failure(reasonRevoked)
	a.closed(StatusRevoked)
	other.quiet()
	dial(t, url, 1).reply(inside(membersTicket("s1", "ada", "d1")))
}

// failing is a catalogue that can be made to fail.
type failing struct {
	catalogue
	broken atomic.Bool
}

func (f *failing) BySwarm(ctx context.Context, h bt.InfoHash) (vod.Title, error) {
	if f.broken.Load() {
		return vod.Title{}, vod.ErrUnavailable
	}
	return f.catalogue.BySwarm(ctx, h)
}

func TestWhatWasKnownLastHoldsWhileTheCatalogueCannotBeRead(t *testing.T) {
	now := still()
	from := &failing{}
	x := titles{from: from, clock: func() time.Time { return now }, known: map[bt.InfoHash]titleEntry{}}
	look := func(h bt.InfoHash) error { _, err := x.get(t.Context(), h); return err }
	if err := look(closedHash); err != nil {
		t.Fatal(err)
	}
	from.broken.Store(true)
	now = now.Add(vod.TicketGrace)
	if err := look(closedHash); err != nil {
		t.Errorf("within the grace: %v", err)
	}
	if err := look(openHash); err == nil {
		t.Error("what nobody has known is known")
	}
	now = now.Add(titleFresh)
	if err := look(closedHash); err == nil {
		t.Error("beyond the grace it is known")
	}
}
