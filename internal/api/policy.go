package api

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"essaim/internal/vod"
)

// rules are what the operator's policy says beyond vod.PlayPolicy.
type rules struct {
	putting sync.Mutex // held before the Policy's own
	told    []func(vod.OperatorPolicy)
	version int64

	policy vod.OperatorPolicy
	off    vod.Networks
	salt   []byte
}

// rulesOf are those of a service whose policy is kept nowhere: nobody is held out.
func rulesOf(p vod.PlayPolicy) vod.OperatorPolicy {
	o := vod.DefaultPolicy()
	o.P2P, o.UplinkKbps, o.HoldOutPPM = p.P2P, p.UplinkKbps, 0
	return o
}

// Draw has viewers drawn into groups with a salt. Call it before anybody presses play.
func (p *Policy) Draw(salt []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules.salt = slices.Clone(salt)
}

// Put puts the operator's policy into force on this node, unless a later version is.
func (p *Policy) Put(v vod.PolicyVersion) {
	p.rules.putting.Lock()
	defer p.rules.putting.Unlock()
	if v.Version < p.rules.version { // it was read before the other was made
		return
	}
	p.rules.version = v.Version
	to := v.Policy
	p.mu.Lock()
	p.rules.policy, p.rules.off = to, to.Off()
	p.p.P2P, p.p.UplinkKbps = to.P2P, to.UplinkKbps
	for _, f := range p.heard {
		f(p.p)
	}
	p.mu.Unlock()
	for _, f := range p.rules.told {
		f(to)
	}
}

// WatchOperator has f called with the operator's policy of the moment and with every one that is put into force, in order.
func (p *Policy) WatchOperator(f func(vod.OperatorPolicy)) {
	p.rules.putting.Lock()
	defer p.rules.putting.Unlock()
	p.rules.told = append(p.rules.told, f)
	f(p.Operator())
}

// Operator is the operator's policy in force on this node.
func (p *Policy) Operator() vod.OperatorPolicy {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.rules.policy
	o.P2P, o.UplinkKbps = p.p.P2P, p.p.UplinkKbps
	return o
}

// group is the group of a session whose viewer shares and whose title has a swarm.
func (p *Policy) group(x *play) (vod.Group, vod.Draw) {
	p.mu.Lock()
	defer p.mu.Unlock()
	viewer := x.member
	if viewer == "" {
		viewer = x.id
	}
	d := vod.DrawOf(p.rules.salt, viewer)
	o := p.rules.policy
	o.P2P = p.p.P2P
	if slices.Contains(o.TitlesOff, x.title) || p.rules.off.Has(x.place.network.Addr(), x.place.number) {
		return vod.GroupNone, d
	}
	return o.GroupOf(d), d
}

// admits says whether nothing in the operator's policy speaks against peers for a session. Who rehearses is nobody's viewer:
// for them the switch alone counts.
func (p *Policy) admits(x *play) bool {
	if x.rehearsal != "" {
		return true
	}
	g, _ := p.group(x)
	return g == vod.GroupSharing
}

// PolicyBody is the operator's policy, with who put it into force.
type PolicyBody struct {
	vod.OperatorPolicy
	Version int64     `json:"version" doc:"Counts the changes."`
	At      time.Time `json:"at" doc:"When it was changed."`
	Who     string    `json:"who" doc:"By whom; essaim by itself."`
	Why     string    `json:"why"`
}

func policyBody(v vod.PolicyVersion) PolicyBody {
	return PolicyBody{OperatorPolicy: v.Policy, Version: v.Version, At: v.At, Who: v.Who, Why: v.Why}
}

type policyOutput struct {
	Body PolicyBody
}

