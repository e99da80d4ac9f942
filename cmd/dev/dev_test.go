package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
	"sentry-temporal/workflows/logcomment"
	"sentry-temporal/workflows/pageonalert"
	"sentry-temporal/workflows/triageissue"
)

// TestMain lets the test binary be the program, for tests that signal it. Whatever
// else is in the list of workflows, these are those that the tests count.
func TestMain(m *testing.M) {
	workflows.All = triage.List(triageissue.Workflow, pageonalert.Workflow, logcomment.Workflow)
	if os.Getenv("RUN_AS_DEV") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestDemo(t *testing.T) {
	const id = `[0-9a-f]{32} +`
	const took = `\d+\.\d\d s\n`
	for name, wanted := range map[string]struct {
		all   string
		sent  int
		lines map[string]string
	}{
		"a story": {"", 8, map[string]string{
			"an issue's run":        `sentry\.issue\.created +202 started +triage_sentry_issue:sentry:` + id + took,
			"a page":                `paged +PagerDuty: \[production\] backend: CartTotalMismatch`,
			"a message":             `posted +#sentry: .*CartTotalMismatch`,
			"a ticket":              `ticketed +acme/backend#1: .*CartTotalMismatch`,
			"a link":                `linked +BACKEND-1A in Sentry, to this run`,
			"an alert about it":     `sentry\.event_alert\.triggered +202 started +page_on_alert:sentry:` + id + took + ` +not paged: triage_sentry_issue`,
			"a comment's run":       `sentry\.comment\.created +202 started +log_sentry_comment:sentry:` + id + took + ` +\{"author":"Ines Okafor"`,
			"an alert that pages":   `sentry\.metric_alert\.critical .*\n +paged +PagerDuty: .*Payment page failures`,
			"the end of it":         `sentry\.metric_alert\.resolved .*\n +resolved +PagerDuty: .*Payment page failures`,
			"the end of the issue":  `sentry\.issue\.resolved .*\n +resolved +PagerDuty: .*CartTotalMismatch`,
			"the retried delivery":  `\(the first again\) +202 existing +triage_sentry_issue`,
			"the tampered delivery": `\(tampered\) +401 `,
		}},
		"every sample": {"1", len(sentry.SampleNames()) + 2, map[string]string{
			"a started run":         `sentry\.issue\.created +202 started +triage_sentry_issue:sentry:` + id + took,
			"an ignored event":      `sentry\.seer\.pr_created +202 ignored\n`,
			"the retried delivery":  `\(the first again\) +202 existing `,
			"the tampered delivery": `\(tampered\) +401 `,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ALL", wanted.all)
			t.Setenv("KEEP", "")
			real := listen(t)
			for name, value := range real.variables {
				t.Setenv(name, value)
			}
			var out bytes.Buffer
			if err := run(t.Context(), []string{"demo"}, &out, io.Discard); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			wanted.lines["what is acted on"] = `are stand-ins at http://127\.0\.0\.1:\d+/\n`
			wanted.lines["how to keep it up"] = `KEEP=1 make demo`
			wanted.lines["the sum"] = strconv.Itoa(wanted.sent) + ` deliveries sent, 0 not as they should be`
			for what, want := range wanted.lines {
				if !regexp.MustCompile(want).MatchString(out.String()) {
					t.Errorf("%s is not in\n%s", what, out.String())
				}
			}
			for line := range strings.Lines(out.String()) {
				if utf8.RuneCountInString(line) > 121 {
					t.Errorf("wider than 120 columns: %s", line)
				}
			}
			if got := real.requests(); len(got) > 0 {
				t.Errorf("real systems were asked: %v", got)
			}
			if wanted.all == "" && !strings.Contains(alike(out.String()), alike(shownInReadme(t))) {
				t.Errorf("the README shows something else than\n%s", out.String())
			}
		})
	}
}

// What the demo has started can be looked at, and used, until it is interrupted.
func TestTheDemoIsKeptUpIfItIsToldSo(t *testing.T) {
	demo := startProgram(t, map[string]string{"KEEP": "1", "ALL": ""}, "demo")
	if !strings.Contains(demo.text, "8 deliveries sent, 0 not as they should be") {
		t.Errorf("it says\n%s\n%s", demo.text, demo.stderr)
	}
	for _, name := range []string{"Status page", "Worker's page", "Temporal UI", "Health"} {
		response, err := http.Get(demo.printed[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d", name, response.StatusCode)
		}
	}
	demo.printed["Webhook URL"] = strings.Fields(demo.printed["Send a sample"])[5]
	demo.printed["Client Secret"] = hook.DevelopmentSecret
	demo.await(t, demo.send(t).Runs[0])
	demo.interrupt(t)
}

// shownInReadme returns the output of the demo that the README shows.
func shownInReadme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```text\nDELIVERY")
	shown, _, _ := strings.Cut(rest, "```")
	if shown == "" {
		t.Fatal("the README shows no output of the demo")
	}
	return shown
}

// alike returns the output of a demo without what is another each time.
func alike(output string) string {
	for _, random := range []string{`[0-9a-f]{32}`, `\d+\.\d\d s`} {
		output = regexp.MustCompile(random).ReplaceAllString(output, "~")
	}
	return output
}

// The program is run as a newcomer does, used, and interrupted.
func TestDevUntilInterrupted(t *testing.T) {
	dev := startDev(t, nil)
	answer := dev.send(t)
	if answer.Status != starter.Started {
		t.Errorf("a delivery was answered %+v; printed was %v", answer, dev.printed)
	}
	ui := strings.TrimPrefix(dev.printed["Temporal UI"], "http://")
	response, err := http.Get("http://" + ui + "/api/v1/namespaces/default")
	if err != nil {
		t.Fatalf("the Temporal UI that was printed: %v", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the Temporal UI answered %d", response.StatusCode)
	}
	if want := "go run ./cmd/triage send --url " + dev.printed["Webhook URL"] + " issue.created"; dev.printed["Send a sample"] != want {
		t.Errorf("the command for a sample is %q", dev.printed["Send a sample"])
	}

	dev.interrupt(t)
	if conn, err := net.Dial("tcp", ui); err == nil {
		conn.Close()
		t.Error("the Temporal server was left behind")
	}
}

// Whatever the shell has variables for, nothing real is acted on by accident.
func TestDevActsOnStandInsUnlessToldOtherwise(t *testing.T) {
	t.Run("stand-ins", func(t *testing.T) {
		real := listen(t)
		dev := startDev(t, real.variables)
		if !strings.Contains(dev.text, "are stand-ins at http://127.0.0.1:") {
			t.Errorf("nothing says so in\n%s", dev.text)
		}
		answer := dev.send(t)
		dev.await(t, answer.Runs[0])
		if got := real.requests(); len(got) > 0 {
			t.Errorf("real systems were asked: %v", got)
		}
		dev.interrupt(t)
	})
	t.Run("LIVE=1", func(t *testing.T) {
		real := listen(t)
		delete(real.variables, "DESTINATIONS_FILE")
		real.variables["LIVE"] = "1"
		dev := startDev(t, real.variables)
		for _, want := range []string{
			"LIVE=1", "Sentry's API: organization acme at " + real.URL, "Slack: #everybody", "PagerDuty: the service of TRIAGE_PAGERDUTY_ROUTING_KEY",
			"GitHub: acme/shop", "the webhook in TRIAGE_WEBHOOK_URL",
		} {
			if !strings.Contains(dev.text, want) {
				t.Errorf("%q is not in\n%s", want, dev.text)
			}
		}
		for _, secret := range []string{"s3cr3t", "S3CR3T"} {
			if strings.Contains(dev.text, secret) {
				t.Errorf("a secret is in\n%s", dev.text)
			}
		}
		dev.send(t)
		real.await(t, "POST /slack/chat.postMessage")
		dev.interrupt(t)
	})
}

func TestWhatIsNeitherYesNorNoIsAsked(t *testing.T) {
	for variable, args := range map[string][]string{"LIVE": {"-dir", t.TempDir()}, "ALL": {"demo"}, "KEEP": {"demo"}} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "yes")
			if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), variable) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// program is the program, which runs.
