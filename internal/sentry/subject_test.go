package sentry_test

import (
	"testing"

	"sentry-temporal/internal/sentry"
)

func TestSubjectOfEverySampleThatHasOne(t *testing.T) {
	const title = "CartTotalMismatch: cart total <119.90 €> & payment total <100.00 €> differ — order from Café Zürich 🧾"
	issue := sentry.Subject{IssueID: "6702149985", ShortID: "BACKEND-1A", Project: "backend", Level: "error", Title: title}
	event := sentry.Subject{IssueID: "6702149985", Project: "backend", Level: "error", Title: title}
	for name, want := range map[string]sentry.Subject{
		"issue.created":                            issue,
		"issue.resolved":                           issue,
		"activity_alert.triggered":                 issue,
		"error.created":                            event,
		"event_alert.triggered":                    event,
		"comment.created":                          {IssueID: "6702149985", Project: "backend"},
		"seer.pr_created":                          {IssueID: "6702149985"},
		"preprod_artifact.size_analysis_completed": {Project: "web"},
		"installation.created":                     {},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := sentry.Sample(name)
			if err != nil {
				t.Fatal(err)
			}
			got := sentry.SubjectOf(sentry.Body(body))
			if (got.IssueID != "") != (got.URL != "") && got.Title != "" {
				t.Errorf("an issue without a page: %+v", got)
			}
			got.URL, got.Culprit, got.FirstSeen = "", "", ""
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestSubjectOfMetricAlert(t *testing.T) {
	body, err := sentry.Sample("metric_alert.critical")
	if err != nil {
		t.Fatal(err)
	}
	if got := sentry.SubjectOf(sentry.Body(body)); got.Project != "web" || got.Title == "" || got.URL == "" || got.IssueID != "" {
		t.Errorf("got %+v", got)
	}
}

func FuzzSubject(f *testing.F) {
	for _, name := range sentry.SampleNames() {
		body, err := sentry.Sample(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(body))
	}
	f.Add(`{"data":{"error":{"url":"/api/0/projects/"},"metric_alert":{"projects":{}}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		s := sentry.SubjectOf(sentry.Body(body))
		for _, field := range []string{s.IssueID, s.ShortID, s.Project, s.Level, s.Title, s.Culprit, s.FirstSeen, s.URL} {
			if len(field) > sentry.MaxField {
				t.Errorf("a field of %d bytes", len(field))
			}
		}
	})
}

func BenchmarkSubject(b *testing.B) {
	body, err := sentry.Sample("issue.created")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sentry.SubjectOf(sentry.Body(body))
	}
}
