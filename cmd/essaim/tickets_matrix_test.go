package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/bt/bencode"
	"essaim/internal/cmaf/index"
	"essaim/internal/vod"
)

// shownTicket is a row of the matrix: something that is shown to services.
type shownTicket struct {
	name  string
	token string
	for_  vod.Ticket // what it says, where it is good; the zero value opens nothing
}

// ticketService is a column: one thing that a ticket opens, at the port of a running node.
type ticketService struct {
	name     string
	audience vod.Audience
	title    vod.TitleID // empty: any
	session  string      // empty: any
	// opens shows it a ticket, and reports whether it let it in.
	opens func(token string) bool
}

// admits reports whether the service is the one that the ticket is for.
func (s *ticketService) admits(t *vod.Ticket) bool {
	return t.Audience == s.audience && (s.title == "" || t.Title == s.title) && (s.session == "" || t.PlaySession == s.session)
}

// matrixHouse is a node at a port, with two titles for members, and who watches them.
type matrixHouse struct {
	t      *testing.T
	data   string
	url    string
	node   *node
	titles map[vod.TitleID]vod.Title
	jars   map[string]http.CookieJar // by play session
}

// TestTicketsOpenTheirOwnServiceTitleAndSessionOnly shows every ticket to every service of a running node: only the diagonal
// passes. A new service is one more entry of services, a new forgery one more of forgeries.
func TestTicketsOpenTheirOwnServiceTitleAndSessionOnly(t *testing.T) {
	h := newMatrixHouse(t)
	x, y, gone := h.watch("ada", "film-a"), h.watch("bob", "film-b"), h.watch("eve", "film-a")
	rows := h.forgeries(x)
	for name, p := range map[string]vod.Ticket{"ada's": x, "bob's": y} {
		for _, audience := range []vod.Audience{vod.AudienceMedia, vod.AudienceSwarm, vod.AudienceLicense, vod.AudienceRelay} {
			p.Audience = audience
			rows = append(rows, shownTicket{name + " for " + string(audience), h.issue(p), p})
		}
	}
	for _, audience := range []vod.Audience{vod.AudienceOperator, vod.AudienceRehearsal} {
		all := vod.Ticket{Audience: audience, Expires: time.Now().Add(time.Hour)}
		rows = append(rows, shownTicket{"for " + string(audience), h.issue(all), all})
	}
	// Eve signs out: whatever her play session was given is worth nothing.
	for _, audience := range []vod.Audience{vod.AudienceMedia, vod.AudienceSwarm, vod.AudienceLicense} {
		p := gone
		p.Audience = audience
		rows = append(rows, shownTicket{name: "a signed-out device's for " + string(audience), token: h.issue(p)})
	}
	if status, _ := h.ask(gone.PlaySession, "DELETE", "/api/v1/session", "", ""); status != 204 {
		t.Fatalf("sign out: %d", status)
	}
	h.until(func() bool {
		_, err := h.node.tickets.Check(vod.AudienceMedia, rows[len(rows)-3].token)
		return err != nil
	})
	passed := 0
	for _, s := range h.services(x, y) {
		for _, row := range rows {
			want := row.for_ != (vod.Ticket{}) && s.admits(&row.for_)
			if got := s.opens(row.token); got != want {
				t.Errorf("%s, shown a ticket %s: let in %v, want %v", s.name, row.name, got, want)
			} else if got {
				passed++
			}
		}
	}
	// One for each service, so that none of them refuses everything.
	if n := len(h.services(x, y)); passed != n {
		t.Errorf("%d were let in, want one at each of %d services", passed, n)
	}
}

