package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"essaim/internal/members"
	"essaim/internal/vod"
)

// rotateTicketsCmd makes a new key for tickets. A running service signs with it from its next look into the folder on, two
// seconds later at most.
type rotateTicketsCmd struct {
	Forget bool   `help:"Remove all former keys at once: every ticket ends within five seconds, so that players press play again, and so does every operator's token. For when a key may be known to others."`
	Data   string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON   bool   `name:"json" help:"Print one JSON object: kid."`
}

// Run rotates.
func (c *rotateTicketsCmd) Run() error { return c.run(os.Stdout, time.Now) }

func (c *rotateTicketsCmd) run(out io.Writer, clock vod.Clock) error {
	if _, err := os.Stat(filepath.Join(c.Data, "essaim.db")); err != nil {
		return fmt.Errorf("there is no data folder of a service at %s: name it with --data", c.Data)
	}
	tickets, err := members.OpenTickets(c.Data, clock)
	if err != nil {
		return err
	}
	kid, err := tickets.Rotate(c.Forget)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(map[string]string{"kid": kid})
	}
	_, err = fmt.Fprintf(out, "Tickets are signed with key %s from now on.\n", kid)
	return err
}
