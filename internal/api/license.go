package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"essaim/internal/vod"
)

// clearKeyPath is where players ask for keys.
const clearKeyPath = "/api/v1/license/clearkey"

type clearKeyInput struct {
	Body struct {
		KIDs []string `json:"kids" minItems:"1" maxItems:"16" doc:"Names of keys: 16 bytes each, base64url without padding."`
		Type string   `json:"type" enum:"temporary"`
	}
}

type clearKeyOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Keys []jsonWebKey `json:"keys"`
		Type string       `json:"type" enum:"temporary"`
	}
}

// jsonWebKey is a symmetric key (RFC 7517, RFC 7518 section 6.4).
type jsonWebKey struct {
	Type string `json:"kty" enum:"oct"`
	KID  string `json:"kid" doc:"base64url without padding."`
	Key  string `json:"k" doc:"base64url without padding."`
}

// challengeMax bounds a commercial system's challenge.
const challengeMax = 64 << 10

type challengeInput struct {
	System  string `path:"system" maxLength:"32" pattern:"^[a-z0-9-]+$"`
	RawBody []byte `contentType:"application/octet-stream"`
}

type challengeOutput struct {
	CacheControl string `header:"Cache-Control"`
	ContentType  string `header:"Content-Type"` // whatever the vendor calls it: never what a browser would show or run
	Body         []byte
}

// LicensesBody counts requests for licences since the service started.
type LicensesBody struct {
	Granted   int64 `json:"granted" doc:"Answered with keys, ours or a vendor's."`
	Refused   int64 `json:"refused" doc:"Asked for by people who may not have them."`
	Limited   int64 `json:"limited" doc:"Asked too often."`
	Failed    int64 `json:"failed" doc:"A fault of the service's, or of a vendor's."`
	Forwarded int64 `json:"forwarded" doc:"Of all, those passed on to vendors."`
}

type licensesOutput struct {
	Body LicensesBody
}

// registerLicenses adds what only a service with protected titles has.
func (s *Server) registerLicenses() {
	if s.c.Licences == nil {
		return
	}
	register(s, op("clearkey", "POST", clearKeyPath, "The keys of the ticket's title (W3C ClearKey)", 200, "license"), s.clearKey)
	forward := op("license", "POST", "/api/v1/license/{system}", "Have a commercial system's challenge answered by its vendor", 200, "license")
	forward.MaxBodyBytes = challengeMax
	forward.Responses = map[string]*huma.Response{"200": {
		Description: "The vendor's answer, as it came",
		Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	register(s, forward, s.challenge)
	register(s, op("licenses", "GET", "/api/v1/operator/licenses", "Requests for licences, counted", 200, "operator"),
		func(ctx context.Context, _ *struct{}) (*licensesOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			return &licensesOutput{Body: LicensesBody(s.c.Licences.Report())}, nil
		})
}

// protection is where players of t get their keys, and to what; nil where none are needed.
func (s *Server) protection(t *vod.Title, x *play) *vod.Protection {
	if t.Version.Scheme == vod.Clear {
		return nil
	}
	p := &vod.Protection{Scheme: t.Version.Scheme, ClearKey: clearKeyPath}
	if x.highest.Valid() {
		p.MaxHeight = x.highest.MaxHeight()
	}
	return p
}

// licenseTicket is the licence ticket that a request shows.
func (s *Server) licenseTicket(ctx context.Context) (vod.Ticket, error) {
	t, err := s.c.Tickets.Check(vod.AudienceLicense, visitorOf(ctx).bearer)
	if err != nil {
		return t, newProblem(http.StatusUnauthorized, "unauthorized", "The ticket is no longer good: press play again.")
	}
	return t, nil
}

func (s *Server) clearKey(ctx context.Context, in *clearKeyInput) (*clearKeyOutput, error) {
	t, err := s.licenseTicket(ctx)
	if err != nil {
		return nil, err
	}
	kids := make([]vod.KID, len(in.Body.KIDs))
	for i, text := range in.Body.KIDs {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(b) != len(kids[i]) {
			return nil, fmt.Errorf("%w: a key's name of %d letters", vod.ErrInvalid, len(text))
		}
		copy(kids[i][:], b)
	}
	keys, err := s.c.Licences.License(ctx, t, kids)
	if err != nil {
		return nil, err
	}
	out := &clearKeyOutput{CacheControl: "no-store"}
	out.Body.Type = "temporary"
	for _, k := range keys {
		out.Body.Keys = append(out.Body.Keys, jsonWebKey{
			Type: "oct", KID: base64.RawURLEncoding.EncodeToString(k.KID[:]), Key: base64.RawURLEncoding.EncodeToString(k.Key[:]),
		})
	}
	return out, nil
}

func (s *Server) challenge(ctx context.Context, in *challengeInput) (*challengeOutput, error) {
	t, err := s.licenseTicket(ctx)
	if err != nil {
		return nil, err
	}
	// RawBody goes back to a pool when this returns, but a transport may go on sending after an early answer.
	answer, err := s.c.Licences.Forward(ctx, in.System, t, bytes.Clone(in.RawBody))
	if errors.Is(err, vod.ErrUpstream) {
		p := newProblem(http.StatusBadGateway, "upstream", "The film's licence server does not answer. Try again in a moment.")
		var later *vod.LaterError
		if errors.As(err, &later) {
			p.retryAfter = later.After
		}
		return nil, p
	}
	if err != nil {
		return nil, err
	}
	return &challengeOutput{CacheControl: "no-store", ContentType: "application/octet-stream", Body: answer}, nil
}
