package vod

import (
	"context"
	"net/netip"
	"time"
)

// ErrEdgeRevoked is why an edge is refused that the operator has sent away. It comes with ErrForbidden.
var ErrEdgeRevoked = EdgeRevokedError{}

// EdgeRevokedError is ErrEdgeRevoked's type.
type EdgeRevokedError struct{}

// Error says what to do.
func (EdgeRevokedError) Error() string {
	return "the operator has revoked this edge: join again with a new token, into an empty folder"
}

// Unwrap makes it an ErrForbidden.
func (EdgeRevokedError) Unwrap() error { return ErrForbidden }

// Edges is what the service knows of its edges: boxes near the viewers that hold titles' bytes, and no keys.
type Edges interface {
	// Invite makes a one-time token with which an edge joins under that name, and says until when. ErrInvalid, and ErrConflict
	// for the name of an edge that is there.
	Invite(ctx context.Context, name string) (token string, expires time.Time, err error)
	// Join lets the holder of a token in. request is a PKCS #10 certificate request in DER, url where browsers will reach the
	// edge, empty for nowhere. Of several who use a token at once one succeeds; ErrNotFound for the others, and ErrInvalid.
	Join(ctx context.Context, token string, request []byte, url string) (EdgeIdentity, error)
	// Edges lists all, in the order of names.
	Edges(ctx context.Context) ([]Edge, error)
	// Revoke ends an edge's identity, for good; ErrNotFound.
	Revoke(ctx context.Context, id string) error
	// Near are the prefixes of media/{root} of at most a few edges that hold the version and run, the nearest to the viewer
	// first. from may be unset.
	Near(version string, from netip.Addr) []string
	// Sites are the web origins (scheme, host and port) of the edges that run.
	Sites() []string
}

// EdgeIdentity is what an edge is given when it joins.
type EdgeIdentity struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Certificate string `json:"certificate" doc:"The edge's certificate, PEM, by the service's own authority."`
	Authority   string `json:"authority" doc:"That authority's certificate, PEM."`
	Control     string `json:"control" doc:"HOST:PORT at which edges reach the service by mutual TLS; without a host, at the one that answered."`
	NowMs       int64  `json:"now_ms" doc:"The service's time, in milliseconds since 1970."`
}

// Edge is one edge, as operators see it.
type Edge struct {
	ID      string
	Name    string
	URL     string // where browsers reach it; empty: nowhere
	Joined  time.Time
	Seen    time.Time // zero: not since the service started
	Revoked time.Time // zero: it is not
	Report  EdgeReport
}

// EdgeReport is what an edge says of itself. Bytes are of media, counts since the edge started but where told otherwise.
type EdgeReport struct {
	Started      int64         `json:"started_ms" doc:"When it was started, in milliseconds since 1970: counts begin there."`
	Version      string        `json:"version" doc:"Of the program."`
	QuotaBytes   int64         `json:"quota_bytes" doc:"What it may hold."`
	PlannedBytes int64         `json:"planned_bytes" doc:"What its plan asks it to hold."`
	HeldBytes    int64         `json:"held_bytes" doc:"What it holds, verified."`
	FilledBytes  int64         `json:"filled_bytes" doc:"Fetched, from whomever."`
	FromEdges    int64         `json:"from_edges_bytes" doc:"Of these, from other edges."`
	HTTPBytes    int64         `json:"http_bytes" doc:"Served over HTTP."`
	PeerBytes    int64         `json:"peer_bytes" doc:"Served to peers, over WebRTC and TCP."`
	Peers        int           `json:"peers" doc:"Connected now."`
	Rotten       int64         `json:"rotten_blocks" doc:"Blocks that had changed on its disk, and were not served."`
	Repaired     int64         `json:"repaired_blocks" doc:"Of these, those that were fetched again."`
	Trouble      string        `json:"trouble,omitempty" doc:"What keeps it from filling, in words."`
	Titles       []EdgeHolding `json:"titles,omitempty" maxItems:"2000"`
}

// EdgeHolding is how much of a title an edge holds.
type EdgeHolding struct {
	Title     TitleID `json:"title"`
	Version   string  `json:"version"`
	Bytes     int64   `json:"bytes" doc:"Held, verified."`
	Size      int64   `json:"size" doc:"All there is."`
	HTTPBytes int64   `json:"http_bytes" doc:"Of this title, served over HTTP."`
	PeerBytes int64   `json:"peer_bytes" doc:"Of this title, served to peers."`
}

// Whole reports whether an edge holds all of a title.
func (h *EdgeHolding) Whole() bool { return h.Bytes >= h.Size && h.Size > 0 }
