package license

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"essaim/internal/vod"
)

// Upstream is a commercial system's licence server.
type Upstream interface {
	// License has a challenge answered for who may have the keys of g. A vendor's fault is vod.ErrUpstream, with a LaterError;
	// errors never hold what the vendor said, which may be secret.
	License(ctx context.Context, challenge []byte, g Grant) ([]byte, error)
}

// Grant is what a viewer may have, as an upstream is told.
type Grant struct {
	Title   vod.TitleID
	Version string
	Session string
	KIDs    []vod.KID
}

const (
	// ChallengeMax bounds what is passed on: Widevine's challenges with a service certificate have some 10 kB.
	challengeMax = 64 << 10
	answerMax    = 256 << 10
	upstreamTime = 10 * time.Second // in all
	hopsMax      = 3
	retryAfter   = 5 * time.Second
	headersMax   = 32
)

// HTTPConfig says how a vendor's server is asked.
type HTTPConfig struct {
	URL     string            // https, or http on a loopback address
	Headers map[string]string // sent along: secrets, mostly
	Time    time.Duration     // for the whole answer; 0: ten seconds
}

// HTTPUpstream asks a vendor's licence server over HTTP: the challenge is POSTed as it is, with the operator's headers and what
// the viewer may have (X-Essaim-Kids, -Title, -Version, -Session), which a server of the operator's own may look at.
type HTTPUpstream struct {
	url     string
	headers http.Header
	time    time.Duration
	client  *http.Client
}

var _ Upstream = (*HTTPUpstream)(nil)

var headerForm = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]{1,100}$`)

// NewHTTPUpstream checks c. Its errors do not repeat values of headers.
func NewHTTPUpstream(c HTTPConfig) (*HTTPUpstream, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("want an address such as https://licence.example/widevine")
	}
	loopback := slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, errors.New("want https: challenges and secrets would go over the network for all to read")
	}
	up := &HTTPUpstream{url: u.String(), headers: http.Header{}, time: c.Time}
	if up.time == 0 {
		up.time = upstreamTime
	}
	if len(c.Headers) > headersMax {
		return nil, fmt.Errorf("more than %d headers", headersMax)
	}
	for name, value := range c.Headers {
		if !headerForm.MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, fmt.Errorf("%q cannot be a header", name)
		}
		up.headers.Set(name, value)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost = 64, 16
	transport.MaxResponseHeaderBytes = 64 << 10
	up.client = &http.Client{
		Transport: transport,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			// Another host would be handed the secrets, and could be one inside.
			if r.URL.Host != u.Host || r.URL.Scheme != u.Scheme || r.Method != http.MethodPost || len(via) > hopsMax {
				return errors.New("it redirects elsewhere")
			}
			return nil
		},
	}
	return up, nil
}

// License implements Upstream.
func (up *HTTPUpstream) License(ctx context.Context, challenge []byte, g Grant) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, up.time)
	defer cancel()
	r, err := http.NewRequestWithContext(within, http.MethodPost, up.url, bytes.NewReader(challenge))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", vod.ErrUpstream, err)
	}
	names := make([]string, len(g.KIDs))
	for i, kid := range g.KIDs {
		names[i] = kid.String()
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("User-Agent", "essaim")
	r.Header.Set("X-Essaim-Kids", strings.Join(names, ","))
	r.Header.Set("X-Essaim-Title", string(g.Title))
	r.Header.Set("X-Essaim-Version", g.Version)
	r.Header.Set("X-Essaim-Session", g.Session)
	maps.Copy(r.Header, up.headers)
	answer, err := up.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err() // the viewer has gone
		}
		var failed *url.Error
		if errors.As(err, &failed) { // its address may hold a secret
			err = failed.Err
		}
		return nil, later(retryAfter, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		wait := retryAfter
		if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && s > 0 {
			wait = time.Duration(min(s, 120)) * time.Second
		}
		return nil, later(wait, fmt.Errorf("status %d", answer.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerMax+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, later(retryAfter, err)
	case len(body) == 0 || len(body) > answerMax:
		return nil, later(retryAfter, fmt.Errorf("an answer of %d bytes or more", len(body)))
	}
	return body, nil
}

// later is a vendor's fault, as those are told who asked.
func later(after time.Duration, cause error) error {
	return fmt.Errorf("%w: %w: %w", vod.ErrUpstream, &vod.LaterError{After: after}, cause)
}
