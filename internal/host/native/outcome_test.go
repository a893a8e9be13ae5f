package native

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/engine"
)

// goodbye ends a host's sharing and returns what its last announce says of introductions.
func goodbye(t *testing.T, ctx context.Context, p *place, h *Host) []announce.Outcome {
	t.Helper()
	h.SetPolicy(Policy{})
	for {
		select {
		case r := <-p.meeting.seen:
			if r.PeerID == h.PeerID() && r.Event == announce.EventStopped {
				return r.Viewer.Outcomes
			}
		case <-ctx.Done():
			t.Fatal("no goodbye")
		}
	}
}

func TestBothSidesTellTheTrackerThatTheyConnected(t *testing.T) {
	p := newPlace(t, newFilm(t, 1<<20))
	ctx := deadline(t)
	var hosts [2]*Host
	var ups [2]<-chan struct{}
	for i := range hosts {
		cfg := p.config()
		cfg.Note, ups[i] = awaitNote(engine.NotePeerUp)
		hosts[i] = open(t, cfg)
		hosts[i].Moved(inNoHurry)
	}
	for i := range hosts {
		await(t, ctx, ups[i], "a peer")
	}
	for i, h := range hosts {
		want := announce.Outcome{PeerID: hosts[1-i].PeerID(), Fate: announce.FateConnected}
		if got := goodbye(t, ctx, p, h); !slices.Contains(got, want) {
			t.Errorf("host %d tells %+v, want %+v", i, got, want)
		}
	}
}

// failing opens a host that will meet somebody, and returns what it tells of that once the engine has heard of the end.
func failing(t *testing.T, p *place) []announce.Outcome {
	t.Helper()
	ctx := deadline(t)
	cfg := p.config()
	e := &heard{newEngine(), engine.PeerClosed, make(chan engine.Input, 1)}
	cfg.Engine = e
	h := open(t, cfg)
	h.do(func() { h.rtc.within = time.Second })
	h.Moved(inNoHurry)
	select {
	case <-e.said:
	case <-ctx.Done():
		t.Fatal("the dial does not fail")
	}
	return goodbye(t, ctx, p, h)
}

func TestOfferThatNobodyAnswersIsTold(t *testing.T) {
	p := newPlace(t, newFilm(t, 1<<20))
	nobody := bt.PeerID([]byte("-ES0001-nobodythere!"))
	p.meeting.socks[nobody] = nil
	if got, want := failing(t, p), (announce.Outcome{PeerID: nobody, Fate: announce.FateAnswer}); !slices.Contains(got, want) {
		t.Errorf("tells %+v, want %+v", got, want)
	}
}

func TestPairWithoutAPathIsTold(t *testing.T) {
	p := newPlace(t, newFilm(t, 1<<20))
	p.meeting.bend = func(sdp string) string { // to where nobody answers
		return eachLine(sdp, func(line string) string {
			f := strings.Fields(line)
			if strings.HasPrefix(line, "a=candidate:") && len(f) > 5 {
				f[4], f[5] = "192.0.2.1", "9"
				line = strings.Join(f, " ")
			}
			return line
		})
	}
	other := open(t, p.config())
	other.Moved(inNoHurry)
	ctx := deadline(t)
	select { // it is in the swarm
	case <-p.meeting.seen:
	case <-ctx.Done():
		t.Fatal("no announce")
	}
	if got, want := failing(t, p), (announce.Outcome{PeerID: other.PeerID(), Fate: announce.FateICE}); !slices.Contains(got, want) {
		t.Errorf("tells %+v, want %+v", got, want)
	}
}

func TestOfferBeyondTheBudgetIsToldAndNotTaken(t *testing.T) {
	p := newPlace(t, newFilm(t, 100_000))
	h := open(t, p.config())
	from := bt.PeerID([]byte("-ES0001-onetoomanyyy"))
	h.do(func() {
		for n := range engine.PeerRef(connectionsMax) {
			h.rtc.links[1000+n] = nil
		}
		h.rtc.offered(from, announce.OfferID{1}, "v=0\r\n", false)
		if got := h.door.outcomes; !slices.Equal(got, []announce.Outcome{{PeerID: from, Fate: announce.FateBudget}}) || h.rtc.made.Load() != 0 {
			t.Errorf("tells %+v, made %d", got, h.rtc.made.Load())
		}
		clear(h.rtc.links)
		for range 2 * announce.OutcomesMax {
			h.door.tell(from, announce.FateICE)
		}
		if n := len(h.door.outcomes); n != announce.OutcomesMax {
			t.Errorf("%d outcomes wait", n)
		}
	})
}

func TestSTUNServerThatDoesNotAnswerIsDroppedForTheSession(t *testing.T) {
	server := func(answer bool) string {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 1500)
			for {
				n, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				m := stun.Message{Raw: buf[:n]}
				if m.Decode() != nil || !answer {
					continue
				}
				at := from.(*net.UDPAddr)
				reply := stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess, &stun.XORMappedAddress{IP: at.IP, Port: at.Port})
				_, _ = c.WriteTo(reply.Raw, from)
			}
		}()
		return "stun:" + c.LocalAddr().String()
	}
	dead, live := server(false), server(true)
	f := newFilm(t, 1<<20)
	p := newPlace(t, f)
	cfg := p.config()
	cfg.ICE = []string{dead, live}
	h := open(t, cfg)
	h.rtc.sift([]string{dead, live})
	if c := h.rtc.configuration(); len(c.ICEServers) != 1 || !slices.Equal(c.ICEServers[0].URLs, []string{live}) {
		t.Errorf("asked henceforth: %+v", c.ICEServers)
	}
	// And a pair that has nothing but a dead one meets all the same.
	ctx := deadline(t)
	var ups [2]<-chan struct{}
	for i := range ups {
		cfg := p.config()
		cfg.ICE = []string{dead}
		cfg.Note, ups[i] = awaitNote(engine.NotePeerUp)
		open(t, cfg).Moved(inNoHurry)
	}
	for _, up := range ups {
		await(t, ctx, up, "a peer")
	}
}
