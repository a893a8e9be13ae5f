// Package insight turns what players report into what operators ask: what viewers carried, whether anybody is hurt by it,
// and the policy that stops it. It must count every byte once, however often, late or out of order it is reported and
// whenever the service restarts; keep no address and no member's name; stay bounded however much is claimed; and never
// believe what cannot be.
//
// Players report totals of their session. Each report is held against the largest totals that are known of that session,
// and only what they grew by is added to the sums of the minute, in one transaction with the new totals. So a repeated
// report adds nothing, an old one nothing, and one that follows lost ones all that they would have.
package insight

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

const (
	// flushEvery is how long a report may wait for others to be written with.
	flushEvery = 2 * time.Second
	// pendingMax bounds the sessions whose reports wait. 100 MB at worst, when no database answers for long.
	pendingMax = 100_000
	// batchMax bounds the sessions of one transaction, so that other writers wait for a tenth of a second at most.
	batchMax = 1_000
	// networksMax is how many networks a node tells apart within an hour.
	networksMax = 1_000
)

// Config is what an Insight needs.
type Config struct {
	Store *sqlstore.Store
	Clock vod.Clock
	Log   *slog.Logger // nil: none
	// Titles tells the sizes of films, for the count of origin copies; nil: these are not told.
	Titles vod.Titles
	// Alarm is told when the guard has switched peers off; nil: it is logged, and stands among the policy's versions.
	Alarm func(ctx context.Context, v vod.PolicyVersion)
	// Initial is in force until somebody changes the policy; nil: vod.DefaultPolicy.
	Initial *vod.OperatorPolicy
	// Traffic is the origin's own count; nil: none is kept.
	Traffic vod.Traffic
}

// Insight keeps the figures and the policy. It is safe for concurrent use.
type Insight struct {
	c   Config
	log *slog.Logger

	mu       sync.Mutex
	pending  map[string]*waiting
	lost     int            // reports for which there was no room, since it was last told
	networks map[int64]bool // told apart in the hour
	hour     int64

	flushing sync.Mutex
	guarded  time.Time             // Of Run
	counted  map[vod.TitleID]int64 // of the origin's count, what was written. Of flushing
	rolled   time.Time             // Of flushing
}

var (
	_ vod.PlayReports = (*Insight)(nil)
	_ vod.Savings     = (*Insight)(nil)
	_ vod.PolicyBook  = (*Insight)(nil)
)

// New returns the department over c.Store. Nothing is written before Run, or Flush, is called.
func New(c Config) *Insight {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Insight{c: c, log: c.Log, pending: map[string]*waiting{}, networks: map[int64]bool{}, counted: map[vod.TitleID]int64{}}
}

// waiting is what came of one session since the last flush.
type waiting struct {
	opened   *vod.PlayOpened
	reported bool
	last     vod.PlayReported // the latest
	totals   totals           // the largest of each
	played   bool             // a report told how much film was played
}

// Opened implements vod.PlayReports.
func (i *Insight) Opened(o vod.PlayOpened) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if w := i.wait(o.Session); w != nil {
		w.opened = &o
	}
}

// Reported implements vod.PlayReports.
func (i *Insight) Reported(r vod.PlayReported) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w := i.wait(r.Session)
	if w == nil {
		return
	}
	w.totals.raise(totalsOf(&r.Report))
	w.played = w.played || r.Report.PlayedMs > 0
	if !w.reported || !r.At.Before(w.last.At) {
		w.last = r
	}
	w.reported = true
}

// wait makes room for what a session has to say; nil where there is none. Called with mu held.
func (i *Insight) wait(session string) *waiting {
	w := i.pending[session]
	if w == nil {
		if len(i.pending) >= pendingMax {
			i.lost++
			return nil
		}
		w = &waiting{}
		i.pending[session] = w
	}
	return w
}

