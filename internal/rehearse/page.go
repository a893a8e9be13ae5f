package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"essaim/internal/host/native"
	"essaim/internal/vod"
)

// The rhythm of looking at a page.
const (
	pageEvery = 500 * time.Millisecond
	// endSlack: audio and video end at slightly different times, and a browser may not play the last frame.
	endSlack = 300 * time.Millisecond
)

// pageSeat is the service's own watch page in a browser, in a context that shares nothing with the other viewers'. Two
// requests of the page are answered by this program, which asks the service in its name: pressing play, with the operator's
// token, which no page sees, and the label; and the heartbeat. The session that the page gets ends where the part does.
type pageSeat struct {
	viewer  *viewer
	browser *browser
	proxy   *proxy
	context string // the browser's word
	session string // of the protocol
	ctx     context.Context
	cancel  context.CancelCauseFunc
	asking  sync.WaitGroup

	mu     sync.Mutex
	last   pageState
	bad    int64
	closed bool // nothing is answered any more
}

// pageState is what the page's player says of itself: window.essaimDebug.
type pageState struct {
	StartupMs     float64 `json:"startupMs"`
	Stalls        int     `json:"stalls"`
	StalledMs     float64 `json:"stalledMs"`
	PositionMs    float64 `json:"positionMs"`
	BufferedEndMs float64 `json:"bufferedEndMs"`
	OriginBytes   int64   `json:"originBytes"`
	PeerBytes     int64   `json:"peerBytes"`
	CachedBytes   int64   `json:"cachedBytes"`
	SentBytes     int64   `json:"sentBytes"`
	BadBlocks     int     `json:"badBlocks"`
	Phase         string  `json:"phase"`
}

// What is asked of a page. The answer to the sharing question is as if the viewer had given it on an earlier visit.
const (
	sharingYes  = `try { localStorage.setItem("essaim.share", "yes") } catch {}`
	askState    = `(() => { const d = window.essaimDebug; return d ? { ...d.stats(), phase: d.player.phase } : null })()`
	askDelivery = `window.essaimDebug ? window.essaimDebug.delivered() : []`
)

// sitPage opens a page and leaves it empty; nil if ctx ended first.
func sitPage(ctx context.Context, v *viewer) (_ seat, err error) {
	c := v.crowd
	line := newTransport(v.number, c.account, c.options.Downlink/8)
	p := &pageSeat{viewer: v, browser: c.browser}
	if p.proxy, err = newProxy(line, c.options.Server); err != nil {
		return nil, err
	}
	p.ctx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
		if ctx.Err() != nil {
			err = nil
		}
	}()
	var made struct {
		Context string `json:"browserContextId"`
		Target  string `json:"targetId"`
		Session string `json:"sessionId"`
	}
	type m map[string]any
	if err := c.browser.call(ctx, "", "Target.createBrowserContext", m{
		"disposeOnDetach": true, "proxyServer": p.proxy.address(), "proxyBypassList": "<-loopback>",
	}, &made); err != nil {
		return nil, err
	}
	p.context = made.Context
	if err := c.browser.call(ctx, "", "Target.createTarget", m{
		"url": "about:blank", "browserContextId": made.Context, "newWindow": true, "width": 1280, "height": 800,
	}, &made); err != nil {
		return nil, err
	}
	if err := c.browser.call(ctx, "", "Target.attachToTarget", m{"targetId": made.Target, "flatten": true}, &made); err != nil {
		return nil, err
	}
	p.session = made.Session
	c.browser.on(p.session, p.heard)
	for _, say := range []struct {
		method string
		params m
	}{
		{"Fetch.enable", m{"patterns": []m{{"urlPattern": "*/api/v1/titles/*/play"}, {"urlPattern": "*/api/v1/play/*/heartbeat"}}}},
		{"Page.enable", m{}},
		{"Page.addScriptToEvaluateOnNewDocument", m{"source": sharingYes}},
	} {
		if err := p.say(ctx, say.method, say.params, nil); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *pageSeat) say(ctx context.Context, method string, params, result any) error {
	return p.browser.call(ctx, p.session, method, params, result)
}

