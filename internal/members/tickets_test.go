package members

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"essaim/internal/vod"
)

func openTickets(t *testing.T, dir string, c *clock) *Tickets {
	t.Helper()
	tickets, err := OpenTickets(dir, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return tickets
}

var media = vod.Ticket{
	Audience: vod.AudienceMedia, PlaySession: "p1", Member: "m1", Device: "d1", Title: "film", Version: "v1",
	Rehearsal: "evening-1",
}

func TestTicketIsReadBackUntilItExpires(t *testing.T) {
	c := newClock()
	tickets := openTickets(t, t.TempDir(), c)
	token, err := tickets.Issue(media)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tickets.Check(vod.AudienceMedia, token)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Expires.Equal(c.Now().Add(TicketLife)) {
		t.Errorf("expires %v", got.Expires)
	}
	got.Expires = time.Time{}
	if got != media {
		t.Errorf("got %+v", got)
	}
	c.Advance(TicketLife - time.Second)
	if _, err := tickets.Check(vod.AudienceMedia, token); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	c.Advance(time.Second)
	if _, err := tickets.Check(vod.AudienceMedia, token); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("at its end: %v", err)
	}
}

func TestTicketOpensOnlyItsAudience(t *testing.T) {
	tickets := openTickets(t, t.TempDir(), newClock())
	all := []vod.Audience{
		vod.AudienceMedia, vod.AudienceSwarm, vod.AudienceRelay, vod.AudienceLicense, vod.AudienceOperator, vod.AudienceRehearsal,
	}
	for _, a := range all {
		token, err := tickets.Issue(vod.Ticket{Audience: a})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			if _, err := tickets.Check(b, token); (err == nil) != (a == b) || err != nil && !errors.Is(err, vod.ErrUnauthorized) {
				t.Errorf("a ticket for %s at %s: %v", a, b, err)
			}
		}
	}
}

func TestTicketsAreSharedByProgramsOnOneFolder(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	token, err := openTickets(t, dir, c).Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: c.Now().Add(12 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(11 * time.Hour)
	if _, err := openTickets(t, dir, c).Check(vod.AudienceOperator, token); err != nil {
		t.Error(err)
	}
	if _, err := openTickets(t, t.TempDir(), c).Check(vod.AudienceOperator, token); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("another folder's key: %v", err)
	}
	info, err := os.Stat(onlyKey(t, dir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
}

// onlyKey is the file of the one key that dir holds, and nothing beside it.
func onlyKey(t *testing.T, dir string) string {
	t.Helper()
	folder := filepath.Join(dir, keysFolder)
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 1 {
		t.Fatalf("keys: %v, %v", files, err)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("left behind: %v", all)
	}
	return filepath.Join(folder, files[0].Name())
}

func TestTicketKeyOpenToOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	openTickets(t, dir, newClock())
	if err := os.Chmod(onlyKey(t, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTickets(dir, newClock().Now); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("err %v", err)
	}
}

// TestForgedTicketsAreRefused walks through the known ways to forge a JWT (RFC 8725).
func TestForgedTicketsAreRefused(t *testing.T) {
	c := newClock()
	tickets := openTickets(t, t.TempDir(), c)
	good := func() claims {
		return claims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: issuer, Subject: "m1", Audience: jwt.ClaimStrings{"media"}, IssuedAt: jwt.NewNumericDate(c.Now()),
				ExpiresAt: jwt.NewNumericDate(c.Now().Add(time.Minute)),
			},
			Title: "film",
		}
	}
	sign := func(method jwt.SigningMethod, key any, header map[string]any, edit func(*claims)) string {
		x := good()
		if edit != nil {
			edit(&x)
		}
		token := jwt.NewWithClaims(method, x)
		token.Header["kid"] = tickets.keys[0].kid
		for k, v := range header {
			token.Header[k] = v
		}
		s, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ed := jwt.SigningMethodEdDSA
	if _, err := tickets.Check(vod.AudienceMedia, sign(ed, tickets.keys[0].private, nil, nil)); err != nil {
		t.Fatalf("the pattern itself: %v", err)
	}
	public := tickets.keys[0].private.Public().(ed25519.PublicKey)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	valid := sign(ed, tickets.keys[0].private, nil, nil)
	parts := strings.Split(valid, ".")
	payload := func(edit func(map[string]any)) string {
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		var x map[string]any
		if err := json.Unmarshal(raw, &x); err != nil {
			t.Fatal(err)
		}
		edit(x)
		raw, err = json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	header := func(alg string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","typ":"JWT","kid":"` + tickets.keys[0].kid + `"}`))
	}
	for name, token := range map[string]string{
		"alg none":            sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil),
		"alg nOnE":            header("nOnE") + "." + parts[1] + ".",
		"no signature":        parts[0] + "." + parts[1] + ".",
		"HS256, public key":   sign(jwt.SigningMethodHS256, []byte(public), nil, nil),
		"HS256, empty key":    sign(jwt.SigningMethodHS256, []byte{}, nil, nil),
		"EdDSA says HS256":    header("HS256") + "." + parts[1] + "." + parts[2],
		"another key":         sign(ed, other, nil, nil),
		"kid of a file":       sign(ed, other, map[string]any{"kid": "../../../dev/null"}, nil),
		"no kid":              sign(ed, tickets.keys[0].private, map[string]any{"kid": nil}, nil),
		"key in the header":   sign(ed, other, map[string]any{"jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(other.Public().(ed25519.PublicKey))}}, nil),
		"critical header":     sign(ed, tickets.keys[0].private, map[string]any{"crit": []string{"x"}, "x": 1}, nil),
		"expired":             sign(ed, tickets.keys[0].private, nil, func(x *claims) { x.ExpiresAt = jwt.NewNumericDate(c.Now()) }),
		"no expiry":           sign(ed, tickets.keys[0].private, nil, func(x *claims) { x.ExpiresAt = nil }),
		"issued in future":    sign(ed, tickets.keys[0].private, nil, func(x *claims) { x.IssuedAt = jwt.NewNumericDate(c.Now().Add(time.Hour)) }),
		"other audience":      sign(ed, tickets.keys[0].private, nil, func(x *claims) { x.Audience = jwt.ClaimStrings{"operator"} }),
		"two audiences":       sign(ed, tickets.keys[0].private, nil, func(x *claims) { x.Audience = jwt.ClaimStrings{"media", "operator"} }),
		"no audience":         sign(ed, tickets.keys[0].private, nil, func(x *claims) { x.Audience = nil }),
		"other issuer":        sign(ed, tickets.keys[0].private, nil, func(x *claims) { x.Issuer = "elsewhere" }),
		"another title":       parts[0] + "." + payload(func(x map[string]any) { x["title"] = "other" }) + "." + parts[2],
		"a later end":         parts[0] + "." + payload(func(x map[string]any) { x["exp"] = c.Now().Add(time.Hour).Unix() }) + "." + parts[2],
		"cut short":           valid[:len(valid)-4],
		"four parts":          valid + ".x",
		"padded":              valid + "=",
		"empty":               "",
		"not a token":         "essaim",
		"longer than allowed": strings.Repeat("x", ticketMax+1),
	} {
		if got, err := tickets.Check(vod.AudienceMedia, token); !errors.Is(err, vod.ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
