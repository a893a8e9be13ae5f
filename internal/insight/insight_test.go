package insight

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

// bench is a department over a database of its own, at a time of its own.
type bench struct {
	t    testing.TB
	db   *sqlstore.Store
	now  time.Time
	room *Insight
}

func newBench(t testing.TB) *bench {
	t.Helper()
	db, err := sqltest.Open(context.Background(), filepath.Join(t.TempDir(), "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b := &bench{t: t, db: db, now: time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)}
	b.restart()
	return b
}

func (b *bench) clock() time.Time { return b.now }

// restart forgets everything that is not on the disk.
func (b *bench) restart() { b.room = New(Config{Store: b.db, Clock: b.clock}) }

func (b *bench) flush() {
	b.t.Helper()
	if err := b.room.Flush(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

const filmBytes = 1_000_000_000

func (b *bench) open(session string, group vod.Group) {
	b.room.Opened(vod.PlayOpened{Session: session, Title: "film", Group: group, Bucket: 3, Network: 64500, FilmBytes: filmBytes, At: b.now})
}

func (b *bench) report(session string, h vod.Heartbeat) {
	b.room.Reported(vod.PlayReported{
		Session: session, Title: "film", Network: 64500, FilmBytes: filmBytes, DurationMs: 7_200_000, Report: h, At: b.now,
	})
}

func (b *bench) savings(by vod.SavingsBy) vod.SavingsReport {
	b.t.Helper()
	r, err := b.room.Savings(context.Background(), b.now.AddDate(0, 0, -300), b.now.AddDate(0, 0, 1), by)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// number asks the database for one.
func (b *bench) number(query string, args ...any) (n int64) {
	b.t.Helper()
	var v sql.NullInt64
	if err := b.db.Reader().QueryRowContext(context.Background(), query, args...).Scan(&v); err != nil {
		b.t.Fatal(err)
	}
	return v.Int64
}

func TestReportsThatComeTwiceLateOrNotAtAllAreCountedOnce(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t)
		var origin, peers, played int64
		sessions := 1 + random.IntN(5)
		history := make([][]vod.Heartbeat, sessions)
		for k := range history {
			b.open(fmt.Sprint("s", k), vod.GroupSharing)
			history[k] = []vod.Heartbeat{{}}
		}
		for range 40 {
			b.now = b.now.Add(time.Duration(20+random.IntN(40)) * time.Second)
			k := random.IntN(sessions)
			last := history[k][len(history[k])-1]
			d := vod.Heartbeat{OriginBytes: random.Int64N(3_000_000), PeerBytes: random.Int64N(3_000_000), PlayedMs: random.Int64N(20_000)}
			origin, peers, played = origin+d.OriginBytes, peers+d.PeerBytes, played+d.PlayedMs
			last.OriginBytes, last.PeerBytes, last.PlayedMs = last.OriginBytes+d.OriginBytes, last.PeerBytes+d.PeerBytes, last.PlayedMs+d.PlayedMs
			last.PositionMs, last.StartupMs, last.Height = last.PlayedMs, 300, 360*(1+random.IntN(2))
			history[k] = append(history[k], last)
			switch random.IntN(6) {
			case 0: // lost
			case 1: // twice
				b.report(fmt.Sprint("s", k), last)
				b.report(fmt.Sprint("s", k), last)
			case 2: // after an older one was heard again
				b.report(fmt.Sprint("s", k), last)
				b.report(fmt.Sprint("s", k), history[k][random.IntN(len(history[k]))])
			default:
				b.report(fmt.Sprint("s", k), last)
			}
			if random.IntN(3) == 0 {
				b.flush()
			}
			if random.IntN(8) == 0 {
				b.flush()
				b.restart()
			}
		}
		for k := range history { // the goodbye
			b.report(fmt.Sprint("s", k), history[k][len(history[k])-1])
		}
		b.flush()
		r := b.savings(vod.ByDay).Total
		if r.OriginBytes != origin || r.PeerBytes != peers || r.PlayedMs != played || r.Sessions != int64(sessions) || r.Quarantined != 0 {
			t.Errorf("seed %d: %d sessions, %d and %d bytes, %d ms played are told; %d, %d and %d, %d were", seed, r.Sessions, r.OriginBytes,
				r.PeerBytes, r.PlayedMs, sessions, origin, peers, played)
		}
	}
}

func TestKilledServiceLosesNothingThatIsReportedAgain(t *testing.T) {
	b := newBench(t)
	b.open("s", vod.GroupSharing)
	b.flush()
	b.now = b.now.Add(time.Minute)
	b.report("s", vod.Heartbeat{OriginBytes: 5_000_000, StartupMs: 400})
	b.restart() // killed before it was written
	b.now = b.now.Add(time.Minute)
	b.report("s", vod.Heartbeat{OriginBytes: 9_000_000, StartupMs: 400})
	b.flush()
	if r := b.savings(vod.ByDay).Total; r.OriginBytes != 9_000_000 || r.Sessions != 1 {
		t.Errorf("%d bytes of %d sessions", r.OriginBytes, r.Sessions)
	}
}

func TestWhatCannotBeWrittenWaits(t *testing.T) {
	b := newBench(t)
	b.open("s", vod.GroupSharing)
	b.report("s", vod.Heartbeat{OriginBytes: 5_000_000})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.room.Flush(gone); err == nil {
		t.Fatal("written without a database")
	}
	b.now = b.now.Add(time.Minute)
	b.report("s", vod.Heartbeat{OriginBytes: 4_000_000})
	b.flush()
	if r := b.savings(vod.ByDay).Total; r.OriginBytes != 5_000_000 || r.Sessions != 1 {
		t.Errorf("%d bytes of %d sessions", r.OriginBytes, r.Sessions)
	}
}

func TestClaimsThatCannotBeAreLeftOut(t *testing.T) {
	for name, claim := range map[string]vod.Heartbeat{
		"more than the film":        {PeerBytes: 3 * filmBytes},
		"more than a line carries":  {PeerBytes: 1_900_000_000},
		"sent more than a line can": {SentBytes: 1 << 40},
		"more relayed than had":     {PeerBytes: 8_000_000, RelayedBytes: 8_000_001},
		"more wasted than had":      {PeerBytes: 8_000_000, WastedBytes: 9_000_001},
		"more kept than there is":   {CachedBytes: 1 << 45},
		"stalled for longer":        {StalledMs: 1 << 40, StartupMs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.open("honest", vod.GroupSharing)
			b.open("liar", vod.GroupSharing)
			b.now = b.now.Add(10 * time.Second)
			b.report("honest", vod.Heartbeat{OriginBytes: 1_000_000, PeerBytes: 2_000_000, StartupMs: 300})
			b.report("liar", vod.Heartbeat{OriginBytes: 1_000_000, PeerBytes: 7_000_000, StartupMs: 300, Stalls: 1})
			b.flush()
			claim.OriginBytes = 1_000_000
			b.report("liar", claim)
			b.flush()
			b.report("liar", vod.Heartbeat{OriginBytes: 2_000_000}) // it is not believed again
			b.flush()
			r := b.savings(vod.ByDay)
			if got := r.Total; got.Quarantined != 1 || got.Sessions != 1 || got.PeerBytes != 2_000_000 || got.OriginBytes != 1_000_000 {
				t.Errorf("%+v", got)
			}
			if n := b.number(`SELECT SUM(sessions) + SUM(stalls) FROM quality`); n != 1 {
				t.Errorf("its quality is counted: %d", n)
			}
		})
	}
}

func TestWhoAgreesToShareLaterBelongsToTheGroupFromThenOn(t *testing.T) {
	b := newBench(t)
	b.open("s", vod.GroupNone)
	b.now = b.now.Add(time.Minute)
	b.report("s", vod.Heartbeat{OriginBytes: 1_000_000, StartupMs: 300, Stalls: 1})
	b.flush()
	for _, group := range []vod.Group{vod.GroupHoldOut, vod.GroupSharing} { // the first counts
		b.now = b.now.Add(time.Minute)
		b.room.Reported(vod.PlayReported{Session: "s", Title: "film", Group: group, Bucket: 5, At: b.now, Report: vod.Heartbeat{OriginBytes: 4_000_000, StartupMs: 300, Stalls: 2}})
		b.flush()
	}
	none, held := b.number(`SELECT SUM(origin_bytes) FROM traffic WHERE grp = 'none'`), b.number(`SELECT SUM(origin_bytes) FROM traffic WHERE grp = 'holdout'`)
	if none != 1_000_000 || held != 3_000_000 {
		t.Errorf("%d bytes before and %d after", none, held)
	}
	if n, all := b.number(`SELECT SUM(stalls) FROM quality WHERE grp = 'holdout' AND bucket = 5`), b.number(`SELECT SUM(stalls) FROM quality`); n != 2 || all != 2 {
		t.Errorf("%d of %d stalls are the group's", n, all)
	}
}

func TestRelayedBytesCountAsTheOrigins(t *testing.T) {
	b := newBench(t)
	b.open("s", vod.GroupSharing)
	b.now = b.now.Add(time.Minute)
	b.report("s", vod.Heartbeat{OriginBytes: 20_000_000, PeerBytes: 80_000_000, RelayedBytes: 30_000_000})
	b.flush()
	if r := b.savings(vod.ByTitle).Rows[0]; r.Key != "film" || r.AvoidedBytes != 50_000_000 || r.Offload != 0.5 {
		t.Errorf("%+v", r)
	}
}

func TestSumsStayTheSameAsTheyAreRolledUp(t *testing.T) {
	b := newBench(t)
	random := rand.New(rand.NewPCG(7, 7))
	for k := range 60 {
		session := fmt.Sprint("s", k)
		b.open(session, []vod.Group{vod.GroupSharing, vod.GroupHoldOut}[k%2])
		b.room.Reported(vod.PlayReported{
			Session: session, Title: vod.TitleID(fmt.Sprint("film", k%3)), Network: uint32(k), FilmBytes: filmBytes, DurationMs: 7_200_000,
			Report: vod.Heartbeat{OriginBytes: random.Int64N(40_000_000), PeerBytes: random.Int64N(9_000_000), PlayedMs: 50_000, StartupMs: 200, Height: 360, PositionMs: 50_000}, At: b.now,
		})
		b.flush()
		b.now = b.now.Add(7 * time.Minute)
	}
	for _, by := range []vod.SavingsBy{vod.ByDay, vod.ByTitle} {
		b.now = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)
		before := b.savings(by)
		for _, later := range []time.Duration{12 * time.Hour, 40 * 24 * time.Hour, 200 * 24 * time.Hour} {
			b.now = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC).Add(later)
			b.restart()
			b.flush()
			after := b.savings(by)
			if len(after.Rows) != len(before.Rows) {
				t.Fatalf("%d rows were %d", len(after.Rows), len(before.Rows))
			}
			for k := range before.Rows {
				x, y := before.Rows[k], after.Rows[k]
				if d := x.Bound - y.Bound; d > 1e-6 || d < -1e-6 {
					t.Errorf("after %v the bound of %s is %v, was %v", later, x.Key, y.Bound, x.Bound)
				}
				if d := x.Crowd - y.Crowd; d > 1e-3 || d < -1e-3 {
					t.Errorf("after %v %s has %v viewers at once, had %v", later, x.Key, y.Crowd, x.Crowd)
				}
				x.Bound, x.Crowd, y.Bound, y.Crowd = 0, 0, 0, 0
				if x != y {
					t.Errorf("after %v:\n%+v, was\n%+v", later, y, x)
				}
			}
		}
		if minutes := b.number(`SELECT COUNT(*) FROM traffic WHERE span <> 'day'`); minutes != 0 {
			t.Errorf("%d rows are not rolled up", minutes)
		}
	}
	if n := b.number(`SELECT COUNT(*) FROM play_totals`); n != 0 {
		t.Errorf("%d sessions are remembered for ever", n)
	}
}

