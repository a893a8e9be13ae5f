package api

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"essaim/internal/vod"
)

// certificateRequest is that of a new edge.
func certificateRequest(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOperatorsLetEdgesInAndSendThemAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b, operator := h.browser(), h.operatorToken(time.Hour)
	const path = "/api/v1/operator/edges"
	b.refused(401, "unauthorized", "GET", path, "")
	b.refused(401, "unauthorized", "POST", path, `{"name":"lyon"}`)
	h.browser().signIn().refused(403, "forbidden", "POST", path, `{"name":"lyon"}`)

	var added struct{ Token string }
	b.want(201, &added, "POST", path, `{"name":"lyon"}`, operator...)
	join, err := json.Marshal(map[string]any{"token": added.Token, "request": certificateRequest(t), "url": "https://lyon.example"})
	if err != nil {
		t.Fatal(err)
	}
	var id vod.EdgeIdentity
	b.want(200, &id, "POST", "/api/v1/edges/join", string(join))
	if id.Name != "lyon" || id.Control != "127.0.0.1:8443" || !strings.Contains(id.Certificate, "CERTIFICATE") || strings.Contains(id.Authority, "PRIVATE") {
		t.Errorf("it is told %+v", id)
	}
	b.refused(404, "link_dead", "POST", "/api/v1/edges/join", string(join))
	b.refused(409, "conflict", "POST", path, `{"name":"lyon"}`, operator...)

	var list struct{ Edges []EdgeBody }
	b.want(200, &list, "GET", path, "", operator...)
	if len(list.Edges) != 1 || list.Edges[0].ID != id.ID || list.Edges[0].RevokedMs != 0 || list.Edges[0].SeenMs != 0 {
		t.Fatalf("the list: %+v", list)
	}
	if resp, _ := b.do("DELETE", path+"/"+id.ID, "", operator...); resp.StatusCode != 204 {
		t.Errorf("revoked with status %d", resp.StatusCode)
	}
	b.refused(404, "not_found", "DELETE", path+"/"+id.ID, "", operator...)
}

// edgeRegister is vod.Edges, under a name that none of its methods has.
type edgeRegister interface{ vod.Edges }

// nearby is edges at one address.
type nearby struct {
	edgeRegister
	from netip.Addr
}

func (n *nearby) Near(_ string, from netip.Addr) []string {
	n.from = from
	return []string{"https://lyon.example/"}
}

func (n *nearby) Sites() []string { return []string{"https://lyon.example"} }

func TestPlayersAreSentToEdgesFirstAndToTheOriginAfter(t *testing.T) {
	t.Parallel()
	edges := &nearby{}
	h := newHouse(t, func(c *Config) { edges.edgeRegister = c.Edges; c.Edges = edges })
	var p vod.PlaySession
	b := h.browser()
	b.want(200, &p, "POST", "/api/v1/titles/open/play", `{}`)
	if len(p.Nodes.Origins) != 2 || p.Nodes.Origins[0] != "https://lyon.example/" || p.Nodes.Origins[1] != "/" || !edges.from.IsLoopback() {
		t.Errorf("origins %v for %s", p.Nodes.Origins, edges.from)
	}
	resp, _ := b.do("GET", "/", "")
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, " https://lyon.example; ") || strings.Count(csp, "lyon") != 1 {
		t.Errorf("pages may connect to: %s", csp)
	}
	r := b.rehearse("open", "Evening-1", h.operatorToken(time.Hour))
	if len(r.Nodes.Origins) != 1 {
		t.Errorf("a rehearsal is sent to %v", r.Nodes.Origins)
	}
}
