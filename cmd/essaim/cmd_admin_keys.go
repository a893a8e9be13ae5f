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

	"essaim/internal/license"
	"essaim/internal/sqlstore"
)

// keysCmd manages the master key.
type keysCmd struct {
	Rotate keysRotateCmd `cmd:"" help:"Seal the keys of all protected titles anew, under a new master key."`
	New    keysNewCmd    `cmd:"" help:"Print a new master key for ESSAIM_MASTER_KEY, and nothing else."`
}

// keysNewCmd prints a master key.
type keysNewCmd struct{}

// Run prints it.
func (*keysNewCmd) Run() error {
	_, err := fmt.Println(license.NewMaster())
	return err
}

// keysRotateCmd changes the master key, beside a running service or without one.
type keysRotateCmd struct {
	keySettings
	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON bool   `name:"json" help:"Print one JSON object: master, sealed, dropped, resumed."`
}

// Help says what happens to the old key.
func (*keysRotateCmd) Help() string {
	return "A new master key is put into the file, and the old one leaves it once nothing is sealed with it any more. Films are not " +
		"touched. Copies of the database from before still need the old key: keep its backup for as long as those. An interrupted rotation " +
		"goes on when it is asked for again. With ESSAIM_MASTER_KEY, put a new key before the old one, restart the service with both, " +
		"rotate, and then take the old one away."
}

// Run rotates.
func (c *keysRotateCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout, os.Stderr)
}

func (c *keysRotateCmd) run(ctx context.Context, out, log io.Writer) (err error) {
	name := filepath.Join(c.Data, "essaim.db")
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("there is no data folder of a service at %s: name it with --data", c.Data)
	}
	db, err := sqlstore.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	keys, err := c.open(db, c.Data, nil)
	if err != nil {
		return err
	}
	r, err := keys.Rotate(ctx)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted; every key still opens: rotate again to go on")
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(log, "Back up the new master key now, apart from the data. Copies of the database from before still need the old one.")
	if c.JSON {
		return json.NewEncoder(out).Encode(map[string]any{"master": r.Master, "sealed": r.Sealed, "dropped": r.Dropped, "resumed": r.Resumed})
	}
	_, err = fmt.Fprintf(out, "%d keys are now sealed with the master key %s.\n", r.Sealed, r.Master)
	return err
}
