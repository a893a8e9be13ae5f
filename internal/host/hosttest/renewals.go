package hosttest

import (
	"embed"
	"encoding/json"
	"path"
	"strings"
	"testing"
	"time"
)

//go:embed renewals/*.json
var renewals embed.FS

// Renewing is one connection to a tracker, on which nothing has been said yet, as the scripts of renewals see it.
type Renewing interface {
	// Announce is what the engine wants announced at a moment; it returns "nothing", "still" or "all", what is said of it.
	Announce(at time.Duration, a RenewalAnnounce) string
	// Reply is the tracker's, in seconds: when to announce again, and within what time it says something by itself.
	Reply(interval, still int)
	// Refused: it was not a reply.
	Refused()
}

// RenewalAnnounce is an announce of the engine, and what else there is to say.
type RenewalAnnounce struct {
	PositionMs int64  `json:"position_ms"`
	Rendition  int    `json:"rendition"`
	Want       int    `json:"want"`
	Event      string `json:"event"`
	Ticket     string `json:"-"` // of the moment
	Outcome    bool   `json:"-"` // something became of an introduction
}

// RunRenewals plays all scripts of renewals, each on a connection of its own.
func RunRenewals(t *testing.T, connect func() Renewing) {
	t.Helper()
	files, err := renewals.ReadDir("renewals")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(f.Name(), ".json"), func(t *testing.T) {
			b, err := renewals.ReadFile(path.Join("renewals", f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			var script struct {
				Claim string `json:"claim"`
				Steps []struct {
					AtMs     int64            `json:"at_ms"`
					Ticket   string           `json:"ticket"`
					Outcome  bool             `json:"outcome"`
					Announce *RenewalAnnounce `json:"announce"`
					Says     string           `json:"says"`
					Reply    *struct {
						Interval int `json:"interval"`
						Still    int `json:"still"`
					} `json:"reply"`
					Failure string `json:"failure"`
				} `json:"steps"`
			}
			if err := json.Unmarshal(b, &script); err != nil {
				t.Fatal(err)
			}
			c, ticket := connect(), ""
			for i, s := range script.Steps {
				if s.Ticket != "" {
					ticket = s.Ticket
				}
				switch {
				case s.Announce != nil:
					s.Announce.Ticket, s.Announce.Outcome = ticket, s.Outcome
					if says := c.Announce(time.Duration(s.AtMs)*time.Millisecond, *s.Announce); says != s.Says {
						t.Errorf("%s: step %d at %d ms says %s, want %s", script.Claim, i, s.AtMs, says, s.Says)
					}
				case s.Reply != nil:
					c.Reply(s.Reply.Interval, s.Reply.Still)
				case s.Failure != "":
					c.Refused()
				default:
					t.Errorf("step %d is none", i)
				}
			}
		})
	}
}
