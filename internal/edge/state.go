package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"essaim/internal/edge/control"
	"essaim/internal/vod"
)

// stateFile is what an edge remembers of the service, so that it goes on after a start without it.
const stateFile = "state.json"

// saved is stateFile. It holds no secret but tickets that end soon.
type saved struct {
	OffsetMs int64             `json:"offset_ms"` // the service's time less this machine's
	SyncedMs int64             `json:"synced_ms"` // when the service was last heard of, in its time
	Keys     map[string][]byte `json:"keys"`
	Last     int64             `json:"last"` // number of the last revocation that is known
	Revoked  []keptRevocation  `json:"revoked,omitempty"`
	Outcasts []string          `json:"outcasts,omitempty"`
	Pages    []string          `json:"pages,omitempty"`
	P2P      bool              `json:"p2p"`
	Plan     *control.Plan     `json:"plan,omitempty"`
}

// keptRevocation is one with when it was heard of, in the service's time.
type keptRevocation struct {
	control.Revocation
	AtMs int64 `json:"at_ms"`
}

func (k *keptRevocation) read() vod.Revocation {
	return vod.Revocation{Device: k.Device, PlaySession: k.PlaySession, Why: k.Why}
}

func readState(dir string) (s saved, err error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read %s: %w", stateFile, err)
	}
	return s, nil
}

func writeState(dir string, s *saved) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, stateFile), b)
}

// learn takes over the service's news, and says whether the plan is another. began is when it was asked, ended when it answered,
// by this machine's clock.
func (s *saved) learn(n *control.News, began time.Time) (planned bool) {
	// What lies between question and answer makes us early by that at most, never late: a ticket that was signed
	// a moment ago is not of the future.
	s.OffsetMs, s.SyncedMs = n.NowMs-began.UnixMilli(), n.NowMs
	s.Keys, s.Outcasts, s.Pages, s.P2P, s.Last = n.Keys, n.Outcasts, n.Pages, n.P2P, n.Last
	kept := s.Revoked[:0]
	for _, r := range s.Revoked {
		if n.NowMs-r.AtMs < vod.RevocationLife.Milliseconds() {
			kept = append(kept, r)
		}
	}
	for _, r := range n.Revocations {
		kept = append(kept, keptRevocation{r, n.NowMs})
	}
	s.Revoked = kept
	if n.Plan != nil {
		s.Plan = n.Plan
	}
	return n.Plan != nil
}

// StatusFile is where a running edge tells how it stands.
const statusFile = "status.json"

// Status is how an edge stands: what `essaim edge status` prints.
type Status struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Service     string `json:"service"`
	URL         string `json:"url"`
	AtMs        int64  `json:"at_ms"`     // when this was written, by this machine's clock
	SyncedMs    int64  `json:"synced_ms"` // when the service was last heard of, in its time; 0: never
	OffsetMs    int64  `json:"offset_ms"` // the service's clock less this machine's
	CertEndsMs  int64  `json:"certificate_ends_ms"`
	Running     bool   `json:"running"` // filled in by ReadStatus
	Filling     string `json:"filling"` // a title; empty: none now
	TitlesWhole int    `json:"titles_whole"`
	TitlesPlan  int    `json:"titles_planned"`
	vod.EdgeReport
}

// statusFresh is how old a status may be for the edge to be believed to run.
const statusFresh = 15 * time.Second

// ReadStatus reads what the edge in a folder last told.
func ReadStatus(dir string, now time.Time) (Status, error) {
	var s Status
	b, err := os.ReadFile(filepath.Join(dir, statusFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("no edge has run in %s: start it with `essaim edge run`", dir)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read %s: %w", statusFile, err)
	}
	s.Running = now.Sub(time.UnixMilli(s.AtMs)).Abs() < statusFresh
	return s, nil
}

func saveStatus(dir string, s *Status) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, statusFile), b)
}
