// Package members keeps accounts and device sessions, issues tickets and revokes them. It must never store a password or a
// session token as it is, never tell by its answers or their timing which names exist, never accept a ticket that this
// service did not sign for that very audience, and never end a device session without revoking its tickets.
package members

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

const (
	// sessionLife is how long a browser stays signed in.
	sessionLife = 30 * 24 * time.Hour
	// sessionsMax bounds the sessions of one member: beyond it the oldest end.
	sessionsMax = 32
	// hashersMax bounds the passwords hashed at once, and with them memory: 19 MiB each.
	hashersMax = 2
	// waitersMax bounds those who are signing in, hashing or waiting to: the last waits for some seconds. Without it a
	// flood of tries would keep members waiting for minutes.
	waitersMax = 256

	nameMax     = 64  // characters
	passwordMin = 8   // characters, the least that NIST SP 800-63B accepts
	passwordMax = 512 // bytes
	deviceMax   = 100 // bytes
)

// params follow OWASP's smallest recommendation for argon2id, which suits a service that shares its machine with media.
var params = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// Members keeps accounts in the database. It is safe for concurrent use.
type Members struct {
	db        *sqlstore.Store
	clock     vod.Clock
	tries     *tries // by name
	networks  *tries // by network
	signUps   *tries // by network
	taken     *taken
	sightings sightings
	waiters   chan struct{}
	hashers   chan struct{}
	nobody    func() string // the hash that passwords for unknown names are compared with
	matching  func(password, hash string) (bool, error)
	hashed    func(password string) (string, error)
	changed   chan struct{} // holds a token when something may have been revoked
	windows   vod.Windows   // nil: titles have none
	closed    closed
	reached   reached
}

var (
	_ vod.Members = (*Members)(nil)
	_ vod.Issuer  = (*Members)(nil)
)

// Option is one of New's options.
type Option func(*Members)

// WithWindows has Entitlement refuse titles outside of their windows.
func WithWindows(w vod.Windows) Option { return func(m *Members) { m.windows = w } }

// New returns the accounts kept in db.
func New(db *sqlstore.Store, clock vod.Clock, options ...Option) *Members {
	m := &Members{
		db: db, clock: clock, tries: newTries(clock, triesFree, pauseMax),
		networks: newTries(clock, networkFree, networkPause), signUps: newTries(clock, signUpsFree, signUpsPause),
		taken:   newTaken(clock),
		waiters: make(chan struct{}, waitersMax),
		hashers: make(chan struct{}, hashersMax),
		nobody: sync.OnceValue(func() string {
			hash, err := argon2id.CreateHash(rand.Text(), params)
			if err != nil {
				panic("members: no randomness: " + err.Error())
			}
			return hash
		}),
		matching: argon2id.ComparePasswordAndHash,
		hashed:   func(password string) (string, error) { return argon2id.CreateHash(password, params) },
		changed:  make(chan struct{}, 1),
	}
	for _, option := range options {
		option(m)
	}
	return m
}

