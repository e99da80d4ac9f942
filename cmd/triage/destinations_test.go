package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/sentry"
)

const rightDestinations = `destinations:
  - name: pay
    match: {projects: ["backe*"], environments: [production], teams: [pay]}
    slack: "#pay"
    pagerduty: ${PAY_PAGERDUTY_KEY}
  - name: web
    match: {projects: [web], environments: [production]}
    github: acme/web
    webhook: ${PAY_WEBHOOK_URL}
  - name: loud
    match: {levels: [fatal]}
    slack_webhook: ${PAY_SLACK_WEBHOOK_URL}
  - name: backend
    match: {projects: [backend]}
    slack: "#backend"
`

const routingKey = "4c1d0a7e4c1d0a7e4c1d0a7e4c1d0a7e"

// destinationsFile is a file of destinations whose variables are set.
func destinationsFile(t *testing.T, text string) string {
	t.Helper()
	t.Setenv("PAY_PAGERDUTY_KEY", routingKey)
	t.Setenv("PAY_WEBHOOK_URL", "https://pay.example/"+hush)
	t.Setenv("PAY_SLACK_WEBHOOK_URL", "https://hooks.slack.example/"+hush)
	t.Setenv("SENTRY_API_TOKEN", hush)
	t.Setenv("SENTRY_ORGANIZATION", "acme")
	t.Setenv("TRIAGE_SLACK_TOKEN", "xoxb-"+hush)
	t.Setenv("TRIAGE_GITHUB_TOKEN", hush)
	path := filepath.Join(t.TempDir(), "destinations.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileOfDestinationsIsChecked(t *testing.T) {
	path := destinationsFile(t, rightDestinations)
	said := succeed(t, "destinations", "check", path)
	for _, words := range []string{path + ":9:5: warning: ", "TRIAGE_WEBHOOK_SECRET", "4 destinations"} {
		if !strings.Contains(said, words) {
			t.Errorf("%q is not in %q", words, said)
		}
	}
	if strings.Contains(said, routingKey) || strings.Contains(said, hush) {
		t.Errorf("it repeats a secret: %s", said)
	}
	if said := succeed(t, "destinations", "check", destinationsFile(t, "destinations: [{name: a, slack: \"#a\"}]\n")); said != "1 destination\n" {
		t.Errorf("of one it says %q", said)
	}

	path = destinationsFile(t, "destinations:\n  - name: pay\n    pagerduty: "+hush+"\n    webhook: ${NOBODY_HAS_IT}\n")
	status, stdout, _ := triage(t, "destinations", "check", path)
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); status != exitNo || len(lines) != 2 || !strings.HasPrefix(lines[0], path+":3:16: ") || !strings.Contains(lines[1], "NOBODY_HAS_IT") {
		t.Errorf("of a wrong file it exits with %d and says\n%s", status, stdout)
	}
	status, stdout, _ = triage(t, "destinations", "check", "--json", path)
	var report destinationsReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != exitNo {
		t.Fatalf("it exits with %d: %v in %s", status, err, stdout)
	}
	if len(report.Problems) != 2 || report.Problems[1].Line != 4 || report.Destinations != 0 || strings.Contains(stdout, hush) {
		t.Errorf("as JSON it says %s", stdout)
	}

	for _, path := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		if status, _, stderr := triage(t, "destinations", "check", path); status != exitNo || stderr == "" {
			t.Errorf("of %s it exits with %d and says %q", path, status, stderr)
		}
	}
}

// tells returns what plan says, as JSON.
func tells(t *testing.T, status int, args ...string) tellingReport {
	t.Helper()
	got, stdout, stderr := triage(t, append([]string{"destinations", "plan", "--json"}, args...)...)
	var report tellingReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || got != status {
		t.Fatalf("it exits with %d: %v in %s%s", got, err, stdout, stderr)
	}
	return report
}

// noes are what is said of each destination.
func noes(report tellingReport) []destinations.No {
	var all []destinations.No
	for _, v := range report.Destinations {
		if v.Told != (v.No == "") || v.Told != (v.Why == "") {
			return nil
		}
		all = append(all, v.No)
	}
	return all
}