type policyInput struct {
	Body struct {
		P2P         *bool          `json:"p2p,omitempty" doc:"Viewers may use peers at all."`
		UplinkKbps  *int           `json:"uplink_kbps,omitempty" minimum:"0" maximum:"10000000" doc:"Each viewer's upload limit; 0 is none."`
		SharePPM    *int           `json:"share_ppm,omitempty" minimum:"0" maximum:"1000000" doc:"How many in a million viewers may use peers."`
		HoldOutPPM  *int           `json:"hold_out_ppm,omitempty" minimum:"0" maximum:"500000" doc:"How many in a million of these play by HTTP alone, for comparison."`
		NetworksOff *[]string      `json:"networks_off,omitempty" maxItems:"1000" doc:"Networks without peers: AS64500, or prefixes such as 192.0.2.0/24."`
		TitlesOff   *[]vod.TitleID `json:"titles_off,omitempty" maxItems:"1000" doc:"Titles without peers."`
		AutoOff     *bool          `json:"auto_off,omitempty" doc:"Peers are switched off by themselves where viewers who share fare worse than the hold-out group."`
		PricePerGB  *float64       `json:"price_per_gb,omitempty" minimum:"0" maximum:"1000000" doc:"What 10^9 bytes of egress cost."`
		Currency    *string        `json:"currency,omitempty" maxLength:"8"`
		Why         string         `json:"why,omitempty" maxLength:"500" doc:"The reason, for who asks later."`
	}
}

// change applies what a request names; the rest stays.
func (in *policyInput) change(p *vod.OperatorPolicy) error {
	b := &in.Body
	set(&p.P2P, b.P2P)
	set(&p.UplinkKbps, b.UplinkKbps)
	set(&p.SharePPM, b.SharePPM)
	set(&p.HoldOutPPM, b.HoldOutPPM)
	set(&p.NetworksOff, b.NetworksOff)
	set(&p.TitlesOff, b.TitlesOff)
	set(&p.AutoOff, b.AutoOff)
	set(&p.PricePerGB, b.PricePerGB)
	set(&p.Currency, b.Currency)
	return p.Check()
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

type versionsInput struct {
	Before int64 `query:"before" minimum:"0" doc:"The last version of the page before; 0: from the last."`
	Limit  int   `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type versionsOutput struct {
	Body struct {
		Versions []PolicyBody `json:"versions" nullable:"false" doc:"The latest first."`
	}
}

func (s *Server) registerPolicy() {
	register(s, staffOp("get-policy", "GET", "/api/v1/operator/policy", "What players are allowed", 200),
		func(ctx context.Context, _ *struct{}) (*policyOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			if s.c.Insight == nil {
				return &policyOutput{policyBody(vod.PolicyVersion{Policy: s.policy.Operator()})}, nil
			}
			v, err := s.c.Insight.Book.Policy(ctx)
			return &policyOutput{policyBody(v)}, err
		})
	register(s, staffOp("set-policy", "PUT", "/api/v1/operator/policy",
		"Change what is named, and leave the rest; players are told within ten seconds", 200), s.setPolicy)
	register(s, staffOp("policy-versions", "GET", "/api/v1/operator/policy/versions", "What the policy was, and who changed it", 200),
		func(ctx context.Context, in *versionsInput) (*versionsOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			out := &versionsOutput{}
			out.Body.Versions = []PolicyBody{}
			if s.c.Insight == nil {
				return out, nil
			}
			list, err := s.c.Insight.Book.PolicyVersions(ctx, in.Before, in.Limit)
			for _, v := range list {
				out.Body.Versions = append(out.Body.Versions, policyBody(v))
			}
			return out, err
		})
}

func (s *Server) setPolicy(ctx context.Context, in *policyInput) (*policyOutput, error) {
	by, err := s.staff(ctx, vod.Operator)
	if err != nil {
		return nil, err
	}
	v := vod.PolicyVersion{Policy: s.policy.Operator()}
	if s.c.Insight == nil {
		if err := in.change(&v.Policy); err != nil {
			return nil, sayInvalid(err)
		}
	} else if v, err = s.c.Insight.Book.ChangePolicy(ctx, by.Name, in.Body.Why, in.change); err != nil {
		return nil, sayInvalid(err)
	}
	s.policy.Put(v) // this node's viewers need not wait until it reads of it
	s.audited(ctx, by, "policy", fmt.Sprintf("version %d", v.Version), in.Body.Why)
	return &policyOutput{policyBody(v)}, nil
}