// play opens the watch page, and follows it to the part's end.
func (p *pageSeat) play(ctx context.Context) error {
	o := p.viewer.crowd.options
	address := strings.TrimRight(o.Server, "/") + "/watch/" + url.PathEscape(string(o.Title)) + "?debug=1"
	if err := p.say(ctx, "Page.navigate", map[string]string{"url": address}, nil); err != nil {
		return err
	}
	for {
		if err := pause(ctx, pageEvery); err != nil {
			return err
		}
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		s, err := p.look(ctx)
		if err != nil {
			return err
		}
		if s.Phase == "failed" {
			return errors.New("the page could not play the film")
		}
		if s.Phase == "ended" || s.StartupMs > 0 && milliseconds(s.PositionMs) >= p.viewer.crowd.part.film-endSlack {
			return p.compare(ctx)
		}
	}
}

// look asks the page how it is.
func (p *pageSeat) look(ctx context.Context) (pageState, error) {
	var s *pageState // null while the page loads
	if err := p.evaluate(ctx, askState, &s); err != nil {
		return pageState{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s != nil {
		p.last = *s
	}
	return p.last, nil
}

func (p *pageSeat) evaluate(ctx context.Context, expression string, out any) error {
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Thrown *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	err := p.say(ctx, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if err != nil {
		return err
	}
	if r.Thrown != nil {
		return fmt.Errorf("the page says: %s", r.Thrown.Text)
	}
	return json.Unmarshal(r.Result.Value, out)
}

// compare judges what the page's player was delivered.
func (p *pageSeat) compare(ctx context.Context) error {
	var list []struct {
		Path   string `json:"path"`
		From   int64  `json:"from"`
		To     int64  `json:"to"`
		SHA256 string `json:"sha256"` // empty while the page still computes it
	}
	if err := p.evaluate(ctx, askDelivery, &list); err != nil {
		return err
	}
	var bad int64
	for _, d := range list {
		if d.SHA256 != "" && !p.viewer.crowd.judge.range256(d.Path, d.From, d.To, d.SHA256) {
			bad += d.To - d.From
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bad = bad
	return nil
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// state is the clock as the page last told it.
func (p *pageSeat) state() (clock, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, film := p.last, p.viewer.crowd.part.film
	c := clock{
		film: film, ends: []time.Duration{min(milliseconds(s.BufferedEndMs), film)}, last: time.Now(), startup: -1,
		pos: min(milliseconds(s.PositionMs), film), dry: s.Phase == "buffering", stalls: s.Stalls, stalled: milliseconds(s.StalledMs),
	}
	if c.pos >= film-endSlack {
		c.pos, c.ends[0] = film, film
	}
	if s.StartupMs > 0 {
		c.startup = milliseconds(s.StartupMs)
	}
	return c, p.bad
}

// stats are the page's counts as it last told them.
func (p *pageSeat) stats() native.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.last
	return native.Stats{OriginBytes: s.OriginBytes, PeerBytes: s.PeerBytes, CachedBytes: s.CachedBytes, SentBytes: s.SentBytes, BadBlocks: s.BadBlocks}
}

// close takes a last look, what the viewer gave while it served included, and closes page and context.
func (p *pageSeat) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	if p.session != "" {
		_, _ = p.look(ctx) // else what it said before holds
		p.browser.on(p.session, nil)
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel(nil)
	p.asking.Wait()
	if p.context != "" {
		_ = p.browser.call(ctx, "", "Target.disposeBrowserContext", map[string]string{"browserContextId": p.context}, nil) // it ends with the browser
	}
	p.proxy.close()
	return nil
}

// pausedRequest is a request of the page's that waits for us.
type pausedRequest struct {
	ID      string `json:"requestId"`
	Request struct {
		URL     string            `json:"url"`
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
		Data    string            `json:"postData"`
	} `json:"request"`
}

// heard takes the page's events.
func (p *pageSeat) heard(m message) {
	var r pausedRequest
	if m.Method != "Fetch.requestPaused" || json.Unmarshal(m.Params, &r) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.asking.Go(func() {
		if err := p.answer(&r); err != nil && p.ctx.Err() == nil {
			p.cancel(err)
		}
	})
}

// answer asks the service in the page's name, and gives the page the answer.
func (p *pageSeat) answer(r *pausedRequest) error {
	type m map[string]any
	var body any
	switch {
	case r.Request.Method != "POST":
		return p.say(p.ctx, "Fetch.continueRequest", m{"requestId": r.ID}, nil)
	case strings.HasSuffix(r.Request.URL, "/heartbeat"):
		reply, err := p.beat(r)
		if err != nil { // the page beats again
			return p.say(p.ctx, "Fetch.failRequest", m{"requestId": r.ID, "errorReason": "Failed"}, nil)
		}
		reply.Policy = p.viewer.policy(reply.Policy)
		body = reply
	default:
		s, err := p.viewer.press(p.ctx)
		if err != nil || s == nil {
			return err
		}
		if _, err := p.viewer.crowd.read(s); err != nil {
			return err
		}
		p.proxy.allow(s.Nodes.Origins...)
		p.proxy.allow(s.Nodes.Trackers...)
		s.Policy = p.viewer.policy(s.Policy)
		p.viewer.crowd.part.cut(s)
		body = s
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return p.say(p.ctx, "Fetch.fulfillRequest", m{
		"requestId": r.ID, "responseCode": 200, "body": raw, // bytes become base64, as it wants them
		"responseHeaders": []m{{"name": "Content-Type", "value": "application/json"}, {"name": "Cache-Control", "value": "no-store"}},
	}, nil)
}

// beat passes a heartbeat on.
func (p *pageSeat) beat(r *pausedRequest) (reply vod.HeartbeatReply, err error) {
	var h vod.Heartbeat
	if err := json.Unmarshal([]byte(r.Request.Data), &h); err != nil {
		return reply, err
	}
	ticket := ""
	for name, value := range r.Request.Headers {
		if strings.EqualFold(name, "Authorization") {
			ticket = strings.TrimPrefix(value, "Bearer ")
		}
	}
	u, err := url.Parse(r.Request.URL)
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, beatTimeout)
	defer cancel()
	return p.viewer.crowd.client.Heartbeat(ctx, path.Base(path.Dir(u.Path)), ticket, h)
}

var (
	durationForm       = regexp.MustCompile(`mediaPresentationDuration="[^"]*"`)
	representationForm = regexp.MustCompile(`(?s)<Representation\b.*?</Representation>`)
)

// cut makes a session end where the part does, and leaves of its video the part's rendition only.
func (p *part) cut(s *vod.PlaySession) {
	s.DurationMs = uint32(p.film.Milliseconds())
	s.Manifest = durationForm.ReplaceAllString(s.Manifest, `mediaPresentationDuration="PT`+strconv.FormatFloat(p.film.Seconds(), 'f', 3, 64)+`S"`)
	ours := map[string]bool{}
	for i := range p.tracks {
		ours[p.tracks[i].path] = true
	}
	s.Manifest = representationForm.ReplaceAllStringFunc(s.Manifest, func(r string) string {
		for i := range s.Files {
			f := &s.Files[i]
			if f.Kind == vod.Video && !ours[f.Path] && strings.Contains(r, "<BaseURL>"+f.Path+"</BaseURL>") {
				return ""
			}
		}
		return r
	})
	for i := range s.Files {
		list := s.Files[i].Segments
		n := 0
		for n < len(list) && time.Duration(list[n][2])*time.Millisecond < p.film {
			n++
		}
		s.Files[i].Segments = list[:n]
	}
}
