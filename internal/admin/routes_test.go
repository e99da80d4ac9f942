package admin_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/web"
	"sentry-temporal/internal/yamlfile"
)

// withRoutes has the page show routes.
func withRoutes(state *routes.State) func(*admin.Options) {
	return func(o *admin.Options) { o.Status.Routes = func() routes.State { return *state } }
}

func TestThePageShowsTheRoutes(t *testing.T) {
	state := &routes.State{
		File: "/etc/routes.yaml", Unlisted: []string{"log_comment"},
		Routes: []routes.Route{
			{Workflow: "page_on_call", Compiled: true, Events: []string{"sentry.issue.*"}, Integrations: []string{"mobile"}},
			{
				Workflow: "Pay<b>", Events: []string{"sentry.error.created"}, Projects: []string{"pay-*"}, Levels: []string{"fatal", "error"},
				Namespace: "payments", TaskQueue: "pay-node", PerIssue: 90 * time.Minute, Uncompressed: true,
			},
		},
		Warnings: []yamlfile.Problem{{Line: 7, Column: 9, Text: "no event of Sentry"}},
	}
	w := newWatched(t, nil, withRoutes(state))
	page := w.page(t, "")
	for _, want := range []string{
		"/etc/routes.yaml", "so never run: log_comment", "integrations mobile", "projects pay-*", "levels fatal, error", "namespace payments",
		"task queue pay-node", "1h30m", "not compressed", "Pay&lt;b&gt;", "/namespaces/payments/workflows?query=", "ROUTES_FILE", "7:9: no event of Sentry",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(page, "Cannot be used") {
		t.Error("a file that can be used is said to be wrong")
	}
	state.Problem = "3:5: wrong" + strings.Repeat("\n4:1: wrong, too", 30)
	if page := w.page(t, ""); !strings.Contains(page, "Cannot be used") || !strings.Contains(page, "3:5: wrong") || !strings.Contains(page, "and 21 more") {
		t.Error("a file that cannot be used is not told of")
	}
	state.Routes = make([]routes.Route, 1000)
	if page := w.page(t, ""); !strings.Contains(page, "first 100 of 1000") {
		t.Error("the page does not say that it shows a part of the routes")
	}
}

// No workflow, a condition and a route are three reasons to run nothing.
func TestThePageTellsWhyNothingRuns(t *testing.T) {
	const none, condition, route, field = "no workflow wants the event", "its condition says no", "its routes are for others", "its route is for other projects"
	for name, tt := range map[string]struct {
		skipped []routes.Skip
		want    string
	}{
		"no workflow": {nil, none},
		"a condition": {[]routes.Skip{{Workflow: "page_on_call", Why: routes.WhyCondition}}, "page_on_call: " + condition},
		"a route":     {[]routes.Skip{{Workflow: "PayTriage", Why: routes.WhyRoute}}, "PayTriage: " + route},
		"its field":   {[]routes.Skip{{Workflow: "PayTriage", Why: routes.WhyRoute, Field: routes.NoProjects}}, "PayTriage: " + field},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t, nil)
			w.recent.Observe(context.Background(), web.Delivery{Verified: true, Integration: "sentry", Event: "sentry.issue.created", Outcome: "ignored", Status: 202, Skipped: tt.skipped})
			page := w.page(t, "")
			for _, reason := range []string{none, condition, route, field} {
				if strings.Contains(page, reason) != strings.HasSuffix(tt.want, reason) {
					t.Errorf("of %q the page says %t", reason, strings.Contains(page, reason))
				}
			}
			if !strings.Contains(page, tt.want) {
				t.Errorf("%q is not on the page", tt.want)
			}
		})
	}
}

func TestANamespaceThatIsAddedIsAskedAbout(t *testing.T) {
	asking := func(name string) (admin.Namespace, chan struct{}) {
		asked := make(chan struct{}, 1)
		return admin.Namespace{Connection: "c", Name: name, Ask: func(context.Context) error {
			select {
			case asked <- struct{}{}:
			default:
			}
			return nil
		}}, asked
	}
	first, askedFirst := asking("first")
	later, askedLater := asking("later")
	w := admin.NewWatch([]admin.Namespace{first}, slog.New(slog.DiscardHandler))
	go w.Run(t.Context())
	<-askedFirst // so it runs
	w.Add(later)
	w.Add(later)
	select {
	case <-askedLater:
	case <-time.After(10 * time.Second):
		t.Fatal("it is not asked about")
	}
	if states := w.States(); len(states) != 2 || states[1].Namespace != "later" {
		t.Errorf("the states are %+v", states)
	}
}
