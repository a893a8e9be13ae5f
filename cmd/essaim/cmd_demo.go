package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"essaim/internal/api"
	"essaim/internal/demo"
	"essaim/internal/demo/film"
	"essaim/internal/demo/synthetic"
	"essaim/internal/members"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// demoCmd runs everything at once.
type demoCmd struct {
	settings
	edgeDoor
	Data string `env:"ESSAIM_DATA" type:"path" placeholder:"FOLDER" help:"Folder of database, media and keys, for this demonstration alone; in the user's cache folder if absent."`
	JSON bool   `name:"json" help:"Print one JSON object: url, room, members, data, and rehearsal if there is one."`
	// RehearsalTitle is kept for as long as each start asks for it.
	RehearsalTitle bitRate `default:"0" placeholder:"RATE" help:"Add the open title rehearsal, 180 s of random bytes at so many bits per second (2M, 800k), for essaim rehearse. A start without this takes it away again."`
}

// Validate implements kong's interface of that name, and stands before that of settings.
func (c *demoCmd) Validate() error {
	if r := int64(c.RehearsalTitle); r != 0 && (r < synthetic.RateMin || r > synthetic.RateMax) {
		return fmt.Errorf("--rehearsal-title: want a rate from %dk to %dM", synthetic.RateMin/1000, synthetic.RateMax/1_000_000)
	}
	if !c.Secure && !loopback(c.Listen) {
		return fmt.Errorf("--listen %s: a demonstration is for browsers on this machine; on others they want https, by a proxy in front (--secure)", c.Listen)
	}
	if err := c.edgeDoor.Validate(); err != nil {
		return err
	}
	return c.settings.Validate()
}

// demoMembers are who a demonstration's visitors may be.
var demoMembers = []string{"demo", "guest"}

// demoReport is what demo prints.
type demoReport struct {
	URL     string             `json:"url"`
	Room    string             `json:"room"`
	Members []demoReportMember `json:"members"`
	// Data is the folder that `essaim admin token --data` wants. No token is printed: output finds its way into logs.
	Data      string      `json:"data"`
	Rehearsal vod.TitleID `json:"rehearsal,omitempty"`
}

