package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"essaim/internal/vod"
)

// Problem is the body of every error (RFC 9457).
type Problem struct {
	Title  string        `json:"title" doc:"What kind of error, in words."`
	Status int           `json:"status" doc:"The HTTP status."`
	Detail string        `json:"detail" doc:"A sentence for the person in front of the screen."`
	Code   Code          `json:"code" doc:"What kind of error, for programs: such a word never changes its meaning."`
	Errors []ProblemPart `json:"errors,omitempty" doc:"What was wrong with the request, field by field."`
	// Streams is where else the member watches.
	Streams []StreamBody `json:"streams,omitempty" doc:"With too_many_streams: what plays already, oldest first."`

	retryAfter time.Duration
}

// Code is the stable name of a kind of error: one of codes.
type Code string

// codes are all there are. Programs rely on them; none may go, or mean something else.
var codes = []Code{
	"bad_signature", "conflict", "cross_origin", "forbidden", "internal", "invalid", "left", "limited", "link_dead", "method", "name_taken",
	"not_available", "not_built", "not_found", "not_included", "plan_changed", "plan_ended", "revoked", "sign_up_closed", "signed_out",
	"taken_over", "too_large", "too_many_rehearsals", "too_many_streams", "too_many_tries", "unauthorized", "unavailable",
	"upstream", "weak_password", "withdrawn", "wrong_credentials", "wrong_password",
}

var _ huma.SchemaProvider = Code("")

// Schema implements huma.SchemaProvider: the document lists the codes.
func (Code) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, c := range codes {
		s.Enum = append(s.Enum, string(c))
	}
	s.PrecomputeMessages()
	return s
}

// ProblemPart is one field that was wrong. It never repeats the value, which may be a password.
type ProblemPart struct {
	Location string `json:"location,omitempty"`
	Message  string `json:"message"`
}

var (
	_ huma.StatusError  = (*Problem)(nil)
	_ huma.HeadersError = (*Problem)(nil)
)

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return h
}

func newProblem(status int, code Code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// Huma's own refusals take the same form as ours. They say what is wrong with a request and never come from handlers,
// whose errors all pass through Server.problem.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		code := Code("invalid")
		switch {
		case status == http.StatusRequestEntityTooLarge:
			code = "too_large"
		case status >= 500:
			code, message, errs = "internal", "Something went wrong on our side.", nil
		}
		p := newProblem(status, code, message)
		for _, err := range errs {
			part := ProblemPart{Message: "malformed"}
			var d huma.ErrorDetailer
			if errors.As(err, &d) {
				part = ProblemPart{Location: d.ErrorDetail().Location, Message: d.ErrorDetail().Message}
			}
			p.Errors = append(p.Errors, part)
		}
		return p
	}
	huma.NewErrorWithContext = func(_ huma.Context, status int, message string, errs ...error) huma.StatusError {
		return huma.NewError(status, message, errs...)
	}
}

// problem is what a visitor is told of err. What is no code of vod's is the service's own fault: it is logged, and not told.
func (s *Server) problem(ctx context.Context, operation string, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var later *vod.LaterError
	switch {
	case errors.As(err, &later):
		p = newProblem(http.StatusTooManyRequests, "too_many_tries", "Too many tries. Wait a moment, then try again.")
		p.retryAfter = later.After
	case errors.Is(err, vod.ErrNotFound):
		p = newProblem(http.StatusNotFound, "not_found", "There is no such thing here, or no longer.")
	case errors.Is(err, vod.ErrUnauthorized):
		p = newProblem(http.StatusUnauthorized, "unauthorized", "Sign in first.")
	case errors.Is(err, vod.ErrPlanEnded):
		p = newProblem(http.StatusForbidden, "plan_ended", "Your plan has ended.")
	case errors.Is(err, vod.ErrNotIncluded):
		p = newProblem(http.StatusForbidden, "not_included", "Your plan does not include this title.")
	case errors.Is(err, vod.ErrNotAvailable):
		p = newProblem(http.StatusForbidden, "not_available", "This title is not available now.")
	case errors.Is(err, vod.ErrForbidden):
		p = newProblem(http.StatusForbidden, "forbidden", "That is not allowed.")
	case errors.Is(err, vod.ErrInvalid):
		p = newProblem(http.StatusBadRequest, "invalid", "The request asks for what cannot be.")
	case errors.Is(err, vod.ErrConflict):
		p = newProblem(http.StatusConflict, "conflict", "That exists already.")
	case errors.Is(err, vod.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		p = newProblem(http.StatusServiceUnavailable, "unavailable", "The service cannot do this just now. Try again.")
		p.retryAfter = 2 * time.Second
	case errors.Is(err, context.Canceled): // nobody listens any more
		p = newProblem(http.StatusServiceUnavailable, "unavailable", "The request was given up.")
	default:
		s.log.ErrorContext(ctx, "api", "operation", operation, "error", err)
		p = newProblem(http.StatusInternalServerError, "internal", "Something went wrong on our side. Try again.")
	}
	return p
}

// write sends the problem outside of Huma.
func (p *Problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers cannot fail
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who has gone needs no error
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	newProblem(http.StatusNotFound, "not_found", "There is nothing here.").write(w)
}
