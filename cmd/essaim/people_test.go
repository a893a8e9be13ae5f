package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/members"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// newData is a data folder with an empty database, and the accounts in it.
func newData(t *testing.T) (string, *members.Members) {
	t.Helper()
	data := t.TempDir()
	db, err := sqlstore.Open(t.Context(), filepath.Join(data, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return data, members.New(db, time.Now)
}

func TestServeGreetsTheFirstOperatorWithALinkAndNobodyElse(t *testing.T) {
	_, m := newData(t)
	s := &node{members: m}
	var said bytes.Buffer
	if err := greetOperator(t.Context(), s, "http://films.example", &said); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(said.String(), "http://films.example/join#")
	token, _, _ := strings.Cut(rest, "\n")
	if _, session, err := m.Accounts().UseLink(t.Context(), token, "ada", "correct horse", vod.Visit{}); err != nil || session.Member.Role != vod.Operator {
		t.Fatalf("%q: %+v, %v", said.String(), session, err)
	}
	said.Reset()
	if err := greetOperator(t.Context(), s, "http://films.example", &said); err != nil || said.Len() != 0 {
		t.Errorf("with an operator: %q, %v", said.String(), err)
	}
}

func TestAdminCommandsManagePeopleAndPlans(t *testing.T) {
	data, m := newData(t)
	ctx := t.Context()
	var out bytes.Buffer
	folder := dataFolder{Data: data, JSON: true, out: &out}
	answer := func(err error) (got map[string]any) {
		t.Helper()
		defer out.Reset()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(out.String(), "\n") != 1 || json.Unmarshal(out.Bytes(), &got) != nil {
			t.Fatalf("no single JSON object: %q", out.String())
		}
		return got
	}
	tokenIn := func(got map[string]any) string {
		t.Helper()
		link, _ := got["link"].(string)
		_, token, ok := strings.Cut(link, "http://films.example/join#")
		if !ok {
			t.Fatalf("%v", got)
		}
		return token
	}
	answer((&planPutCmd{ID: "small", Name: "Small", Titles: []string{"a"}, Streams: 1, Highest: "sd", dataFolder: folder}).Run())
	got := answer((&inviteCmd{Role: "editor", Plan: "small", Life: time.Hour, URL: "http://films.example/", dataFolder: folder}).Run())
	_, session, err := m.Accounts().UseLink(ctx, tokenIn(got), "ada", "correct horse", vod.Visit{})
	if err != nil || session.Member.Role != vod.Editor {
		t.Fatalf("%+v, %v", session, err)
	}
	if sub, err := m.Plans().Of(ctx, session.Member.ID); err != nil || sub.Plan != "small" {
		t.Errorf("%+v, %v", sub, err)
	}
	answer((&memberRoleCmd{Name: "Ada", Role: "viewer", dataFolder: folder}).Run())
	if _, err := m.Entitlement(ctx, session.Member.ID, "b"); !errors.Is(err, vod.ErrNotIncluded) {
		t.Errorf("a title that is not in the plan: %v", err)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	answer((&memberPlanCmd{Name: "ada", Plan: "standard", State: "trial", Until: until, dataFolder: folder}).Run())
	if sub, err := m.Plans().Of(ctx, session.Member.ID); err != nil || sub != (vod.Subscription{Plan: "standard", State: vod.Trial, Until: until}) {
		t.Errorf("%+v, %v", sub, err)
	}
	answer((&planRemoveCmd{ID: "small", dataFolder: folder}).Run())
	if list := answer((&planListCmd{dataFolder: folder}).Run()); len(list["plans"].([]any)) != 1 {
		t.Errorf("plans %v", list)
	}
	got = answer((&memberResetCmd{Name: "ada", URL: "http://films.example", dataFolder: folder}).Run())
	if _, _, err := m.Accounts().UseLink(ctx, tokenIn(got), "", "battery staple", vod.Visit{}); err != nil {
		t.Errorf("reset: %v", err)
	}
	got = answer((&operatorLinkCmd{URL: "http://films.example", dataFolder: folder}).Run())
	if l, err := m.Accounts().Link(ctx, tokenIn(got)); err != nil || l.Kind != vod.LinkOperator {
		t.Errorf("%+v, %v", l, err)
	}
	for want, err := range map[string]error{
		`there is no member "eve"`:   (&memberRoleCmd{Name: "eve", Role: "viewer", dataFolder: folder}).Run(),
		`there is no plan "none"`:    (&planRemoveCmd{ID: "none", dataFolder: folder}).Run(),
		`there is no title "none"`:   (&windowCmd{Title: "none", dataFolder: folder}).Run(),
		"there is no data folder":    (&planListCmd{dataFolder{Data: t.TempDir()}}).Run(),
		`there is no plan "missing"`: (&memberPlanCmd{Name: "ada", Plan: "missing", State: "active", dataFolder: folder}).Run(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestBillingSecretsComeFromAFileOrTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	read := func(text string) ([][]byte, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return (&peopleSettings{BillingSecret: file}).billingSecrets()
	}
	if list, err := read("a secret of today ok\n\n  the secret of before  \n"); err != nil || len(list) != 2 || string(list[1]) != "the secret of before" {
		t.Errorf("%q, %v", list, err)
	}
	for _, text := range []string{"", "\n", "short"} {
		if list, err := read(text); err == nil || text == "short" && strings.Contains(err.Error(), text+" ") {
			t.Errorf("%q: %q, %v", text, list, err)
		}
	}
	if list, err := (&peopleSettings{}).billingSecrets(); err != nil || list != nil {
		t.Errorf("none: %q, %v", list, err)
	}
	t.Setenv("ESSAIM_BILLING_SECRET", "a secret of the environment")
	if list, err := read("a secret of the file, longer"); err != nil || len(list) != 1 || string(list[0]) != "a secret of the environment" {
		t.Errorf("environment: %q, %v", list, err)
	}
}