type demoReportMember struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Run serves the demonstration until it is told to stop.
func (c *demoCmd) Run() error {
	log := c.logger(os.Stderr)
	return serving(log, func(ctx context.Context) error {
		folder, err := c.folder(ctx)
		if err != nil {
			return err
		}
		defer folder.Close()
		ln, err := listen(c.Listen, log)
		if err != nil {
			return err
		}
		defer ln.Close()
		edges, err := c.edgeDoor.listen(log)
		if err != nil {
			return err
		}
		if edges != nil {
			defer edges.Close()
		}
		report := demoReport{URL: urlOf(ln.Addr()), Room: urlOf(ln.Addr()) + "/room", Data: folder.path}
		s, err := openNode(ctx, nodeConfig{
			settings: c.settings, data: folder.path, log: log, lan: true, edgeListener: edges, edgeControl: c.edgeDoor.control(edges),
			demo: func(s *node) (*api.Demo, []api.Mount, error) {
				if report.Members, err = furnish(ctx, s); err != nil {
					return nil, nil, err
				}
				if report.Rehearsal, err = furnishRehearsal(ctx, s, c.RehearsalTitle); err != nil {
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

// demoFolder is a demonstration's data folder, its own as long as it is open.
type demoFolder struct {
	path string
	lock *os.File
}

// demoLock is held by the demonstration that runs on a folder, and tells later ones that the folder is a demonstration's.
const demoLock = "demo.lock"

// foldersTried is how many demonstrations may run at once without --data.
const foldersTried = 50

// errBusy says that another demonstration runs on a folder.
var errBusy = errors.New("another demonstration runs on it")

// folder is the one that --data names, else the first in the user's cache folder that no other demonstration runs on:
// each start gives the members new passwords, which would lock out the visitors of the other.
func (c *demoCmd) folder(ctx context.Context) (*demoFolder, error) {
	if c.Data != "" {
		f, err := openDemoFolder(ctx, c.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; name another folder with --data", c.Data, err)
		}
		return f, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find a folder for the demonstration (or name one with --data): %w", err)
	}
	first := filepath.Join(cache, "essaim", "demo")
	path := first
	for n := 2; ; n++ {
		f, err := openDemoFolder(ctx, path)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, errBusy) || n > foldersTried {
			return nil, fmt.Errorf("%s: %w; name another folder with --data", path, err)
		}
		path = fmt.Sprintf("%s-%d", first, n)
	}
}

// openDemoFolder makes the folder at path if it is missing, and locks it: errBusy. It refuses one whose service has
// members: a demonstration lets everyone in with one click.
func openDemoFolder(ctx context.Context, path string) (_ *demoFolder, err error) {
	name := filepath.Join(path, demoLock)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if err := refuseMembers(ctx, path); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	lock, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errBusy
		}
		return nil, fmt.Errorf("lock %s: %w", demoLock, err)
	}
	return &demoFolder{path, lock}, nil
}

// refuseMembers returns an error if the data folder has accounts other than a demonstration's.
func refuseMembers(ctx context.Context, path string) (err error) {
	database := filepath.Join(path, "essaim.db")
	if _, err := os.Stat(database); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := sqlstore.Open(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	others, err := members.New(db, time.Now).Others(ctx, demoMembers...)
	if err == nil && others > 0 {
		err = errors.New("this is the data of a service with members, and a demonstration lets everyone in")
	}
	return err
}

// Close gives the folder free for another demonstration.
func (f *demoFolder) Close() { f.lock.Close() }

// furnish puts the film and the members into the service. Their passwords are new each time, and printed.
func furnish(ctx context.Context, s *node) ([]demoReportMember, error) {
	if err := film.Install(ctx, s.objects); err != nil {
		return nil, err
	}
	title := film.Title()
	title.About = vod.About{Year: 2026, Age: vod.Age{Set: true}, Genres: []vod.Genre{"animation", "short"}}
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

// furnishRehearsal puts the title to rehearse with into the service, or takes it away at rate 0, and returns its ID if it is
// there. Its objects stay, so that the next start with the same rate writes none. A film of somebody's own that bears the
// same ID is left alone.
func furnishRehearsal(ctx context.Context, s *node, rate bitRate) (vod.TitleID, error) {
	there, err := s.library.Get(ctx, synthetic.ID)
	switch {
	case errors.Is(err, vod.ErrNotFound):
	case err != nil:
		return "", err
	case !there.Synthetic():
		if rate == 0 {
			return "", nil
		}
		return "", fmt.Errorf("--rehearsal-title: there is a film with the id %s: name another folder with --data", synthetic.ID)
	}
	if rate == 0 {
		return "", s.library.Withdraw(ctx, synthetic.ID)
	}
	title, torrent, err := synthetic.Install(ctx, s.objects, int64(rate))
	if err != nil {
		return "", err
	}
	return title.ID, s.library.Publish(ctx, title, torrent)
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
		SignIn: func(ctx context.Context, name string, from vod.Visit) (string, vod.DeviceSession, error) {
			return s.members.SignIn(ctx, name, passwords[name], from)
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
	if r.Rehearsal != "" {
		fmt.Fprintf(&b, "\nRehearse with many viewers:\n\n    ESSAIM_TOKEN=$(essaim admin token --role operator --data %s) \\\n"+
			"        essaim rehearse %s --title %s --viewers 8\n", shellWord(r.Data), r.URL, r.Rehearsal)
	}
	b.WriteString("\nViewers of this demonstration share what they watch unless they say no. Ctrl-C stops it.\n\n")
	_, err := io.WriteString(w, b.String())
	return err
}