type program struct {
	cmd     *exec.Cmd
	stdout  io.Reader
	stderr  *bytes.Buffer
	text    string            // that it printed
	printed map[string]string // the values in it, by their names
}

func startDev(t *testing.T, variables map[string]string) program {
	t.Helper()
	return startProgram(t, variables, "-dir", t.TempDir(), "-temporal-port", "0", "-ui-port", "0")
}

// startProgram starts it, and reads what it prints until it says how it is stopped.
func startProgram(t *testing.T, variables map[string]string, args ...string) program {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(withoutOurs(os.Environ()), "RUN_AS_DEV=1", "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "WORKER_ADMIN_ADDR=127.0.0.1:0")
	for name, value := range variables {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	p := program{cmd: cmd, stderr: &bytes.Buffer{}, printed: map[string]string{}}
	cmd.Stderr = p.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		p.text += lines.Text() + "\n"
		if name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "  "); ok {
			p.printed[name] = strings.TrimSpace(value)
		}
	}
	return p
}

// send sends a new issue, of which the runs have started when it is answered.
func (p program) send(t *testing.T) hook.Answer {
	t.Helper()
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := hook.Send(t.Context(), hook.Delivery{
		URL: p.printed["Webhook URL"], Secret: p.printed["Client Secret"], RequestID: sentry.NewRequestID(), Body: body, Wait: 5,
	})
	if err != nil || len(answer.Runs) == 0 {
		t.Fatalf("a delivery was answered %+v, %v; printed was %s\n%s", answer, err, p.text, p.stderr)
	}
	return answer
}

// await waits for a run to end, by the API that the Temporal UI uses.
func (p program) await(t *testing.T, run starter.Run) {
	t.Helper()
	response, err := http.Get(p.printed["Temporal UI"] + "/api/v1/namespaces/default/workflows/" + run.WorkflowID +
		"/history?waitNewEvent=true&historyEventFilterType=HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT&execution.runId=" + run.RunID)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || !bytes.Contains(text, []byte("EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED")) {
		t.Fatalf("the run has not completed: %v, %s", err, text)
	}
}

