package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
)

// runIngress runs an ingress until the test ends and returns where its webhooks arrive.
func runIngress(t *testing.T) (url string) {
	t.Helper()
	var listeners [2]net.Listener
	for i := range listeners {
		var err error
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config.Ingress{
		Common: config.Common{
			Integrations: []config.Integration{{Name: "sentry", Secrets: []config.Secret{hook.DevelopmentSecret}, Namespace: "default", TaskQueue: t.Name()}},
			Temporal:     config.Temporal{Client: client.Options{HostPort: devservertest.Server().Address}, UIURL: "http://ui"},
		},
		MaxBodyBytes: 1 << 20, JournalDir: t.TempDir(),
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- process.Ingress(ctx, cfg, listeners[0], listeners[1], slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listeners[0].Addr().String() + "/webhooks/sentry"
}

func TestTheSameSampleUnderARequestIDIsOneDeliveryInEachCall(t *testing.T) {
	url := runIngress(t)
	id := sentry.NewRequestID()
	for _, want := range []string{"started", "existing"} {
		status, stdout, stderr := triage(t, "send", "--url", url, "--request-id", id, "issue.created")
		if status != exitOK || !strings.Contains(stdout, "202 "+want+" sentry.issue.created (Request-ID "+id+")\n    "+want+" triage_sentry_issue:sentry:"+id+"\n") || stderr != "" {
			t.Errorf("it exits with %d and prints %s%s", status, stdout, stderr)
		}
	}
}

func TestNoTextOfAnAnswerDoesAnythingToATerminal(t *testing.T) {
	for _, code := range []int{http.StatusAccepted, http.StatusBadRequest} {
		at := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			run := map[string]string{"workflow_id": escapes, "status": escapes, "url": escapes}
			w.WriteHeader(code)
			if err := json.NewEncoder(w).Encode(map[string]any{
				"error": escapes, "status": escapes, "event": escapes, "idempotency_key": r.Header.Get(sentry.HeaderRequestID) + "-" + escapes,
				"runs": []any{run}, "skipped": []any{map[string]string{"workflow": escapes}},
			}); err != nil {
				t.Error(err)
			}
		})
		_, stdout, stderr := triage(t, "send", "--url", at, "issue.created")
		if !strings.Contains(stdout, "owned") {
			t.Errorf("it prints %q", stdout)
		}
		for _, bad := range []string{"\x1b", "\x07", "\u009b", "\u202e", "\r"} {
			if strings.Contains(stdout+stderr, bad) {
				t.Errorf("it prints %q in %q", bad, stdout+stderr)
			}
		}
	}
}

func TestAnotherDeliveryUnderTheSameRequestIDIsWarnedOf(t *testing.T) {
	url := runIngress(t)
	other := filepath.Join(t.TempDir(), "body.json")
	sample, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, sample, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		calls [][]string
		warns string
	}{
		"another event in one call":     {[][]string{{"issue.created", "issue.resolved"}}, `came before \(sentry\.issue\.created, \d+ bytes, SHA-256 [0-9a-f]{8}…\), so this \(sentry\.issue\.resolved, `},
		"another body in the next call": {[][]string{{"issue.created"}, {"--body", other}}, `came before \(with another event or body\), so this \(sentry\.issue\.created, `},
	} {
		t.Run(name, func(t *testing.T) {
			id := sentry.NewRequestID()
			var stderr string
			for _, call := range c.calls {
				var status int
				if status, _, stderr = triage(t, append([]string{"send", "--url", url, "--request-id", id}, call...)...); status != exitOK {
					t.Fatalf("it exits with %d: %s", status, stderr)
				}
			}
			if strings.Count(stderr, "\n") != 1 || !regexp.MustCompile(c.warns+`.* with the key `+id+`-[0-9a-f]{16}\n`).MatchString(stderr) {
				t.Errorf("it warns %q", stderr)
			}
		})
	}
}

func TestARequestIDThatIsNoKeyIsWarnedOf(t *testing.T) {
	_, _, stderr := triage(t, "send", "--url", runIngress(t), "--request-id", "a b", "issue.created")
	if !strings.Contains(stderr, `"a b"`) || !strings.Contains(stderr, " sha256-") {
		t.Errorf("it warns %q", stderr)
	}
}

