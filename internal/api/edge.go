package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"essaim/internal/vod"
)

// EdgeBody is one edge, as operators see it. Times are in milliseconds since 1970, 0 for never.
type EdgeBody struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	URL       string         `json:"url" doc:"Where browsers reach it; empty for nowhere."`
	JoinedMs  int64          `json:"joined_ms"`
	SeenMs    int64          `json:"seen_ms" doc:"When it was last heard of."`
	RevokedMs int64          `json:"revoked_ms" doc:"When it was sent away."`
	Report    vod.EdgeReport `json:"report" doc:"What it said last."`
}

type edgesOutput struct {
	Body struct {
		Edges []EdgeBody `json:"edges"`
	}
}

type addEdgeInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"63"`
	}
}

type addEdgeOutput struct {
	Body struct {
		Token     string `json:"token" doc:"Lets one edge join, once. It is told this one time."`
		ExpiresMs int64  `json:"expires_ms" doc:"In milliseconds since 1970."`
	}
}

type edgeIDInput struct {
	ID string `path:"id" pattern:"^[0-9a-f]{16}$"`
}

type joinInput struct {
	Body struct {
		Token   string `json:"token" minLength:"1" maxLength:"100"`
		Request []byte `json:"request" maxLength:"8192" doc:"A PKCS #10 certificate request (DER; base64) signed with the edge's own key, Ed25519 or ECDSA P-256. Its names do not count."`
		URL     string `json:"url,omitempty" maxLength:"300" doc:"Where browsers will reach the edge."`
	}
}

type joinOutput struct {
	Body vod.EdgeIdentity
}

func (s *Server) registerEdges() {
	if s.c.Edges == nil {
		return
	}
	join := op("join-edge", "POST", "/api/v1/edges/join", "Join as an edge, with a one-time token", 200)
	join.Errors = append(join.Errors, http.StatusNotFound)
	register(s, join, func(ctx context.Context, in *joinInput) (*joinOutput, error) {
		identity, err := s.c.Edges.Join(ctx, in.Body.Token, in.Body.Request, in.Body.URL)
		switch {
		case errors.Is(err, vod.ErrNotFound):
			return nil, newProblem(http.StatusNotFound, "link_dead", "The token was used, has expired, or never was: have the operator make another.")
		case errors.Is(err, vod.ErrUnavailable):
			return nil, newProblem(http.StatusServiceUnavailable, "unavailable", "This service has no port for edges: it must be started with --edge-listen.")
		case err != nil:
			return nil, err
		}
		s.audited(ctx, vod.Actor{Name: "edge " + identity.Name}, "edge.join", identity.ID, in.Body.URL)
		return &joinOutput{Body: identity}, nil
	})
	register(s, staffOp("list-edges", "GET", "/api/v1/operator/edges", "The edges: plan, fill and served bytes", 200), s.listEdges)
	register(s, staffOp("add-edge", "POST", "/api/v1/operator/edges", "Make a one-time token with which an edge joins within an hour", 201), s.addEdge)
	register(s, staffOp("revoke-edge", "DELETE", "/api/v1/operator/edges/{id}", "Send an edge away for good, within seconds", 204),
		func(ctx context.Context, in *edgeIDInput) (*struct{}, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			if err := s.c.Edges.Revoke(ctx, in.ID); err != nil {
				return nil, err
			}
			s.audited(ctx, by, "edge.revoke", in.ID, "")
			return nil, nil
		})
}

func (s *Server) listEdges(ctx context.Context, _ *struct{}) (*edgesOutput, error) {
	if err := s.operator(ctx); err != nil {
		return nil, err
	}
	list, err := s.c.Edges.Edges(ctx)
	if err != nil {
		return nil, err
	}
	out := &edgesOutput{}
	out.Body.Edges = []EdgeBody{}
	for _, e := range list {
		out.Body.Edges = append(out.Body.Edges, EdgeBody{
			ID: e.ID, Name: e.Name, URL: e.URL, JoinedMs: unixMs(e.Joined), SeenMs: unixMs(e.Seen), RevokedMs: unixMs(e.Revoked), Report: e.Report,
		})
	}
	return out, nil
}

func unixMs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func (s *Server) addEdge(ctx context.Context, in *addEdgeInput) (*addEdgeOutput, error) {
	by, err := s.staff(ctx, vod.Operator)
	if err != nil {
		return nil, err
	}
	token, expires, err := s.c.Edges.Invite(ctx, in.Body.Name)
	if err != nil {
		return nil, err
	}
	s.audited(ctx, by, "edge.add", in.Body.Name, "")
	out := &addEdgeOutput{}
	out.Body.Token, out.Body.ExpiresMs = token, expires.UnixMilli()
	return out, nil
}

// origins are where the player of session x of t finds media: edges that hold it, the nearest first, and then the service's own
// origin, which every session has. A rehearsal measures the service, and is counted apart there: it has that alone.
func (s *Server) origins(ctx context.Context, t *vod.Title, x *play) []string {
	own := []string{"/"}
	if s.c.Edges == nil || x.rehearsal != "" {
		return own
	}
	var from netip.Addr
	if n := visitorOf(ctx).visit.Network; n.IsValid() {
		from = n.Addr()
	}
	return append(s.c.Edges.Near(t.Version.ID, from), own...)
}

// edgeSites are the edges' web origins, as a Content-Security-Policy lists them, with a blank before each. A page keeps the list
// that it came with: an edge that joins later is refused by it, and the player goes on with the next origin.
func (s *Server) edgeSites() (list string) {
	if s.c.Edges == nil {
		return ""
	}
	for _, site := range s.c.Edges.Sites() {
		list += " " + site
	}
	return list
}
