package worker

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/routes"
	"sentry-temporal/triage"
)

func idle(workflow.Context, triage.Envelope) (string, error) { return "", nil }

var (
	pages = triage.New("page_on_fatal", idle, triage.On("sentry.issue.created", "sentry.issue.unresolved"), triage.Key(triage.PerIssue(30*time.Minute)))
	odd   = triage.New("watch_issues", idle, triage.On("sentry.isue.*"))
)

func TestTheWorkerSaysWhichRouteLeadsToEachOfItsWorkflows(t *testing.T) {
	one := []config.Integration{
		{Name: "backend", Namespace: "payments", TaskQueue: "pay-go"},
		{Name: "mobile", Namespace: "payments", TaskQueue: "pay-go"},
	}
	two := append(slices.Clone(one), config.Integration{Name: "web", Namespace: "web", TaskQueue: "sentry"})
	for name, tt := range map[string]struct {
		integrations []config.Integration
		want         []string
	}{
		"one place": {one, []string{
			"- {workflow: page_on_fatal, events: [sentry.issue.created, sentry.issue.unresolved], namespace: payments, task_queue: pay-go, per_issue: 30m}",
			"- {workflow: watch_issues, events: [sentry.isue.*], namespace: payments, task_queue: pay-go}",
		}},
		"two places": {two, []string{
			"- {workflow: page_on_fatal, events: [sentry.issue.created, sentry.issue.unresolved], integrations: [backend, mobile], namespace: payments, task_queue: pay-go, per_issue: 30m}",
			"- {workflow: page_on_fatal, events: [sentry.issue.created, sentry.issue.unresolved], integrations: [web], namespace: web, task_queue: sentry, per_issue: 30m}",
			"- {workflow: watch_issues, events: [sentry.isue.*], integrations: [backend, mobile], namespace: payments, task_queue: pay-go}",
			"- {workflow: watch_issues, events: [sentry.isue.*], integrations: [web], namespace: web, task_queue: sentry}",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := toldBy(t, tt.integrations, "route"); !slices.Equal(got, tt.want) {
				t.Errorf("it says\n%q, want\n%q", got, tt.want)
			}
			// A file takes what was said as it stands.
			file := "routes:\n" + strings.Join(tt.want, "\n")
			table, err := routes.Parse([]byte(file), nil, tt.integrations)
			if err != nil || len(table.Routes()) != len(tt.want) {
				t.Errorf("a file of it is wrong: %v", err)
			}
		})
	}
}

func TestTheWorkerWarnsOfEventsThatDoNotCome(t *testing.T) {
	got := toldBy(t, []config.Integration{{Name: "sentry", Namespace: "default", TaskQueue: "sentry"}}, "did_you_mean")
	if want := []string{"sentry.issue.*"}; !slices.Equal(got, want) {
		t.Errorf("it has meant %q, want %q", got, want)
	}
}

func TestWindowsAreWrittenShort(t *testing.T) {
	for window, want := range map[time.Duration]string{
		time.Second: "1s", 10 * time.Second: "10s", 90 * time.Second: "1m30s", 30 * time.Minute: "30m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		10 * time.Hour: "10h", 720 * time.Hour: "720h", time.Hour + time.Second: "1h0m1s",
	} {
		got := inWords(window)
		if read, err := time.ParseDuration(got); got != want || read != window || err != nil {
			t.Errorf("%s is written %s and read %s, want %s", window, got, read, want)
		}
	}
}

// toldBy returns what a worker's log has under key until it has started.
func toldBy(t *testing.T, integrations []config.Integration, key string) []string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var told []string
	cfg := config.Worker{Common: config.Common{Integrations: integrations, Temporal: config.Temporal{Client: client.Options{HostPort: "127.0.0.1:1"}}}}
	err = Serve(ctx, cfg, l, slog.New(notes(func(r slog.Record) {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == key {
				told = append(told, a.Value.String())
			}
			return true
		})
		if r.Message == "worker listens" {
			stop()
		}
	})), []triage.Workflow{pages, odd})
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// notes are a log that is given on to a function.
type notes func(slog.Record)

func (notes) Enabled(context.Context, slog.Level) bool { return true }

func (n notes) WithAttrs([]slog.Attr) slog.Handler { return n }

func (n notes) WithGroup(string) slog.Handler { return n }

func (n notes) Handle(_ context.Context, r slog.Record) error {
	n(r)
	return nil
}
