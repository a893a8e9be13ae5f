// Package registry is the service's side of its edges: who they are, what they are to hold, and what they serve.
//
// It must get right: that a token lets in one edge, once; that an edge which was revoked gets nothing more from the moment on;
// that no plan names a key, and no edge learns of a title that it is not to hold; and that viewers are only ever sent to edges
// that were heard of a moment ago.
package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

const (
	// TokenLife is how long a token lets an edge in.
	TokenLife = time.Hour
	// aliveFor is how long after its last word an edge is believed to run.
	aliveFor = 10 * time.Second
	// noteEvery is how often what an edge says is written down.
	noteEvery = 30 * time.Second
	// nearMax is how many edges a player is told of.
	nearMax = 3
	// edgesMax bounds the edges, those that were revoked included.
	edgesMax = 1000
	// revokedStill is how long a revocation is told to other edges: until the certificate has ended.
	revokedStill = CertificateLife + 24*time.Hour
)

// Tickets issues edges' tickets and tells the keys by which all tickets are checked.
type Tickets interface {
	Issue(t vod.Ticket) (string, error)
	// PublicKeys are those that are believed now: kid → Ed25519 public key.
	PublicKeys() map[string][]byte
}

// Revocations are the members' room's: those after a number, and the number of the latest.
type Revocations interface {
	Revocations(ctx context.Context, last int64) ([]vod.Revocation, int64, error)
}

// Members ends what tickets let an edge do.
type Members interface {
	RevokeDevice(ctx context.Context, device string) error
}

// Config is what a Registry needs. All of the first group is required.
type Config struct {
	DB        *sqlstore.Store
	Authority *Authority // a program that only manages edges needs none
	Members   Members
	Clock     vod.Clock

	// For the edge port; a program that only manages edges needs none of it.
	Titles      vod.Titles // what is out
	Coming      vod.Titles // what is out in Lead from now
	Windows     vod.Windows
	Tickets     Tickets
	Revocations Revocations
	Origin      http.Handler // media/{root} and hashes/{root} of both
	Traffic     vod.Traffic  // what viewers got from the origin, by which demand is known
	P2P         func() bool
	Trackers    []string
	Announce    []string
	ICE         []string
	Pages       []string // web origins of the service's own pages; empty: edges are told by their join address
	Public      string   // the service's own address; may be empty

	Control string // HOST:PORT or :PORT of the edge port; empty: edges cannot join
	// Far says how far apart two addresses are, less being nearer. nil: all alike.
	Far func(a, b netip.Addr) int
	Log *slog.Logger // nil: slog.Default
}

// Registry implements vod.Edges. It is safe for concurrent use.
type Registry struct {
	c   Config
	log *slog.Logger

	mu     sync.Mutex
	seen   map[string]*live // by ID
	demand demand
	sites  []string
}

var _ vod.Edges = (*Registry)(nil)

// live is an edge that was heard of since the service started.
type live struct {
	id, name, url, node string
	from                netip.Addr
	at, noted           time.Time
	report              vod.EdgeReport
	whole               map[string]bool // versions that it holds all of
	told                told
}

// New returns a registry over c.
func New(c Config) *Registry {
	r := &Registry{c: c, log: c.Log, seen: map[string]*live{}, demand: newDemand()}
	if r.log == nil {
		r.log = slog.Default()
	}
	return r
}

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9 ._-]{0,62}$`)

// Invite implements vod.Edges.
func (r *Registry) Invite(ctx context.Context, name string) (string, time.Time, error) {
	if !nameForm.MatchString(name) {
		return "", time.Time{}, fmt.Errorf("add edge: %w: a name has 1 to 63 letters, digits, blanks, dots, hyphens and underscores", vod.ErrInvalid)
	}
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", time.Time{}, err
	}
	token := base64.RawURLEncoding.EncodeToString(b[:])
	now := r.c.Clock()
	expires := now.Add(TokenLife)
	err := r.c.DB.Write(ctx, func(tx *sql.Tx) error {
		var n, all int
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edges WHERE name = $1 AND revoked_ms = 0`, name).Scan(&n)
		if err == nil && n > 0 {
			err = fmt.Errorf("%w: there is an edge of that name: revoke it first", vod.ErrConflict)
		}
		if err == nil {
			err = tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM edges) + (SELECT COUNT(*) FROM edge_tokens)`).Scan(&all)
		}
		if err == nil && all >= edgesMax {
			err = fmt.Errorf("%w: there are %d edges already", vod.ErrConflict, all)
		}
		if err != nil {
			return err
		}
		// A new token for a name makes the one before worthless.
		if _, err := tx.ExecContext(ctx, `DELETE FROM edge_tokens WHERE name = $1 OR expires_ms <= $2`, name, now.UnixMilli()); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_tokens (hash, name, expires_ms) VALUES ($1, $2, $3)`, hashOf(token), name, expires.UnixMilli())
		return err
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("add edge: %w", err)
	}
	return token, expires, nil
}

