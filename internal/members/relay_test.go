package members

import (
	"crypto/ed25519"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/vod"
)

// relayVector is what a TURN server needs to check a program of its own against ours.
type relayVector struct {
	Seed     string `json:"seed"` // of the ticket key, in hexadecimal
	Secret   string `json:"secret"`
	KID      string `json:"kid"`
	Session  string `json:"session"`
	Device   string `json:"device"`
	Expires  int64  `json:"expires"` // seconds since 1970
	Username string `json:"username"`
	Password string `json:"password"`
	Realm    string `json:"realm"`
	Key      string `json:"key"` // MD5(username:realm:password), which integrity is computed with (RFC 8489, section 9.2.2)
}

func TestRelayCredentialsAreThoseOfTheVectors(t *testing.T) {
	name := filepath.Join("testdata", "relay.json")
	c := newClock()
	var vectors []relayVector
	for i, device := range []string{"00112233445566778899aabbccddeeff", ""} {
		seed := make([]byte, ed25519.SeedSize)
		seed[0] = byte(i + 1)
		private := ed25519.NewKeyFromSeed(seed)
		key, err := newTicketKey("", c.Now(), private)
		if err != nil {
			t.Fatal(err)
		}
		tickets := newTickets(t.TempDir(), ring{key}, c.Now)
		session, realm := strings.Repeat("5e", 16), "essaim"
		got, err := tickets.RelayCredentials(vod.Ticket{PlaySession: session, Device: device})
		if err != nil {
			t.Fatal(err)
		}
		turn := md5.Sum([]byte(got.Username + ":" + realm + ":" + got.Credential))
		vectors = append(vectors, relayVector{
			Seed: hex.EncodeToString(seed), Secret: hex.EncodeToString(key.relay), KID: key.kid, Session: session, Device: device,
			Expires: c.Now().Add(TicketLife).Unix(), Username: got.Username, Password: got.Credential, Realm: realm,
			Key: hex.EncodeToString(turn[:]),
		})
		password, ticket, err := tickets.RelayPassword(got.Username)
		if err != nil || password != got.Credential || ticket.PlaySession != session || ticket.Device != device ||
			ticket.Audience != vod.AudienceRelay {
			t.Errorf("read back: %q, %+v, %v", password, ticket, err)
		}
	}
	now, err := json.MarshalIndent(vectors, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	now = append(now, '\n')
	if os.Getenv("ESSAIM_UPDATE") != "" { // write the vectors anew
		if err := os.WriteFile(name, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(now) {
		t.Errorf("differs from %s:\n%s", name, now)
	}
}

func TestRelayCredentialsEndAndAreRevoked(t *testing.T) {
	c := newClock()
	tickets := openTickets(t, t.TempDir(), c)
	got, err := tickets.RelayCredentials(vod.Ticket{PlaySession: "p1", Device: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(got.Username, ":")
	with := func(i int, value string) string {
		edited := append([]string(nil), parts...)
		edited[i] = value
		return strings.Join(edited, ":")
	}
	for name, username := range map[string]string{
		"empty": "", "a JWT": issue(t, tickets, media), "no session": with(2, ""), "another key": with(1, "0011223344556677"),
		"a key of the folder's": with(1, "../"+parts[1]), "an end that is no number": with(0, "soon"), "an end with a sign": with(0, "+"+parts[0]),
		"a part more": got.Username + ":x", "too long": got.Username + strings.Repeat("x", 500),
	} {
		if _, _, err := tickets.RelayPassword(username); !errors.Is(err, vod.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Whoever puts the end off, or takes another's session, has no password for it.
	for _, username := range []string{with(0, "99"+parts[0][2:]), with(2, "p2")} {
		if password, _, err := tickets.RelayPassword(username); err == nil && password == got.Credential {
			t.Errorf("the password also opens %s", username)
		}
	}
	tickets.Revoke([]vod.Revocation{{Device: "d1"}})
	if _, _, err := tickets.RelayPassword(got.Username); !errors.Is(err, vod.ErrTicketRevoked) {
		t.Errorf("revoked: %v", err)
	}
	got, err = tickets.RelayCredentials(vod.Ticket{PlaySession: "p2"})
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(TicketLife)
	if _, _, err := tickets.RelayPassword(got.Username); !errors.Is(err, vod.ErrTicketExpired) {
		t.Errorf("at its end: %v", err)
	}
	// A relayed connection that stands may be refreshed while nobody can renew.
	tickets.SetIssuer(issuerAway{c.Now().Add(-time.Minute)})
	if _, _, err := tickets.RelayPassword(got.Username); err != nil {
		t.Errorf("while the issuer is away: %v", err)
	}
	for _, bad := range []vod.Ticket{{}, {PlaySession: "a:b"}, {PlaySession: "p", Device: "a:b"}, {PlaySession: "p", Expires: c.Now().Add(2 * time.Hour)}} {
		if _, err := tickets.RelayCredentials(bad); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
