package routes_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sentry-temporal/internal/sentry"
)

// FuzzParse: a file is taken or refused with places in it, and what is taken plans
// any delivery as Temporal takes it.
func FuzzParse(f *testing.F) {
	for _, file := range []string{
		"", "routes:", "routes: []", taken1, commentsOnly, wrong, pair, manyRoutes(3),
		one(`projects: ["pay-*", shop]`, "levels: [fatal, error]", "integrations: [mobile]", "namespace: a", "task_queue: b", "per_issue: 30m", "compress: false"),
		"routes: &a [*a]", "? [a]: b\n: c", "routes:\n  - <<: {workflow: triage_issue}", "%YAML 1.2\n---\nroutes: !!seq []\n...\n---\n", "\xef\xbb\xbfroutes: []",
		"routes: [{workflow: \"\\u0000\", events: [\"sentry.*\"]}]", "routes:\r\n\t- a", "routes: |\n  a\n", "routes: [{workflow: ~, events: ~}]",
		"routes: [{workflow: a, events: [sentry.*], per_issue: 9999999h}]", "routes: [{workflow: a, events: [sentry.*], compress: TRUE}]",
	} {
		f.Add([]byte(file))
	}
	deliveries := []sentry.Delivery{
		{},
		about("sentry.issue.created", "shop", "fatal"),
		{Event: "sentry.error.created", Integration: "mobile", Subject: sentry.Subject{IssueID: strings.Repeat("9", 64), Project: "\xff"}, Time: time.Unix(1<<32, 0)},
	}
	key := strings.Repeat("k", 145) // the longest that there is
	f.Fuzz(func(t *testing.T, file []byte) {
		table, problems := parse(string(file))
		if (table == nil) != (len(problems) > 0) {
			t.Fatalf("a table %t beside the problems %v", table != nil, problems)
		}
		lines := strings.Count(string(file), "\n") + strings.Count(string(file), "\r") + strings.Count(string(file), "\u2028") +
			strings.Count(string(file), "\u2029") + strings.Count(string(file), "\u0085") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines+1 || p.Column < 1 || p.Text == "" || len(p.Text) > 1000 || !utf8.ValidString(p.Text) || strings.ContainsAny(p.Text, "\n\x00") {
				t.Errorf("of %d lines a problem is %q", lines, p)
			}
		}
		if table == nil {
			return
		}
		table.Places()
		for _, d := range deliveries {
			plan := table.Plan(d, func(string, error) {})
			runs := 0
			for _, v := range table.Explain(d) {
				if v.Operation != nil {
					runs++
				}
			}
			if runs != len(plan.Operations) {
				t.Errorf("%d runs are planned, %d explained", len(plan.Operations), runs)
			}
			seen := map[string]bool{}
			for _, o := range plan.For(key) {
				if seen[o.Workflow] || o.Workflow == "" || len(o.WorkflowID) > 255 || len(o.FairnessKey) > 64 || !utf8.ValidString(o.FairnessKey) {
					t.Errorf("planned %+v", o)
				}
				if d.Integration != "" && (o.Namespace == "" || o.TaskQueue == "") {
					t.Errorf("planned nowhere: %+v", o)
				}
				seen[o.Workflow] = true
			}
		}
	})
}

const pair = "routes:\n  - workflow: PayTriage\n    events: [sentry.*]\n  - workflow: triage_issue\n    projects: [shop]\n"
