package license

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrMaster says that a key is sealed with a master key that is not at hand.
var ErrMaster = errors.New("the master key is missing")

// MasterEnv is the environment's variable that Masters are read from where it is set.
const MasterEnv = "ESSAIM_MASTER_KEY"

const (
	masterPrefix = "emk1_" // by which a master key is known wherever it strays
	masterBytes  = 32
	mastersMax   = 16
	fileMax      = 16 << 10
)

const fileHead = `# The master key of an Essaim service. It seals the keys of all protected titles: without it none of them can be played
# again, by anybody. Keep a copy, apart from the data folder and its backups. The first key seals; others only open.
`

// master is a master key, ready to seal with.
type master struct {
	id   string // drawn from it
	text string // as it is written
	aead cipher.AEAD
}

// readMaster reads a key as NewMaster writes it. Its error does not repeat it.
func readMaster(text string) (*master, error) {
	rest, ok := strings.CutPrefix(text, masterPrefix)
	secret, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if !ok || err != nil || len(secret) != masterBytes {
		return nil, errors.New("it is no master key: want " + masterPrefix + " and 43 letters, as `essaim admin keys new` prints it")
	}
	derive := func(what string, n int) []byte {
		b, err := hkdf.Key(sha256.New, secret, nil, "essaim "+what, n)
		if err != nil {
			panic(err) // constant lengths
		}
		return b
	}
	block, err := aes.NewCipher(derive("content keys", 32))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &master{id: hex.EncodeToString(derive("master key's name", 8)), text: text, aead: aead}, nil
}

// NewMaster draws a master key, as it is written in a file or ESSAIM_MASTER_KEY.
func NewMaster() string {
	var secret [masterBytes]byte
	rand.Read(secret[:]) //nolint:errcheck // it never fails
	return masterPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
}

// readMasters reads a list of keys, between blanks, commas or line ends; what follows a # is a remark.
func readMasters(text string) (list []*master, err error) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n,", r) }) {
			m, err := readMaster(word)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(list, func(x *master) bool { return x.id == m.id }) {
				continue
			}
			if list = append(list, m); len(list) > mastersMax {
				return nil, fmt.Errorf("more than %d master keys: rotate, then remove the old ones", mastersMax)
			}
		}
	}
	if len(list) == 0 {
		return nil, errors.New("there is no master key in it")
	}
	return list, nil
}

// Masters are the master keys at hand: those of ESSAIM_MASTER_KEY, or of a file, which is read again when a key is missed.
// The first seals, others only open. It is safe for concurrent use.
type Masters struct {
	file string            // empty: all are from the environment
	made func(file string) // may be nil

	mu   sync.Mutex
	list []*master // nil: not read yet
}

// OpenMasters returns the master keys in env (the value of ESSAIM_MASTER_KEY), or where that is empty in the file. A file
// that is missing is made when the first content key is drawn, and made is told of it: the operator must know that there is
// something to back up. made may be nil.
func OpenMasters(env, file string, made func(file string)) (*Masters, error) {
	m := &Masters{file: file, made: made}
	if strings.TrimSpace(env) != "" {
		list, err := readMasters(env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", MasterEnv, err)
		}
		m.file, m.list = "", list
		return m, nil
	}
	err := m.read()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return m, err
}

// where names the place of the keys, for messages.
func (m *Masters) where() string {
	if m.file == "" {
		return MasterEnv
	}
	return m.file
}

// read reads the file. mu must be held, or m be new.
func (m *Masters) read() error {
	list, err := readMasterFile(m.file)
	if err == nil {
		m.list = list
	}
	return err
}

func readMasterFile(name string) ([]*master, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("master key: %w", err)
	case !info.Mode().IsRegular() || info.Size() > fileMax:
		return nil, fmt.Errorf("master key: %s is no file of keys", name)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("master key: %s can be read by others: make it private with chmod 600", name)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	list, err := readMasters(b.String())
	if err != nil {
		return nil, fmt.Errorf("master key: %s: %w", name, err)
	}
	return list, nil
}

// find is the master key of that name; ErrMaster with what to do where it is not at hand.
func (m *Masters) find(id string) (*master, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	named := func(x *master) bool { return x.id == id }
	i := slices.IndexFunc(m.list, named)
	if i < 0 && m.file != "" { // another process may have rotated
		if err := m.read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrMaster, err)
		}
		i = slices.IndexFunc(m.list, named)
	}
	if i < 0 {
		return nil, fmt.Errorf("%w: the one named %s is not in %s: restore it from its backup; without it what was encrypted under it "+
			"can never be played again, and must be ingested anew", ErrMaster, id, m.where())
	}
	return m.list[i], nil
}

// first is the master key that stands first; one is made where there is no file.
func (m *Masters) first() (*master, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file != "" {
		err := m.read()
		if errors.Is(err, fs.ErrNotExist) {
			if err = writeMasters(m.file, false, NewMaster()); err == nil {
				if m.made != nil {
					m.made(m.file)
				}
				err = m.read()
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return m.list[0], nil
}

// writeMasters writes a file of keys, whole or not at all, and has it on the disk when it returns. Without replace, of two
// processes that make one at once the first wins.
func writeMasters(name string, replace bool, keys ...string) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // made 0600
	if err != nil {
		return fmt.Errorf("write the master key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(fileHead + strings.Join(keys, "\n") + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && replace {
		err = os.Rename(f.Name(), name)
	} else if err == nil {
		if err = os.Link(f.Name(), name); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("write the master key: %w", err)
	}
	return nil
}

// syncDir has a folder's entries on the disk.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
