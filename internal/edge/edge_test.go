package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

func TestAnEdgeFillsAndServesWhatItsPlanSaysToTicketHolders(t *testing.T) {
	w := newWorld(t)
	open, closed := w.publish("open", 300_000, true), w.publish("closed", 5_000_000, false)
	b := w.open(w.join("lyon-1"), nil)
	b.sync()
	b.fillAll()
	b.serves(&open, "")
	b.serves(&closed, w.ticket(&closed, "s1"))
	b.refuses(&closed, "", http.StatusUnauthorized)
	b.refuses(&closed, w.ticket(&open, "s2"), http.StatusUnauthorized)
	b.sync()
	if near := w.registry.Near(closed.Version.ID, netip.Addr{}); len(near) != 1 || near[0] != b.http.URL {
		t.Errorf("viewers are sent to %v", near)
	}
	list, err := w.registry.Edges(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	r := list[0].Report
	if r.HeldBytes != 5_300_000 || r.PlannedBytes != 5_300_000 || r.FilledBytes != 5_300_000 || r.HTTPBytes != 5_300_000 || r.FromEdges != 0 {
		t.Errorf("it reports %+v", r)
	}
	if err := b.writeStatus(); err != nil {
		t.Fatal(err)
	}
	s, err := ReadStatus(b.dir, b.clock.Now())
	if err != nil || !s.Running || s.TitlesWhole != 2 || s.HTTPBytes != 5_300_000 {
		t.Errorf("its status: %+v, %v", s, err)
	}
	// Nothing in the folder opens anything: no key but the edge's own.
	err = filepath.WalkDir(b.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte("PRIVATE KEY")) && filepath.Base(name) != keyFile {
			t.Errorf("%s holds a key", name)
		}
		if info, ierr := d.Info(); ierr == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOtherEdgesAreAskedBeforeTheOrigin(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 5_000_000, false)
	first := w.open(w.join("first"), nil)
	first.sync()
	first.fillAll()
	first.sync()
	sent := w.media.Snapshot().OriginBytes
	second := w.open(w.join("second"), nil)
	second.sync()
	second.fillAll()
	if got := second.Report(); got.FromEdges != 5_000_000 {
		t.Errorf("%d bytes came from the other edge", got.FromEdges)
	}
	if now := w.media.Snapshot().OriginBytes; now != sent {
		t.Errorf("the origin sent %d more", now-sent)
	}
	second.serves(&film, w.ticket(&film, "s"))
}

func TestWrongBytesFromAnotherEdgeAreNotKept(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 300_000, false)
	first := w.open(w.join("first"), nil)
	first.sync()
	first.fillAll()
	first.sync()
	second := w.open(w.join("second"), nil)
	second.sync()
	// The first lies from now on: its leaves agree with what it says.
	spoil(t, first, &film, 100_000)
	first.store.rotted = func(rot) {}
	relabel(t, first, &film)
	second.fillAll()
	second.serves(&film, w.ticket(&film, "s"))
	if got := second.Report().FromEdges; got != 0 {
		t.Errorf("%d wrong bytes were kept", got)
	}
}

func TestFillGoesOnAfterAKill(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 3*chunk+5, false)
	dir := w.join("lyon-1")
	b := w.open(dir, nil)
	b.sync()
	// Killed while it wrote the third chunk: the second was torn, by the power.
	part := b.store.path(fillingFolder, film.Version.Files[0].Root)
	torn := bytes.Clone(w.data["film"][:2*chunk+100])
	torn[chunk+7] ^= 1
	if err := os.WriteFile(part, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	b = w.open(dir, nil)
	b.sync()
	b.fillAll()
	if got := b.Report().FilledBytes; got != 2*chunk+5 {
		t.Errorf("%d bytes were fetched, want all but the first chunk", got)
	}
	b.serves(&film, w.ticket(&film, "s"))
}

// relabel writes leaves that agree with what an edge has stored.
func relabel(t *testing.T, b *box, film *vod.Title) {
	t.Helper()
	root := film.Version.Files[0].Root
	data, err := os.ReadFile(b.store.path(mediaFolder, root))
	if err != nil {
		t.Fatal(err)
	}
	var leaves []byte
	for block := range slices.Chunk(data, bt.BlockSize) {
		sum := sha256.Sum256(block)
		leaves = append(leaves, sum[:]...)
	}
	if err := os.WriteFile(b.store.path(leavesFolder, root), leaves, 0o600); err != nil {
		t.Fatal(err)
	}
}

