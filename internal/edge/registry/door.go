package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"essaim/internal/edge/control"
	"essaim/internal/vod"
)

// Handler is what the edge port answers, behind Authority.TLS. Every request is held against the register, so that what was
// revoked a moment ago gets nothing more, on connections that were open as well.
func (r *Registry) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+control.PathSync, r.serveSync)
	mux.HandleFunc("POST "+control.PathRenew, r.serveRenew)
	mux.HandleFunc("GET "+control.PathTorrent+"{id}", r.serveTorrent)
	mux.Handle("GET "+control.Media+"/media/{root}", http.StripPrefix(control.Media, r.c.Origin))
	mux.Handle("GET "+control.Media+"/hashes/{root}", http.StripPrefix(control.Media, r.c.Origin))
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		id, err := r.admit(q)
		if err != nil {
			r.refuse(w, q, err)
			return
		}
		mux.ServeHTTP(w, q.WithContext(context.WithValue(q.Context(), edgeKey{}, id)))
	})
}

type edgeKey struct{}

// known is what the register says of an edge that asks.
type known struct{ id, name, url string }

// admit says which edge asks.
func (r *Registry) admit(q *http.Request) (known, error) {
	if q.TLS == nil || len(q.TLS.VerifiedChains) == 0 || len(q.TLS.PeerCertificates[0].DNSNames) != 1 {
		return known{}, vod.ErrUnauthorized
	}
	k := known{}
	var ok bool
	if k.id, ok = control.EdgeID(q.TLS.PeerCertificates[0].DNSNames[0]); !ok {
		return known{}, vod.ErrUnauthorized
	}
	// A connection may outlive the certificate that it began with.
	if !r.c.Clock().Before(q.TLS.PeerCertificates[0].NotAfter) {
		return known{}, vod.ErrUnauthorized
	}
	var revoked int64
	err := r.c.DB.Reader().QueryRowContext(q.Context(), `SELECT name, url, revoked_ms FROM edges WHERE id = $1`, k.id).Scan(&k.name, &k.url, &revoked)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && revoked != 0:
		r.forget(k.id)
		return known{}, vod.ErrEdgeRevoked
	case err != nil:
		return known{}, fmt.Errorf("look up edge %s: %w", k.id, err)
	}
	return k, nil
}

func (r *Registry) refuse(w http.ResponseWriter, q *http.Request, err error) {
	status, text := http.StatusServiceUnavailable, "unavailable"
	switch {
	case errors.Is(err, vod.ErrForbidden):
		status, text = http.StatusForbidden, "revoked"
	case errors.Is(err, vod.ErrUnauthorized):
		status, text = http.StatusUnauthorized, "unauthorized"
	case errors.Is(err, vod.ErrInvalid):
		status, text = http.StatusBadRequest, "invalid"
	case errors.Is(err, vod.ErrNotFound):
		status, text = http.StatusNotFound, "not_found"
	default:
		r.log.ErrorContext(q.Context(), "edge port", "path", q.URL.Path, "error", err)
	}
	http.Error(w, text, status)
}

func read(w http.ResponseWriter, q *http.Request, most int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, most))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", vod.ErrInvalid, err)
	}
	return b, nil
}

func (r *Registry) serveRenew(w http.ResponseWriter, q *http.Request) {
	k := q.Context().Value(edgeKey{}).(known)
	request, err := read(w, q, requestMax)
	if err != nil {
		r.refuse(w, q, err)
		return
	}
	certificate, err := r.c.Authority.Certify(k.id, request)
	if err != nil {
		r.refuse(w, q, err)
		return
	}
	r.log.InfoContext(q.Context(), "an edge renewed its certificate", "edge", k.id, "name", k.name)
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = io.WriteString(w, certificate) // who has gone needs no error
}

