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
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// edgesCmd manages edges.
type edgesCmd struct {
	Add    edgeAddCmd    `cmd:"" help:"Print a one-time token with which an edge joins within an hour, and nothing else."`
	List   edgeListCmd   `cmd:"" help:"Print the edges, one a line."`
	Revoke edgeRevokeCmd `cmd:"" help:"Send an edge away for good, within seconds."`
}

// edgeAddCmd makes a token.
type edgeAddCmd struct {
	Name string `arg:"" help:"A name for the edge, for instance lyon-1."`
	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON bool   `name:"json" help:"Print one JSON object: token, expires."`
}

// edgeListCmd lists the edges.
type edgeListCmd struct {
	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON bool   `name:"json" help:"Print one JSON object: edges."`
}

// edgeRevokeCmd sends an edge away.
type edgeRevokeCmd struct {
	ID   string `arg:"" help:"The edge's ID, as list prints it."`
	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
}

// withDatabase runs f on the database of a service's data folder, until an interrupt.
func withDatabase(data string, f func(ctx context.Context, db *sqlstore.Store) error) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name := filepath.Join(data, "essaim.db")
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("there is no data folder of a service at %s: name it with --data", data)
	}
	db, err := sqlstore.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(ctx, db)
}

// Run prints the token.
func (c *edgeAddCmd) Run() error { return c.run(os.Stdout) }

func (c *edgeAddCmd) run(out io.Writer) error {
	return withDatabase(c.Data, func(ctx context.Context, db *sqlstore.Store) error {
		token, expires, err := edgesOf(db).Invite(ctx, c.Name)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(out).Encode(map[string]string{"token": token, "expires": expires.UTC().Format(time.RFC3339)})
		}
		_, err = fmt.Fprintln(out, token)
		return err
	})
}

// Run prints the list.
func (c *edgeListCmd) Run() error { return c.run(os.Stdout) }

func (c *edgeListCmd) run(out io.Writer) error {
	return withDatabase(c.Data, func(ctx context.Context, db *sqlstore.Store) error {
		list, err := edgesOf(db).Edges(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			type entry struct {
				ID      string         `json:"id"`
				Name    string         `json:"name"`
				URL     string         `json:"url"`
				Revoked bool           `json:"revoked"`
				Report  vod.EdgeReport `json:"report"`
			}
			edges := []entry{}
			for _, e := range list {
				edges = append(edges, entry{e.ID, e.Name, e.URL, !e.Revoked.IsZero(), e.Report})
			}
			return json.NewEncoder(out).Encode(map[string]any{"edges": edges})
		}
		for _, e := range list {
			how := "never seen"
			switch {
			case !e.Revoked.IsZero():
				how = "revoked"
			case !e.Seen.IsZero():
				how = "seen " + e.Seen.UTC().Format(time.RFC3339)
			}
			if _, err := fmt.Fprintf(out, "%s  %s  %s  holds %d of %d bytes planned, served %d\n", e.ID, e.Name, how,
				e.Report.HeldBytes, e.Report.PlannedBytes, e.Report.HTTPBytes+e.Report.PeerBytes); err != nil {
				return err
			}
		}
		return nil
	})
}

// Run sends the edge away. A running service and its edges learn of it within seconds.
func (c *edgeRevokeCmd) Run() error {
	return withDatabase(c.Data, func(ctx context.Context, db *sqlstore.Store) error {
		err := edgesOf(db).Revoke(ctx, c.ID)
		if errors.Is(err, vod.ErrNotFound) {
			return fmt.Errorf("there is no edge %q, or it is revoked already", c.ID)
		}
		return err
	})
}
