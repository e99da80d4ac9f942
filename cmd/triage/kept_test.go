package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// keeping runs an ingress with a token whose Temporal is away, and sets the variables
// for it. It keeps a delivery of each name.
func keeping(t *testing.T, names ...string) {
	t.Helper()
	secret := strings.Repeat("0123456789abcdef", 4)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	public, private := listen(), listen()
	cfg := config.Ingress{
		Common: config.Common{
			Integrations: []config.Integration{{Name: "sentry", Secrets: []config.Secret{config.Secret(secret)}, Namespace: "default", TaskQueue: "sentry"}},
			Temporal:     config.Temporal{Client: client.Options{HostPort: "127.0.0.1:1"}},
			AdminToken:   drainToken,
		},
		MaxBodyBytes: 1 << 20, JournalDir: t.TempDir(),
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- process.Ingress(ctx, cfg, public, private, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Setenv("ADMIN_ADDR", private.Addr().String())
	t.Setenv("ADMIN_TOKEN", drainToken)
	for _, name := range names {
		body, err := sentry.Sample(name)
		if err != nil {
			t.Fatal(err)
		}
		resource, _, _ := strings.Cut(name, ".")
		answer, err := hook.Send(t.Context(), hook.Delivery{
			URL: "http://" + public.Addr().String() + "/webhooks/sentry", Secret: secret, Resource: resource, RequestID: sentry.NewRequestID(), Body: sentry.FreshIDs(body),
		})
		if err != nil || answer.Status != starter.Accepted {
			t.Fatalf("answered %+v, %v", answer, err)
		}
	}
}

func listed(t *testing.T, args ...string) (events string) {
	t.Helper()
	var items []journal.Item
	if err := json.Unmarshal([]byte(succeed(t, append(args, "--json")...)), &items); err != nil {
		t.Fatal(err)
	}
	for _, i := range items {
		events += strings.TrimPrefix(i.Event, "sentry.") + " "
	}
	return strings.TrimSpace(events)
}

func TestWhatIsKeptIsListedParkedPutBackExportedAndDiscarded(t *testing.T) {
	keeping(t, "issue.created", "comment.created", "issue.created")
	if got := listed(t, "pending", "list"); got != "issue.created comment.created issue.created" {
		t.Errorf("pending are %s", got)
	}
	if got := listed(t, "pending", "list", "--event", "sentry.comment.created"); got != "comment.created" {
		t.Errorf("of comments there are %s", got)
	}
	if got := listed(t, "pending", "list", "--limit", "2"); got != "issue.created comment.created" {
		t.Errorf("the first two are %s", got)
	}
	if got := listed(t, "pending", "list", "--older-than", "1h"); got != "" {
		t.Errorf("from an hour ago are %s", got)
	}
	for _, step := range []struct{ command, prints, parked, pending string }{
		{"pending park --event sentry.issue.created --yes", "2 parked\n", "issue.created issue.created", "comment.created"},
		{"parked discard 3 --yes", "1 discarded for good\n", "issue.created", "comment.created"},
		{"parked retry --reason by_hand -y", "1 put back\n", "", "comment.created issue.created"},
		{"pending park --all --yes", "2 parked\n", "issue.created comment.created", ""},
		{"parked retry --reason nothing-like-it --yes", "0 put back\n", "issue.created comment.created", ""},
	} {
		printed := succeed(t, strings.Fields(step.command)...)
		if !strings.HasPrefix(printed, step.prints) {
			t.Errorf("%s prints %s", step.command, printed)
		}
		parked, pending := listed(t, "parked", "list"), listed(t, "pending", "list")
		if alike(parked) != alike(step.parked) || alike(pending) != alike(step.pending) {
			t.Errorf("after %s parked are %s, pending %s", step.command, parked, pending)
		}
	}
	status, lines, says := triage(t, "parked", "export", "--event", "sentry.comment.created")
	var env sentry.Envelope
	if err := json.Unmarshal([]byte(lines), &env); err != nil || status != exitOK || env.EventType != "sentry.comment.created" || says != "1 exported\n" {
		t.Errorf("exported is %s, %q, %v", lines, says, err)
	}
	if printed := succeed(t, "parked", "discard", "--all", "--yes"); printed != "2 discarded for good\n" {
		t.Errorf("it prints %s", printed)
	}
	for _, command := range []string{"parked list", "pending list"} {
		if printed := succeed(t, strings.Fields(command)...); printed != "There is none.\n" {
			t.Errorf("%s prints %s", command, printed)
		}
	}
	if status, _, says := triage(t, "parked", "retry", "4711", "--yes"); status != exitNo || !strings.Contains(says, "no parked delivery is like this") {
		t.Errorf("what is not there is put back: %d, %s", status, says)
	}
	t.Setenv("ADMIN_TOKEN", "another-token-than-that")
	for _, command := range []string{"parked list", "parked retry --all --yes", "parked export --all", "deliveries"} {
		if status, _, says := triage(t, strings.Fields(command)...); status != exitNo || !strings.Contains(says, "401") || strings.Contains(says, "another-token") {
			t.Errorf("with another token %s exits with %d and says %s", command, status, says)
		}
	}
}

// alike are the words in any order: what is put back goes to the end or stays where
// it was.
func alike(words string) string {
	all := strings.Fields(words)
	slices.Sort(all)
	return strings.Join(all, " ")
}

// What is missing, misspelt or not confirmed must not reach more than was meant.
func TestWhatIsKeptIsChangedOnlyAsFarAsItIsSaid(t *testing.T) {
	keeping(t, "issue.created")
	for _, command := range []string{
		"pending discard --yes", "pending discard", "pending discard --all", "pending discard --all --event sentry.issue.created --yes", "pending discard --all 1 --yes",
		"pending discard x --yes", "pending discard -- -1", "pending discard --older-than 7d --yes", "pending discard --older-than -1h --yes", "pending discard --reason by_hand --yes",
		"pending discrad --all --yes", "pending retry --all --yes", "parked park --all --yes", "pending export", "pending list x", "pending list --limit 0", "parked --all",
		"pending list --url 127.0.0.1:8081", "pending list --url http://user:secret@127.0.0.1:8081", "pending list --all",
	} {
		if status, _, says := triage(t, strings.Fields(command)...); status != exitWrongUse || says == "" {
			t.Errorf("%s exits with %d and says %s", command, status, says)
		}
	}
	if got := listed(t, "pending", "list"); got != "issue.created" {
		t.Errorf("pending are %q", got)
	}
}

// hostile is an ingress that answers with whatever.
func hostile(t *testing.T, answer http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.URL
}

const escapes = "a\x1b]0;owned\x07\x1b[2Jb\u009b31mc\u202ed\r\ne"

func TestNoTextOfADeliveryDoesAnythingToATerminal(t *testing.T) {
	record := map[string]any{
		"id": 7, "reason": escapes, "reason_code": escapes, "integration": escapes, "event": escapes, "title": escapes, "short_id": escapes, "request_id": escapes,
		"instance": escapes, "outcome": escapes, "received": "2026-01-02T03:04:05Z", "state": "parked",
	}
	at := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(map[string]any{"instance": escapes, "deliveries": []any{record}}); err != nil {
			t.Error(err)
		}
	})
	refusing := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		if err := json.NewEncoder(w).Encode(map[string]any{"error": escapes}); err != nil {
			t.Error(err)
		}
	})
	for _, command := range []string{"deliveries", "deliveries --json", "parked list", "parked list --json", "pending list"} {
		for _, address := range []string{at, refusing} {
			_, stdout, stderr := triage(t, append(strings.Fields(command), "--url", address)...)
			if !strings.Contains(stdout+stderr, "owned") {
				t.Errorf("%s prints %q", command, stdout+stderr)
			}
			for _, bad := range []string{"\x1b", "\x07", "\u009b", "\u202e", "\r"} {
				if strings.Contains(stdout+stderr, bad) {
					t.Errorf("%s prints %q in %q", command, bad, stdout+stderr)
				}
			}
		}
	}
}

