package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"essaim/internal/license"
	"essaim/internal/vod"
	"essaim/internal/watch"
)

// tapped passes random bytes on and keeps what was read, sixteen bytes at a time: a key's name, then the key.
type tapped struct {
	t     *testing.T
	reads [][]byte
}

func (x *tapped) Read(p []byte) (int, error) {
	n, err := rand.Read(p)
	if len(p) != 16 {
		x.t.Errorf("%d random bytes were read at once", len(p))
	}
	x.reads = append(x.reads, bytes.Clone(p))
	return n, err
}

// keys are the keys that were drawn.
func (x *tapped) keys() (list [][]byte) {
	for i := 1; i < len(x.reads); i += 2 {
		list = append(list, x.reads[i])
	}
	return list
}

// traces are the forms in which a key could stray: as bytes, in hexadecimal, in base64 of either alphabet, alone or in the middle of
// something longer, and as Go prints bytes.
func traces(key []byte) (forms [][]byte) {
	h := hex.EncodeToString(key)
	forms = append(forms, key, []byte(h), []byte(strings.ToUpper(h)), []byte(strings.Trim(fmt.Sprint(key), "[]")),
		[]byte(strings.ReplaceAll(strings.Trim(fmt.Sprint(key), "[]"), " ", ",")), []byte(fmt.Sprintf("% x", key)))
	for shift := range 3 {
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			// The letters that depend on what stands before and behind are left out.
			text := alphabet.EncodeToString(append(make([]byte, shift), key...))
			forms = append(forms, []byte(text[(8*shift+5)/6:len(text)-1]))
		}
	}
	return forms
}

// holds reports whether a key is in b in any form.
func holds(b []byte, keys [][]byte) bool {
	return slices.ContainsFunc(keys, func(key []byte) bool {
		return slices.ContainsFunc(traces(key), func(form []byte) bool { return bytes.Contains(b, form) })
	})
}

func TestTracesOfAKeyAreRecognised(t *testing.T) {
	key := []byte{0xfb, 0xff, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xfe, 0xff}
	for _, before := range []string{"", "a", "ab", "abc"} {
		long := append([]byte(before), append(bytes.Clone(key), "behind"...)...)
		for name, b := range map[string][]byte{
			"bytes": long, "hexadecimal": []byte(hex.EncodeToString(long)), "base64": []byte(base64.StdEncoding.EncodeToString(long)),
			"base64url": []byte(base64.URLEncoding.EncodeToString(long)), "printed": fmt.Append(nil, long), "JSON": mustJSON(t, string(mustJSON(t, key))),
			"spaced": []byte(fmt.Sprintf("% x", long)),
		} {
			if !holds(b, [][]byte{{1}, key}[1:]) {
				t.Errorf("%s behind %q: %s", name, before, b)
			}
		}
	}
	if holds([]byte("nothing of it"), [][]byte{key}) {
		t.Error("found where it is not")
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// written is a log that may be read meanwhile.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) Bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.b.Bytes())
}

// TestAKnownContentKeyIsFoundInTheLicenceAlone takes keys that the test knows through the whole service, errors and all, and looks for
// them in whatever the service writes, keeps or answers.
func TestAKnownContentKeyIsFoundInTheLicenceAlone(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is missing: scripts/tools.sh test installs it")
	}
	t.Setenv(license.MasterEnv, "")
	tap := &tapped{t: t}
	drawnFrom = tap
	defer func() { drawnFrom = nil }()
	dir := t.TempDir()
	data, film := filepath.Join(dir, "data"), filepath.Join(t.TempDir(), "film.mp4")
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x54:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", film}
	if b, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, b)
	}
	out, said, err := ingestOutput(t, ingestCmd{Film: film, ID: "film", Title: "Film", Scheme: "cbcs", Data: data, JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	keys := tap.keys()
	if len(keys) != 2 {
		t.Fatalf("%d keys were drawn, want one for the sound and one for the pictures", len(keys))
	}
	clean := func(what string, b []byte) {
		t.Helper()
		if holds(b, keys) {
			t.Errorf("a content key is in %s", what)
		}
	}
	clean("what ingest wrote", []byte(out+said))
	var member bytes.Buffer
	if err := (&memberAddCmd{Name: "ada", Data: data}).run(t.Context(), "a long enough password", &member); err != nil {
		t.Fatal(err)
	}

	log := &written{}
	options := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	n, err := openNode(t.Context(), nodeConfig{data: data, log: slog.New(slog.NewMultiHandler(slog.NewTextHandler(log, options), slog.NewJSONHandler(log, options)))})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(ctx, ln) }()
	x := &client{t: t, url: "http://" + ln.Addr().String(), clean: clean}
	x.jar, _ = cookiejar.New(nil)
	x.ask("GET", "/readyz", "", "") // answered once it serves
	if status, body := x.ask("POST", "/api/v1/session", `{"name":"ada","password":"a long enough password"}`, ""); status != 200 {
		t.Fatalf("sign in: %d %s", status, body)
	}
	var s vod.PlaySession
	if status, body := x.ask("POST", "/api/v1/titles/film/play", `{"share":true}`, ""); status != 200 || json.Unmarshal(body, &s) != nil || len(s.Files) != 2 {
		t.Fatalf("play: %d %s", status, body)
	}
	var kids []string
	for _, f := range s.Files {
		kid, err := vod.ParseKID(f.KID)
		if err != nil {
			t.Fatal(err)
		}
		kids = append(kids, base64.RawURLEncoding.EncodeToString(kid[:]))
		x.ask("GET", "/media/"+f.Root, "", s.Tickets.Media)
	}
	licence := func(kids ...string) (int, []byte) {
		return x.send("POST", s.Protection.ClearKey, `{"kids":["`+strings.Join(kids, `","`)+`"],"type":"temporary"}`, s.Tickets.License)
	}
	if status, body := licence(kids...); status != 200 {
		t.Fatalf("licence: %d %s", status, body)
	} else {
		for _, key := range keys {
			if !holds(body, [][]byte{key}) {
				t.Error("a key is not in the licence: this test looks for the wrong ones")
			}
		}
	}
	errorsAndPages(x, &s, licence, n)
	watches(t, x.url, &s, clean)
	// A new master key beside the running service; then a key whose row was damaged.
	var rotated, told bytes.Buffer
	if err := (&keysRotateCmd{Data: data}).run(t.Context(), &rotated, &told); err != nil {
		t.Fatal(err)
	}
	clean("what the rotation wrote", append(rotated.Bytes(), told.Bytes()...))
	err = n.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE content_keys SET sealed = substr(sealed, 1, 20)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, body := licence(kids...); status != 503 {
		t.Errorf("a damaged key: %d %s", status, body)
	} else {
		clean("an error", body)
	}
	sweep(t, dir, clean) // while it runs, with the log of the database
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	clean("the log", log.Bytes())
	if !bytes.Contains(log.Bytes(), []byte("msg=licence")) || !bytes.Contains(log.Bytes(), []byte(`"msg":"licence failed"`)) {
		t.Error("the log says nothing of licences: was it looked at?")
	}
}