// nameKey is the form in which names are compared: "Ada " and "ada" are the same member.
func nameKey(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func checkName(name string) error {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > nameMax || !printable(name) {
		return fmt.Errorf("%w: a member's name has 1 to %d printable characters", vod.ErrInvalid, nameMax)
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}

func checkPassword(password string) error {
	if utf8.RuneCountInString(password) < passwordMin || len(password) > passwordMax {
		return fmt.Errorf("%w: a password has at least %d characters (and at most %d bytes)", vod.ErrInvalid, passwordMin,
			passwordMax)
	}
	return nil
}

// Add makes an account. It returns vod.ErrInvalid for a name or password that cannot be, and vod.ErrConflict for a name
// that is taken.
func (m *Members) Add(ctx context.Context, name, password string) (vod.Member, error) {
	return m.put(ctx, name, password, false)
}

// Put makes an account, or gives an existing one a new password, which ends its sessions.
func (m *Members) Put(ctx context.Context, name, password string) (vod.Member, error) {
	return m.put(ctx, name, password, true)
}

func (m *Members) put(ctx context.Context, name, password string, replace bool) (vod.Member, error) {
	name = strings.TrimSpace(name)
	if err := errors.Join(checkName(name), checkPassword(password)); err != nil {
		return vod.Member{}, err
	}
	hash, err := m.hash(ctx, password)
	if err != nil {
		return vod.Member{}, fmt.Errorf("add member: %w", err)
	}
	member := vod.Member{ID: newID(), Name: name, Role: vod.Viewer}
	err = m.write(ctx, func(tx *sql.Tx) error {
		var id string
		err := tx.QueryRowContext(ctx, `SELECT id, role FROM members WHERE name_key = $1`, nameKey(name)).Scan(&id, &member.Role)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return m.insert(ctx, tx, vod.Actor{Name: vod.ActorAdmin}, member, hash, vod.PlanStandard)
		case err != nil:
			return err
		case !replace:
			return fmt.Errorf("%w: there is a member %q already", vod.ErrConflict, name)
		}
		member.ID = id
		if _, err := tx.ExecContext(ctx, `UPDATE members SET name = $1, password_hash = $2 WHERE id = $3`, name, hash,
			id); err != nil {
			return err
		}
		_, err = m.endSessions(ctx, tx, `member_id = $1`, id)
		return err
	})
	if err != nil {
		return vod.Member{}, fmt.Errorf("add member: %w", err)
	}
	return member, nil
}

// insert writes a new member, on that plan or, where it is gone, the standard one.
func (m *Members) insert(ctx context.Context, tx *sql.Tx, by vod.Actor, member vod.Member, hash, plan string) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO members (id, name, name_key, password_hash, created_ms, role) VALUES ($1, $2, $3, $4, $5, $6)`,
		member.ID, member.Name, nameKey(member.Name), hash, m.clock().UnixMilli(), member.Role); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO subscriptions (member_id, plan_id, state, until_ms, sequence)
		VALUES ($1, COALESCE((SELECT id FROM plans WHERE id = $2), $3), 'active', 0, 0)`, member.ID, plan,
		vod.PlanStandard); err != nil {
		return err
	}
	return m.record(ctx, tx, by, "member.add", member.Name, string(member.Role))
}

// Others counts the members whose name is none of these.
func (m *Members) Others(ctx context.Context, names ...string) (n int, err error) {
	rows, err := m.db.Reader().QueryContext(ctx, `SELECT name_key FROM members`)
	if err != nil {
		return 0, fmt.Errorf("count members: %w", err)
	}
	defer rows.Close()
	known := map[string]bool{}
	for _, name := range names {
		known[nameKey(name)] = true
	}
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return 0, fmt.Errorf("count members: %w", err)
		}
		if !known[key] {
			n++
		}
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("count members: %w", err)
	}
	return n, nil
}

// SignIn implements vod.Members. Each failed try for a name, whether it exists or not, lengthens the pause before the
// next, and so do many from one network, whatever the names; within it SignIn returns a *vod.LaterError without looking at
// the password. When too many sign in at once, it returns vod.ErrUnavailable, and that is no failed try.
func (m *Members) SignIn(ctx context.Context, name, password string, from vod.Visit) (string, vod.DeviceSession, error) {
	none := vod.DeviceSession{}
	if len(password) > passwordMax || checkName(strings.TrimSpace(name)) != nil {
		return "", none, fmt.Errorf("sign in: %w: wrong name or password", vod.ErrUnauthorized)
	}
	leave, err := m.enter()
	if err != nil {
		return "", none, fmt.Errorf("sign in: %w", err)
	}
	defer leave()
	key, network := nameKey(name), networkKey(from.Network)
	// The try counts as failed until it succeeds: many at once are no way around the pause.
	if wait := m.networks.begin(network); wait > 0 {
		return "", none, fmt.Errorf("sign in: %w", &vod.LaterError{After: wait})
	}
	if wait := m.tries.begin(key); wait > 0 {
		m.networks.undo(network) // nothing was learned
		return "", none, fmt.Errorf("sign in: %w", &vod.LaterError{After: wait})
	}
	member, hash, err := m.byName(ctx, key)
	known := err == nil
	if errors.Is(err, sql.ErrNoRows) {
		hash, err = m.nobody(), nil
	}
	if err != nil {
		return "", none, fmt.Errorf("sign in: %w", err)
	}
	var match bool
	if err := m.hashing(ctx, func() (err error) {
		match, err = m.matching(password, hash)
		return err
	}); err != nil {
		return "", none, fmt.Errorf("sign in: %w", err)
	}
	if !known || !match {
		return "", none, fmt.Errorf("sign in: %w: wrong name or password", vod.ErrUnauthorized)
	}
	m.tries.succeed(key)
	m.networks.undo(network)
	return m.openSession(ctx, member, from)
}

