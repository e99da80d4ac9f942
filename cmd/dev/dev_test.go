package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
	"sentry-temporal/workflows/logcomment"
	"sentry-temporal/workflows/triageissue"
)

// TestMain lets the test binary be the program, for tests that signal it. Whatever
// else is in the list of workflows, these are those that the tests count.
func TestMain(m *testing.M) {
	workflows.All = triage.List(triageissue.Workflow, logcomment.Workflow)
	if os.Getenv("RUN_AS_DEV") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"demo"}, &out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for what, want := range map[string]string{
		"a started run":         `sentry\.issue\.created +202 started +triage_sentry_issue:sentry:[0-9a-f]{32} +Completed +\{"issue_id":.* http://127\.0\.0\.1:\d+/namespaces/default/workflows/`,
		"a comment's run":       `sentry\.comment\.created +202 started +log_sentry_comment:sentry:[0-9a-f]{32} +Completed +\{"author":"Ines Okafor"`,
		"an ignored event":      `sentry\.seer\.pr_created +202 ignored\n`,
		"the retried delivery":  `\(the same again\) +202 existing .*Completed`,
		"the tampered delivery": `\(tampered\) +401 `,
		"the sum":               strconv.Itoa(len(sentry.SampleNames())+2) + ` deliveries sent, 0 not as they should be`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s is not in\n%s", what, out.String())
		}
	}
}

// The program is run as a newcomer does, used, and interrupted.
func TestDevUntilInterrupted(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-dir", t.TempDir(), "-temporal-port", "0", "-ui-port", "0")
	cmd.Env = append(withoutOurs(os.Environ()), "RUN_AS_DEV=1", "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "WORKER_ADMIN_ADDR=127.0.0.1:0")
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	printed := map[string]string{}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		if name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "  "); ok {
			printed[name] = strings.TrimSpace(value)
		}
	}
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := hook.Send(t.Context(), hook.Delivery{
		URL: printed["Webhook URL"], Secret: printed["Client Secret"], RequestID: sentry.NewRequestID(), Body: body, Wait: 5,
	})
	if err != nil || answer.Status != starter.Started {
		t.Errorf("a delivery was answered %+v, %v; printed was %v", answer, err, printed)
	}
	ui := strings.TrimPrefix(printed["Temporal UI"], "http://")
	response, err := http.Get("http://" + ui + "/api/v1/namespaces/default")
	if err != nil {
		t.Fatalf("the Temporal UI that was printed: %v", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the Temporal UI answered %d", response.StatusCode)
	}
	if want := "go run ./cmd/triage send --url " + printed["Webhook URL"] + " issue.created"; printed["Send a sample"] != want {
		t.Errorf("the command for a sample is %q", printed["Send a sample"])
	}

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(stdout)
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted it ended with %v, %s%s", err, rest, stderr)
	}
	if conn, err := net.Dial("tcp", ui); err == nil {
		conn.Close()
		t.Error("the Temporal server was left behind")
	}
}

func TestABusyPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := l.Addr().String()
	_, port, err := net.SplitHostPort(busy)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		variable string
		args     []string
	}{
		"of the ingress":     {variable: "LISTEN_ADDR"},
		"of the admin page":  {variable: "ADMIN_ADDR"},
		"of the worker":      {variable: "WORKER_ADMIN_ADDR"},
		"of Temporal":        {args: []string{"-temporal-port", port}},
		"of the Temporal UI": {args: []string{"-temporal-port", "0", "-ui-port", port}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("LISTEN_ADDR", "127.0.0.1:0")
			t.Setenv("ADMIN_ADDR", "127.0.0.1:0")
			t.Setenv("WORKER_ADMIN_ADDR", "127.0.0.1:0")
			if test.variable != "" {
				t.Setenv(test.variable, busy)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := run(ctx, append([]string{"-dir", filepath.Join(t.TempDir(), "d")}, test.args...), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), port) || !strings.Contains(err.Error(), test.variable) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// withoutOurs drops the variables that the program reads.
func withoutOurs(environ []string) []string {
	var kept []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "SENTRY_") && !strings.HasPrefix(name, "TEMPORAL_") && name != "INTEGRATIONS" {
			kept = append(kept, entry)
		}
	}
	return kept
}
