package license

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

var tiers = []vod.Tier{vod.TierAudio, vod.TierSD, vod.TierHD}

func clock() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

// bench is a database and a place for the master key.
type bench struct {
	t    *testing.T
	db   *sqlstore.Store
	file string
	made []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	db, err := sqltest.Open(t.Context(), filepath.Join(dir, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &bench{t: t, db: db, file: filepath.Join(dir, "apart.master-key")}
}

// keys is what a process has that starts now.
func (b *bench) keys(env string) *Keys {
	b.t.Helper()
	m, err := OpenMasters(env, b.file, func(file string) { b.made = append(b.made, file) })
	if err != nil {
		b.t.Fatal(err)
	}
	return NewKeys(KeysConfig{DB: b.db, Masters: m, Clock: clock})
}

func (b *bench) draw(k *Keys, job string) []vod.ContentKey {
	b.t.Helper()
	keys, err := k.Draw(b.t.Context(), job, tiers)
	if err != nil {
		b.t.Fatal(err)
	}
	return keys
}

func kidsOf(keys []vod.ContentKey) (kids []vod.KID) {
	for _, k := range keys {
		kids = append(kids, k.KID)
	}
	return kids
}

// opens fails the test unless k opens the keys of that name to the same.
func (b *bench) opens(k *Keys, want []vod.ContentKey) {
	b.t.Helper()
	got, err := k.Open(b.t.Context(), kidsOf(want))
	if err != nil {
		b.t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		b.t.Error("the keys that were opened are not those that were drawn")
	}
}

func TestAJobsKeysAreTheSameAgainAndNoOthers(t *testing.T) {
	b := newBench(t)
	k := b.keys("")
	first, other := b.draw(k, "one"), b.draw(k, "two")
	if again := b.draw(b.keys(""), "one"); !slices.Equal(again, first) {
		t.Error("a job that went on got other keys")
	}
	reversed, err := k.Draw(t.Context(), "one", []vod.Tier{vod.TierHD, vod.TierAudio})
	if err != nil || reversed[0] != first[2] || reversed[1] != first[0] {
		t.Errorf("keys do not come in the order of the tiers: %v", err)
	}
	names, secrets := map[vod.KID]bool{}, map[[16]byte]bool{}
	for i, key := range append(first, other...) {
		names[key.KID], secrets[key.Key] = true, true
		if key.Tier != tiers[i%len(tiers)] {
			t.Errorf("key %d is of tier %q", i, key.Tier)
		}
	}
	if len(names) != 6 || len(secrets) != 6 {
		t.Errorf("%d names and %d keys of 6 tiers", len(names), len(secrets))
	}
	b.opens(b.keys(""), first)
	if len(b.made) != 1 || b.made[0] != b.file {
		t.Errorf("told of these new master keys: %q", b.made)
	}
}

func TestDiscardedKeysAreGone(t *testing.T) {
	b := newBench(t)
	k := b.keys("")
	given, kept := b.draw(k, "given up"), b.draw(k, "kept")
	if err := k.Discard(t.Context(), "given up"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open(t.Context(), kidsOf(given)); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("opening a discarded key: %v", err)
	}
	b.opens(k, kept)
	if again := b.draw(k, "given up"); again[0].Key == given[0].Key || again[0].KID == given[0].KID {
		t.Error("a discarded key was used again")
	}
}

func TestDrawRefusesWhatIsNoJob(t *testing.T) {
	k := newBench(t).keys("")
	for name, draw := range map[string]func() error{
		"no name":    func() error { _, err := k.Draw(t.Context(), "", tiers); return err },
		"long name":  func() error { _, err := k.Draw(t.Context(), strings.Repeat("x", 201), tiers); return err },
		"no tier":    func() error { _, err := k.Draw(t.Context(), "job", []vod.Tier{"gold"}); return err },
		"many tiers": func() error { _, err := k.Draw(t.Context(), "job", slices.Repeat(tiers, 6)); return err },
	} {
		if err := draw(); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTheDatabaseAloneOpensNothing: without the master key there is a sentence that says what to do, and no new master key
// is made beside a database that has sealed keys.
func TestTheDatabaseAloneOpensNothing(t *testing.T) {
	b := newBench(t)
	keys := b.draw(b.keys(""), "one")
	if err := b.keys("").Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b.file); err != nil {
		t.Fatal(err)
	}
	thief := b.keys("")
	_, err := thief.Open(t.Context(), kidsOf(keys))
	if !errors.Is(err, ErrMaster) || !strings.Contains(err.Error(), "restore it from its backup") || !strings.Contains(err.Error(), b.file) {
		t.Errorf("opening without the master key: %v", err)
	}
	if _, err := thief.Draw(t.Context(), "two", tiers); !errors.Is(err, ErrMaster) {
		t.Errorf("drawing without the master key: %v", err)
	}
	if err := thief.Check(t.Context()); !errors.Is(err, ErrMaster) {
		t.Errorf("checking without the master key: %v", err)
	}
	if _, err := os.Stat(b.file); err == nil {
		t.Error("another master key was made beside sealed keys")
	}
	if _, err := b.keys(NewMaster()).Open(t.Context(), kidsOf(keys)); !errors.Is(err, ErrMaster) {
		t.Errorf("opening with another master key: %v", err)
	}
}

func TestASealedKeyOpensInItsOwnRowOnly(t *testing.T) {
	b := newBench(t)
	k := b.keys("")
	keys := b.draw(k, "one")
	b.draw(k, "two")
	for name, change := range map[string]string{
		"bytes changed":         `UPDATE content_keys SET sealed = CAST(substr(sealed, 1, 20) || X'DEADBEEF' || substr(sealed, 25) AS BLOB) WHERE kid = $1`,
		"cut short":             `UPDATE content_keys SET sealed = substr(sealed, 1, 8) WHERE kid = $1`,
		"passed as another job": `UPDATE content_keys SET job = 'three' WHERE kid = $1`,
		"passed as sound":       `UPDATE content_keys SET tier = 'uhd' WHERE kid = $1`,
		"put under another name": `UPDATE content_keys SET sealed = (SELECT sealed FROM content_keys WHERE job = 'two' AND tier = 'hd')
			WHERE kid = $1`,
	} {
		undo := errors.New("undo")
		err := b.db.Write(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), change, keys[2].KID.String()); err != nil {
				t.Fatal(err)
			}
			r := row{kid: keys[2].KID}
			if err := tx.QueryRowContext(t.Context(), `SELECT job, tier, master, sealed FROM content_keys WHERE kid = $1`, r.kid.String()).
				Scan(&r.job, &r.tier, &r.master, &r.sealed); err != nil {
				t.Fatal(err)
			}
			if _, err := k.unseal(&r); err == nil {
				t.Errorf("%s: it opened", name)
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
	}
	b.opens(k, keys)
}

func TestMasterKeysThatOthersCanReadAreRefused(t *testing.T) {
	b := newBench(t)
	b.draw(b.keys(""), "one")
	if info, err := os.Stat(b.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("it was made %v: %v", info.Mode(), err)
	}
	if err := os.Chmod(b.file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMasters("", b.file, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that the group can read: %v", err)
	}
}

func TestNonsenseIsNoMasterKeyAndIsNotRepeated(t *testing.T) {
	secret := NewMaster()
	for _, text := range []string{secret[:40], secret + "A", strings.ToUpper(secret), "hunter2hunter2hunter2", secret[5:], "# " + secret} {
		_, err := OpenMasters(text, "", nil)
		if err == nil {
			t.Errorf("%q was taken for a master key", text)
		} else if strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats it: %v", err)
		}
	}
	if _, err := OpenMasters(secret+", "+NewMaster()+" # the old one", "", nil); err != nil {
		t.Error(err)
	}
}

func TestRotationSealsEverythingAnewBesideARunningService(t *testing.T) {
	b := newBench(t)
	service := b.keys("")
	var all []vod.ContentKey
	for i := range 80 { // more than one transaction's worth
		all = append(all, b.draw(service, fmt.Sprint("job ", i))...)
	}
	before, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.keys("").Rotate(t.Context())
	if err != nil || r.Sealed != len(all) || r.Dropped != 1 || r.Resumed {
		t.Fatalf("%+v, %v", r, err)
	}
	after, err := os.ReadFile(b.file)
	if err != nil || bytes.Equal(before, after) || strings.Count(string(after), masterPrefix) != 1 {
		t.Errorf("the file after it: %v", err)
	}
	b.opens(service, all[:3])
	b.opens(b.keys(""), all[len(all)-3:])
	b.opens(b.keys(""), b.draw(service, "afterwards")) // sealed with the new one, though this process began with the old
	if err := os.WriteFile(b.file, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.keys("").Open(t.Context(), kidsOf(all[:1])); !errors.Is(err, ErrMaster) {
		t.Errorf("the old master key still opens something: %v", err)
	}
}

// TestARotationThatStopsAnywhereGoesOn leaves the states behind in which a rotation can be killed.
func TestARotationThatStopsAnywhereGoesOn(t *testing.T) {
	for _, stage := range []string{"file written", "new key named", "half sealed", "all sealed"} {
		t.Run(stage, func(t *testing.T) {
			b := newBench(t)
			k := b.keys("")
			all := append(b.draw(k, "one"), b.draw(k, "two")...)
			old := k.masters.list[0]
			if err := writeMasters(b.file, true, NewMaster(), old.text); err != nil {
				t.Fatal(err)
			}
			stopped := b.keys("")
			to := stopped.masters.list[0]
			if stage != "file written" {
				if err := b.db.Write(t.Context(), func(tx *sql.Tx) error { return stopped.appoint(t.Context(), tx, to.id) }); err != nil {
					t.Fatal(err)
				}
			}
			if stage == "all sealed" {
				if n, err := stopped.reseal(t.Context(), to); n != 6 || err != nil {
					t.Fatal(n, err)
				}
			} else if stage == "half sealed" {
				if err := stopped.Discard(t.Context(), "two"); err != nil {
					t.Fatal(err)
				}
				if n, err := stopped.reseal(t.Context(), to); n != 3 || err != nil {
					t.Fatal(n, err)
				}
				all = append(all[:3], drawUnder(t, stopped, old, "three"))
			}
			b.opens(k, all) // a service that was running all the while
			r, err := b.keys("").Rotate(t.Context())
			if err != nil || !r.Resumed || r.Master != to.id || r.Dropped != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			b.opens(b.keys(""), all)
			b.opens(k, all)
		})
	}
}

// drawUnder leaves a key behind that is sealed with m.
func drawUnder(t *testing.T, k *Keys, m *master, job string) (key vod.ContentKey) {
	t.Helper()
	err := k.db.Write(t.Context(), func(tx *sql.Tx) (err error) {
		key, err = k.one(t.Context(), tx, m, job, vod.TierSD)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRotationInTheEnvironmentIsTheOperators(t *testing.T) {
	b := newBench(t)
	old, fresh := NewMaster(), NewMaster()
	all := b.draw(b.keys(old), "one")
	if _, err := b.keys(old).Rotate(t.Context()); !errors.Is(err, vod.ErrInvalid) || !strings.Contains(err.Error(), MasterEnv) {
		t.Errorf("rotating without a new key: %v", err)
	}
	both := b.keys(fresh + "," + old)
	b.opens(both, all)
	b.opens(b.keys(old), b.draw(both, "meanwhile")) // until the rotation the old one seals
	if r, err := both.Rotate(t.Context()); err != nil || r.Sealed != 6 {
		t.Fatalf("%+v, %v", r, err)
	}
	b.opens(b.keys(fresh), all)
	if _, err := b.keys(old + "," + fresh).Rotate(t.Context()); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("back to a retired key: %v", err)
	}
	if _, err := os.Stat(b.file); err == nil {
		t.Error("a file was made although the key is in the environment")
	}
}

func TestTwoProcessesThatBeginAtOnceShareAMasterKey(t *testing.T) {
	b := newBench(t)
	type drawn struct {
		keys []vod.ContentKey
		err  error
	}
	results := make(chan drawn)
	for range 4 {
		k := b.keys("")
		go func() {
			keys, err := k.Draw(context.WithoutCancel(t.Context()), "one", tiers)
			results <- drawn{keys, err}
		}()
	}
	var first []vod.ContentKey
	for range 4 {
		d := <-results
		if d.err != nil {
			t.Fatal(d.err)
		}
		if first == nil {
			first = d.keys
		}
		if !slices.Equal(first, d.keys) {
			t.Error("two processes drew different keys for one job")
		}
	}
	if len(b.made) != 1 {
		t.Errorf("%d master keys were made", len(b.made))
	}
}
