package worker

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/outside"
	"sentry-temporal/triage"
)

// told is what an activity, and a function that is called inside a task, reach.
type told struct{ Activity, Local string }

type teller struct{}

func (*teller) Tell(ctx context.Context, _ string) (string, error) { return tell(ctx, "") }

// tell says what is configured outside.
func tell(ctx context.Context, _ string) (string, error) {
	s := outside.From(ctx)
	table, err := s.Destinations()
	if err != nil {
		return "", err
	}
	to, _ := table.For(destinations.Question{})
	text, err := json.Marshal([]any{s.Sentry["sentry"].Organization, s.RunURL("sentry", "default", "w", ""), to.PagerDuty})
	return string(text), err
}

var reaching = triage.New("reaches_out", func(ctx workflow.Context, _ triage.Envelope) (told, error) {
	var t *teller
	inActivity, err := triage.Do(ctx, t.Tell, "")
	if err != nil {
		return told{}, err
	}
	inTask, err := triage.Local(ctx, tell, "")
	return told{inActivity, inTask}, err
}, triage.On("sentry.issue.created"))

// Also those of a team's own worker.
func TestActivitiesReachWhatIsConfiguredAndThePageShowsIt(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Temporal server")
	}
	server := devservertest.Start(t, devserver.Options{})
	c := dial(t, server, unheard)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	cfg := config.Worker{
		Common: config.Common{
			Integrations: []config.Integration{{Name: "sentry", Namespace: "default", TaskQueue: "reaching"}},
			Temporal:     config.Temporal{Client: client.Options{HostPort: server.Address}, UIURL: "http://ui"},
		},
		Outside: config.Outside{
			Sentry:            map[string]config.SentryAPI{"sentry": {URL: "http://127.0.0.1:1", Organization: "acme", TokenVariable: "SENTRY_API_TOKEN"}},
			PagerDutyVariable: config.PagerDutyRoutingKey,
			Secret: func(variable string) (config.Secret, error) {
				if variable == config.PagerDutyRoutingKey {
					return config.Secret(strings.Repeat("hush", 8)), nil
				}
				return "", config.ErrNotSet
			},
			Problems: []config.Problem{{Variable: "TRIAGE_GITHUB_REPO", Text: "is of no use without TRIAGE_GITHUB_TOKEN"}},
		},
	}
	go func() {
		ended <- Serve(ctx, cfg, l, slog.New(slog.DiscardHandler), []triage.Workflow{reaching}, &teller{})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	run := start(t, c, "reaching", reaching)
	var got told
	if err := run.Get(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	const want = `["acme","http://ui/namespaces/default/workflows/w","TRIAGE_PAGERDUTY_ROUTING_KEY"]`
	if got.Activity != want || got.Local != want {
		t.Errorf("reached are %+v", got)
	}
	answer, err := http.Get("http://" + l.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("answered %d, %v", answer.StatusCode, err)
	}
	for _, part := range []string{"reaches_<wbr>out", "reaching", "PagerDuty, by the key in TRIAGE_PAGERDUTY_ROUTING_KEY", "TRIAGE_GITHUB_REPO is of no use without"} {
		if !strings.Contains(string(page), part) {
			t.Errorf("the page has no %q", part)
		}
	}
	if strings.Contains(string(page), "hush") {
		t.Error("a secret is on the page")
	}
}
