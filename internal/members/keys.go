package members

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The keys that sign tickets lie in a folder, a file each, whose name tells when it was made. The newest signs; all that are
// there are believed. A rotation adds one, and the old ones are removed once nothing that they signed can be good any more. So
// whatever it is stopped at, what lies in the folder works: a key is either there, whole, or not.
const (
	keysFolder = "ticket-keys"
	// keyFile is where the one key of the first versions lay. It becomes the folder's first.
	keyFile = "ticket-key.pem"
	// newKeys is how a file begins that is to become a key and is none yet.
	newKeys = ".new-"

	// KeyLife is how long a key signs before a running service makes the next.
	KeyLife = 30 * 24 * time.Hour
	// keyOverlap is how long a key is believed after the next was made: the longest ticket, its grace, and an hour.
	keyOverlap = TicketMax + 2*time.Hour

	// keepEvery is how often a running service looks into the folder: keys that were removed open nothing after 5 s.
	keepEvery = 2 * time.Second
	// lookAgain is the least time between two looks for a key that a ticket names and nobody knows.
	lookAgain = time.Second
	// keysMax bounds the folder: a rotation a day of a month's keys, and some.
	keysMax = 64
)

// keyForm is the name of a key's file: the milliseconds of its making since 1970, and its kid.
var keyForm = regexp.MustCompile(`^([0-9]{13})-([0-9a-f]{16})\.pem$`)

// ticketKey is a key of the folder.
type ticketKey struct {
	name    string
	kid     string // the first 8 bytes of the public key's SHA-256, in hexadecimal
	made    time.Time
	private ed25519.PrivateKey
	relay   []byte // the secret of relays' passwords, see relay.go
}

func newTicketKey(name string, made time.Time, private ed25519.PrivateKey) (*ticketKey, error) {
	relay, err := hkdf.Key(sha256.New, private.Seed(), nil, "essaim relay passwords", sha256.Size)
	if err != nil {
		return nil, err
	}
	return &ticketKey{name: name, kid: kidOf(private), made: made, private: private, relay: relay}, nil
}

func kidOf(private ed25519.PrivateKey) string {
	sum := sha256.Sum256(private.Public().(ed25519.PublicKey))
	return hex.EncodeToString(sum[:8])
}

// ring is the keys that are believed, the oldest first.
type ring []*ticketKey

// signer is the newest key that was made before now; where clocks disagree so far that there is none, the oldest.
func (r ring) signer(now time.Time) *ticketKey {
	for _, k := range slices.Backward(r) {
		if !k.made.After(now) {
			return k
		}
	}
	return r[0]
}

// byID is the key of that kid, nil for none.
func (r ring) byID(kid string) *ticketKey {
	for _, k := range r {
		if k.kid == kid {
			return k
		}
	}
	return nil
}

// openKeys reads the folder, and makes it with a first key where there is none.
func openKeys(dir string, now time.Time) (ring, error) {
	folder := filepath.Join(dir, keysFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	keys, err := readKeys(folder, nil)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	if err := adopt(filepath.Join(dir, keyFile), folder); err != nil {
		return nil, err
	}
	if keys, err = readKeys(folder, nil); err != nil || len(keys) > 0 {
		return keys, err
	}
	// Of two programs that begin at once each makes one, which is no harm: both believe both.
	if _, err := makeKey(folder, now); err != nil {
		return nil, err
	}
	return readKeys(folder, nil)
}

// adopt moves the key of a former version into the folder.
func adopt(name, folder string) error {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	private, err := readKey(name)
	if err != nil {
		return err
	}
	err = os.Rename(name, filepath.Join(folder, keyName(info.ModTime(), kidOf(private))))
	if errors.Is(err, fs.ErrNotExist) { // another program was faster
		return nil
	}
	return err
}

func keyName(made time.Time, kid string) string {
	return fmt.Sprintf("%013d-%s.pem", max(0, made.UnixMilli()), kid)
}

// readKeys reads the keys in the folder, the oldest first. Those of known need not be read again.
func readKeys(folder string, known ring) (ring, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var keys ring
	for _, e := range entries {
		form := keyForm.FindStringSubmatch(e.Name())
		if form == nil {
			continue
		}
		if len(keys) == keysMax {
			return nil, fmt.Errorf("%s holds more than %d keys: remove the oldest", folder, keysMax)
		}
		if i := slices.IndexFunc(known, func(k *ticketKey) bool { return k.name == e.Name() }); i >= 0 {
			keys = append(keys, known[i])
			continue
		}
		private, err := readKey(filepath.Join(folder, e.Name()))
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		ms, err := strconv.ParseInt(form[1], 10, 64)
		if err != nil || kidOf(private) != form[2] {
			return nil, fmt.Errorf("%s holds another key than its name says: remove it", e.Name())
		}
		key, err := newTicketKey(e.Name(), time.UnixMilli(ms), private)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b *ticketKey) int { return cmp.Or(a.made.Compare(b.made), cmp.Compare(a.kid, b.kid)) })
	return keys, nil
}

