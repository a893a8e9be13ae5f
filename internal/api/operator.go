package api

import (
	"context"
	"fmt"

	"essaim/internal/vod"
)

// TrafficBody is the origin's own count of media bytes since the service started. What rehearsals received is told in
// Rehearsals alone.
type TrafficBody struct {
	OriginBytes int64                 `json:"origin_bytes" doc:"All of them."`
	Titles      map[vod.TitleID]int64 `json:"titles" doc:"By title."`
	Sessions    map[string]int64      `json:"sessions" doc:"By play session, as far as tickets came along."`

	Rehearsals map[vod.RehearsalLabel]RehearsalTraffic `json:"rehearsals" doc:"By rehearsal's label; those that received nothing for long are forgotten."`
}

// RehearsalTraffic is the origin's count for one rehearsal.
type RehearsalTraffic struct {
	OriginBytes int64 `json:"origin_bytes" doc:"Media bytes, of all its sessions."`
}

type trafficOutput struct {
	Body TrafficBody
}

type revokeInput struct {
	Body struct {
		Member  string `json:"member,omitempty" maxLength:"200" doc:"A member's name: all of their device sessions end."`
		Session string `json:"session,omitempty" maxLength:"64" doc:"One play session, for instance a stranger's."`
	}
}

type revokeOutput struct {
	Body struct {
		Ended int `json:"ended" doc:"Sessions that ended."`
	}
}

func (s *Server) registerRevocations() {
	register(s, staffOp("revoke", "POST", "/api/v1/operator/revocations",
		"End a member's device sessions, or one play session, with their tickets and peer connections, within five seconds", 200),
		func(ctx context.Context, in *revokeInput) (*revokeOutput, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			if (in.Body.Member == "") == (in.Body.Session == "") {
				return nil, fmt.Errorf("%w: name a member or a play session", vod.ErrInvalid)
			}
			out := &revokeOutput{}
			if in.Body.Session != "" {
				out.Body.Ended, err = 1, s.c.Members.RevokePlay(ctx, in.Body.Session)
			} else {
				out.Body.Ended, err = s.c.Members.RevokeMember(ctx, in.Body.Member)
			}
			if err == nil {
				s.audited(ctx, by, "revoke", in.Body.Member+in.Body.Session, fmt.Sprintf("%d sessions", out.Body.Ended))
			}
			return out, err
		})
}

func (s *Server) registerOperator() {
	s.registerRevocations()
	register(s, staffOp("traffic", "GET", "/api/v1/operator/traffic", "Media bytes sent, counted at the sockets", 200),
		func(ctx context.Context, _ *struct{}) (*trafficOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			r := s.c.Traffic.Snapshot()
			body := TrafficBody{
				OriginBytes: r.OriginBytes, Titles: r.ByTitle, Sessions: r.BySession,
				Rehearsals: make(map[vod.RehearsalLabel]RehearsalTraffic, len(r.ByRehearsal)),
			}
			for label, n := range r.ByRehearsal {
				body.Rehearsals[label] = RehearsalTraffic{OriginBytes: n}
			}
			return &trafficOutput{Body: body}, nil
		})
	s.registerPolicy()
}