func TestAnExportGoesThroughAllPagesAndSaysWhatIsLeftOut(t *testing.T) {
	pages := 0
	at := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		after := r.URL.Query().Get("after")
		pages++
		w.Header().Set(admin.HeaderDamaged, "1")
		switch after {
		case "":
			w.Header().Set(admin.HeaderNext, "1000")
		case "1000":
			w.Header().Set(admin.HeaderNext, "2000")
		}
		fmt.Fprintf(w, "{}\n{\"after\":%q}\n", after)
	})
	status, stdout, stderr := triage(t, "parked", "export", "--all", "--url", at)
	if status != exitNo || pages != 3 || strings.Count(stdout, "\n") != 6 || !strings.Contains(stdout, `"2000"`) ||
		!strings.Contains(stderr, "6 exported") || !strings.Contains(stderr, "3 cannot be read any more") {
		t.Errorf("after %d pages it exits with %d and says %s %s", pages, status, stdout, stderr)
	}
	cut := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "{}")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	if status, _, stderr := triage(t, "parked", "export", "--all", "--url", cut); status != exitNo || !strings.Contains(stderr, "not whole") {
		t.Errorf("of half an export it exits with %d and says %s", status, stderr)
	}
}

func TestAChangeThatCameHalfWaySaysSo(t *testing.T) {
	at := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInsufficientStorage)
		fmt.Fprint(w, `{"error":"there is no room","retried":2}`)
	})
	status, stdout, stderr := triage(t, "parked", "retry", "--all", "--yes", "--url", at)
	if status != exitNo || stdout != "2 put back\n" || !strings.Contains(stderr, "there is no room") {
		t.Errorf("it exits with %d and says %s %s", status, stdout, stderr)
	}
}

func TestTheTokenIsNotSentToWhereARedirectLeads(t *testing.T) {
	got := make(chan string, 1)
	other := hostile(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") })
	at := hostile(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other, http.StatusTemporaryRedirect) })
	t.Setenv("ADMIN_TOKEN", drainToken)
	if status, _, says := triage(t, "parked", "retry", "--all", "--yes", "--url", at); status != exitNo || !strings.Contains(says, "307") || len(got) > 0 {
		t.Errorf("it exits with %d and says %s", status, says)
	}
}