func readKey(name string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: make it private with chmod 600, or delete it for a new one", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 key", name)
	}
	return key, nil
}

// makeKey adds a new key to the folder, whole or not at all, and returns its kid.
func makeKey(folder string, made time.Time) (string, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(folder, newKeys) // made 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	kid := kidOf(key)
	if err := os.Rename(f.Name(), filepath.Join(folder, keyName(made, kid))); err != nil {
		return "", err
	}
	return kid, syncFolder(folder)
}

// syncFolder makes what was done in a folder last.
func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reload takes over what the folder holds now. What cannot be read changes nothing.
func (t *Tickets) reload() error {
	t.loading.Lock()
	defer t.loading.Unlock()
	t.mu.RLock()
	known := t.keys
	t.mu.RUnlock()
	keys, err := readKeys(filepath.Join(t.dir, keysFolder), known)
	if err == nil && len(keys) == 0 {
		err = errors.New("there is no key left")
	}
	if err != nil {
		return fmt.Errorf("read ticket keys: %w", err)
	}
	t.mu.Lock()
	t.keys = keys
	t.mu.Unlock()
	return nil
}

// Rotate makes a new key, which signs all tickets from now on, and returns its kid. Programs that share the folder learn of
// it with the first ticket that it signed. With forget, all older keys are removed at once, and with them every ticket and
// token that they signed ends within five seconds; otherwise those of which nothing can be good any more are.
func (t *Tickets) Rotate(forget bool) (kid string, err error) {
	folder := filepath.Join(t.dir, keysFolder)
	if err := t.reload(); err != nil {
		return "", fmt.Errorf("rotate ticket keys: %w", err)
	}
	t.mu.RLock()
	newest := t.keys[len(t.keys)-1].made
	t.mu.RUnlock()
	made := t.clock()
	if !made.After(newest) {
		made = newest.Add(time.Millisecond)
	}
	if kid, err = makeKey(folder, made); err != nil {
		return "", fmt.Errorf("rotate ticket keys: %w", err)
	}
	if err := errors.Join(t.reload(), t.retire(forget), t.reload()); err != nil {
		return kid, fmt.Errorf("rotate ticket keys: %w", err)
	}
	return kid, nil
}

// retire removes the keys that the next has replaced for long enough, or all but the newest, and what an interrupted
// rotation left.
func (t *Tickets) retire(all bool) error {
	folder, now := filepath.Join(t.dir, keysFolder), t.clock()
	t.mu.RLock()
	keys := t.keys
	t.mu.RUnlock()
	var errs []error
	removed := false
	remove := func(name string) {
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		removed = true
	}
	for i, k := range keys[:len(keys)-1] {
		if all || now.Sub(keys[i+1].made) >= keyOverlap {
			remove(k.name)
		}
	}
	entries, err := os.ReadDir(folder)
	errs = append(errs, err)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), newKeys) && now.Sub(info.ModTime()) > time.Hour {
			remove(e.Name())
		}
	}
	if removed {
		errs = append(errs, syncFolder(folder))
	}
	return errors.Join(errs...)
}

// Keep follows the folder until ctx ends: it learns of keys that other programs made or removed, makes a new one when the
// newest has signed for KeyLife, and removes those that are done with.
func (t *Tickets) Keep(ctx context.Context, log *slog.Logger) {
	every := time.NewTicker(keepEvery)
	defer every.Stop()
	failed := false
	for {
		err := t.keep(log)
		if err != nil && !failed {
			log.ErrorContext(ctx, "ticket keys", "error", err)
		}
		failed = err != nil
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *Tickets) keep(log *slog.Logger) error {
	if err := t.reload(); err != nil {
		return err
	}
	t.mu.RLock()
	newest := t.keys[len(t.keys)-1].made
	t.mu.RUnlock()
	if t.clock().Sub(newest) < KeyLife {
		return errors.Join(t.retire(false), t.reload())
	}
	kid, err := t.Rotate(false)
	if err == nil {
		log.Info("tickets are signed with a new key", "kid", kid)
	}
	return err
}