// hashOf is how a token is kept. It has 256 random bits, so that a plain digest tells nothing of it.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Join implements vod.Edges.
func (r *Registry) Join(ctx context.Context, token string, request []byte, address string) (vod.EdgeIdentity, error) {
	if r.c.Control == "" {
		return vod.EdgeIdentity{}, fmt.Errorf("join: %w: this service has no port for edges: start it with --edge-listen", vod.ErrUnavailable)
	}
	if address != "" && siteOf(address) == "" {
		return vod.EdgeIdentity{}, fmt.Errorf("join: %w: %q is no address such as https://edge.example", vod.ErrInvalid, address)
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return vod.EdgeIdentity{}, err
	}
	id, now := hex.EncodeToString(b[:]), r.c.Clock()
	// Who guesses is refused before anything is computed for them; and who sent a bad request may try again, the token being
	// used up last.
	used := fmt.Errorf("join: %w: the token was used, has expired, or never was", vod.ErrNotFound)
	var held int
	if err := r.c.DB.Reader().QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_tokens WHERE hash = $1 AND expires_ms > $2`,
		hashOf(token), now.UnixMilli()).Scan(&held); err != nil {
		return vod.EdgeIdentity{}, fmt.Errorf("join: %w", err)
	}
	if held == 0 {
		return vod.EdgeIdentity{}, used
	}
	certificate, err := r.c.Authority.Certify(id, request)
	if err != nil {
		return vod.EdgeIdentity{}, fmt.Errorf("join: %w", err)
	}
	var name string
	err = r.c.DB.Write(ctx, func(tx *sql.Tx) error {
		// Writers take turns, so that the second of two finds nothing to delete.
		err := tx.QueryRowContext(ctx, `DELETE FROM edge_tokens WHERE hash = $1 AND expires_ms > $2 RETURNING name`, hashOf(token), now.UnixMilli()).Scan(&name)
		if errors.Is(err, sql.ErrNoRows) {
			return used
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edges (id, name, url, joined_ms, seen_ms, report) VALUES ($1, $2, $3, $4, 0, '{}')`,
			id, name, address, now.UnixMilli())
		return err
	})
	if errors.Is(err, used) {
		return vod.EdgeIdentity{}, used
	}
	if err != nil {
		return vod.EdgeIdentity{}, fmt.Errorf("join: %w", err)
	}
	r.log.InfoContext(ctx, "an edge joined", "edge", id, "name", name)
	return vod.EdgeIdentity{
		ID: id, Name: name, Certificate: certificate, Authority: r.c.Authority.PEM(), Control: r.c.Control, NowMs: now.UnixMilli(),
	}, nil
}

// siteOf is the web origin of an http or https address; empty for what is none.
func siteOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !hostForm.MatchString(u.Host) {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

// hostForm is what may be repeated in a header: a name or address, and a port.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$|^\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?$`)

// Edges implements vod.Edges. What runs is told as it last said, everything else as it was written down.
func (r *Registry) Edges(ctx context.Context) ([]vod.Edge, error) {
	rows, err := r.c.DB.Reader().QueryContext(ctx, `SELECT id, name, url, joined_ms, seen_ms, revoked_ms, report FROM edges ORDER BY name, joined_ms`)
	if err != nil {
		return nil, fmt.Errorf("list edges: %w", err)
	}
	defer rows.Close()
	list := []vod.Edge{}
	for rows.Next() {
		var e vod.Edge
		var joined, seen, revoked int64
		var report string
		if err := rows.Scan(&e.ID, &e.Name, &e.URL, &joined, &seen, &revoked, &report); err != nil {
			return nil, fmt.Errorf("list edges: %w", err)
		}
		e.Joined, e.Seen, e.Revoked = fromMs(joined), fromMs(seen), fromMs(revoked)
		if err := json.Unmarshal([]byte(report), &e.Report); err != nil {
			return nil, fmt.Errorf("list edges: report of %s: %w", e.ID, err)
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list edges: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list {
		if l := r.seen[list[i].ID]; l != nil {
			list[i].Seen, list[i].Report, list[i].URL = l.at, l.report, l.url
		}
	}
	return list, nil
}

func fromMs(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Revoke implements vod.Edges.
func (r *Registry) Revoke(ctx context.Context, id string) error {
	err := r.c.DB.Write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `UPDATE edges SET revoked_ms = $2 WHERE id = $1 AND revoked_ms = 0`, id, r.c.Clock().UnixMilli())
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: there is no edge %q", vod.ErrNotFound, id)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke edge: %w", err)
	}
	r.forget(id)
	// Its tickets too: other edges and the tracker hear of it as of any other session that ends.
	if err := r.c.Members.RevokeDevice(ctx, device(id)); err != nil {
		return fmt.Errorf("revoke edge: its tickets: %w", err)
	}
	return nil
}

// device is the device session, as it were, of all of an edge's tickets.
func device(id string) string { return "edge-" + id }

// forget sends nobody to an edge any more.
func (r *Registry) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, id)
	r.settle()
}