func TestWhatKeepsASampleFromBeingTakenIsSaid(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + listener.Addr().String() + "/webhooks/sentry"
	listener.Close()
	refusing, _ := receiver(t, http.StatusUnauthorized)
	for _, command := range [][]string{{"send", "issue.created"}, {"story", "--every", "0"}} {
		for name, c := range map[string]struct {
			url   string
			wants []string
		}{
			"nobody listens": {nobody, []string{nobody, "make dev", "--url", "connection refused"}},
			"another secret": {refusing, []string{"--secret", "SENTRY_CLIENT_SECRET"}},
		} {
			t.Run(command[0]+": "+name, func(t *testing.T) {
				status, _, stderr := triage(t, append(command, "--url", c.url)...)
				if status != exitNo {
					t.Errorf("it exits with %d", status)
				}
				for _, want := range c.wants {
					if !strings.Contains(stderr, want) {
						t.Errorf("%s is not in %q", want, stderr)
					}
				}
			})
		}
	}
}

func TestAStoryIsTheLifeOfOneIssue(t *testing.T) {
	url, got := receiver(t, http.StatusAccepted)
	succeed(t, "story", "--url", url, "--every", "0")
	var events []string
	issues, ids := map[string]bool{}, map[string]bool{}
	for _, r := range got() {
		event, err := sentry.EventName(r.header.Get(sentry.HeaderResource), r.body)
		if err != nil || sentry.Verify([]string{hook.DevelopmentSecret}, r.body, r.header.Get(sentry.HeaderSignature)) != nil {
			t.Errorf("%s is not signed, or no event: %v", event, err)
		}
		events = append(events, event)
		for _, path := range []string{"data.issue.id", "data.issue_id", "data.event.issue_id"} {
			if id := gjson.GetBytes(r.body, path); id.Exists() {
				issues[id.String()] = true
			}
		}
		ids[r.header.Get(sentry.HeaderRequestID)] = true
	}
	if want := []string{
		"sentry.issue.created", "sentry.event_alert.triggered", "sentry.issue.assigned", "sentry.comment.created",
		"sentry.issue.resolved", "sentry.issue.unresolved", "sentry.issue.resolved",
	}; !slices.Equal(events, want) {
		t.Errorf("it tells of %v", events)
	}
	if len(issues) != 1 || len(ids) != len(events) {
		t.Errorf("it is about %d issues, under %d Request-IDs", len(issues), len(ids))
	}
}

func TestAStoryPrintsWhatCameOfEachPart(t *testing.T) {
	url := runIngress(t)
	stdout := succeed(t, "story", "--url", url, "--every", "1ms")
	if n := strings.Count(stdout, "202 started sentry."); n != 6 || !strings.Contains(stdout, "202 ignored sentry.issue.assigned") {
		t.Errorf("%d started runs:\n%s", n, stdout)
	}
	if !strings.Contains(stdout, "    http://ui/namespaces/default/workflows/triage_sentry_issue:sentry:") {
		t.Errorf("there is no link to a run in\n%s", stdout)
	}
}

func TestTheIssueOfANameIsTheSameInEachCall(t *testing.T) {
	issueOf := func(name string) string {
		url, got := receiver(t, http.StatusAccepted)
		succeed(t, "story", "--url", url, "--every", "0", "--issue", name)
		return gjson.GetBytes(got()[0].body, "data.issue.id").Str
	}
	if first := issueOf("mine"); first != issueOf("mine") || first == issueOf("another") {
		t.Error("a name does not stand for one issue")
	}
}

func TestAStoryPausesBetweenItsParts(t *testing.T) {
	url, _ := receiver(t, http.StatusAccepted)
	began := time.Now()
	succeed(t, "story", "--url", url, "--every", "50ms")
	if took := time.Since(began); took < 6*50*time.Millisecond {
		t.Errorf("seven parts took %s", took)
	}
}

func TestAStoryThatIsInterruptedEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"ignored"}`)
		stop()
	}))
	defer server.Close()
	if status := run(ctx, []string{"story", "--url", server.URL, "--every", "1h"}, io.Discard, io.Discard); status != exitNo {
		t.Errorf("it exits with %d", status)
	}
}