func newMatrixHouse(t *testing.T) *matrixHouse {
	h := &matrixHouse{t: t, data: t.TempDir(), titles: map[vod.TitleID]vod.Title{}, jars: map[string]http.CookieJar{}}
	var err error
	if h.node, err = openNode(t.Context(), nodeConfig{data: h.data, log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.node.Close)
	h.publish("film-a", 1)
	h.publish("film-b", 2)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.url = "http://" + ln.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.node.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return h
}

// publish makes a title for members, whose one file has a key.
func (h *matrixHouse) publish(id vod.TitleID, seed byte) {
	h.t.Helper()
	keys, err := h.node.keys.Draw(h.t.Context(), string(id), []vod.Tier{vod.TierSD})
	if err != nil {
		h.t.Fatal(err)
	}
	data := bytes.Repeat([]byte{seed, 1, 2, 3, 4, 5, 6}, 20_000)
	var leaves []bt.Digest
	for block := range slices.Chunk(data, bt.BlockSize) {
		leaves = append(leaves, sha256.Sum256(block))
	}
	root := bt.FileRoot(leaves, 2)
	for key, b := range map[string][]byte{vod.KeyMedia(root): data, vod.KeyLeaves(root): bt.AppendDigests(nil, leaves)} {
		if err := h.node.objects.Put(h.t.Context(), key, bytes.NewReader(b)); err != nil {
			h.t.Fatal(err)
		}
	}
	v2 := bt.InfoHashV2{0: seed}
	title := vod.Title{ID: id, Name: string(id), Version: vod.Version{
		ID: v2.String(), InfoHashV1: bt.InfoHash{0: seed}, InfoHashV2: v2, PieceLength: 32 << 10, DurationMs: 4000, Manifest: "<MPD/>", Scheme: vod.CBCS,
		Files: []vod.File{{
			Path: "video-360p.mp4", Size: int64(len(data)), Root: root, Kind: vod.Video, Codec: "avc1.64001e", Bandwidth: 280_000,
			Width: 640, Height: 360, KID: keys[0].KID, Index: index.Index{{From: 800, To: 140_000, DurationMs: 4000}},
		}},
	}}
	if err := h.node.library.Publish(h.t.Context(), title, bencode.AppendDict(nil, bencode.Entry{Key: "info", Value: bencode.Str(string(id))})); err != nil {
		h.t.Fatal(err)
	}
	h.titles[id] = title
}

// watch signs a new member in and presses play; it returns what the session's tickets say, but for their audience.
func (h *matrixHouse) watch(name string, id vod.TitleID) vod.Ticket {
	h.t.Helper()
	if _, err := h.node.members.Add(h.t.Context(), name, "a long enough password"); err != nil {
		h.t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.jars[name] = jar
	if status, body := h.ask(name, "POST", "/api/v1/session", `{"name":"`+name+`","password":"a long enough password"}`, ""); status != 200 {
		h.t.Fatalf("sign in: %d %s", status, body)
	}
	var s vod.PlaySession
	if status, body := h.ask(name, "POST", "/api/v1/titles/"+string(id)+"/play", `{}`, ""); status != 200 || json.Unmarshal(body, &s) != nil {
		h.t.Fatalf("play: %d %s", status, body)
	}
	h.jars[s.ID] = jar
	ticket, err := h.node.tickets.Check(vod.AudienceMedia, s.Tickets.Media)
	if err != nil {
		h.t.Fatal(err)
	}
	if license, err := h.node.tickets.Check(vod.AudienceLicense, s.Tickets.License); err != nil || license.PlaySession != s.ID {
		h.t.Fatalf("licence ticket: %+v, %v", license, err)
	}
	return ticket
}

func (h *matrixHouse) issue(ticket vod.Ticket) string {
	h.t.Helper()
	token, err := h.node.tickets.Issue(ticket)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// ask sends a request with the cookies of whoever has the session.
func (h *matrixHouse) ask(session, method, path, body, token string) (int, []byte) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := (&http.Client{Jar: h.jars[session]}).Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer answer.Body.Close()
	var b bytes.Buffer
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") { // which does not end
		if _, err := b.ReadFrom(answer.Body); err != nil {
			h.t.Fatal(err)
		}
	}
	return answer.StatusCode, b.Bytes()
}

// until waits for what another goroutine does.
func (h *matrixHouse) until(done func() bool) {
	h.t.Helper()
	for !done() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-h.t.Context().Done():
			h.t.Fatal("it never was")
		}
	}
}

// services are all that take tickets of play sessions x and y, and the operator's.
func (h *matrixHouse) services(sessions ...vod.Ticket) (list []ticketService) {
	const report = `{"position_ms":0,"origin_bytes":0,"peer_bytes":0,"sent_bytes":0,"stalls":0,"stalled_ms":0,"startup_ms":0,"bad_blocks":0}`
	for i, s := range sessions {
		title := h.titles[s.Title]
		file := title.Version.Files[0]
		kid := base64.RawURLEncoding.EncodeToString(file.KID[:])
		add := func(name string, audience vod.Audience, session, method, path, body string) {
			list = append(list, ticketService{name, audience, s.Title, session, func(token string) bool {
				status, answer := h.ask(s.PlaySession, method, path, body, token)
				if status >= 500 || status == 400 || status == 422 || status == 429 {
					h.t.Errorf("%s: %d %s", name, status, answer) // no answer to the question
				}
				return status == 200
			}})
		}
		of := " of " + string(s.Title)
		add("media"+of, vod.AudienceMedia, "", "GET", "/media/"+file.Root.String(), "")
		add("hashes"+of, vod.AudienceMedia, "", "GET", "/hashes/"+file.Root.String()+"?base=1&index=0&length=2&proof=1", "")
		add("keys"+of, vod.AudienceLicense, "", "POST", "/api/v1/license/clearkey", `{"kids":["`+kid+`"],"type":"temporary"}`)
		add("heartbeat"+of, vod.AudienceMedia, s.PlaySession, "POST", "/api/v1/play/"+s.PlaySession+"/heartbeat", report)
		add("events"+of, vod.AudienceMedia, s.PlaySession, "GET", "/api/v1/play/"+s.PlaySession+"/events", "")
		list = append(list, ticketService{"swarm" + of, vod.AudienceSwarm, s.Title, "", func(token string) bool {
			return h.announces(title.Version.InfoHashV1, bt.PeerID{0: byte(i + 1)}, token)
		}})
	}
	return append(list, ticketService{"the operator's part", vod.AudienceOperator, "", "", func(token string) bool {
		status, _ := h.ask("", "GET", "/api/v1/operator/traffic", "", token)
		return status == 200
	}})
}

