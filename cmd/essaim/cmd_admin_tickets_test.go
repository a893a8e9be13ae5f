package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/members"
	"essaim/internal/vod"
)

func TestRotatedTicketKeysSignAtOnceAndFormerOnesAreForgottenOnDemandOnly(t *testing.T) {
	data := t.TempDir()
	if err := (&rotateTicketsCmd{Data: data}).run(os.Stdout, time.Now); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a folder without a service: %v", err)
	}
	if err := os.WriteFile(filepath.Join(data, "essaim.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	service, err := members.OpenTickets(data, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	token, err := service.Issue(vod.Ticket{Audience: vod.AudienceOperator})
	if err != nil {
		t.Fatal(err)
	}
	kids := map[string]bool{}
	for _, forget := range []bool{false, true} {
		var out bytes.Buffer
		if err := (&rotateTicketsCmd{Data: data, Forget: forget, JSON: true}).run(&out, time.Now); err != nil {
			t.Fatal(err)
		}
		var answer struct{ KID string }
		if err := json.Unmarshal(out.Bytes(), &answer); err != nil || len(answer.KID) != 16 || kids[answer.KID] {
			t.Errorf("printed %q, %v", out.String(), err)
		}
		kids[answer.KID] = true
		fresh, err := members.OpenTickets(data, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fresh.Check(vod.AudienceOperator, token); (err == nil) == forget {
			t.Errorf("with forget %v a token of before: %v", forget, err)
		}
	}
}