func (p program) interrupt(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(p.stdout)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("interrupted it ended with %v, %s%s", err, rest, p.stderr)
	}
}

// listener is what would notice a request to a real system.
type listener struct {
	*httptest.Server
	variables map[string]string // that have it used
	came      chan string

	mu  sync.Mutex
	all []string
}

// listen has one listen, as every system, and as the proxy on the way to what is https.
func listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{came: make(chan string, 1000)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, r.Method+" "+r.URL.Path)
		w.WriteHeader(http.StatusUnauthorized)
		select {
		case l.came <- r.Method + " " + r.URL.Path:
		default:
		}
	}))
	t.Cleanup(l.Close)
	file := filepath.Join(t.TempDir(), "destinations.yaml")
	if err := os.WriteFile(file, []byte("destinations: [{name: all, slack: \"#everybody\", pagerduty: \"${TRIAGE_PAGERDUTY_ROUTING_KEY}\"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.variables = map[string]string{
		"HTTPS_PROXY": l.URL, "HTTP_PROXY": l.URL,
		"DESTINATIONS_FILE": file,
		"SENTRY_API_TOKEN":  "s3cr3t", "SENTRY_ORGANIZATION": "acme", "SENTRY_API_URL": l.URL,
		"TRIAGE_SLACK_TOKEN": "xoxb-1-s3cr3t", "TRIAGE_SLACK_CHANNEL": "#everybody", "TRIAGE_SLACK_API_URL": l.URL + "/slack",
		"TRIAGE_PAGERDUTY_ROUTING_KEY": "S3CR3T" + strings.Repeat("0", 26), "TRIAGE_PAGERDUTY_URL": l.URL + "/pagerduty",
		"TRIAGE_GITHUB_TOKEN": "ghp_s3cr3t", "TRIAGE_GITHUB_REPO": "acme/shop", "TRIAGE_GITHUB_API_URL": l.URL + "/github",
		"TRIAGE_WEBHOOK_URL": l.URL + "/s3cr3t", "TRIAGE_WEBHOOK_SECRET": "whsec_" + strings.Repeat("0", 32),
	}
	return l
}

// requests returns what came.
func (l *listener) requests() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// await waits for a request.
func (l *listener) await(t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case got := <-l.came:
			if got == want {
				return
			}
		case <-t.Context().Done():
			t.Fatalf("%s did not come, but %v", want, l.requests())
		}
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
		flag     string
	}{
		"of the ingress":     {variable: "LISTEN_ADDR"},
		"of the admin page":  {variable: "ADMIN_ADDR"},
		"of the worker":      {variable: "WORKER_ADMIN_ADDR"},
		"of Temporal":        {args: []string{"-temporal-port", port}, flag: "-temporal-port " + port},
		"of the Temporal UI": {args: []string{"-temporal-port", "0", "-ui-port", port}, flag: "-ui-port " + port},
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
			if err == nil || !strings.Contains(err.Error(), port) || !strings.Contains(err.Error(), test.variable) || !strings.Contains(err.Error(), test.flag) {
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
		if !strings.HasPrefix(name, "SENTRY_") && !strings.HasPrefix(name, "TEMPORAL_") && !strings.HasPrefix(name, "TRIAGE_") && name != "DESTINATIONS_FILE" && name != "LIVE" && name != "KEEP" && name != "INTEGRATIONS" {
			kept = append(kept, entry)
		}
	}
	return kept
}

// Two in one folder would write into one log and one database.
func TestASecondDevLeavesTheFilesOfTheFirstAlone(t *testing.T) {
	dir := t.TempDir()
	first, err := lock(filepath.Join(dir, "lock"), "process 4711, webhooks at 127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	log := filepath.Join(dir, "temporal.log")
	if err := os.WriteFile(log, []byte("of the first"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"LISTEN_ADDR", "ADMIN_ADDR", "WORKER_ADMIN_ADDR"} {
		t.Setenv(variable, "127.0.0.1:0")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // that it ran until then is an error, too
	defer cancel()
	err = run(ctx, []string{"-dir", dir, "-temporal-port", "0", "-ui-port", "0"}, io.Discard, io.Discard)
	for _, want := range []string{log, "process 4711, webhooks at 127.0.0.1:8080", "LISTEN_ADDR=", "-dir " + dir + "-2", "-temporal-port", "-ui-port"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in the error: %v", want, err)
		}
	}
	entries, _ := os.ReadDir(dir)
	if text, _ := os.ReadFile(log); string(text) != "of the first" || len(entries) != 2 {
		t.Errorf("the log has %q, and there are %v", text, entries)
	}
	first.Close()
	again, err := lock(filepath.Join(dir, "lock"), "")
	if err != nil {
		t.Fatalf("it is locked by one that has ended: %v", err)
	}
	again.Close()
}
