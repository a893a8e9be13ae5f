package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"essaim/internal/insight"
	"essaim/internal/library"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// savingsCmd prints what viewers carried, beside a running service or without one.
type savingsCmd struct {
	From string `placeholder:"YYYY-MM-DD" help:"The first day, in UTC; 29 days before the last unless given."`
	To   string `placeholder:"YYYY-MM-DD" help:"The last day; today unless given."`
	By   string `enum:"day,title" default:"day" help:"What the rows are: day or title (${default})."`
	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON bool   `name:"json" help:"Print one JSON object: that of GET /api/v1/operator/savings."`
}

// Run prints the figures.
func (c *savingsCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout, time.Now)
}

func (c *savingsCmd) run(ctx context.Context, out io.Writer, clock vod.Clock) (err error) {
	to, err := readDay("--to", c.To, clock().UTC())
	if err != nil {
		return err
	}
	from, err := readDay("--from", c.From, to.AddDate(0, 0, -29))
	if err != nil {
		return err
	}
	name := filepath.Join(c.Data, "essaim.db")
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("there is no data folder of a service at %s: name it with --data", c.Data)
	}
	db, err := sqlstore.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	room := insight.New(insight.Config{Store: db, Clock: clock, Titles: library.New(db, clock)})
	r, err := room.Savings(ctx, from, to, vod.SavingsBy(c.By))
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(r)
	}
	return printSavings(out, c.By, &r)
}

func readDay(flag, s string, otherwise time.Time) (time.Time, error) {
	if s == "" {
		return otherwise, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, fmt.Errorf("%s %q: want a day such as 2026-03-01", flag, s)
	}
	return t, nil
}

// printSavings is for people.
func printSavings(out io.Writer, by string, r *vod.SavingsReport) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\tsessions\thours\torigin GB\tpeers GB\toffload\tat most\tcopies\tavoided GB\t%s\tleft out\t\n", by, r.Currency)
	row := func(key string, x *vod.SavingsRow) {
		copies := "-"
		if x.OriginCopies != nil {
			copies = fmt.Sprintf("%.2f", *x.OriginCopies)
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.3f\t%.3f\t%.1f %%\t%.1f %%\t%s\t%.3f\t%.2f\t%d\t\n", key, x.Sessions, float64(x.PlayedMs)/3_600_000, float64(x.OriginBytes)/1e9,
			float64(x.PeerBytes)/1e9, 100*x.Offload, 100*x.Bound, copies, float64(x.AvoidedBytes)/1e9, x.AvoidedAmount, x.Quarantined)
	}
	for i := range r.Rows {
		row(r.Rows[i].Key, &r.Rows[i])
	}
	row("total", &r.Total)
	if err := w.Flush(); err != nil {
		return err
	}
	w = tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "\nmeasure\tsharing\theld out\tdifference, 95 %% interval\n")
	for _, c := range r.Comparison {
		interval := "too few viewers"
		if c.Known {
			interval = fmt.Sprintf("%.4g (%.4g to %.4g)", c.Difference, c.Low, c.High)
			if c.Measure == "startup_ms" {
				interval = fmt.Sprintf("× %.3f (%.3f to %.3f)", c.Difference, c.Low, c.High)
			}
		}
		fmt.Fprintf(w, "%s\t%.4g (%d sessions)\t%.4g (%d)\t%s\n", c.Measure, c.Sharing, c.SharingSessions, c.HoldOut, c.HoldOutSessions, interval)
	}
	return w.Flush()
}
