package members

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"essaim/internal/vod"
)

const (
	// TicketLife is how long a ticket is good for when its issuer names no end.
	TicketLife = 10 * time.Minute
	// TicketMax is the longest that a ticket may be good for: an operator's token, which nobody can take back before its
	// end. Keys are believed for longer.
	TicketMax = 31 * 24 * time.Hour

	issuer    = "essaim"
	ticketMax = 2 << 10 // bytes of a token that are looked at
)

// Tickets signs and checks tickets: JWT (RFC 7519) with Ed25519 (RFC 8037) and no other algorithm. It is safe for
// concurrent use.
type Tickets struct {
	clock  vod.Clock
	dir    string
	parser *jwt.Parser
	late   *jwt.Parser // lets tickets pass that have ended within the grace
	// lookup finds the public key of a kid, nil for none: in the folder, or among those that a Verifier was told.
	lookup func(kid string) ed25519.PublicKey

	loading sync.Mutex // held by whoever reads the folder; taken before mu

	mu      sync.RWMutex
	keys    ring // never empty
	looked  time.Time
	revoked vod.Revoked
	issuer  vod.Issuer
}

var (
	_ vod.Tickets = (*Tickets)(nil)
	_ vod.Relays  = (*Tickets)(nil)
)

// OpenTickets reads the signing keys from the data folder at dir, and makes one on first use. Programs that share the
// folder accept one another's tickets.
func OpenTickets(dir string, clock vod.Clock) (*Tickets, error) {
	keys, err := openKeys(dir, clock())
	if err != nil {
		return nil, fmt.Errorf("open ticket keys: %w", err)
	}
	return newTickets(dir, keys, clock), nil
}

func newTickets(dir string, keys ring, clock vod.Clock) *Tickets {
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithTimeFunc(clock), jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
	}
	t := &Tickets{
		clock: clock, dir: dir, keys: keys, parser: jwt.NewParser(options...),
		late: jwt.NewParser(append(options, jwt.WithLeeway(vod.TicketGrace))...),
	}
	t.lookup = t.own
	return t
}

// SetIssuer says how to learn that tickets cannot be renewed just now: those of a running film are then good for a while
// longer (vod.Ticket.Over). Without, all end when they say.
func (t *Tickets) SetIssuer(i vod.Issuer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.issuer = i
}

// own is the public half of the key of that kid.
func (t *Tickets) own(kid string) ed25519.PublicKey {
	k := t.key(kid)
	if k == nil {
		return nil
	}
	return k.private.Public().(ed25519.PublicKey)
}

// key is the key of that kid. For one that nobody knows it looks into the folder, where another program may have put it.
func (t *Tickets) key(kid string) *ticketKey {
	t.mu.RLock()
	k := t.keys.byID(kid)
	t.mu.RUnlock()
	if k != nil || !t.mayLook() || t.reload() != nil { // Keep tells of what is wrong there
		return k
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.keys.byID(kid)
}

// mayLook allows one look in lookAgain: anybody can make up a kid.
func (t *Tickets) mayLook() bool {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.looked) < lookAgain {
		return false
	}
	t.looked = now
	return true
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
	if ticket.Expires.Sub(now) > TicketMax {
		return "", fmt.Errorf("issue ticket: %w: for longer than %s", vod.ErrInvalid, TicketMax)
	}
	t.mu.RLock()
	key := t.keys.signer(now)
	t.mu.RUnlock()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: ticket.Member, Audience: jwt.ClaimStrings{string(ticket.Audience)},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(ticket.Expires),
		},
		Session: ticket.PlaySession, Device: ticket.Device, Title: string(ticket.Title), Version: ticket.Version,
		Rehearsal: string(ticket.Rehearsal),
	})
	token.Header["kid"] = key.kid
	signed, err := token.SignedString(key.private)
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
	_, err := t.parser.ParseWithClaims(token, &c, t.verifier)
	expired := errors.Is(err, jwt.ErrTokenExpired)
	if expired { // nothing else may be wrong with it
		c = claims{}
		if _, err = t.late.ParseWithClaims(token, &c, t.verifier); err != nil {
			expired = errors.Is(err, jwt.ErrTokenExpired)
		}
	}
	if err != nil {
		if expired {
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
	if why := t.revoked.Why(&ticket); why != "" {
		return vod.Ticket{}, fmt.Errorf("check ticket: %w: %w", vod.ErrUnauthorized, &vod.RevokedError{Why: why})
	}
	if expired && ticket.Over(t.clock(), t.issuer) {
		return vod.Ticket{}, fmt.Errorf("check ticket: %w: %w", vod.ErrUnauthorized, vod.ErrTicketExpired)
	}
	return ticket, nil
}

// verifier finds the key that a token says it was signed with.
func (t *Tickets) verifier(parsed *jwt.Token) (any, error) {
	kid, ok := parsed.Header["kid"].(string)
	if !ok {
		return nil, errors.New("it names no key")
	}
	if _, ok := parsed.Header["crit"]; ok { // RFC 7515, 4.1.11: what must be understood and is not
		return nil, errors.New("unknown critical header")
	}
	key := t.lookup(kid)
	if key == nil {
		return nil, errors.New("signed with another key")
	}
	return key, nil
}

// Revoke makes Check refuse the tickets that the revocations concern.
func (t *Tickets) Revoke(list []vod.Revocation) {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revoked.Add(now, list)
}
