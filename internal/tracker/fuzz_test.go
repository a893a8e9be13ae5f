package tracker

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/tracker/frame"
)

// fromHere is a request from this machine.
func fromHere() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/tracker", nil)
	r.RemoteAddr = "127.0.0.1:1"
	return r
}

// pad is a carrier that keeps what it is given.
type pad struct{ frames [][]byte }

func (p *pad) say(f []byte, _ *turn) bool { p.frames = append(p.frames, bytes.Clone(f)); return true }
func (p *pad) linger(time.Duration)       {}
func (p *pad) sever()                     {}

// listen is the other end of a socket that has none: it takes frames apart as a client does.
func listen(t *testing.T, queue [][]byte) (messages []announce.Message) {
	t.Helper()
	for _, f := range queue {
		head := 2
		if f[1] == 126 {
			head = 4
		}
		if f[0] != 0x80|byte(frame.Text) {
			continue
		}
		m, err := announce.ParseMessage(f[head:])
		if err != nil {
			t.Fatalf("the tracker says %q: %v", f, err)
		}
		messages = append(messages, m)
	}
	return messages
}

// FuzzConversation lets four connections say anything, in any order: each line is one message, its first byte says who speaks.
// Connection 0 is a member in the swarm for members, 1 and 2 strangers in the open one, 3 comes from another site. Whatever they
// say, all that anybody is told can be read, nothing is relayed that was not cleaned, and nobody without a ticket hears of the
// swarm for members.
func FuzzConversation(f *testing.F) {
	line := func(who byte, r announce.Request) []byte {
		return append([]byte{'0' + who}, announce.AppendRequest(nil, &r)...)
	}
	as := func(n int, h bt.InfoHash, r announce.Request) announce.Request {
		r.InfoHash, r.PeerID = h, peerID(n)
		return r
	}
	join := func(lines ...[]byte) []byte { return bytes.Join(lines, []byte("\n")) }
	f.Add(join(
		line(0, as(0, closedHash, ours(membersTicket("s1", "ada", "d1")))),
		line(1, as(1, openHash, ours(""))), line(2, as(2, openHash, ours(""))),
		line(2, as(2, openHash, directed(announce.KindOffer, peerID(1), offerID(1)))),
		line(1, as(1, openHash, directed(announce.KindAnswer, peerID(2), offerID(1)))),
		line(1, as(1, openHash, directed(announce.KindAnswer, peerID(2), offerID(1)))),
	))
	f.Add(join(
		line(0, as(0, closedHash, ours(membersTicket("s1", "ada", "d1")))),
		line(1, as(1, closedHash, ours(""))), line(1, as(0, closedHash, directed(announce.KindOffer, peerID(0), offerID(1)))),
		line(3, as(3, closedHash, ours(membersTicket("s2", "bob", "d2")))), line(2, as(2, openHash, ours("swarm/film/old/s"))),
		line(1, announce.Request{Kind: announce.KindScrape, InfoHashes: []bt.InfoHash{openHash, closedHash}}),
	))
	f.Add(join(line(1, as(1, openHash, theirs(0, 0))), line(2, as(2, openHash, theirs(0, 3))), []byte("1?"), []byte("3"), line(3, as(1, openHash, theirs(9, 1)))))
	f.Fuzz(func(t *testing.T, script []byte) {
		tr := New(Config{Titles: catalogue{}, Tickets: tickets{}, Clock: still, Unpaced: true})
		var all []*socket
		for range 4 {
			s, _ := tr.enter(fromHere())
			s.foreign = len(all) == 3
			s.carrier = &pad{}
			all = append(all, s)
		}
		member := map[*socket]bool{}
		for text := range bytes.Lines(script) {
			text = bytes.TrimSuffix(text, []byte("\n"))
			if len(text) == 0 {
				continue
			}
			s := all[int(text[0])%len(all)]
			if s.ended() {
				continue
			}
			if r, err := announce.ParseRequest(text[1:]); err == nil && r.Viewer != nil && !s.foreign {
				ticket, err := tickets{}.Check("swarm", r.Viewer.Ticket)
				member[s] = member[s] || err == nil && ticket.Title == "members"
			}
			s.handle(text[1:])
			for _, c := range all {
				for _, m := range listen(t, c.carrier.(*pad).frames) {
					switch {
					case m.Relayed != nil:
						if clean, err := sanitize(m.Relayed.SDP, false); err != nil || clean != m.Relayed.SDP {
							t.Fatalf("relayed %q", m.Relayed.SDP)
						}
						if m.Relayed.InfoHash == closedHash && !member[c] {
							t.Fatal("relayed to somebody without a ticket")
						}
					case m.Reply != nil && m.Reply.InfoHash == closedHash && !member[c]:
						t.Fatal("somebody without a ticket is told of the swarm for members")
					case m.Scrape != nil && !member[c]:
						for _, file := range m.Scrape.Files {
							if file.InfoHash == closedHash && file != (announce.ScrapeFile{InfoHash: closedHash}) {
								t.Fatal("the swarm for members is counted to somebody without a ticket")
							}
						}
					}
				}
				c.carrier.(*pad).frames = nil
			}
		}
		for _, s := range all {
			tr.forget(s)
		}
		if len(tr.Swarms()) != 0 || len(tr.grants.byMember) != 0 || tr.queued.Load() != 0 {
			t.Fatalf("left over: %v, %d members, %d bytes", tr.Swarms(), len(tr.grants.byMember), tr.queued.Load())
		}
		tr.grants.stop()
	})
}
