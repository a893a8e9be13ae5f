package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"essaim/internal/vod"
)

// streamsDefault is how many films a member may watch at once where no plans are kept.
const streamsDefault = 4

// StreamBody is a film that the member is watching somewhere.
type StreamBody struct {
	Session string      `json:"session" doc:"The play session."`
	Title   vod.TitleID `json:"title"`
	Name    string      `json:"name" doc:"The title's; empty where it is published no more, or above the limit of the profile that asks."`
	Here    bool        `json:"here" doc:"In the browser that asks."`
	Device  string      `json:"device" doc:"What it plays on calls itself, such as Firefox · Linux; empty where that is not known."`
	Began   time.Time   `json:"began"`
}

type streamsOutput struct {
	Body struct {
		Streams []StreamBody `json:"streams" nullable:"false" doc:"Oldest first."`
	}
}

type streamInput struct {
	Session string `path:"session" maxLength:"64"`
}

func (s *Server) registerStreams() {
	if s.c.Streams == nil {
		return
	}
	register(s, op("list-streams", "GET", "/api/v1/streams", "What the member is watching, on all devices, of what is for members", 200, "session"),
		func(ctx context.Context, _ *struct{}) (*streamsOutput, error) {
			d, err := s.session(ctx)
			if err != nil {
				return nil, err
			}
			out := &streamsOutput{}
			out.Body.Streams, err = s.streamsOf(ctx, &d)
			return out, err
		})
	register(s, op("end-stream", "DELETE", "/api/v1/streams/{session}", "Stop one of them, within five seconds", 204, "session"),
		func(ctx context.Context, in *streamInput) (*struct{}, error) {
			d, err := s.session(ctx)
			if err != nil {
				return nil, err
			}
			list, err := s.c.Streams.Of(ctx, d.Member.ID)
			if err != nil {
				return nil, err
			}
			for i := range list {
				if list[i].Session == in.Session {
					return nil, s.c.Ends.EndPlay(ctx, in.Session, vod.EndTakenOver)
				}
			}
			return nil, vod.ErrNotFound // another member's, or none
		})
}

// streamsOf lists the streams of d's member.
func (s *Server) streamsOf(ctx context.Context, d *vod.DeviceSession) ([]StreamBody, error) {
	open, err := s.c.Streams.Of(ctx, d.Member.ID)
	if err != nil {
		return nil, err
	}
	devices := map[string]string{}
	if s.c.People != nil && len(open) > 0 {
		signedIn, err := s.c.People.Accounts.Devices(ctx, d.Member.ID)
		if err != nil {
			return nil, err
		}
		for i := range signedIn {
			devices[signedIn[i].ID] = signedIn[i].Name
		}
	}
	v, err := s.viewer(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]StreamBody, len(open))
	for i := range open {
		o := &open[i]
		list[i] = StreamBody{Session: o.Session, Title: o.Title, Here: o.Device == d.ID, Device: devices[o.Device], Began: o.Began}
		t, err := s.c.Titles.Get(ctx, o.Title)
		switch {
		case err == nil && v.view.Limit.Admits(t.About.Age):
			list[i].Name = t.Name
		case err == nil: // what a grown-up of the household watches
		case !errors.Is(err, vod.ErrNotFound):
			return nil, err
		}
	}
	return list, nil
}

// entitled is what the plan of x's member gives for t, which is noted in x; open titles are everybody's.
func (s *Server) entitled(ctx context.Context, t *vod.Title, x *play) (vod.Entitlement, error) {
	e := vod.Entitlement{Streams: streamsDefault, Highest: vod.TierUHD}
	if t.Open || s.c.Entitlements == nil {
		return e, nil
	}
	e, err := s.c.Entitlements.Entitlement(ctx, x.member, t.ID)
	if err == nil {
		x.until = e.Until
	}
	return e, err
}

// beginStream counts x, a session of t by d, among its member's streams, unless t is open.
func (s *Server) beginStream(ctx context.Context, t *vod.Title, x *play, d *vod.DeviceSession, most int) error {
	if t.Open || s.c.Streams == nil {
		return nil
	}
	err := s.c.Streams.Begin(ctx, vod.Stream{Session: x.id, Member: x.member, Device: x.device, Title: x.title, Version: x.version, Highest: x.highest}, most)
	if !errors.Is(err, vod.ErrTooManyStreams) {
		return err
	}
	p := newProblem(http.StatusConflict, "too_many_streams", "Your plan lets no more films play at once. Stop one of them first.")
	if p.Streams, err = s.streamsOf(ctx, d); err != nil {
		return err
	}
	return p
}

// ended is what a player is told whose session has ended.
func ended(why vod.PlayEnd) *Problem {
	detail := map[vod.PlayEnd]string{
		vod.EndSignedOut:    "This device was signed out.",
		vod.EndPlanEnded:    "The plan has ended.",
		vod.EndNotIncluded:  "The plan no longer includes this title.",
		vod.EndNotAvailable: "The title is not available now.",
		vod.EndWithdrawn:    "The title was withdrawn.",
		vod.EndTakenOver:    "It plays elsewhere instead.",
		vod.EndPlanChanged:  "The plan gives less than it did: press play again.",
		vod.EndLeft:         "The player has said goodbye.",
	}[why]
	if detail == "" {
		why, detail = vod.EndRevoked, "The operator has ended this session."
	}
	return newProblem(http.StatusGone, Code(why), detail)
}
