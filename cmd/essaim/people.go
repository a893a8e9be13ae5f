package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"essaim/internal/api"
	"essaim/internal/household"
	"essaim/internal/vod"
)

// peopleSettings say who may have an account, and who tells of their plans.
type peopleSettings struct {
	SignUp        string `name:"sign-up" default:"invitation" enum:"open,invitation,closed" env:"ESSAIM_SIGN_UP" help:"Who may make an account: open is anybody, invitation whoever has a link from an operator, closed nobody (${default})."`
	BillingSecret string `name:"billing-secret-file" type:"path" env:"ESSAIM_BILLING_SECRET_FILE" placeholder:"FILE" help:"A file with the secret that signs the billing system's events, which are POSTed to /hooks/billing; several lines are several secrets, any of which will do. ESSAIM_BILLING_SECRET, if set, goes before it. Without either there is no such address."`
}

// billingSecretMin is the least length of a secret, in characters: shorter ones can be guessed from one signed event.
const billingSecretMin = 16

// billingSecrets reads the secrets; none where none is set.
func (c *peopleSettings) billingSecrets() ([][]byte, error) {
	text, set := os.LookupEnv("ESSAIM_BILLING_SECRET")
	where := "ESSAIM_BILLING_SECRET"
	switch {
	case set:
	case c.BillingSecret == "":
		return nil, nil
	default:
		f, err := os.Open(c.BillingSecret)
		if err != nil {
			return nil, fmt.Errorf("read the billing secret: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, 64<<10))
		if err != nil {
			return nil, fmt.Errorf("read the billing secret: %w", err)
		}
		text, where = string(data), c.BillingSecret
	}
	var secrets [][]byte
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case len(line) < billingSecretMin:
			return nil, fmt.Errorf("%s: a secret has at least %d characters; make one with: openssl rand -hex 32", where, billingSecretMin)
		default:
			secrets = append(secrets, []byte(line))
		}
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s holds no secret", where)
	}
	return secrets, nil
}

// people is what the API needs of s's accounts.
func (c *peopleSettings) people(s *node) (*api.People, error) {
	secrets, err := c.billingSecrets()
	if err != nil {
		return nil, err
	}
	rule := api.SignUp(c.SignUp)
	if rule == "" { // a demonstration
		rule = api.SignUpInvitation
	}
	return &api.People{
		Accounts: s.members.Accounts(), Links: s.members.Links(), Directory: s.members.Directory(), Audit: s.members.Directory(),
		Plans: s.members.Plans(), Windows: s.library.Windows(), Profiles: household.New(s.db, time.Now), SignUp: rule,
		BillingSecrets: secrets,
	}, nil
}

// greetOperator writes a one-time link for the first operator, where there is none. It goes to the person at the terminal
// and not into the log: whoever has it first runs the service.
func greetOperator(ctx context.Context, s *node, url string, out io.Writer) error {
	token, _, err := s.members.Links().Operator(ctx, vod.Actor{Name: vod.ActorService}, true)
	if errors.Is(err, vod.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "There is no operator yet. Become it, within an hour, at\n  %s%s\nLater: essaim admin operator-link\n", url, api.LinkPath(token))
	return err
}