func TestNetworksToldApartAreBounded(t *testing.T) {
	b := newBench(t)
	for k := range networksMax + 500 {
		b.room.Opened(vod.PlayOpened{Session: fmt.Sprint(k), Title: "film", Group: vod.GroupNone, Network: uint32(k + 1), At: b.now})
	}
	b.flush()
	if n := b.number(`SELECT COUNT(DISTINCT network) FROM traffic`); n != networksMax+1 {
		t.Errorf("%d networks", n)
	}
	b.now = b.now.Add(24 * time.Hour)
	b.restart()
	b.flush()
	if n, sessions := b.number(`SELECT COUNT(DISTINCT network) FROM traffic`), b.savings(vod.ByDay).Total.Sessions; n != networksAnHour && n != networksAnHour+1 || sessions != networksMax+500 {
		t.Errorf("%d networks of %d sessions in an hour", n, sessions)
	}
	s := sums{rows: map[rowKey]*row{}}
	for k := range 50 {
		s.row(rowKey{title: "film", network: int64(k + 1)}).totals[originBytes] = int64(k)
	}
	if s.fold(10); len(s.rows) != 10 || s.rows[rowKey{title: "film", network: otherNetwork}].totals[originBytes] != 40*41/2 {
		t.Errorf("%d rows", len(s.rows))
	}
}

