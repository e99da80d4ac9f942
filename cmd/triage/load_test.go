package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sentry-temporal/internal/sentry"
)

func TestLoadIsSentAtItsRateAndReported(t *testing.T) {
	url, got := receiver(t, http.StatusAccepted)
	out := succeed(t, "load", "--url", url, "--secret", "s", "--duration", "1s", "--rate", "200", "--connections", "4", "--retried", "0.5", "--json",
		"issue.created=3", "comment.created")
	events, ids := map[string]int{}, map[string]int{}
	for _, r := range got() {
		if err := sentry.Verify([]string{"s"}, r.body, r.header.Get(sentry.HeaderSignature)); err != nil {
			t.Fatal(err)
		}
		event, err := sentry.EventName(r.header.Get(sentry.HeaderResource), r.body)
		if err != nil {
			t.Fatal(err)
		}
		events[event]++
		ids[r.header.Get(sentry.HeaderRequestID)+string(r.body)]++
	}
	sent := events["sentry.issue.created"] + events["sentry.comment.created"]
	if len(events) != 2 || events["sentry.issue.created"] < events["sentry.comment.created"] {
		t.Errorf("sent were %v", events)
	}
	if len(ids) >= sent || len(ids) < sent/5 {
		t.Errorf("%d different of %d with half of them repeated", len(ids), sent)
	}
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if int(r.Sent) != sent || r.Answers["202"] != sent || r.Latency["p99"] <= 0 {
		t.Errorf("the report is %s", out)
	}
}

func TestLoadIsReportedForPeople(t *testing.T) {
	url, _ := receiver(t, http.StatusAccepted)
	out := succeed(t, "load", "--url", url, "--duration", "100ms", "--rate", "50", "issue.created")
	for _, want := range []string{"sent      5 ", "p99", "202: 5"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in what was printed: %q", want, out)
		}
	}
}
