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

	"github.com/mattn/go-isatty"

	"essaim/internal/members"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// adminCmd manages members and tokens, beside a running service or without one.
type adminCmd struct {
	Member struct {
		Add   memberAddCmd   `cmd:"" help:"Make an account."`
		Plan  memberPlanCmd  `cmd:"" help:"Give a member a plan. What they watch and may not any more stops within five seconds."`
		Role  memberRoleCmd  `cmd:"" help:"Say what a member may do."`
		Reset memberResetCmd `cmd:"" help:"Print a one-time link for a new password, good for a day."`
	} `cmd:"" help:"Manage members."`
	Plan struct {
		List   planListCmd   `cmd:"" help:"Print all plans."`
		Put    planPutCmd    `cmd:"" help:"Make a plan, or change one for everybody on it."`
		Remove planRemoveCmd `cmd:"" help:"Take a plan away that nobody is on."`
	} `cmd:"" help:"Manage plans: what members may watch."`
	Title struct {
		About    titleAboutCmd `cmd:"" help:"Say of a title what it is: year, age, genres, people, series. Without flags, print it."`
		Withdraw withdrawCmd   `cmd:"" help:"Take a title out of the catalogue. Its players stop within five seconds."`
		Restore  restoreCmd    `cmd:"" help:"Give a withdrawn title back."`
	} `cmd:"" help:"Manage titles."`
	Invite       inviteCmd       `cmd:"" help:"Print a one-time link for a new member."`
	OperatorLink operatorLinkCmd `cmd:"" help:"Print a one-time link for a new operator, good for an hour."`
	Window       windowCmd       `cmd:"" help:"Say when a title may be seen."`
	Edge         edgesCmd        `cmd:"" help:"Manage edges: boxes near the viewers."`
	Revoke       revokeCmd       `cmd:"" help:"End a member's sessions, or one play session, within five seconds."`
	Savings      savingsCmd      `cmd:"" help:"Print what viewers carried, and what that saved."`
	Token        tokenCmd        `cmd:"" help:"Print a token for the operator's part of the API, and nothing else."`
	Keys         keysCmd         `cmd:"" help:"Manage the master key that seals the keys of protected titles."`

	RotateTickets rotateTicketsCmd `cmd:"" help:"Sign tickets with a new key from now on, as happens by itself every 30 days."`
}

// memberAddCmd makes an account.
type memberAddCmd struct {
	Name string `arg:"" help:"The member's name: 1 to 64 characters."`
	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON bool   `name:"json" help:"Print one JSON object: id, name."`
}

// Help says where the password comes from.
func (c *memberAddCmd) Help() string {
	return "The password is asked for, twice; without a terminal it is the first line of standard input. ESSAIM_PASSWORD, if set, " +
		"goes before both."
}

// Run makes the account.
func (c *memberAddCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	password, err := newPassword(ctx, os.Stdin, os.Stderr)
	if err != nil {
		return err
	}
	return c.run(ctx, password, os.Stdout)
}

func (c *memberAddCmd) run(ctx context.Context, password string, out io.Writer) (err error) {
	if err := os.MkdirAll(c.Data, 0o750); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	db, err := sqlstore.Open(ctx, filepath.Join(c.Data, "essaim.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	m, err := members.New(db, time.Now).Add(ctx, c.Name, password)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(map[string]string{"id": m.ID, "name": m.Name})
	}
	_, err = fmt.Fprintf(out, "%s may sign in now.\n", m.Name)
	return err
}

// newPassword reads a password as readPassword does, twice where somebody types it unseen.
func newPassword(ctx context.Context, in *os.File, ask io.Writer) (string, error) {
	password, err := readPassword(ctx, in, ask)
	if err != nil {
		return "", err
	}
	if _, set := os.LookupEnv("ESSAIM_PASSWORD"); set || !isatty.IsTerminal(in.Fd()) {
		return password, nil
	}
	fmt.Fprintln(ask, "Once more.")
	again, err := readPassword(ctx, in, ask)
	if err != nil {
		return "", err
	}
	if again != password {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return password, nil
}

// revokeCmd ends sessions. A running service reads of it in its database.
type revokeCmd struct {
	Member  string `xor:"who" required:"" placeholder:"NAME" help:"All device sessions of this member. They may sign in again."`
	Session string `xor:"who" required:"" placeholder:"ID" help:"One play session, for instance a stranger's."`
	Data    string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON    bool   `name:"json" help:"Print one JSON object: ended."`
}

// Run ends the sessions.
func (c *revokeCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout)
}

func (c *revokeCmd) run(ctx context.Context, out io.Writer) (err error) {
	name := filepath.Join(c.Data, "essaim.db")
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("there is no data folder of a service at %s: name it with --data", c.Data)
	}
	db, err := sqlstore.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	m, ended := members.New(db, time.Now), 1
	if c.Member != "" {
		ended, err = m.RevokeMember(ctx, c.Member)
	} else {
		err = m.RevokePlay(ctx, c.Session)
	}
	switch {
	case errors.Is(err, vod.ErrNotFound):
		return fmt.Errorf("there is no member %q", c.Member)
	case err != nil:
		return err
	case c.JSON:
		return json.NewEncoder(out).Encode(map[string]int{"ended": ended})
	}
	_, err = fmt.Fprintf(out, "%d sessions ended.\n", ended)
	return err
}

// tokenCmd prints a token.
type tokenCmd struct {
	Role string        `required:"" enum:"operator" help:"What the token allows: operator."`
	TTL  time.Duration `name:"ttl" default:"12h" help:"How long it is good for (${default})."`
	Data string        `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON bool          `name:"json" help:"Print one JSON object: token, expires."`
}

// Run prints the token.
func (c *tokenCmd) Run() error { return c.run(os.Stdout, time.Now) }

func (c *tokenCmd) run(out io.Writer, clock vod.Clock) error {
	if c.TTL < time.Second || c.TTL > members.TicketMax {
		return fmt.Errorf("--ttl %s: want between 1s and %s", c.TTL, members.TicketMax)
	}
	// A folder without a database is a typing error: a key made there would open nothing.
	if _, err := os.Stat(filepath.Join(c.Data, "essaim.db")); err != nil {
		return fmt.Errorf("there is no data folder of a service at %s: name it with --data", c.Data)
	}
	tickets, err := members.OpenTickets(c.Data, clock)
	if err != nil {
		return err
	}
	expires := clock().Add(c.TTL)
	token, err := tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: expires})
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(map[string]string{"token": token, "expires": expires.UTC().Format(time.RFC3339)})
	}
	_, err = fmt.Fprintln(out, token)
	return err
}
