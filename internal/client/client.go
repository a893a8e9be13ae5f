// Package client is the service's API as a program uses it: sign in, list titles, press play, report. It must turn
// what the server says into vod's words and errors, bound what it reads, and never send a cookie or a ticket to
// another host than the one it was given.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"essaim/internal/vod"
)

// Bounds of one exchange.
const (
	timeout     = 30 * time.Second
	responseMax = 16 << 20 // a play session of a long film has its segment indexes in it
)

// Client speaks to one server. Its methods may be called from any goroutine.
type Client struct {
	base *url.URL
	http *http.Client
}

// Member is who is signed in.
type Member struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Title is one entry of the catalogue. Files and info hashes come with Client.Title only.
type Title struct {
	ID         vod.TitleID `json:"id"`
	Name       string      `json:"name"`
	Summary    string      `json:"summary"`
	Open       bool        `json:"open"`                // anyone may watch
	Synthetic  bool        `json:"synthetic,omitempty"` // random payload in valid boxes: no browser can show it
	Poster     string      `json:"poster"`
	DurationMs uint32      `json:"duration_ms"`
	Files      []File      `json:"files,omitempty"`
	InfoHash   string      `json:"info_hash,omitempty"`
	InfoHashV2 string      `json:"info_hash_v2,omitempty"`
}

// File is one rendition or audio track of a title.
type File struct {
	Path      string   `json:"path"`
	Size      int64    `json:"size"`
	Kind      vod.Kind `json:"kind"`
	Codec     string   `json:"codec"`
	Bandwidth int      `json:"bandwidth"` // bits per second
	Height    int      `json:"height"`
}

