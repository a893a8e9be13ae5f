package native

import (
	"context"
	"time"

	"github.com/coder/websocket"

	"essaim/internal/bt/announce"
)

// trackerSocket keeps one socket open, on its own goroutine.
type trackerSocket struct {
	tracker *tracker
	host    *Host
	out     <-chan outgoing
}

// end is how a connection ended.
type end struct {
	served  bool // the tracker had us in the swarm
	bye     bool // we left
	revoked bool // it told us that our ticket is revoked
}

// keep connects, again and again, until ctx ends, a goodbye was sent or our ticket is revoked.
func (s *trackerSocket) keep(ctx context.Context) {
	urls := s.host.cfg.Trackers
	failures := 0
	for i := 0; ; i++ {
		e := s.session(ctx, urls[i%len(urls)])
		if e.revoked {
			s.host.do(func() { s.tracker.revoked(s.out) })
		}
		if e.bye || e.revoked || ctx.Err() != nil {
			return
		}
		if e.served {
			failures = 0
			i-- // the same one first
		}
		if !s.pause(ctx, TrackerRetry(failures, s.tracker.host.cfg.Jitter)) {
			return
		}
		failures++
	}
}

// session holds one connection. The engine says when to announce; what is not answered is announced once more.
func (s *trackerSocket) session(ctx context.Context, url string) (e end) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialing, done := context.WithTimeout(ctx, connectTimeout)
	c, _, err := websocket.Dial(dialing, url, &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled})
	done()
	if err != nil {
		e.bye = s.drain()
		return e
	}
	defer c.CloseNow()
	c.SetReadLimit(announce.MessageMax)
	s.drain() // what was meant for the socket before
	var first []byte
	s.host.do(func() {
		s.tracker.renewal = renewal{}
		s.tracker.recall()
		first = s.tracker.message(announce.EventStarted)
	})
	if first == nil || !s.write(ctx, c, first) {
		return e
	}
	heard, gone := make(chan news), make(chan websocket.StatusCode, 1)
	go func() { gone <- s.read(ctx, c, heard) }()
	over := false // gone has been read
	defer func() {
		cancel()
		c.CloseNow()
		if !over && <-gone == closedRevoked { // what we wrote last was for nobody
			e.revoked = true
		}
	}()

	asked, unanswered := true, 0
	answer, silence := time.NewTimer(answerTimeout), time.NewTimer(time.Hour)
	defer answer.Stop()
	defer silence.Stop()
	silence.Stop()
	for {
		select {
		case m := <-s.out:
			if m.text == nil {
				_ = c.Close(websocket.StatusNormalClosure, "")
				e.bye = true
				return e
			}
			if !s.write(ctx, c, m.text) {
				return e
			}
			if m.asks && !asked {
				asked = true
				answer.Reset(answerTimeout)
			}
		case n := <-heard:
			if n.answered {
				asked, unanswered = false, 0
				answer.Stop()
			}
			e.served = e.served || n.served
			if n.patience > 0 {
				silence.Reset(n.patience)
			} else {
				silence.Stop()
			}
		case <-answer.C:
			var again []byte
			s.host.do(func() { again = s.tracker.message(announce.EventUpdate) })
			if unanswered++; unanswered == 2 || again == nil || !s.write(ctx, c, again) {
				return e
			}
			answer.Reset(answerTimeout)
		case <-silence.C:
			return e
		case code := <-gone:
			over, e.revoked = true, code == closedRevoked
			return e
		case <-ctx.Done():
			return e
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
			if m.text == nil {
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
			bye = bye || m.text == nil
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

// read gives what the tracker says to the host, until the connection ends: then it returns the code with which the tracker closed it, -1
// for none. Messages that cannot be read are passed over.
func (s *trackerSocket) read(ctx context.Context, c *websocket.Conn, heard chan<- news) websocket.StatusCode {
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			return websocket.CloseStatus(err)
		}
		m, err := announce.ParseMessage(b)
		if err != nil {
			continue
		}
		var n news
		s.host.do(func() { n = s.tracker.heard(&m) })
		select {
		case heard <- n:
		case <-ctx.Done():
			return -1
		}
	}
}