// enter takes a place among those who sign in or set a password; vod.ErrUnavailable where there is none.
func (m *Members) enter() (leave func(), err error) {
	select {
	case m.waiters <- struct{}{}:
		return func() { <-m.waiters }, nil
	default:
		return nil, fmt.Errorf("%w: too many at once", vod.ErrUnavailable)
	}
}

func (m *Members) byName(ctx context.Context, key string) (member vod.Member, hash string, err error) {
	err = m.db.Reader().QueryRowContext(ctx, `SELECT id, name, role, password_hash FROM members WHERE name_key = $1`, key).
		Scan(&member.ID, &member.Name, &member.Role, &hash)
	return member, hash, err
}

func (m *Members) openSession(ctx context.Context, member vod.Member, from vod.Visit) (token string, s vod.DeviceSession, err error) {
	err = m.write(ctx, func(tx *sql.Tx) error {
		token, s, err = m.insertSession(ctx, tx, member, from)
		return err
	})
	if err != nil {
		return "", vod.DeviceSession{}, fmt.Errorf("open session: %w", err)
	}
	return token, s, nil
}

// insertSession opens a device session, in a transaction.
func (m *Members) insertSession(ctx context.Context, tx *sql.Tx, member vod.Member, from vod.Visit) (string, vod.DeviceSession, error) {
	token, now := newToken(), m.clock()
	s := vod.DeviceSession{ID: newID(), Member: member, Device: cutTo(from.Device, deviceMax), Expires: fromMs(now.Add(sessionLife).UnixMilli())}
	if _, err := tx.ExecContext(ctx, `DELETE FROM device_sessions WHERE expires_ms <= $1`, now.UnixMilli()); err != nil {
		return "", s, err
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO device_sessions (token_sha256, id, member_id, created_ms, expires_ms, device, seen_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $4)`,
		tokenKey(token), s.ID, member.ID, now.UnixMilli(), s.Expires.UnixMilli(), s.Device); err != nil {
		return "", s, err
	}
	_, err := m.endSessions(ctx, tx, `member_id = $1 AND id NOT IN (
			SELECT id FROM device_sessions WHERE member_id = $1 ORDER BY created_ms DESC, (id = $2) DESC LIMIT $3)`,
		member.ID, s.ID, sessionsMax)
	return token, s, err
}

// newToken is a secret of 256 bits.
func newToken() string {
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		panic("members: no randomness: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

// tokenKey is what is stored of a token. Tokens have 256 bits of chance, so a plain digest cannot be guessed back, and
// a lookup by it tells nothing by its timing.
func tokenKey(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// SignOut implements vod.Members. Signing out twice is no error.
func (m *Members) SignOut(ctx context.Context, token string) error {
	err := m.write(ctx, func(tx *sql.Tx) error {
		_, err := m.endSessions(ctx, tx, `token_sha256 = $1`, tokenKey(token))
		return err
	})
	if err != nil {
		return fmt.Errorf("sign out: %w", err)
	}
	return nil
}

// Session implements vod.Members.
func (m *Members) Session(ctx context.Context, token string) (vod.DeviceSession, error) {
	var s vod.DeviceSession
	var expires int64
	err := m.db.Reader().QueryRowContext(ctx, `
		SELECT s.id, s.expires_ms, s.device, m.id, m.name, m.role FROM device_sessions s JOIN members m ON m.id = s.member_id
		WHERE s.token_sha256 = $1 AND s.expires_ms > $2`, tokenKey(token), m.clock().UnixMilli()).
		Scan(&s.ID, &expires, &s.Device, &s.Member.ID, &s.Member.Name, &s.Member.Role)
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrUnauthorized
	}
	if err != nil {
		return vod.DeviceSession{}, fmt.Errorf("session: %w", err)
	}
	s.Expires = fromMs(expires)
	m.sightings.note(s.ID, m.clock())
	return s, nil
}

// hashing runs f when one of the few places to hash in is free.
func (m *Members) hashing(ctx context.Context, f func() error) error {
	select {
	case m.hashers <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.hashers }()
	return f()
}

// newID is a random identifier of 128 bits.
func newID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("members: no randomness: " + err.Error())
	}
	return hex.EncodeToString(b[:])
}
