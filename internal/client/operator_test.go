package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"essaim/internal/vod"
)

func TestRehearsalsCarryLabelAndToken(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"POST /api/v1/titles/numbers/play": func(w http.ResponseWriter, r *http.Request) {
			var in struct {
				Rehearsal string
				Share     bool
			}
			if r.Header.Get("Authorization") != "Bearer op" || json.NewDecoder(r.Body).Decode(&in) != nil || in.Rehearsal != "r1" || !in.Share {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_ = json.NewEncoder(w).Encode(vod.PlaySession{ID: "p1", Nodes: vod.PlayNodes{Origins: []string{"/"}}})
		},
		"GET /api/v1/titles/members": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer op" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, `{"id":"members","synthetic":true}`)
		},
		"GET /api/v1/operator/traffic": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer op" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, `{"origin_bytes":9,"rehearsals":{"r1":{"origin_bytes":7}}}`)
		},
	})
	s, err := c.Rehearse(t.Context(), "numbers", "op", "r1")
	if err != nil || s.ID != "p1" || s.Nodes.Origins[0] != c.base.String() {
		t.Error(s, err)
	}
	if _, err := c.Rehearse(t.Context(), "numbers", "other", "r1"); !errors.Is(err, vod.ErrForbidden) {
		t.Error(err)
	}
	if m, err := c.OperatorTitle(t.Context(), "members", "op"); err != nil || !m.Synthetic {
		t.Error(m, err)
	}
	if r, err := c.Traffic(t.Context(), "op"); err != nil || r.Rehearsals["r1"].OriginBytes != 7 {
		t.Error(r, err)
	}
	if _, err := c.Traffic(t.Context(), ""); !errors.Is(err, vod.ErrUnauthorized) {
		t.Error(err)
	}
}
