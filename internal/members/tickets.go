package members

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"essaim/internal/vod"
)

const (
	// TicketLife is how long a ticket is good for when its issuer names no end.
	TicketLife = 10 * time.Minute

	issuer    = "essaim"
	keyFile   = "ticket-key.pem"
	ticketMax = 2 << 10 // bytes of a token that are looked at
)

// Tickets signs and checks tickets: JWT (RFC 7519) with Ed25519 (RFC 8037) and no other algorithm. It is safe for
// concurrent use.
type Tickets struct {
	clock  vod.Clock
	key    ed25519.PrivateKey
	kid    string
	parser *jwt.Parser

	mu      sync.RWMutex
	revoked vod.Revoked
}

var _ vod.Tickets = (*Tickets)(nil)

// OpenTickets reads the signing key from the data folder at dir, and makes one on first use. Programs that share the
// folder accept one another's tickets.
func OpenTickets(dir string, clock vod.Clock) (*Tickets, error) {
	name := filepath.Join(dir, keyFile)
	key, err := readKey(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(name); err == nil {
			key, err = readKey(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open ticket key: %w", err)
	}
	return newTickets(key, clock), nil
}

func newTickets(key ed25519.PrivateKey, clock vod.Clock) *Tickets {
	sum := sha256.Sum256(key.Public().(ed25519.PublicKey))
	return &Tickets{
		clock: clock, key: key, kid: hex.EncodeToString(sum[:8]),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithTimeFunc(clock), jwt.WithIssuer(issuer),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding()),
	}
}

func readKey(name string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: make it private with chmod 600, or delete it for a new one", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 key", name)
	}
	return key, nil
}

// makeKey writes a new key, whole or not at all. Of two programs that make one at once, the first wins.
func makeKey(name string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), keyFile+".*") // made 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// claims are a ticket's, as signed.
type claims struct {
	jwt.RegisteredClaims        // sub is the member, empty for a stranger, or the rehearsal
	Session              string `json:"session,omitempty"`
	Device               string `json:"device,omitempty"`
	Title                string `json:"title,omitempty"`
	Version              string `json:"version,omitempty"`
	Rehearsal            string `json:"rehearsal,omitempty"`
}

// Issue implements vod.Tickets. A ticket without an end lasts TicketLife.
func (t *Tickets) Issue(ticket vod.Ticket) (string, error) {
	now := t.clock()
	if ticket.Expires.IsZero() {
		ticket.Expires = now.Add(TicketLife)
	}
	if ticket.Audience == "" {
		return "", fmt.Errorf("issue ticket: %w: no audience", vod.ErrInvalid)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: ticket.Member, Audience: jwt.ClaimStrings{string(ticket.Audience)},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(ticket.Expires),
		},
		Session: ticket.PlaySession, Device: ticket.Device, Title: string(ticket.Title), Version: ticket.Version,
		Rehearsal: string(ticket.Rehearsal),
	})
	token.Header["kid"] = t.kid
	signed, err := token.SignedString(t.key)
	if err != nil {
		return "", fmt.Errorf("issue ticket: %w", err)
	}
	return signed, nil
}

// Check implements vod.Tickets. Every reason to refuse is vod.ErrUnauthorized.
func (t *Tickets) Check(audience vod.Audience, token string) (vod.Ticket, error) {
	if token == "" || len(token) > ticketMax {
		return vod.Ticket{}, fmt.Errorf("check ticket: %w: %d bytes", vod.ErrUnauthorized, len(token))
	}
	var c claims
	_, err := t.parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		if parsed.Header["kid"] != t.kid {
			return nil, errors.New("signed with another key")
		}
		if _, ok := parsed.Header["crit"]; ok { // RFC 7515, 4.1.11: what must be understood and is not
			return nil, errors.New("unknown critical header")
		}
		return t.key.Public(), nil
	})
	if err != nil {
		if errors.Is(err, jwt.ErrTokenExpired) {
			err = vod.ErrTicketExpired
		}
		return vod.Ticket{}, fmt.Errorf("check ticket: %w: %w", vod.ErrUnauthorized, err)
	}
	if len(c.Audience) != 1 || c.Audience[0] != string(audience) {
		return vod.Ticket{}, fmt.Errorf("check ticket: %w: for another audience", vod.ErrUnauthorized)
	}
	ticket := vod.Ticket{
		Audience: audience, PlaySession: c.Session, Member: c.Subject, Device: c.Device, Title: vod.TitleID(c.Title),
		Version: c.Version, Rehearsal: vod.RehearsalLabel(c.Rehearsal), Expires: c.ExpiresAt.Time,
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.revoked.Covers(&ticket) {
		return vod.Ticket{}, fmt.Errorf("check ticket: %w: %w", vod.ErrUnauthorized, vod.ErrTicketRevoked)
	}
	return ticket, nil
}

// Revoke makes Check refuse the tickets that the revocations concern.
func (t *Tickets) Revoke(list []vod.Revocation) {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revoked.Add(now, list)
}
