package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"essaim/internal/api"
	"essaim/internal/insight"
	"essaim/internal/vod"
)

// openPolicy opens the department, and the operator's policy as it was left, and draws viewers as ever.
func (s *node) openPolicy(ctx context.Context, c *nodeConfig) (*api.Policy, error) {
	initial := vod.DefaultPolicy()
	initial.HoldOutPPM = int(c.holdOut * 10_000)
	s.insight = insight.New(insight.Config{
		Store: s.db, Clock: time.Now, Log: c.log, Titles: s.library, Traffic: s.origin, Initial: &initial, Alarm: s.alarm,
	})
	s.policy = api.NewPolicy(vod.PlayPolicy{LAN: c.lan})
	salt, err := s.insight.Salt(ctx)
	if err != nil {
		return nil, err
	}
	s.policy.Draw(salt)
	v, err := s.insight.Policy(ctx)
	if err != nil {
		return nil, err
	}
	s.policy.Put(v)
	return s.policy, nil
}

// alarm puts what the guard did into force without waiting, and writes it where operators look for who changed what.
func (s *node) alarm(ctx context.Context, v vod.PolicyVersion) {
	s.policy.Put(v)
	err := s.members.Directory().Record(ctx, vod.Actor{Name: vod.ActorService}, "policy", fmt.Sprintf("version %d", v.Version), v.Why)
	if err != nil {
		s.log.ErrorContext(ctx, "write audit log", "action", "policy", "error", err)
	}
}

// figures is what the API needs for the operator's figures and policy.
func (s *node) figures(c *nodeConfig) *api.Insight {
	f := &api.Insight{Reports: s.insight, Savings: s.insight, Book: s.insight}
	if s.places != nil && !c.hidden() {
		f.Number = func(p netip.Prefix) uint32 { return s.places.Place(p.Addr()).Network }
	}
	return f
}