func TestSessionsThatWaitAreBounded(t *testing.T) {
	b := newBench(t)
	for k := range pendingMax + 10 {
		b.open(fmt.Sprint(k), vod.GroupNone)
	}
	b.report("0", vod.Heartbeat{OriginBytes: 1})
	if n := len(b.room.pending); n != pendingMax || b.room.lost != 10 || !b.room.pending["0"].reported {
		t.Errorf("%d wait, %d are lost", n, b.room.lost)
	}
}

// TestCrowdIsThatOfTheSameRendition: a hundred viewers of which half watch another rendition are two crowds of fifty.
func TestCrowdIsThatOfTheSameRendition(t *testing.T) {
	b := newBench(t)
	b.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	began := b.now
	for k := range 10 {
		b.now = began
		b.open(fmt.Sprint("s", k), vod.GroupSharing)
		b.now = began.Add(59 * time.Minute)
		b.report(fmt.Sprint("s", k), vod.Heartbeat{OriginBytes: 1_000_000, PlayedMs: 3_600_000 / 2, Height: 360 * (1 + k%2)})
	}
	b.flush()
	r := b.savings(vod.ByDay).Total // five viewers of each for half an hour of the hour
	if r.Crowd != 2.5 || r.Bound < 0.632 || r.Bound > 0.634 {
		t.Errorf("%v at once, at most %v", r.Crowd, r.Bound)
	}
}

// BenchmarkReports is what one heartbeat costs where 10,000 viewers report every 30 s: batches of 667.
func BenchmarkReports(b *testing.B) {
	e := newBench(b)
	const viewers, batch = 10_000, 667
	for k := range viewers {
		e.room.Opened(vod.PlayOpened{Session: fmt.Sprint("session-", k), Title: vod.TitleID(fmt.Sprint("film", k%50)), Group: vod.GroupSharing, Bucket: k % 64, Network: uint32(k % 300), FilmBytes: filmBytes, At: e.now})
	}
	e.flush()
	b.ResetTimer()
	round := int64(0)
	for n := range b.N {
		k := n % viewers
		if k == 0 {
			round++
		}
		e.room.Reported(vod.PlayReported{
			Session: fmt.Sprint("session-", k), Title: vod.TitleID(fmt.Sprint("film", k%50)), Network: uint32(k % 300), FilmBytes: filmBytes, DurationMs: 7_200_000,
			Report: vod.Heartbeat{OriginBytes: round, PeerBytes: round, PlayedMs: round, StartupMs: 300, Height: 360}, At: e.now,
		})
		if k%batch == batch-1 {
			e.now = e.now.Add(2 * time.Second)
			e.flush()
		}
	}
	e.flush()
}