// client asks the service, and looks at all that it answers.
type client struct {
	t     *testing.T
	url   string
	jar   http.CookieJar
	clean func(what string, b []byte)
}

// send asks, and returns the answer unseen.
func (x *client) send(method, path, body, bearer string) (int, []byte) {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), method, x.url+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer, err := (&http.Client{Jar: x.jar}).Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	for name, values := range answer.Header {
		x.clean("header "+name+" of "+path, []byte(strings.Join(values, "\n")))
	}
	return answer.StatusCode, b
}

// ask is send with a look at the answer.
func (x *client) ask(method, path, body, bearer string) (int, []byte) {
	x.t.Helper()
	status, b := x.send(method, path, body, bearer)
	x.clean("the answer to "+method+" "+path, b)
	return status, b
}

// errorsAndPages asks for all that can be asked for without changing anything, and for licences in all wrong ways.
func errorsAndPages(x *client, s *vod.PlaySession, licence func(...string) (int, []byte), n *node) {
	x.t.Helper()
	token, err := n.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator})
	if err != nil {
		x.t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]any
	}
	if _, body := x.ask("GET", "/api/openapi.json", "", ""); json.Unmarshal(body, &doc) != nil || len(doc.Paths) < 10 {
		x.t.Fatal("the OpenAPI document cannot be read")
	}
	parameter, asked := regexp.MustCompile(`\{[^}]*\}`), 0
	for path, methods := range doc.Paths {
		if methods["get"] == nil || strings.Contains(path, "event") { // a stream has no end
			continue
		}
		for _, bearer := range []string{"", token} {
			if status, _ := x.ask("GET", parameter.ReplaceAllString(path, "film"), "", bearer); status == 200 {
				asked++
			}
		}
	}
	if asked < 8 {
		x.t.Errorf("only %d answers were looked at", asked)
	}
	for _, path := range []string{"/", "/watch/film", "/title/film", "/objects/none", "/tracker", "/api/none"} {
		x.ask("GET", path, "", "")
	}
	x.ask("POST", "/api/v1/play/"+s.ID+"/heartbeat", `{}`, s.Tickets.Media)
	x.ask("POST", s.Protection.ClearKey, `{"kids":["nonsense"],"type":"temporary"}`, s.Tickets.License)
	x.ask("POST", s.Protection.ClearKey, `{`, s.Tickets.License)
	x.ask("POST", s.Protection.ClearKey, `{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"type":"temporary"}`, s.Tickets.Media)
	x.ask("POST", "/api/v1/license/widevine", "challenge", s.Tickets.License)
	if status, b := licence("AAAAAAAAAAAAAAAAAAAAAA"); status != 403 {
		x.t.Errorf("an unknown key: %d %s", status, b)
	}
}

// watches takes the film by the native viewer: refused, or encrypted as it is.
func watches(t *testing.T, url string, s *vod.PlaySession, clean func(what string, b []byte)) {
	t.Helper()
	o := watch.Options{Server: url, Name: "ada", Password: "a long enough password", Title: "film", To: filepath.Join(t.TempDir(), "film.mp4")}
	_, err := watch.Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "is encrypted") || !strings.Contains(err.Error(), "--raw") {
		t.Errorf("an encrypted film: %v", err)
	}
	if _, err := os.Stat(o.To); err == nil {
		t.Error("something was written of it")
	}
	o.Raw = true
	res, err := watch.Run(t.Context(), o)
	if err != nil || len(res.Outputs) != len(s.Files) {
		t.Fatalf("taking it encrypted: %d files, %v", len(res.Outputs), err)
	}
	for _, out := range res.Outputs {
		b, err := os.ReadFile(out.File)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte("enc")) || !bytes.Contains(b, []byte("cbcs")) {
			t.Errorf("%s is not encrypted", out.Path)
		}
		clean(out.Path, b)
	}
}

// sweep looks at every file below dir: database and its log, objects, ticket keys, master key, whatever lies about.
func sweep(t *testing.T, dir string, clean func(what string, b []byte)) {
	t.Helper()
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		clean(rel, b)
		clean("the name of "+rel, []byte(rel))
		seen[filepath.Base(name)] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"essaim.db", "essaim.db-wal", "data.master-key"} {
		if !seen[name] {
			t.Errorf("there was no %s to look at", name)
		}
	}
}
