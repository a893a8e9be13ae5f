// Package api serves the HTTP API and the pages. It must never answer a stranger with what is for members, never let
// another site act for a visitor, and never send a page that may run what is not ours.
package api

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"essaim/internal/vod"
)

// Config is what a Server needs. All of the first group is required.
type Config struct {
	Titles    vod.Titles
	Catalogue vod.Catalogue
	Members   vod.Members
	Tickets   vod.Tickets
	Traffic   vod.Traffic
	Hashes    vod.FirstHashes
	Clock     vod.Clock
	Pages     fs.FS // what package web embeds

	Log     *slog.Logger
	Version string                          // of the program, told in the OpenAPI document
	Ready   func(ctx context.Context) error // what else must work for /readyz to say yes; nil: nothing
	Policy  *Policy                         // nil: peers allowed
	ICE     []string                        // STUN addresses for players
	Secure  bool                            // visitors come by TLS, ended in front of this server
	Demo    *Demo                           // nil: this is no demonstration
	// Entitlements says what members' plans include; nil: everything, on four screens at once.
	Entitlements vod.Entitlements
	// Streams counts what members watch at once, and Ends ends it; nil, both: nobody does.
	Streams vod.Streams
	Ends    vod.PlayEnds
	// Relays issues credentials for TURN servers; nil: there are none.
	Relays vod.Relays
	// Licences answers who gets which content key; nil where no title is protected.
	Licences vod.Licences
	People   *People   // nil: accounts are managed elsewhere, and operators have tokens only
	Hidden   bool      // all visitors come from a proxy's address, which says nothing
	Insight  *Insight  // nil: reports are not kept, and the policy not beyond the service's end
	Edges    vod.Edges // nil: the service has none
	// Observe is told of every request to an operation, once it is answered; nil: nobody is. Streams of events are left out.
	Observe func(operation string, status int, took time.Duration)
	// Mounts are other rooms' handlers, served behind the same headers.
	Mounts []Mount
}

// Mount is another room's handler, at a pattern of http.ServeMux.
type Mount struct {
	Pattern string
	Handler http.Handler
	// OtherSites lets pages of other sites send state-changing requests. Only for handlers that take no cookie.
	OtherSites bool
}

// Demo is what only a demonstration has: pages that look inside, members who sign in with one click, and viewers who have
// agreed to share unless they say no.
type Demo struct {
	Members []string // in the order shown
	SignIn  func(ctx context.Context, name string, from vod.Visit) (token string, s vod.DeviceSession, err error)
}

// Server is the http.Handler of everything that a browser sees. It is safe for concurrent use.
type Server struct {
	c          Config
	log        *slog.Logger
	policy     *Policy
	plays      *plays
	rehearsals *rehearsals
	listeners  *listeners
	ready      atomic.Bool
	handler    http.Handler
	api        huma.API
}

var (
	_ http.Handler = (*Server)(nil)
	_ vod.PlayNews = (*Server)(nil)
)

// New returns a server over c. It answers /readyz with 503 until SetReady(true).
func New(c Config) (*Server, error) {
	s := &Server{c: c, log: c.Log, policy: c.Policy, plays: newPlays(c.Clock), rehearsals: newRehearsals(c.Clock), listeners: newListeners()}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.policy == nil {
		s.policy = NewPolicy(vod.PlayPolicy{P2P: true})
	}
	pages, err := newPages(c.Pages, c.Demo != nil)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	s.api = humago.New(mux, s.humaConfig())
	if c.Observe != nil {
		s.api.UseMiddleware(observing(c.Clock, c.Observe))
	}
	s.registerHealth()
	s.registerSessions()
	s.registerTitles()
	s.registerHome()
	s.registerAbout()
	s.registerTorrents()
	s.registerPlay()
	s.registerEvents()
	s.registerStreams()
	s.registerOperator()
	s.registerInsight()
	s.registerLicenses()
	s.registerPeople()
	s.registerEdges()
	if c.Demo != nil {
		s.registerDemo()
	}
	mux.Handle("/api/", http.HandlerFunc(notFound))
	mux.Handle("/demo/", http.HandlerFunc(notFound))
	mux.Handle("/", pages)
	guarded := s.guardOrigin(s.identify(mux))
	// The mounts stand in a mux of their own, before the rest: what they take from other sites is their affair.
	outer := http.NewServeMux()
	outer.Handle("/", guarded)
	for _, m := range c.Mounts {
		if m.OtherSites {
			outer.Handle(m.Pattern, m.Handler)
		} else {
			outer.Handle(m.Pattern, s.guardOrigin(m.Handler))
		}
	}
	s.handler = s.secure(outer)
	return s, nil
}