// Run writes what was reported, every two seconds, and rolls the sums up, until ctx is done; then once more.
func (i *Insight) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	failed := false
	for {
		done := false
		select {
		case <-tick.C:
		case <-ctx.Done():
			done = true
		}
		working, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		err := i.Flush(working)
		if err == nil {
			err = i.guard(working)
		}
		cancel()
		switch {
		case err != nil && !failed:
			i.log.ErrorContext(ctx, "players' reports cannot be written; they wait", "error", err)
		case err == nil && failed:
			i.log.InfoContext(ctx, "players' reports are written again")
		}
		failed = err != nil
		if done {
			return
		}
	}
}

// guard looks how viewers fare, once a minute.
func (i *Insight) guard(ctx context.Context) error {
	now := i.c.Clock()
	if now.Sub(i.guarded) < guardEvery && !now.Before(i.guarded) {
		return nil
	}
	i.guarded = now
	v, err := i.Guard(ctx)
	if err != nil || v == nil {
		return err
	}
	i.log.ErrorContext(ctx, "viewers use no peers any more", "why", v.Why, "policy", v.Version)
	if i.c.Alarm != nil {
		i.c.Alarm(ctx, *v)
	}
	return nil
}

// Flush writes what was reported until now. What an error kept from being written waits for the next.
func (i *Insight) Flush(ctx context.Context) error {
	i.flushing.Lock()
	defer i.flushing.Unlock()
	i.mu.Lock()
	batch, lost := i.pending, i.lost
	i.pending, i.lost = make(map[string]*waiting, len(batch)), 0
	i.mu.Unlock()
	if lost > 0 {
		i.log.WarnContext(ctx, "more reports came than can wait to be written", "lost", lost)
	}
	for len(batch) > 0 {
		some := batch
		if len(batch) > batchMax {
			some = make(map[string]*waiting, batchMax)
			for session, w := range batch {
				if some[session] = w; len(some) == batchMax {
					break
				}
			}
		}
		if err := i.write(ctx, some); err != nil {
			i.giveBack(batch)
			return err
		}
		for session := range some {
			delete(batch, session)
		}
	}
	return errors.Join(i.countOrigin(ctx), i.rollUp(ctx))
}

// giveBack puts what could not be written before what came meanwhile.
func (i *Insight) giveBack(batch map[string]*waiting) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for session, old := range batch {
		w := i.wait(session)
		if w == nil {
			continue
		}
		if w.opened == nil {
			w.opened = old.opened
		}
		if old.reported {
			w.totals.raise(&old.totals)
			w.played = w.played || old.played
			if !w.reported {
				w.last = old.last
			}
			w.reported = true
		}
	}
}

// tell counts networks apart, as far as there is room for; the others are otherNetwork.
func (i *Insight) tell(network int64, at time.Time) int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if hour := floor(at, span("hour")); hour != i.hour {
		i.hour, i.networks = hour, map[int64]bool{}
	}
	if network == 0 || i.networks[network] {
		return network
	}
	if len(i.networks) >= networksMax {
		return otherNetwork
	}
	i.networks[network] = true
	return network
}

// countOrigin adds what the origin sent since the last time to its count of the day. The origin counts from its start, so
// what a kill keeps from being written is at most what two seconds brought.
func (i *Insight) countOrigin(ctx context.Context) error {
	if i.c.Traffic == nil {
		return nil
	}
	now := i.c.Traffic.Snapshot().ByTitle
	grew := map[vod.TitleID]int64{}
	for title, n := range now {
		if n > i.counted[title] {
			grew[title] = n - i.counted[title]
		}
	}
	if len(grew) == 0 {
		return nil
	}
	day := floor(i.c.Clock(), "day")
	err := i.c.Store.Write(ctx, func(tx *sql.Tx) error {
		for title, n := range grew {
			if _, err := tx.ExecContext(ctx, `INSERT INTO origin_counts (day_ms, title, bytes) VALUES ($1, $2, $3)
				ON CONFLICT (day_ms, title) DO UPDATE SET bytes = origin_counts.bytes + excluded.bytes`, day, string(title), n); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		for title, n := range grew {
			i.counted[title] += n
		}
	}
	return err
}
