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
	"strings"
	"syscall"
	"time"

	"essaim/internal/api"
	"essaim/internal/library"
	"essaim/internal/members"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// byAdmin is who acts by these commands, as the audit log names them.
var byAdmin = vod.Actor{Name: vod.ActorAdmin}

// dataFolder is the flag of commands that work on a service's database, beside the running service or without one.
type dataFolder struct {
	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of the service's data (${default})."`
	JSON bool   `name:"json" help:"Print one JSON object."`

	out io.Writer // nil: standard output
}

// with runs f on the accounts and the catalogue in the data folder, and prints what it returns: as one JSON object, or as its
// text.
func (d *dataFolder) with(f func(ctx context.Context, m *members.Members, l *library.Library) (result map[string]any, text string, err error)) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var out io.Writer = os.Stdout
	if d.out != nil {
		out = d.out
	}
	name := filepath.Join(d.Data, "essaim.db")
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("there is no data folder of a service at %s: name it with --data", d.Data)
	}
	db, err := sqlstore.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	result, text, err := f(ctx, members.New(db, time.Now), library.New(db, time.Now))
	switch {
	case err != nil:
		return err
	case d.JSON:
		return json.NewEncoder(out).Encode(result)
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

// memberByName is the member that a command names.
func memberByName(ctx context.Context, m *members.Members, name string) (vod.Member, error) {
	member, err := m.Directory().ByName(ctx, name)
	if errors.Is(err, vod.ErrNotFound) {
		err = fmt.Errorf("there is no member %q", name)
	}
	return member, err
}

// linkAt is a one-time link's address.
func linkAt(url, token string) string { return strings.TrimSuffix(url, "/") + api.LinkPath(token) }

// operatorLinkCmd prints a one-time link for a new operator.
type operatorLinkCmd struct {
	dataFolder
	URL string `name:"url" default:"http://localhost:8080" help:"Where the service's pages are, for the link (${default})."`
}

// Run prints it.
func (c *operatorLinkCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, _ *library.Library) (map[string]any, string, error) {
		token, l, err := m.Links().Operator(ctx, byAdmin, false)
		return map[string]any{"link": linkAt(c.URL, token), "expires": l.Expires.Format(time.RFC3339)}, linkAt(c.URL, token), err
	})
}

// inviteCmd prints a one-time link for a new member.
type inviteCmd struct {
	dataFolder
	Role string        `default:"viewer" enum:"viewer,editor,operator" help:"What they may do: viewer, editor (titles and ingest) or operator (${default})."`
	Plan string        `default:"standard" help:"Their plan (${default})."`
	Note string        `help:"Whom it is for."`
	Life time.Duration `default:"168h" help:"How long the link is good for, up to 90 days (${default})."`
	URL  string        `name:"url" default:"http://localhost:8080" help:"Where the service's pages are, for the link (${default})."`
}

// Run prints it.
func (c *inviteCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, _ *library.Library) (map[string]any, string, error) {
		token, l, err := m.Links().Invite(ctx, byAdmin, vod.Link{
			Role: vod.Role(c.Role), Plan: c.Plan, Note: c.Note, Expires: time.Now().Add(c.Life),
		})
		return map[string]any{"link": linkAt(c.URL, token), "expires": l.Expires.Format(time.RFC3339)}, linkAt(c.URL, token), err
	})
}

// memberResetCmd prints a one-time link for a new password.
type memberResetCmd struct {
	Name string `arg:"" help:"The member's name."`
	dataFolder
	URL string `name:"url" default:"http://localhost:8080" help:"Where the service's pages are, for the link (${default})."`
}

// Run prints it.
func (c *memberResetCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, _ *library.Library) (map[string]any, string, error) {
		member, err := memberByName(ctx, m, c.Name)
		if err != nil {
			return nil, "", err
		}
		token, l, err := m.Links().Reset(ctx, byAdmin, member.ID)
		return map[string]any{"link": linkAt(c.URL, token), "expires": l.Expires.Format(time.RFC3339)}, linkAt(c.URL, token), err
	})
}

// memberRoleCmd gives a member a role.
type memberRoleCmd struct {
	Name string `arg:"" help:"The member's name."`
	Role string `arg:"" enum:"viewer,editor,operator" help:"viewer, editor (titles and ingest) or operator."`
	dataFolder
}

// Run gives it.
func (c *memberRoleCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, _ *library.Library) (map[string]any, string, error) {
		member, err := memberByName(ctx, m, c.Name)
		if err != nil {
			return nil, "", err
		}
		err = m.Directory().SetRole(ctx, byAdmin, member.ID, vod.Role(c.Role))
		return map[string]any{"id": member.ID, "role": c.Role}, fmt.Sprintf("%s is %s now.", member.Name, c.Role), err
	})
}

