package main

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"essaim/internal/license"
	"essaim/internal/sqlstore"
)

// keySettings say where the master key is, which seals the content keys of protected titles in the database. The key itself is
// never a flag: every process of the machine could read it.
type keySettings struct {
	MasterKeyFile string `name:"master-key-file" env:"ESSAIM_MASTER_KEY_FILE" type:"path" placeholder:"FILE" help:"The master key that seals the keys of protected titles; made when first needed (beside the data folder: its name and .master-key). ESSAIM_MASTER_KEY, if set, goes before it. Back it up apart from the data."`
}

// drawnFrom is where content keys come from, if not from the system; for tests.
var drawnFrom io.Reader

// open returns the content keys in db, sealed with the master key that belongs to the data folder. made is told of a file that
// was made.
func (s *keySettings) open(db *sqlstore.Store, data string, made func(file string)) (*license.Keys, error) {
	file := s.MasterKeyFile
	if file == "" {
		abs, err := filepath.Abs(data)
		if err != nil {
			return nil, err
		}
		file = abs + ".master-key" // not in the folder, whose copies would hold lock and key
	}
	masters, err := license.OpenMasters(os.Getenv(license.MasterEnv), file, made)
	if err != nil {
		return nil, err
	}
	return license.NewKeys(license.KeysConfig{DB: db, Masters: masters, Clock: time.Now, Random: drawnFrom}), nil
}

// madeMasterKey is what an operator is told when there is something new to back up.
const madeMasterKey = "made a master key, without which protected titles can never be played again: back it up now, apart from the data"
