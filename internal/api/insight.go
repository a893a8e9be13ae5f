package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"essaim/internal/vod"
)

// Insight is what the operator's figures and policy need.
type Insight struct {
	Reports vod.PlayReports
	Savings vod.Savings
	Book    vod.PolicyBook
	// Number is the autonomous system of a network, 0 for not known; nil: none is.
	Number func(netip.Prefix) uint32
}

// place is where a session's viewer is in the network, as exactly as anybody keeps it.
type place struct {
	network netip.Prefix // a /24 or /48; the zero value where addresses say nothing
	number  uint32       // autonomous system
}

func (s *Server) placeOf(ctx context.Context) (p place) {
	p.network = visitorOf(ctx).visit.Network
	if i := s.c.Insight; i != nil && i.Number != nil && p.network.IsValid() {
		p.number = i.Number(p.network)
	}
	return p
}

// inGroup is the group of a session of t.
func (s *Server) inGroup(x *play, t *vod.Title) (vod.Group, int) {
	g, d := s.policy.group(x)
	if !x.share || !x.swarms(t) {
		g = vod.GroupNone
	}
	return g, d.Bucket
}

func filmBytes(v *vod.Version) (n int64) {
	for i := range v.Files {
		n += v.Files[i].Size
	}
	return n
}

// opened has a session counted. A rehearsal's is counted by who rehearses.
func (s *Server) opened(x *play, t *vod.Title) {
	if s.c.Insight == nil || x.rehearsal != "" {
		return
	}
	group, bucket := s.inGroup(x, t)
	s.c.Insight.Reports.Opened(vod.PlayOpened{
		Session: x.id, Title: t.ID, Group: group, Bucket: bucket, Network: x.place.number, FilmBytes: filmBytes(&t.Version), At: s.c.Clock(),
	})
}

// reported has a session's report counted, and notes where it came from.
func (s *Server) reported(ctx context.Context, x *play, t *vod.Title) {
	x.place = s.placeOf(ctx)
	s.plays.move(x.id, x.place)
	if s.c.Insight == nil || x.rehearsal != "" {
		return
	}
	r := x.report
	if !hasHeight(&t.Version, r.Height) {
		r.Height = 0
	}
	group, bucket := s.inGroup(x, t)
	s.c.Insight.Reports.Reported(vod.PlayReported{
		Session: x.id, Title: t.ID, Group: group, Bucket: bucket, Network: x.place.number, FilmBytes: filmBytes(&t.Version),
		DurationMs: int64(t.Version.DurationMs), Report: r, At: s.c.Clock(),
	})
}

func hasHeight(v *vod.Version, height int) bool {
	for i := range v.Files {
		if v.Files[i].Kind == vod.Video && v.Files[i].Height == height {
			return true
		}
	}
	return false
}

// move notes where a session's viewer is.
func (p *plays) move(id string, to place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.byID[id]; x != nil {
		x.place = to
	}
}

type savingsInput struct {
	From string `query:"from" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}$" doc:"The first day, in UTC; absent: 29 days before the last."`
	To   string `query:"to" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}$" doc:"The last day; absent: today."`
	By   string `query:"by" enum:"day,title" default:"day" doc:"What the rows are."`
}

type savingsOutput struct {
	Body vod.SavingsReport
}

type savingsCSVOutput struct {
	Type        string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

// days reads the days asked for.
func (in *savingsInput) days(now time.Time) (from, to time.Time, err error) {
	day := func(s string, otherwise time.Time) time.Time {
		if s == "" {
			return otherwise
		}
		t, bad := time.Parse(time.DateOnly, s)
		if bad != nil && err == nil {
			err = fmt.Errorf("%w: %q is no day", vod.ErrInvalid, s)
		}
		return t
	}
	to = day(in.To, now.UTC())
	return day(in.From, to.AddDate(0, 0, -29)), to, err
}

func (s *Server) registerInsight() {
	if s.c.Insight == nil {
		return
	}
	register(s, staffOp("savings", "GET", "/api/v1/operator/savings",
		"What viewers carried and what that saved, beside its bound, and how viewers who share fare against those who were held out", 200),
		func(ctx context.Context, in *savingsInput) (*savingsOutput, error) {
			r, err := s.savings(ctx, in)
			return &savingsOutput{r}, err
		})
	table := staffOp("savings-csv", "GET", "/api/v1/operator/savings.csv", "The same rows as a table, with the total last", 200)
	table.Responses = map[string]*huma.Response{"200": {
		Description: "Comma-separated values (RFC 4180), with a line of names.",
		Content:     map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	register(s, table,
		func(ctx context.Context, in *savingsInput) (*savingsCSVOutput, error) {
			r, err := s.savings(ctx, in)
			if err != nil {
				return nil, err
			}
			return &savingsCSVOutput{
				Type: "text/csv; charset=utf-8", Disposition: `attachment; filename="savings.csv"`, Body: savingsCSV(&r),
			}, nil
		})
}

func (s *Server) savings(ctx context.Context, in *savingsInput) (r vod.SavingsReport, err error) {
	if err := s.operator(ctx); err != nil {
		return r, err
	}
	from, to, err := in.days(s.c.Clock())
	if err != nil {
		return r, err
	}
	by := vod.SavingsBy(in.By)
	if by == "" {
		by = vod.ByDay
	}
	return s.c.Insight.Savings.Savings(ctx, from, to, by)
}

// savingsCSV is a report as RFC 4180 has it.
func savingsCSV(r *vod.SavingsReport) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	write := func(cells ...string) { _ = w.Write(cells) } // into memory
	write("key", "sessions", "played_hours", "origin_bytes", "counted_bytes", "peer_bytes", "relayed_bytes", "wasted_bytes", "cached_bytes",
		"sent_bytes", "discrepancy", "quarantined", "offload", "bound", "crowd", "origin_copies", "avoided_bytes", "avoided_amount", "currency")
	number := func(f float64, digits int) string { return strconv.FormatFloat(f, 'f', digits, 64) }
	whole := func(n int64) string { return strconv.FormatInt(n, 10) }
	row := func(key string, x *vod.SavingsRow) {
		copies := ""
		if x.OriginCopies != nil {
			copies = number(*x.OriginCopies, 4)
		}
		write(key, whole(x.Sessions), number(float64(x.PlayedMs)/3_600_000, 4), whole(x.OriginBytes), whole(x.CountedBytes), whole(x.PeerBytes),
			whole(x.RelayedBytes), whole(x.WastedBytes), whole(x.CachedBytes), whole(x.SentBytes), number(x.Discrepancy, 6), whole(x.Quarantined),
			number(x.Offload, 6), number(x.Bound, 6), number(x.Crowd, 3), copies, whole(x.AvoidedBytes), number(x.AvoidedAmount, 6), cell(r.Currency))
	}
	for i := range r.Rows {
		row(r.Rows[i].Key, &r.Rows[i])
	}
	row("total", &r.Total)
	w.Flush()
	return b.Bytes()
}

// cell keeps a spreadsheet from taking text for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}
