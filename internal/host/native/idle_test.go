package native

import (
	"testing"

	"essaim/internal/engine"
)

// silent is the world of a core that has a peer and nothing to do: it announces and fetches into the void.
type silent struct{ at *engine.Instant }

func (s silent) now() engine.Instant                        { return *s.at }
func (silent) announce(int64, uint32, uint32, engine.Flags) {}
func (silent) get(*fetch)                                   {}
func (silent) abort(*fetch)                                 {}
func (silent) dial(engine.PeerRef)                          {}
func (silent) undial(engine.PeerRef)                        {}
func (silent) measure(engine.PeerRef)                       {}
func (silent) answer(engine.Ref, []byte, error)             {}
func (silent) refuse(error)                                 {}
func (silent) noted(*engine.Output)                         {}

// cable is one direction of a channel; what is sent waits until the other side takes it.
type cable struct {
	sent   [][]byte
	closed bool
}

func (w *cable) Send(b []byte) error {
	w.sent = append(w.sent, append([]byte(nil), b...))
	return nil
}
func (*cable) Queued() int { return 0 }
func (w *cable) Close()    { w.closed = true }

func TestPairWithNothingToSayStaysConnected(t *testing.T) {
	const minutes = 60_000_000
	f := newFilm(t, 100_000)
	var now engine.Instant
	var cores [2]*core
	var wires [2]cable
	for i := range cores {
		title := f.title
		copy(title.PeerID[:], "-ES0001-aaaaaaaaaaaa")
		title.PeerID[19] += byte(i)
		c := newCore(title, newEngine(), NewMemory(1<<20), silent{at: &now})
		for piece := range uint32(2) { // both have the whole film
			if _, err := c.store.Put(piece, f.files[0][piece*testPiece:min((piece+1)*testPiece, 100_000)]); err != nil {
				t.Fatal(err)
			}
		}
		c.open(nil)
		c.step(Policy{Peers: true, Upload: true}.input())
		cores[i] = c
	}
	for i, c := range cores {
		c.connected(1, &wires[i], cores[1-i].title.PeerID[:], i == 0)
	}
	keepalives := 0
	for now < 10*minutes {
		for busy := true; busy; {
			busy = false
			for i, c := range cores {
				for _, b := range wires[1-i].sent {
					if string(b) == "\x00\x00\x00\x00" {
						keepalives++
					}
					busy = true
					c.received(1, b)
				}
				wires[1-i].sent = nil
			}
		}
		next := engine.Instant(10 * minutes)
		for _, c := range cores {
			if at, ok := c.engine.Deadline(); ok {
				next = min(next, at)
			}
		}
		now = max(now+1, next)
		for i, c := range cores {
			c.tick()
			if wires[i].closed {
				t.Fatalf("side %d closed after %d s", i, now/1_000_000)
			}
		}
	}
	if keepalives < 2*3 {
		t.Errorf("%d keepalives in ten minutes", keepalives)
	}
}