// New returns a client of the server at an http or https address. Redirects are not followed.
func New(server string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, fmt.Errorf("server %q: want an address such as https://films.example", server)
	}
	u.Path = strings.TrimRight(u.Path, "/") + "/"
	u.RawQuery, u.Fragment = "", ""
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &Client{base: u, http: &http.Client{
		Jar: jar, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// SignIn opens a session, kept in the client. A wrong name or password is vod.ErrUnauthorized.
func (c *Client) SignIn(ctx context.Context, name, password string) (m Member, err error) {
	err = c.call(ctx, http.MethodPost, "session", "", map[string]string{"name": name, "password": password}, &m)
	return m, wrap("sign in", err)
}

// SignOut ends the session.
func (c *Client) SignOut(ctx context.Context) error {
	return wrap("sign out", c.call(ctx, http.MethodDelete, "session", "", nil, nil))
}

// Me says who is signed in; nobody is vod.ErrUnauthorized.
func (c *Client) Me(ctx context.Context) (m Member, err error) {
	err = c.call(ctx, http.MethodGet, "me", "", nil, &m)
	return m, wrap("ask who is signed in", err)
}

// Titles lists what may be watched, newest first.
func (c *Client) Titles(ctx context.Context) ([]Title, error) {
	var list struct {
		Titles []Title `json:"titles"`
	}
	err := c.call(ctx, http.MethodGet, "titles", "", nil, &list)
	return list.Titles, wrap("list titles", err)
}

// Title returns one title with its files; vod.ErrNotFound if there is none.
func (c *Client) Title(ctx context.Context, id vod.TitleID) (t Title, err error) {
	err = c.call(ctx, http.MethodGet, "titles/"+url.PathEscape(string(id)), "", nil, &t)
	return t, wrap("title "+string(id), err)
}

// Torrent returns an open title's torrent file; vod.ErrNotFound where the title is not open, or there is none.
func (c *Client) Torrent(ctx context.Context, id vod.TitleID) (b []byte, err error) {
	err = c.call(ctx, http.MethodGet, "titles/"+url.PathEscape(string(id))+"/torrent", "", nil, &b)
	return b, wrap("torrent of "+string(id), err)
}

// Play opens a play session. share is the viewer's consent to exchange pieces with other viewers. Addresses in the
// session's Nodes are made absolute. vod.ErrUnauthorized: the title is for members.
func (c *Client) Play(ctx context.Context, id vod.TitleID, share bool) (s vod.PlaySession, err error) {
	return c.play(ctx, id, "", map[string]any{"share": share})
}

// play opens a play session with a token, if there is one.
func (c *Client) play(ctx context.Context, id vod.TitleID, token string, in any) (s vod.PlaySession, err error) {
	err = c.call(ctx, http.MethodPost, "titles/"+url.PathEscape(string(id))+"/play", token, in, &s)
	if err != nil {
		return s, wrap("play "+string(id), err)
	}
	for _, list := range [][]string{s.Nodes.Origins, s.Nodes.Trackers, s.Nodes.Announce} {
		for i := range list {
			if list[i], err = c.resolve(list[i]); err != nil {
				return s, fmt.Errorf("play %s: %w", id, err)
			}
		}
	}
	s.Nodes.Locate(c.base.Hostname())
	for i, t := range s.Nodes.Trackers {
		if rest, ok := strings.CutPrefix(t, "http"); ok { // from a path, or written so
			s.Nodes.Trackers[i] = "ws" + rest
		}
	}
	return s, nil
}

// Heartbeat reports on a play session with its media ticket, and brings new tickets and the policy of the moment.
func (c *Client) Heartbeat(ctx context.Context, session, mediaTicket string, h vod.Heartbeat) (r vod.HeartbeatReply, err error) {
	err = c.call(ctx, http.MethodPost, "play/"+url.PathEscape(session)+"/heartbeat", mediaTicket, h, &r)
	return r, wrap("heartbeat", err)
}

// resolve makes a node's address absolute: it is a URL or a path on this server.
func (c *Client) resolve(ref string) (string, error) {
	u, err := c.base.Parse(ref)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("address %q: %w", ref, vod.ErrInvalid)
	}
	return u.String(), nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// call sends in as JSON, if there is one, and reads the answer into out.
func (c *Client) call(ctx context.Context, method, path, ticket string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	u, err := c.base.Parse("api/v1/" + path)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if ticket != "" {
		req.Header.Set("Authorization", "Bearer "+ticket)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is known already
		}
		return fmt.Errorf("reach %s: %w", c.base.Host, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, responseMax+1))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if len(b) > responseMax {
		return errors.New("answer too large")
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return problem(resp.StatusCode, b)
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = b
		return nil
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s answers no JSON of this API: %w", c.base.Host, err)
	}
	return nil
}

// problem reads an RFC 9457 body, and gives it the code that vod has for its status.
func problem(status int, body []byte) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	_ = json.Unmarshal(body, &p) // without one the status says enough
	code := errors.New(http.StatusText(status))
	switch {
	case status == http.StatusUnauthorized:
		code = vod.ErrUnauthorized
	case status == http.StatusForbidden, status == http.StatusGone:
		code = vod.ErrForbidden
	case status == http.StatusNotFound:
		code = vod.ErrNotFound
	case status == http.StatusConflict:
		code = vod.ErrConflict
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		code = vod.ErrInvalid
	case status == http.StatusTooManyRequests, status >= 500:
		code = vod.ErrUnavailable
	}
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" || strings.EqualFold(text, code.Error()) || strings.EqualFold(text, http.StatusText(status)) {
		return code
	}
	return &refusal{code: code, text: plain(text)}
}

// refusal is an error in the server's words.
type refusal struct {
	code error // vod's, or the status in words
	text string
}

// Error is the server's sentence, which tells more than the code.
func (r *refusal) Error() string { return r.text }

// Unwrap is the code.
func (r *refusal) Unwrap() error { return r.code }

// plain makes a server's sentence fit for a terminal and for the middle of a line.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200])
	}
	text = strings.TrimSuffix(strings.TrimSpace(text), ".")
	if first, size := utf8.DecodeRuneInString(text); size > 0 {
		text = string(unicode.ToLower(first)) + text[size:]
	}
	return text
}
