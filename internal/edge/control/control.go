// Package control is what edges and their service say to each other over mutual TLS: names in certificates, paths and
// messages. It must stay free of decisions: internal/edge makes the one side's, internal/edge/registry the other's.
package control

import (
	"errors"
	"regexp"
	"strings"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

// What the service's edge port answers, beside media/{root} and hashes/{root} below Media.
const (
	PathSync    = "/edge/v1/sync"     // POST Sync, answered by News; every few seconds
	PathRenew   = "/edge/v1/renew"    // POST a PKCS #10 request in DER, answered by the certificate, PEM
	PathTorrent = "/edge/v1/torrent/" // GET, and an open title's ID
	Media       = "/edge/v1"
)

// ServiceName is the service's own name in the certificate of its edge port. Names below .internal are nobody's (ICANN's
// reservation), and only the service's own authority vouches for them.
const ServiceName = "service.essaim.internal"

const edgeSuffix = ".edge.essaim.internal"

// EdgeName is the name in the certificate of the edge of that ID.
func EdgeName(id string) string { return id + edgeSuffix }

var idForm = regexp.MustCompile(`^[0-9a-f]{16}$`)

// EdgeID is the ID in a certificate's name; false for what is no edge's.
func EdgeID(name string) (string, bool) {
	id, ok := strings.CutSuffix(name, edgeSuffix)
	return id, ok && ValidID(id)
}

// ValidID reports whether id can be an edge's.
func ValidID(id string) bool { return idForm.MatchString(id) }

// Bounds of messages.
const (
	SyncMax = 1 << 20
	NewsMax = 16 << 20
	// PlanMax bounds the titles of a plan.
	PlanMax = 2000
)

// Sync is what an edge says every few seconds.
type Sync struct {
	Last   int64          `json:"last"`           // number of the last revocation that it knows
	Plan   string         `json:"plan,omitempty"` // edition of the plan that it follows; empty: none
	Node   string         `json:"node,omitempty"` // HOST:PORT where other edges reach it; a port alone is at the address it calls from
	URL    string         `json:"url,omitempty"`  // where browsers reach it
	Report vod.EdgeReport `json:"report"`
}

// News is the service's answer.
type News struct {
	NowMs       int64             `json:"now_ms"` // the service's time
	Keys        map[string][]byte `json:"keys"`   // kid → Ed25519 public key, of all tickets that are good
	Revocations []Revocation      `json:"revocations,omitempty"`
	Last        int64             `json:"last"`            // number of the latest revocation
	Outcasts    []string          `json:"outcasts"`        // IDs of edges that were revoked and whose certificates may still be good
	Plan        *Plan             `json:"plan,omitempty"`  // absent: unchanged
	Pages       []string          `json:"pages,omitempty"` // web origins whose pages may read members' titles here
	P2P         bool              `json:"p2p"`             // viewers may use peers at all
}

// Revocation is vod.Revocation.
type Revocation struct {
	Device      string      `json:"device,omitempty"`
	PlaySession string      `json:"session,omitempty"`
	Why         vod.PlayEnd `json:"why,omitempty"`
}

// Plan is what an edge is to hold, the most wanted first.
type Plan struct {
	Edition  string   `json:"edition"`
	Titles   []Title  `json:"titles"`
	Trackers []string `json:"trackers"` // as in a play session: URLs, or paths on the service's public address
	Announce []string `json:"announce"`
	ICE      []string `json:"ice"`
	Public   string   `json:"public"` // the service's public address; empty: that by which the edge joined
}

// Title is one title of a plan. It has no key, no name and no manifest: an edge needs none.
type Title struct {
	ID          vod.TitleID `json:"id"`
	Version     string      `json:"version"`
	Open        bool        `json:"open"`
	InfoHash    string      `json:"info_hash"`
	InfoHashV2  string      `json:"info_hash_v2"`
	PieceLength uint32      `json:"piece_length"`
	FromMs      int64       `json:"from_ms,omitempty"`  // nobody may have it before; 0: it is out
	UntilMs     int64       `json:"until_ms,omitempty"` // nor after; 0: no end
	Soon        bool        `json:"soon,omitempty"`     // it comes out before the next night: fill at any hour
	Files       []File      `json:"files"`
	Media       string      `json:"media"`             // ticket for fetching it
	Swarm       string      `json:"swarm,omitempty"`   // ticket for its swarm; empty: it has none
	Sources     []string    `json:"sources,omitempty"` // HOST:PORT of edges that hold all of it, with "ID@" before
}

// File is one file of a title.
type File struct {
	Path       string   `json:"path"`
	Size       int64    `json:"size"`
	Root       string   `json:"root"`
	FirstPiece uint32   `json:"first_piece"`
	Kind       vod.Kind `json:"kind"`
}

// Size is the title's bytes.
func (t *Title) Size() (n int64) {
	for i := range t.Files {
		n += t.Files[i].Size
	}
	return n
}

// NewTitle is t as plans say it.
func NewTitle(t *vod.Title) Title {
	v := &t.Version
	out := Title{
		ID: t.ID, Version: v.ID, Open: t.Open, InfoHash: v.InfoHashV1.String(), InfoHashV2: v.InfoHashV2.String(), PieceLength: v.PieceLength,
	}
	for i := range v.Files {
		f := &v.Files[i]
		out.Files = append(out.Files, File{Path: f.Path, Size: f.Size, Root: f.Root.String(), FirstPiece: f.FirstPiece, Kind: f.Kind})
	}
	return out
}

// Read is t as the rooms know titles. It refuses what is malformed.
func (t *Title) Read() (vod.Title, error) {
	out := vod.Title{ID: t.ID, Open: t.Open, Version: vod.Version{ID: t.Version, PieceLength: t.PieceLength}}
	var err, bad error
	if out.Version.InfoHashV1, err = bt.ParseInfoHash(t.InfoHash); err != nil {
		bad = err
	}
	if out.Version.InfoHashV2, err = bt.ParseInfoHashV2(t.InfoHashV2); err != nil {
		bad = err
	}
	if !t.ID.Valid() || t.Version != t.InfoHashV2 || len(t.Files) == 0 || t.PieceLength < bt.BlockSize || t.PieceLength&(t.PieceLength-1) != 0 {
		bad = errors.New("it is malformed")
	}
	for i := range t.Files {
		f := &t.Files[i]
		root, err := bt.ParseDigest(f.Root)
		if err != nil {
			bad = err
		}
		if f.Size <= 0 || f.Size > 1<<44 {
			bad = errors.New("a file's size cannot be")
		}
		out.Version.Files = append(out.Version.Files, vod.File{Path: f.Path, Size: f.Size, Root: root, FirstPiece: f.FirstPiece, Kind: f.Kind})
	}
	return out, bad
}
