package activities_test

import (
	"testing"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
)

const (
	sentryToken    = secretPart + "0123456789abcdef"
	sentryVariable = "SENTRY_API_TOKEN"
	sampleIssue    = "6702149985"
	sampleInstall  = "5d0c4b1e-7a52-4f0e-9c3b-2f6a8e9d1c47"
)

var (
	sentryRef = activities.IssueRef{Integration: "sentry", IssueID: sampleIssue}
	seeded    = standin.Event{
		Environment: "production", Release: "backend@3.14.2", User: "u-1", File: "checkout/services/totals.py", Function: "assert_totals_match", Line: 41,
		Tags: map[string]string{"server_name": "web-1"},
	}
)

func init() {
	var api *activities.Sentry
	const issue = "/api/0/organizations/acme/issues/" + sampleIssue + "/"
	for _, e := range []struct {
		name, path string
		reads      bool
		do         func(ctx workflow.Context) error
	}{
		{"Sentry: read an issue", "GET " + issue, true, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.ReadIssue, sentryRef)
			return err
		}},
		{"Sentry: read the latest event", "GET " + issue + "events/latest/", true, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.ReadLatestEvent, sentryRef)
			return err
		}},
		{"Sentry: update", "PUT " + issue, false, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.UpdateIssue, activities.IssueUpdate{IssueRef: sentryRef, Status: "resolved"})
			return err
		}},
		{"Sentry: comment", "POST " + issue + "comments/", false, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.CommentOnIssue, activities.IssueComment{IssueRef: sentryRef, Text: "It is looked at."})
			return err
		}},
		{"Sentry: link the run", "POST /api/0/sentry-app-installations/" + sampleInstall + "/external-issues/", false, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.LinkRun, activities.RunLink{IssueRef: sentryRef, Installation: sampleInstall, Identifier: "BACKEND-1A"})
			return err
		}},
	} {
		effects = append(effects, effect{
			name: e.name, variable: sentryVariable, once: !e.reads, late: !e.reads, reads: e.reads, path: e.path, do: e.do,
			serve: func(t *testing.T) served { t.Helper(); served, _ := serveSentry(t); return served },
		})
	}
}

// serveSentry starts a stand-in that has the sample's issue.
func serveSentry(t testing.TB, scopes ...string) (served, *standin.Sentry) {
	t.Helper()
	if len(scopes) == 0 {
		scopes = []string{standin.ScopeEventRead, standin.ScopeEventWrite}
	}
	s, err := standin.StartSentry("acme", sentryToken, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seed(body, seeded); err != nil {
		t.Fatal(err)
	}
	return served{
		Server: s.Server,
		cfg: config.Outside{
			Sentry: map[string]config.SentryAPI{"sentry": {URL: s.URL, Organization: "acme", TokenVariable: sentryVariable}},
			Secret: secretsOf(map[string]string{sentryVariable: sentryToken}),
		},
		effects: func() int {
			issue, _ := s.Issue(sampleIssue)
			return issue.Changes + len(issue.Comments) + len(issue.Links)
		},
	}, s
}