// spoil changes a byte of an edge's stored file.
func spoil(t *testing.T, b *box, film *vod.Title, at int64) {
	t.Helper()
	f, err := os.OpenFile(b.store.path(mediaFolder, film.Version.Files[0].Root), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var one [1]byte
	if _, err := f.ReadAt(one[:], at); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 0x40
	if _, err := f.WriteAt(one[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestRotIsNeverServedAndIsRepaired(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 1_000_000, true)
	b := w.open(w.join("lyon-1"), nil)
	b.sync()
	b.fillAll()
	spoil(t, b, &film, 500_000)
	status, body, err := b.get(&film, "")
	if err == nil {
		t.Errorf("a rotten file came to its end: status %d", status)
	}
	if !bytes.HasPrefix(w.data["film"], body) {
		t.Error("a wrong byte was served")
	}
	w.cut.Store(true)
	if left := b.repairAll(t.Context()); left != 1 {
		t.Errorf("%d blocks wait while nobody can be asked", left)
	}
	w.cut.Store(false)
	if left := b.repairAll(t.Context()); left != 0 {
		t.Errorf("%d blocks still wait", left)
	}
	b.serves(&film, "")
	if r := b.Report(); r.Rotten != 1 || r.Repaired != 1 {
		t.Errorf("it reports %d rotten, %d repaired", r.Rotten, r.Repaired)
	}
}

func TestScrubFindsRotThatNobodyAskedFor(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 3_000_000, true)
	b := w.open(w.join("lyon-1"), nil)
	b.sync()
	b.fillAll()
	spoil(t, b, &film, 2_999_999)
	leaves := b.store.path(leavesFolder, film.Version.Files[0].Root)
	data, err := os.ReadFile(leaves)
	if err != nil {
		t.Fatal(err)
	}
	data[3] ^= 1 // of block 0, which itself is well
	if err := os.WriteFile(leaves, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b.scrubRound(t.Context(), 1<<40)
	if left := b.repairAll(t.Context()); left != 0 || b.Report().Repaired != 2 {
		t.Errorf("%d blocks wait, %d are repaired", left, b.Report().Repaired)
	}
	b.serves(&film, "")
}

func TestFullDiskStopsFillingWhileServingGoesOn(t *testing.T) {
	w := newWorld(t)
	small := w.publish("small", 300_000, true)
	b := w.open(w.join("lyon-1"), nil)
	b.sync()
	b.fillAll()
	w.publish("large", 3_000_000, true)
	b.sync()
	write := b.write
	b.write = func(writerAt, []byte, int64) error { return &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} }
	_, err := b.fillNext(t.Context())
	if !errors.Is(err, syscall.ENOSPC) || trouble(err) != "the disk is full" {
		t.Errorf("filling ends with %v", err)
	}
	b.serves(&small, "")
	b.write = write
	b.fillAll()
	if got := b.Report().HeldBytes; got != 3_300_000 {
		t.Errorf("with room again it holds %d bytes", got)
	}
}

func TestQuotaPutsOutWhatIsNotPlannedAnyMore(t *testing.T) {
	w := newWorld(t)
	old := w.publish("old", 600_000, true)
	b := w.open(w.join("lyon-1"), func(c *Config) { c.Quota = 1_000_000 })
	b.sync()
	b.fillAll()
	if err := w.library.Withdraw(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	b.sync()
	b.refuses(&old, "", http.StatusNotFound)
	if used, err := b.store.all(); err != nil || len(used) != 1 {
		t.Errorf("what has room is kept: %v, %v", used, err)
	}
	w.publish("new", 700_000, true)
	b.sync()
	b.fillAll()
	if used, err := b.store.all(); err != nil || len(used) != 1 || used[0].size != 700_000 {
		t.Errorf("it holds %v, %v", used, err)
	}
	// What does not fit is not planned.
	w.publish("huge", 2_000_000, true)
	b.sync()
	if got := b.Report().PlannedBytes; got > 1_000_000 {
		t.Errorf("%d bytes are planned", got)
	}
}

func TestTicketsAreJudgedByTheServicesTime(t *testing.T) {
	for _, wrong := range []time.Duration{-400 * 24 * time.Hour, 30 * 24 * time.Hour} {
		w := newWorld(t)
		film := w.publish("film", 100_000, false)
		dir := w.join("lyon-1")
		if err := os.Remove(filepath.Join(dir, stateFile)); err != nil { // it never knew better
			t.Fatal(err)
		}
		b := w.open(dir, func(c *Config) { c.Clock = func() time.Time { return w.clock.Now().Add(wrong) } })
		b.sync()
		b.fillAll()
		ticket := w.ticketFor(&film, "s", 5*time.Second)
		b.serves(&film, ticket)
		if off := b.Now().Sub(w.clock.Now()).Abs(); off > 2*time.Second {
			t.Errorf("a clock that is %s wrong is %s wrong yet", wrong, off)
		}
		w.clock.Advance(6 * time.Second)
		b.sync()
		b.refuses(&film, ticket, http.StatusUnauthorized)
	}
}

func TestRunningFilmsGoOnForAnHourWithoutTheService(t *testing.T) {
	w := newWorld(t)
	film, open := w.publish("film", 100_000, false), w.publish("open", 100_000, true)
	dir := w.join("lyon-1")
	b := w.open(dir, nil)
	b.sync()
	b.fillAll()
	ticket := w.ticket(&film, "s")
	w.cut.Store(true)
	later := func(d time.Duration) { w.clock.Advance(d); b.clock.Advance(d) }
	later(time.Minute)
	if err := b.Sync(t.Context()); err == nil {
		t.Fatal("the service answers")
	}
	b.serves(&film, ticket)
	later(30 * time.Minute) // the ticket has ended, and nobody can renew it
	b.serves(&film, ticket)
	// Started anew meanwhile, it knows what it knew.
	now := b.clock.Now()
	b = w.open(dir, nil)
	b.clock.now = now
	b.serves(&film, ticket)
	later(40 * time.Minute)
	b.refuses(&film, ticket, http.StatusUnauthorized)
	b.serves(&open, "") // nobody needs to be asked
	later(8 * 24 * time.Hour)
	b.refuses(&open, "", http.StatusNotFound) // nobody vouches for the edge any more
}

func TestRevocationsReachAnEdgeWithTheNextSync(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 100_000, false)
	b := w.open(w.join("lyon-1"), nil)
	b.sync()
	b.fillAll()
	ticket, other := w.ticket(&film, "s1"), w.ticket(&film, "s2")
	b.serves(&film, ticket)
	if err := w.members.RevokePlay(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	b.sync()
	b.refuses(&film, ticket, http.StatusUnauthorized)
	b.serves(&film, other)
}

func TestARevokedEdgeEndsAndNobodyTrustsIt(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 300_000, false)
	first := w.open(w.join("first"), nil)
	first.sync()
	first.fillAll()
	first.sync()
	second := w.open(w.join("second"), nil)
	second.sync()
	if err := w.registry.Revoke(t.Context(), second.id.ID); err != nil {
		t.Fatal(err)
	}
	if err := second.Sync(t.Context()); !errors.Is(err, vod.ErrEdgeRevoked) {
		t.Errorf("its sync: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- second.Run(t.Context()) }()
	if err := <-done; !errors.Is(err, vod.ErrEdgeRevoked) {
		t.Errorf("it ends with %v", err)
	}
	first.sync()
	if _, err := second.fillNext(t.Context()); err == nil {
		t.Error("it goes on filling")
	}
	if near := w.registry.Near(film.Version.ID, netip.Addr{}); len(near) != 1 || near[0] != first.http.URL {
		t.Errorf("viewers are sent to %v", near)
	}
}

func TestCertificateIsRenewedWithAThirdOfItsLifeLeft(t *testing.T) {
	w := newWorld(t)
	dir := w.join("lyon-1")
	b := w.open(dir, nil)
	b.sync()
	before := b.cert.Load().Leaf
	w.clock.Advance(4 * 24 * time.Hour)
	b.sync()
	if b.cert.Load().Leaf != before {
		t.Error("it is renewed with more than a third left")
	}
	w.clock.Advance(24 * time.Hour)
	b.sync()
	after := b.cert.Load().Leaf
	if !after.NotAfter.After(before.NotAfter) {
		t.Fatal("it is not renewed")
	}
	b = w.open(dir, nil)
	if !b.cert.Load().Leaf.Equal(after) {
		t.Error("it is not kept")
	}
	w.clock.Advance(6 * 24 * time.Hour) // the first has ended
	b.sync()
}

func TestATitleIsFilledBeforeItsHourAndServedAfter(t *testing.T) {
	w := newWorld(t)
	film := w.publish("premiere", 300_000, true)
	hour := w.clock.Now().Add(3 * time.Hour)
	if err := w.library.Windows().SetWindow(t.Context(), "premiere", vod.Window{From: hour}); err != nil {
		t.Fatal(err)
	}
	at := w.clock.Now().Local()
	noon := func(c *Config) { // filling hours are over
		since := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
		c.Hours = Hours{From: (since + 2*time.Hour) % (24 * time.Hour), Until: (since + 3*time.Hour) % (24 * time.Hour)}
	}
	b := w.open(w.join("lyon-1"), noon)
	b.sync()
	b.fillAll()
	if r := b.Report(); r.HeldBytes != 300_000 {
		t.Fatalf("before its hour %d bytes are held", r.HeldBytes)
	}
	b.refuses(&film, "", http.StatusNotFound)
	w.publish("other", 200_000, true)
	b.sync()
	b.fillAll()
	if r := b.Report(); r.HeldBytes != 300_000 {
		t.Error("what has time is filled outside of the hours")
	}
	w.clock.Advance(3 * time.Hour)
	b.sync()
	b.serves(&film, "")
}

func TestAPlanIsMadeAnewWhereSomethingChangedAndElseOnceInAMinuteOrSo(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 200_000, true)
	b := w.open(w.join("lyon-1"), nil)
	b.sync()
	b.fillAll()
	for range 150 { // five minutes
		w.clock.Advance(syncEvery)
		b.sync()
	}
	if n := w.plans.Load(); n < 4 || n > 8 {
		t.Errorf("%d plans were made in five minutes", n)
	}
	b.serves(&film, "")
	planned := func(want ...vod.TitleID) {
		t.Helper()
		b.sync()
		var have []vod.TitleID
		for _, p := range b.list() {
			have = append(have, p.ID)
		}
		slices.Sort(have)
		if !slices.Equal(have, want) {
			t.Errorf("planned are %v, want %v", have, want)
		}
	}
	w.publish("other", 100_000, true)
	planned("film", "other")
	if err := w.library.Windows().SetWindow(t.Context(), "film", vod.Window{Until: w.clock.Now().Add(syncEvery)}); err != nil {
		t.Fatal(err)
	}
	planned("film", "other")
	w.clock.Advance(syncEvery)
	planned("other")
	if err := w.library.Withdraw(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	planned()
}

func TestHoursReachOverMidnight(t *testing.T) {
	h, err := ParseHours("22:30-06:00")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]bool{"22:29": false, "22:30": true, "00:00": true, "05:59": true, "06:00": false, "12:00": false} {
		x, _ := time.Parse("15:04", at)
		if h.At(x) != want {
			t.Errorf("at %s: %v", at, !want)
		}
	}
	for _, bad := range []string{"1-2", "25:00-01:00", "01:00", "01:00-01:00"} {
		if _, err := ParseHours(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestJoinTellsNoTokenInTheClear(t *testing.T) {
	_, err := Join(context.Background(), JoinOptions{Service: "http://films.example", Token: "x", Dir: t.TempDir(), Clock: time.Now})
	if err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("error %v", err)
	}
}

func TestMembersTitlesInTheClearLieOnNoEdge(t *testing.T) {
	w := newWorld(t)
	film := w.publish("film", 100_000, false)
	film.ID, film.Name, film.Version.Scheme, film.Version.Files[0].KID = "clear", "clear", vod.Clear, vod.KID{}
	torrent, err := w.library.Torrent(t.Context(), "film")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.library.Withdraw(t.Context(), "film"); err != nil {
		t.Fatal(err)
	}
	if err := w.library.Publish(t.Context(), film, torrent); err != nil {
		t.Fatal(err)
	}
	b := w.open(w.join("lyon-1"), nil)
	b.sync()
	b.fillAll()
	if r := b.Report(); r.PlannedBytes != 0 || r.HeldBytes != 0 {
		t.Errorf("it holds %d bytes of %d planned", r.HeldBytes, r.PlannedBytes)
	}
}
