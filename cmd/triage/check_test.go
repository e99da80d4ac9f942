package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/standin"
)

const hush = "hush-4c1d0a7e"

// configured sets what both programs need, and then vars, written NAME=value.
func configured(t *testing.T, vars ...string) {
	t.Helper()
	for _, entry := range append([]string{
		"TEMPORAL_CONFIG_FILE=" + filepath.Join(t.TempDir(), "none.toml"), "TEMPORAL_ADDRESS=" + devservertest.Server().Address,
		"SENTRY_CLIENT_SECRET=" + strings.Repeat("0123456789abcdef", 4), "SENTRY_NAMESPACE=ready", "JOURNAL_DIR=" + t.TempDir(),
	}, vars...) {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
}

// findingsOf runs check, and returns what it exits with and says.
func findingsOf(t *testing.T, args ...string) (status int, findings []finding) {
	t.Helper()
	status, stdout, stderr := triage(t, append([]string{"check", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &findings); err != nil {
		t.Fatalf("%v in %q, beside %q", err, stdout, stderr)
	}
	return status, findings
}

// has reports whether there is a finding like that; what it says has to hold says.
func has(findings []finding, status, program, about, says string) bool {
	return slices.ContainsFunc(findings, func(f finding) bool {
		return f.Status == status && f.Program == program && strings.HasPrefix(f.About, about) && strings.Contains(f.Says, says)
	})
}

func TestCheckIsContentWithWhatIsRight(t *testing.T) {
	configured(t)
	succeed(t, "setup")
	status, findings := findingsOf(t)
	if status != exitOK || slices.ContainsFunc(findings, func(f finding) bool { return f.Status != statusOK }) {
		t.Errorf("it exits with %d: %v", status, findings)
	}
	for program, about := range map[string]string{"ingress": "journal in ", "both": "namespace ready at "} {
		if !has(findings, statusOK, program, about, "") {
			t.Errorf("%s is not in %v", about, findings)
		}
	}
	if left, err := os.ReadDir(os.Getenv("JOURNAL_DIR")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	if table := succeed(t, "check"); !strings.Contains(table, "namespace ready at ") || !strings.HasPrefix(table, "STATUS") {
		t.Errorf("for people it says %q", table)
	}
}

func TestCheckSaysAllThatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := l.Addr().String()
	l.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		vars                         []string
		args                         []string
		status, program, about, says string
	}{
		"a variable of both":       {[]string{"LOG_LEVEL=loud"}, nil, statusError, "both", "LOG_LEVEL", "loud"},
		"a variable of one":        {[]string{"WORKER_ADMIN_ADDR=8082"}, nil, statusError, "worker", "WORKER_ADMIN_ADDR", ""},
		"a secret":                 {[]string{"SENTRY_CLIENT_SECRET='" + hush + "'"}, nil, statusError, "ingress", "SENTRY_CLIENT_SECRET", "quotes"},
		"a misspelled variable":    {[]string{"SENTRY_CLIENT_SECRETS=" + hush}, nil, statusWarning, "both", "SENTRY_CLIENT_SECRETS", "SENTRY_CLIENT_SECRET?"},
		"a weak secret":            {[]string{"SENTRY_CLIENT_SECRET=" + hush}, []string{"ingress"}, statusWarning, "ingress", "SENTRY_CLIENT_SECRET", ""},
		"the disk of the journal":  {[]string{"JOURNAL_DIR=" + filepath.Join(file, "journal")}, nil, statusError, "ingress", "journal in ", ""},
		"a Temporal that is away":  {[]string{"TEMPORAL_ADDRESS=" + away}, nil, statusError, "both", "namespace ready at " + away, "refused"},
		"a missing namespace":      {[]string{"SENTRY_NAMESPACE=absent"}, []string{"worker"}, statusError, "worker", "namespace absent at ", "not found"},
		"a namespace without them": {[]string{"SENTRY_NAMESPACE=bare"}, []string{"ingress"}, statusError, "ingress", "namespace bare at ", "SentryIssueId"},
		"nothing to ask Temporal":  {[]string{"TEMPORAL_ADDRESS=7233"}, nil, statusWarning, "both", "Temporal", "not asked"},
	} {
		t.Run(name, func(t *testing.T) {
			configured(t, test.vars...)
			status, findings := findingsOf(t, test.args...)
			if !has(findings, test.status, test.program, test.about, test.says) {
				t.Errorf("it says %v", findings)
			}
			wrong := slices.ContainsFunc(findings, func(f finding) bool { return f.Status == statusError })
			if wrong != (status == exitNo) {
				t.Errorf("it exits with %d: %v", status, findings)
			}
			if _, table, stderr := triage(t, append([]string{"check"}, test.args...)...); strings.Contains(table+stderr, hush) {
				t.Errorf("a secret is in %s%s", table, stderr)
			}
		})
	}
}

func TestCheckOfOneProgramNeedsNothingOfTheOther(t *testing.T) {
	configured(t, "SENTRY_CLIENT_SECRET=", "JOURNAL_DIR=/dev/null/journal")
	succeed(t, "setup")
	if status, findings := findingsOf(t, "worker"); status != exitOK {
		t.Errorf("of the worker it says %v", findings)
	}
	configured(t, "WORKER_ADMIN_ADDR=nowhere")
	if status, findings := findingsOf(t, "ingress"); status != exitOK {
		t.Errorf("of the ingress it says %v", findings)
	}
}

func TestADiskWithoutRoomIsAWarning(t *testing.T) {
	if f := checkDisk(t.TempDir(), 1<<60); f.Status != statusWarning || !strings.Contains(f.Says, "MiB") {
		t.Errorf("it says %v", f)
	}
}

func TestCheckAsksTheOutsideSystemsOfTheWorker(t *testing.T) {
	slack, err := standin.StartSlack(standin.SlackOptions{Token: "xoxb-" + hush, Channels: []standin.SlackChannel{{Name: "sentry"}, {Name: "other", Without: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer slack.Close()
	configured(t, "TRIAGE_SLACK_TOKEN=xoxb-"+hush, "TRIAGE_SLACK_CHANNEL=#sentry", "TRIAGE_SLACK_API_URL="+slack.URL+"/api", "TRIAGE_PAGERDUTY_ROUTING_KEY="+strings.Repeat("k", 32))
	succeed(t, "setup")
	status, findings := findingsOf(t, "worker")
	if status != exitOK || !has(findings, statusOK, "worker", "Slack", "ready") || !has(findings, statusOK, "worker", "PagerDuty", "well-formed") {
		t.Errorf("it exits with %d: %v", status, findings)
	}
	configured(t, "TRIAGE_SLACK_CHANNEL=#other", "TRIAGE_GITHUB_REPO=acme/pay")
	status, findings = findingsOf(t, "worker")
	if status != exitNo || !has(findings, statusError, "worker", "Slack", "invite") || !has(findings, statusError, "worker", "GitHub", "TRIAGE_GITHUB_REPO is of no use without") {
		t.Errorf("it exits with %d: %v", status, findings)
	}
	if _, findings = findingsOf(t, "ingress"); has(findings, statusError, "worker", "Slack", "") {
		t.Errorf("the ingress has nothing of it: %v", findings)
	}
}