// serveTorrent answers with an open title's metainfo, which its edges need for clients of BitTorrent.
func (r *Registry) serveTorrent(w http.ResponseWriter, q *http.Request) {
	id := vod.TitleID(q.PathValue("id"))
	t, err := Both{r.c.Titles, r.c.Coming}.Get(q.Context(), id)
	if err == nil && !t.Open {
		err = vod.ErrNotFound
	}
	var b []byte
	if err == nil {
		b, err = Both{r.c.Titles, r.c.Coming}.Torrent(q.Context(), id)
	}
	if err != nil {
		r.refuse(w, q, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-bittorrent")
	_, _ = w.Write(b) // who has gone needs no error
}

func (r *Registry) serveSync(w http.ResponseWriter, q *http.Request) {
	k := q.Context().Value(edgeKey{}).(known)
	body, err := read(w, q, control.SyncMax)
	var in control.Sync
	if err == nil {
		if err = json.Unmarshal(body, &in); err != nil {
			err = fmt.Errorf("%w: %w", vod.ErrInvalid, err)
		}
	}
	var news *control.News
	if err == nil {
		news, err = r.sync(q.Context(), k, addressOf(q), &in)
	}
	if err != nil {
		r.refuse(w, q, err)
		return
	}
	b, err := json.Marshal(news)
	if err != nil {
		r.refuse(w, q, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // who has gone needs no error
}

func addressOf(q *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(q.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// sync takes an edge's word and answers it.
func (r *Registry) sync(ctx context.Context, k known, from netip.Addr, in *control.Sync) (*control.News, error) {
	now := r.c.Clock()
	if err := check(&in.Report); err != nil {
		return nil, err
	}
	if in.URL != "" && siteOf(in.URL) == "" {
		return nil, fmt.Errorf("%w: address %q", vod.ErrInvalid, in.URL)
	}
	l := &live{
		id: k.id, name: k.name, url: in.URL, node: nodeOf(in.Node, from), from: from, at: now, report: in.Report, whole: map[string]bool{},
	}
	for i := range in.Report.Titles {
		if h := &in.Report.Titles[i]; h.Whole() {
			l.whole[h.Version] = true
		}
	}
	r.mu.Lock()
	before := r.seen[k.id]
	if before != nil {
		l.noted, l.told = before.noted, before.told
	}
	note := now.Sub(l.noted) >= noteEvery || before != nil && (before.url != l.url || len(before.whole) != len(l.whole))
	if note {
		l.noted = now
	}
	r.seen[k.id] = l
	made := l.told
	r.demand.edge(k.id, before, l)
	r.settle()
	r.mu.Unlock()
	if note {
		if err := r.note(ctx, l); err != nil {
			return nil, err
		}
	}
	news := &control.News{NowMs: now.UnixMilli(), Keys: r.c.Tickets.PublicKeys(), Pages: r.c.Pages, P2P: r.c.P2P == nil || r.c.P2P()}
	list, last, err := r.c.Revocations.Revocations(ctx, in.Last)
	if err != nil {
		return nil, err
	}
	news.Last = last
	for _, one := range list {
		if one.Title == "" { // a title's window is in the plan
			news.Revocations = append(news.Revocations, control.Revocation{Device: one.Device, PlaySession: one.PlaySession, Why: one.Reason()})
		}
	}
	if news.Outcasts, err = r.outcasts(ctx); err != nil {
		return nil, err
	}
	windows, err := r.c.Windows.List(ctx)
	if err != nil {
		return nil, err
	}
	mark := markOf(windows, in.Report.QuotaBytes, now)
	if made.stands(in.Plan, mark, now) {
		return news, nil
	}
	plan, err := r.plan(ctx, l, windows, now)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	l.told = told{plan.Edition, mark, now.Add(planEvery + rand.N(planJitter))}
	r.mu.Unlock()
	if plan.Edition != in.Plan {
		news.Plan = plan
	}
	return news, nil
}

// nodeOf is where other edges reach an edge that calls from an address and says that it listens at node; empty for nowhere.
func nodeOf(node string, from netip.Addr) string {
	host, port, err := net.SplitHostPort(node)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = from.String()
	}
	if node = net.JoinHostPort(host, port); !hostForm.MatchString(node) {
		return ""
	}
	return node
}

// check refuses what no edge could have counted.
func check(e *vod.EdgeReport) error {
	counts := []int64{
		e.Started, e.QuotaBytes, e.PlannedBytes, e.HeldBytes, e.FilledBytes, e.FromEdges, e.HTTPBytes, e.PeerBytes, int64(e.Peers), e.Rotten, e.Repaired,
	}
	if len(e.Titles) > control.PlanMax || len(e.Version) > 100 || len(e.Trouble) > 300 {
		return fmt.Errorf("%w: a report too long", vod.ErrInvalid)
	}
	for i := range e.Titles {
		h := &e.Titles[i]
		if !h.Title.Valid() || len(h.Version) > 64 {
			return fmt.Errorf("%w: a report of no title", vod.ErrInvalid)
		}
		counts = append(counts, h.Bytes, h.Size, h.HTTPBytes, h.PeerBytes)
	}
	for _, n := range counts {
		if n < 0 || n > 1<<60 {
			return fmt.Errorf("%w: a report of %d", vod.ErrInvalid, n)
		}
	}
	return nil
}

// note writes down what an edge said last, for a service that starts anew and for who looks from outside.
func (r *Registry) note(ctx context.Context, l *live) error {
	report := l.report
	report.Trouble = strings.ToValidUTF8(report.Trouble, "")
	b, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return r.c.DB.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE edges SET seen_ms = $2, report = $3, url = $4 WHERE id = $1`, l.id, l.at.UnixMilli(), string(b), l.url)
		return err
	})
}

// outcasts are the edges that others must not trust, though their certificates may still be good.
func (r *Registry) outcasts(ctx context.Context) ([]string, error) {
	rows, err := r.c.DB.Reader().QueryContext(ctx, `SELECT id FROM edges WHERE revoked_ms > $1`, r.c.Clock().Add(-revokedStill).UnixMilli())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []string{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		list = append(list, id)
	}
	return list, rows.Err()
}