// announces reports whether the tracker lets a peer into a swarm.
func (h *matrixHouse) announces(swarm bt.InfoHash, peer bt.PeerID, token string) bool {
	h.t.Helper()
	conn, _, err := websocket.Dial(h.t.Context(), h.url+"/tracker", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // the tracker may have closed it
	request := announce.Request{InfoHash: swarm, PeerID: peer, Left: 1, NumWant: announce.Unknown, Viewer: &announce.Viewer{Ticket: token}}
	if err := conn.Write(h.t.Context(), websocket.MessageText, announce.AppendRequest(nil, &request)); err != nil {
		h.t.Fatal(err)
	}
	_, data, err := conn.Read(h.t.Context())
	if err != nil {
		return false
	}
	m, err := announce.ParseMessage(data)
	return err == nil && m.Reply != nil
}

// forgeries are tickets as x's that no service may take, for each audience that it has: expired, of another version, and
// everything that JWTs are known to be attacked with (RFC 8725).
func (h *matrixHouse) forgeries(x vod.Ticket) (list []shownTicket) {
	files, err := filepath.Glob(filepath.Join(h.data, "ticket-keys", "*.pem"))
	if err != nil || len(files) != 1 {
		h.t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		h.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		h.t.Fatal(err)
	}
	public := parsed.(ed25519.PrivateKey).Public().(ed25519.PublicKey)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	sum := sha256.Sum256(public)
	kid := hex.EncodeToString(sum[:8])
	for _, audience := range []vod.Audience{vod.AudienceMedia, vod.AudienceSwarm, vod.AudienceLicense, vod.AudienceOperator} {
		x.Audience = audience
		good := h.issue(x)
		parts := strings.Split(good, ".")
		var claims jwt.MapClaims
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil || json.Unmarshal(raw, &claims) != nil {
			h.t.Fatal(err)
		}
		sign := func(method jwt.SigningMethod, key any, header map[string]any) string {
			token := jwt.NewWithClaims(method, claims)
			token.Header["kid"] = kid
			for name, value := range header {
				token.Header[name] = value
			}
			s, err := token.SignedString(key)
			if err != nil {
				h.t.Fatal(err)
			}
			return s
		}
		edited := func(name string, value any) string {
			changed := jwt.MapClaims{}
			for k, v := range claims {
				changed[k] = v
			}
			changed[name] = value
			raw, err := json.Marshal(changed)
			if err != nil {
				h.t.Fatal(err)
			}
			return parts[0] + "." + base64.RawURLEncoding.EncodeToString(raw) + "." + parts[2]
		}
		expired := x
		expired.Expires = time.Now().Add(-time.Second)
		for name, token := range map[string]string{
			"expired":                        h.issue(expired),
			"of another folder's key":        sign(jwt.SigningMethodEdDSA, other, nil),
			"whose key is in its header":     sign(jwt.SigningMethodEdDSA, other, map[string]any{"jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(other.Public().(ed25519.PublicKey))}}),
			"whose kid is a path":            sign(jwt.SigningMethodEdDSA, other, map[string]any{"kid": "../../../../dev/null"}),
			"whose kid is a list":            sign(jwt.SigningMethodEdDSA, other, map[string]any{"kid": []string{kid}}),
			"with alg none":                  sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil),
			"with HS256 over the public key": sign(jwt.SigningMethodHS256, []byte(public), nil),
			"without signature":              parts[0] + "." + parts[1] + ".",
			"with another title":             edited("title", "film-b"),
			"with a later end":               edited("exp", time.Now().Add(24*time.Hour).Unix()),
			"with all audiences":             edited("aud", []string{"media", "swarm", "license", "operator"}),
			"cut short":                      good[:len(good)-2],
		} {
			list = append(list, shownTicket{name: fmt.Sprintf("for %s, %s", audience, name), token: token})
		}
	}
	// Of another version of the title: signed, and good for what is published no more.
	old := x
	old.Version = strings.Repeat("0", 64)
	for _, audience := range []vod.Audience{vod.AudienceSwarm, vod.AudienceLicense} {
		old.Audience = audience
		list = append(list, shownTicket{name: "for " + string(audience) + ", of another version", token: h.issue(old)})
	}
	return append(list, shownTicket{name: "that is none", token: "essaim"}, shownTicket{name: "of nothing", token: ""})
}