func (s *Server) humaConfig() huma.Config {
	c := huma.DefaultConfig("Essaim", s.c.Version)
	c.Info.Description = "The service's HTTP API. Errors are problem documents (RFC 9457) with a stable field `code`."
	c.OpenAPIPath = "/api/openapi"
	c.DocsPath, c.SchemasPath = "", ""
	c.CreateHooks = nil // no $schema fields in bodies
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session":  {Type: "apiKey", In: "cookie", Name: cookieName},
		"media":    {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A play session's media ticket."},
		"license":  {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A play session's licence ticket, where its files are encrypted."},
		"operator": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "`essaim admin token --role operator`; or the session of a member with that role."},
	}
	return c
}

// observing tells of each request to an operation, but for the streams, which end when their reader leaves.
func observing(clock vod.Clock, tell func(operation string, status int, took time.Duration)) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		began := clock()
		next(ctx)
		if o := ctx.Operation(); o.OperationID != eventsOperation {
			tell(o.OperationID, ctx.Status(), clock().Sub(began))
		}
	}
}

// ServeHTTP implements http.Handler. A panic of any room's ends the one request, and is told to the operator: what
// http.Server says of it is lost among visitors' faults.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			s.log.ErrorContext(r.Context(), "panic", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler) // something may have been sent already
		}
	}()
	s.handler.ServeHTTP(w, r)
}

// Ready says whether the service can serve, as /readyz does; vod.ErrUnavailable where it cannot.
func (s *Server) Ready(ctx context.Context) error {
	if !s.ready.Load() {
		return vod.ErrUnavailable
	}
	if s.c.Ready == nil {
		return nil
	}
	if err := s.c.Ready(ctx); err != nil {
		s.log.ErrorContext(ctx, "not ready", "error", err)
		return vod.ErrUnavailable
	}
	return nil
}

// SetReady says whether the service is up: /readyz answers 503 before, and again once the server is about to stop. Streams of
// events end then.
func (s *Server) SetReady(ready bool) {
	s.ready.Store(ready)
	s.listeners.setClosed(!ready)
}

// OpenAPI is the API's description, as /api/openapi.json serves it.
func (s *Server) OpenAPI() *huma.OpenAPI { return s.api.OpenAPI() }

// bodyMax bounds every request's body: the largest is a heartbeat of some 300 bytes.
const bodyMax = 16 << 10

// op is the description that all operations share. Security names schemes of humaConfig, none for everyone.
func op(id, method, path, summary string, status int, security ...string) huma.Operation {
	o := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, DefaultStatus: status, MaxBodyBytes: bodyMax,
		Errors: []int{http.StatusBadRequest},
	}
	for _, name := range security {
		o.Security = append(o.Security, map[string][]string{name: {}})
		o.Errors = []int{http.StatusBadRequest, http.StatusUnauthorized}
	}
	return o
}

// register adds an operation whose handler returns the service's own errors.
func register[I, O any](s *Server, o huma.Operation, handle func(ctx context.Context, in *I) (*O, error)) {
	// Whatever else goes wrong, the answer has the form of all problems: the document says so of every operation.
	problems := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	if o.Responses == nil {
		o.Responses = map[string]*huma.Response{}
	}
	o.Responses["default"] = &huma.Response{
		Description: "Anything else", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problems}},
	}
	huma.Register(s.api, o, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, o.OperationID, err)
		}
		return out, nil
	})
}

type healthOutput struct {
	Body struct {
		Status string `json:"status" enum:"ok"`
	}
}

func (s *Server) registerHealth() {
	ok := func() *healthOutput {
		out := &healthOutput{}
		out.Body.Status = "ok"
		return out
	}
	register(s, op("health", "GET", "/healthz", "Whether the program runs", 200),
		func(context.Context, *struct{}) (*healthOutput, error) { return ok(), nil })
	register(s, op("ready", "GET", "/readyz", "Whether the service can serve", 200),
		func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
			if err := s.Ready(ctx); err != nil {
				return nil, err
			}
			return ok(), nil
		})
}
