package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"essaim/internal/api"
	"essaim/internal/demo"
	"essaim/internal/demo/film"
	"essaim/internal/vod"
)

// demoCmd runs everything at once.
type demoCmd struct {
	settings
	Data string `env:"ESSAIM_DATA" type:"path" placeholder:"FOLDER" help:"Folder of database, media and keys; in the user's cache folder if absent."`
	JSON bool   `name:"json" help:"Print one JSON object: url, room, members."`
}

// demoMembers are who a demonstration's visitors may be.
var demoMembers = []string{"demo", "guest"}

// demoReport is what demo prints.
type demoReport struct {
	URL     string             `json:"url"`
	Room    string             `json:"room"`
	Members []demoReportMember `json:"members"`
}

type demoReportMember struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Run serves the demonstration until it is told to stop.
func (c *demoCmd) Run() error {
	log := c.logger(os.Stderr)
	if c.Data == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find a folder for the demonstration (or name one with --data): %w", err)
		}
		c.Data = filepath.Join(cache, "essaim", "demo")
	}
	return serving(log, func(ctx context.Context) error {
		ln, err := listen(c.Listen, log)
		if err != nil {
			return err
		}
		defer ln.Close()
		report := demoReport{URL: urlOf(ln.Addr()), Room: urlOf(ln.Addr()) + "/room"}
		s, err := openNode(ctx, nodeConfig{
			settings: c.settings, data: c.Data, log: log, lan: true,
			demo: func(s *node) (*api.Demo, []api.Mount, error) {
				if report.Members, err = furnish(ctx, s); err != nil {
					return nil, nil, err
				}
				return demonstration(s, report.Members)
			},
		})
		if err != nil {
			return err
		}
		defer s.Close()
		if err := report.print(os.Stdout, c.JSON); err != nil {
			return err
		}
		return s.Serve(ctx, ln)
	})
}

// furnish puts the film and the members into the service. Their passwords are new each time, and printed.
func furnish(ctx context.Context, s *node) ([]demoReportMember, error) {
	if err := film.Install(ctx, s.objects); err != nil {
		return nil, err
	}
	title := film.Title()
	err := s.library.Publish(ctx, title, film.Torrent())
	if errors.Is(err, vod.ErrConflict) { // the folder holds the film of another release, under another name
		if err = s.library.Withdraw(ctx, title.ID); err == nil {
			err = s.library.Publish(ctx, title, film.Torrent())
		}
	}
	if err != nil {
		return nil, err
	}
	var seeded []demoReportMember
	for _, name := range demoMembers {
		m := demoReportMember{Name: name, Password: strings.ToLower(rand.Text()[:16])}
		if _, err := s.members.Put(ctx, m.Name, m.Password); err != nil {
			return nil, err
		}
		seeded = append(seeded, m)
	}
	return seeded, nil
}

// demonstration is what the API and the room add to the service.
func demonstration(s *node, seeded []demoReportMember) (*api.Demo, []api.Mount, error) {
	passwords := map[string]string{}
	var names []string
	for _, m := range seeded {
		passwords[m.Name] = m.Password
		names = append(names, m.Name)
	}
	title := film.Title()
	room := demo.New(demo.Config{
		Traffic: s.origin, Throttle: s.origin, Door: s.tracker, Clock: time.Now,
		Title: func() vod.Title { return title },
	})
	return &api.Demo{
		Members: names,
		SignIn: func(ctx context.Context, name string) (string, vod.DeviceSession, error) {
			return s.members.SignIn(ctx, name, passwords[name])
		},
	}, []api.Mount{{Pattern: "/room/api/", Handler: room}}, nil
}

func (r *demoReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nEssaim is running. See it happen:\n\n    %s\n\nThe catalogue: %s\n", r.Room, r.URL)
	for _, m := range r.Members {
		fmt.Fprintf(&b, "Sign in as %-6s with the password %s\n", m.Name, m.Password)
	}
	b.WriteString("\nViewers of this demonstration share what they watch unless they say no. Ctrl-C stops it.\n\n")
	_, err := io.WriteString(w, b.String())
	return err
}