func TestAPlanSaysWhoWouldBeToldAndWhyTheOthersWouldNot(t *testing.T) {
	path := destinationsFile(t, rightDestinations)
	for name, tt := range map[string]struct {
		args   []string
		status int
		want   []destinations.No
	}{
		"an issue":                {[]string{"issue.created"}, exitOK, []destinations.No{"environments", "projects", "levels", ""}},
		"what Sentry knows of it": {[]string{"--environment", "production", "--team", "pay", "issue.created"}, exitOK, []destinations.No{"", "projects", "levels", "earlier"}},
		"another team":            {[]string{"--environment", "production", "--team", "web", "issue.created"}, exitOK, []destinations.No{"teams", "projects", "levels", ""}},
		"an alert of a metric":    {[]string{"metric_alert.critical"}, exitOK, []destinations.No{"projects", "", "earlier", "projects"}},
		"in an environment":       {[]string{"--environment", "staging", "metric_alert.warning"}, exitNo, []destinations.No{"projects", "environments", "levels", "projects"}},
	} {
		t.Run(name, func(t *testing.T) {
			report := tells(t, tt.status, append([]string{path}, tt.args...)...)
			if got := noes(report); !slices.Equal(got, tt.want) {
				t.Errorf("it says %q in %+v, want %q", got, report, tt.want)
			}
		})
	}
	table := succeed(t, "destinations", "plan", "--environment", "production", path, "issue.created")
	for _, words := range []string{"sentry.issue.created, project backend, environment production, team none, level error\n", "teams: ", "has none", "yes   Slack #backend"} {
		if !strings.Contains(table, words) {
			t.Errorf("%q is not in\n%s", words, table)
		}
	}
}

// An alert says itself in which environment it is.
func TestAPlanIsMadeOfTheEnvironmentThatABodySays(t *testing.T) {
	path := destinationsFile(t, strings.ReplaceAll(rightDestinations, ", teams: [pay]", ""))
	if got := noes(tells(t, exitOK, path, "event_alert.triggered")); len(got) != 4 || got[0] != "" {
		t.Errorf("of an issue alert it says %q", got)
	}
	body, err := sentry.Sample("metric_alert.warning")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "body.json")
	if err := os.WriteFile(file, []byte(strings.Replace(string(body), `"environment":"production"`, `"environment":"staging"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if report := tells(t, exitNo, "--resource", "metric_alert", path, file); report.Environment != "staging" || noes(report)[1] != destinations.NoEnvironments {
		t.Errorf("of a metric alert it says %+v", report)
	}
}

func TestNothingIsPlannedOfAWrongFileOrBody(t *testing.T) {
	wrong := destinationsFile(t, "destinations: []\n")
	if status, stdout, _ := triage(t, "destinations", "plan", wrong, "issue.created"); status != exitNo || !strings.HasPrefix(stdout, wrong+":1:15: ") {
		t.Errorf("of a wrong file it exits with %d and says %q", status, stdout)
	}
	path := destinationsFile(t, rightDestinations)
	if status, _, stderr := triage(t, "destinations", "plan", path, wrong); status != exitNo || !strings.Contains(stderr, "refused") {
		t.Errorf("of what is no body it exits with %d and says %q", status, stderr)
	}
	for _, args := range [][]string{{"plan", path, "issue.creatd"}, {"plan", path}, {"check"}, {"chek", path}, {"plan", "--team"}} {
		if status, _, stderr := triage(t, append([]string{"destinations"}, args...)...); status != exitWrongUse || stderr == "" {
			t.Errorf("%q exits with %d and says %q", args, status, stderr)
		}
	}
}

func TestCheckLooksAtTheDestinations(t *testing.T) {
	path := destinationsFile(t, rightDestinations)
	configured(t, "DESTINATIONS_FILE="+path)
	if _, findings := findingsOf(t, "worker"); !has(findings, statusOK, "worker", "DESTINATIONS_FILE", "4 destinations") || !has(findings, statusWarning, "worker", "DESTINATIONS_FILE", "9:5: ") {
		t.Errorf("check says %v", findings)
	}
	configured(t, "DESTINATIONS_FILE="+destinationsFile(t, "destinations: []\n"))
	if status, findings := findingsOf(t, "worker"); status != exitNo || !has(findings, statusError, "worker", "DESTINATIONS_FILE", "1:15: ") {
		t.Errorf("of a wrong file check exits with %d and says %v", status, findings)
	}
	if _, findings := findingsOf(t, "ingress"); has(findings, statusError, "ingress", "DESTINATIONS_FILE", "") {
		t.Errorf("of the ingress check says %v", findings)
	}
}
