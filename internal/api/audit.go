package api

import (
	"context"
	"time"
)

// AuditBody is an entry of the audit log.
type AuditBody struct {
	Number  int64     `json:"number"`
	At      time.Time `json:"at"`
	Member  string    `json:"member,omitempty" doc:"Who: a member's ID; absent where it was none."`
	Name    string    `json:"name" doc:"Their name at the time; or token, admin, billing, service."`
	Device  string    `json:"device,omitempty" doc:"From which device."`
	Action  string    `json:"action"`
	Subject string    `json:"subject" doc:"Whom or what it was done to."`
	Detail  string    `json:"detail,omitempty"`
}

type auditInput struct {
	Before int64 `query:"before" minimum:"0" doc:"The last number of the page before; 0: from the end."`
	Limit  int   `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type auditOutput struct {
	Body struct {
		Entries []AuditBody `json:"entries" nullable:"false" doc:"The latest first. The last 100,000 are kept."`
	}
}

func (s *Server) registerAudit() {
	register(s, staffOp("audit", "GET", "/api/v1/operator/audit", "Who changed what, page by page", 200),
		func(ctx context.Context, in *auditInput) (*auditOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			list, err := s.c.People.Audit.Entries(ctx, in.Before, in.Limit)
			if err != nil {
				return nil, err
			}
			out := &auditOutput{}
			out.Body.Entries = make([]AuditBody, len(list))
			for i, e := range list {
				out.Body.Entries[i] = AuditBody{
					Number: e.Number, At: e.At, Member: e.By.Member, Name: e.By.Name, Device: e.By.Device, Action: e.Action,
					Subject: e.Subject, Detail: e.Detail,
				}
			}
			return out, nil
		})
}
