package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"essaim/internal/vod"
)

const (
	// billingTolerance is how far a delivery's time may be from ours: clocks differ, and networks are slow.
	billingTolerance = 5 * time.Minute
	// signaturesMax bounds the signatures of one delivery that are looked at: of an old and a new secret, and some more.
	signaturesMax = 5
)

// BillingEventBody is what a billing system says of a member.
type BillingEventBody struct {
	ID       string `json:"id" minLength:"1" maxLength:"200" doc:"Unique among the sender's events: one that comes again changes nothing."`
	Sequence int64  `json:"sequence" minimum:"1" doc:"Greater than that of all earlier events of this member, for instance when it came about, in milliseconds since 1970. One that is overtaken changes nothing."`
	Member   string `json:"member,omitempty" maxLength:"64" doc:"The member's ID; or"`
	Name     string `json:"name,omitempty" maxLength:"200" doc:"the name."`
	SubscriptionBody
}

type billingInput struct {
	Signature string `header:"Essaim-Signature" maxLength:"1000" doc:"t=SECONDS,v1=HEX: the time of this delivery, in seconds since 1970, and the HMAC-SHA256 of t, a full stop and the body under the shared secret. Several v1 may be given."`
	RawBody   []byte
	Body      BillingEventBody
}

type billingOutput struct {
	Body struct {
		Applied bool `json:"applied" doc:"It changed something; false for one that came before or was overtaken."`
	}
}

func (s *Server) registerBilling() {
	p := s.c.People
	o := op("billing", "POST", "/hooks/billing", "What the billing system says of a member, signed", 200)
	o.Errors = append(o.Errors, http.StatusUnauthorized, http.StatusNotFound)
	register(s, o, func(ctx context.Context, in *billingInput) (*billingOutput, error) {
		if len(p.BillingSecrets) == 0 {
			return nil, vod.ErrNotFound
		}
		if err := signed(in.Signature, in.RawBody, p.BillingSecrets, s.c.Clock()); err != nil {
			s.log.WarnContext(ctx, "a billing event was refused", "reason", err)
			return nil, newProblem(http.StatusUnauthorized, "bad_signature", "The signature is missing, wrong or too old.")
		}
		e := in.Body
		applied, err := p.Plans.Bill(ctx, vod.BillingEvent{
			ID: e.ID, Sequence: e.Sequence, Member: e.Member, Name: e.Name, Subscription: e.subscription(),
		})
		if err != nil {
			return nil, err
		}
		out := &billingOutput{}
		out.Body.Applied = applied
		return out, nil
	})
}

// signed returns an error for a body that none of the secrets signed, or not about now. The reasons are for the log.
func signed(header string, body []byte, secrets [][]byte, now time.Time) error {
	var at string
	var signatures [][]byte
	for part := range strings.SplitSeq(header, ",") {
		switch key, value, _ := strings.Cut(strings.TrimSpace(part), "="); key {
		case "t":
			at = value
		case "v1":
			if mac, err := hex.DecodeString(value); err == nil && len(signatures) < signaturesMax {
				signatures = append(signatures, mac)
			}
		}
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || len(signatures) == 0 {
		return errors.New("no signature, or none that can be read")
	}
	// The time is the signed one: who has an old delivery cannot make it younger.
	if late := now.Sub(time.Unix(seconds, 0)); late.Abs() > billingTolerance {
		return fmt.Errorf("it was signed %s before now", late)
	}
	good := false
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.", at)
		mac.Write(body)
		sum := mac.Sum(nil)
		for _, signature := range signatures {
			good = hmac.Equal(sum, signature) || good
		}
	}
	if !good {
		return errors.New("signed with no secret of ours")
	}
	return nil
}