// memberPlanCmd gives a member a plan.
type memberPlanCmd struct {
	Name  string    `arg:"" help:"The member's name."`
	Plan  string    `arg:"" help:"The plan's id."`
	State string    `default:"active" enum:"trial,active,past_due,ended" help:"How it stands: trial, active, past_due (watches all the same) or ended (${default})."`
	Until time.Time `placeholder:"TIME" help:"When it ends by itself, for instance 2027-01-31T00:00:00Z; without it, not before it is changed."`
	dataFolder
}

// Run gives it.
func (c *memberPlanCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, _ *library.Library) (map[string]any, string, error) {
		member, err := memberByName(ctx, m, c.Name)
		if err != nil {
			return nil, "", err
		}
		sub := vod.Subscription{Plan: c.Plan, State: vod.SubscriptionState(c.State), Until: c.Until}
		err = m.Plans().Subscribe(ctx, byAdmin, member.ID, sub)
		return map[string]any{"id": member.ID, "plan": c.Plan, "state": c.State}, fmt.Sprintf("%s has the plan %s now: %s.", member.Name, c.Plan, c.State), err
	})
}

// planListCmd prints all plans.
type planListCmd struct{ dataFolder }

// Run prints them.
func (c *planListCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, _ *library.Library) (map[string]any, string, error) {
		list, err := m.Plans().List(ctx)
		var lines []string
		rows := []map[string]any{}
		for i := range list {
			p := &list[i]
			titles := fmt.Sprintf("%d titles", len(p.Titles))
			if p.AllTitles {
				titles = "all titles"
			}
			lines = append(lines, fmt.Sprintf("%-16s %s: %s, %d streams, up to %s", p.ID, p.Name, titles, p.Streams, p.Highest))
			rows = append(rows, map[string]any{
				"id": p.ID, "name": p.Name, "all_titles": p.AllTitles, "titles": append([]vod.TitleID{}, p.Titles...), "streams": p.Streams, "highest": p.Highest,
			})
		}
		return map[string]any{"plans": rows}, strings.Join(lines, "\n"), err
	})
}

// planPutCmd makes or changes a plan.
type planPutCmd struct {
	ID      string   `arg:"" name:"id" help:"The plan's id: lower-case letters, digits and hyphens."`
	Name    string   `required:"" help:"What members read."`
	Titles  []string `placeholder:"ID" help:"The titles that it includes; without it, all."`
	Streams int      `default:"4" help:"How many films play at once (${default})."`
	Highest string   `default:"uhd" enum:"sd,hd,uhd" help:"The best pictures: sd is below 720 lines, hd to 1080, uhd above (${default})."`
	dataFolder
}

// Run makes it.
func (c *planPutCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, _ *library.Library) (map[string]any, string, error) {
		plan := vod.Plan{ID: c.ID, Name: c.Name, AllTitles: len(c.Titles) == 0, Streams: c.Streams, Highest: vod.Tier(c.Highest)}
		for _, id := range c.Titles {
			plan.Titles = append(plan.Titles, vod.TitleID(id))
		}
		err := m.Plans().Put(ctx, byAdmin, plan)
		return map[string]any{"id": c.ID}, fmt.Sprintf("The plan %s is as you said.", c.ID), err
	})
}

// planRemoveCmd takes a plan away.
type planRemoveCmd struct {
	ID string `arg:"" name:"id" help:"The plan's id. Nobody may be on it."`
	dataFolder
}

// Run takes it away.
func (c *planRemoveCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, _ *library.Library) (map[string]any, string, error) {
		err := m.Plans().Remove(ctx, byAdmin, c.ID)
		if errors.Is(err, vod.ErrNotFound) {
			err = fmt.Errorf("there is no plan %q", c.ID)
		}
		return map[string]any{"id": c.ID}, fmt.Sprintf("The plan %s is gone.", c.ID), err
	})
}

// windowCmd says when a title may be seen.
type windowCmd struct {
	Title string    `arg:"" help:"The title's id."`
	From  time.Time `placeholder:"TIME" help:"Not before, for instance 2027-01-31T20:00:00Z; without it there is no such bound."`
	Until time.Time `placeholder:"TIME" help:"Not from then on; without it there is no such bound."`
	dataFolder
}

// Run says it.
func (c *windowCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, l *library.Library) (map[string]any, string, error) {
		w := vod.Window{From: c.From, Until: c.Until}
		err := l.Windows().SetWindow(ctx, vod.TitleID(c.Title), w)
		if errors.Is(err, vod.ErrNotFound) {
			err = fmt.Errorf("there is no title %q", c.Title)
		}
		if err == nil {
			err = m.Directory().Record(ctx, byAdmin, "title.window", c.Title, w.String())
		}
		return map[string]any{"title": c.Title}, fmt.Sprintf("%s may be seen %s.", c.Title, w), err
	})
}
