package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
)

// routesFile is a file of routes that two integrations are configured for.
func routesFile(t *testing.T, text string) string {
	t.Helper()
	t.Setenv("INTEGRATIONS", "backend,mobile")
	path := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const rightRoutes = `routes:
  - workflow: triage_sentry_issue
    integrations: [mobile]
  - workflow: PayTriage
    events: [sentry.issue.created, sentry.issue.creatd]
    projects: ["backe*"]
    namespace: ready
    task_queue: pay-node
    per_issue: 30m
  - workflow: PayTriage
    events: ["sentry.*"]
    levels: [fatal]
`

func TestAFileOfRoutesIsChecked(t *testing.T) {
	path := routesFile(t, rightRoutes)
	said := succeed(t, "routes", "check", path)
	for _, words := range []string{path + ":5:36: warning: ", "sentry.issue.created?", "3 routes", "log_sentry_comment"} {
		if !strings.Contains(said, words) {
			t.Errorf("%q is not in %q", words, said)
		}
	}

	path = routesFile(t, "routes:\n  - workflow: triage_sentry_issue\n    events: [sentry.*]\n    integrations: [bakend]\n")
	status, stdout, _ := triage(t, "routes", "check", path)
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); status != exitNo || len(lines) != 2 || !strings.HasPrefix(lines[0], path+":3:5: ") || !strings.HasPrefix(lines[1], path+":4:20: ") {
		t.Errorf("of a wrong file it exits with %d and says\n%s", status, stdout)
	}
	status, stdout, _ = triage(t, "routes", "check", "--json", path)
	var report routesReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != exitNo {
		t.Fatalf("it exits with %d: %v in %s", status, err, stdout)
	}
	if len(report.Problems) != 2 || report.Problems[1].Line != 4 || report.Problems[1].Column != 20 || report.Routes != 0 {
		t.Errorf("as JSON it says %s", stdout)
	}

	for _, path := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		if status, _, stderr := triage(t, "routes", "check", path); status != exitNo || stderr == "" {
			t.Errorf("of %s it exits with %d and says %q", path, status, stderr)
		}
	}
}

// plans returns what is planned, by line of the file.
func plans(t *testing.T, status int, args ...string) map[int]planVerdict {
	t.Helper()
	got, stdout, stderr := triage(t, append([]string{"routes", "plan", "--json"}, args...)...)
	var report planReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || got != status {
		t.Fatalf("it exits with %d: %v in %s%s", got, err, stdout, stderr)
	}
	all := map[int]planVerdict{}
	for _, v := range report.Routes {
		all[v.Line] = v
	}
	return all
}

func TestAPlanSaysWhatWouldStartAndWhyTheRestWouldNot(t *testing.T) {
	path := routesFile(t, rightRoutes)
	got := plans(t, exitOK, path, "issue.created")
	if v := got[4]; !v.Starts || v.Namespace != "ready" || v.TaskQueue != "pay-node" || !strings.HasPrefix(v.WorkflowID, "PayTriage:backend:issue~") || !strings.Contains(v.Why, "condition") {
		t.Errorf("what starts is %+v", v)
	}
	for line, want := range map[int]struct {
		no    routes.No
		words []string
	}{
		2:  {routes.NoIntegrations, []string{"mobile", "backend"}},
		10: {routes.NoLevels, []string{"fatal", "error"}},
		0:  {routes.NoRoute, []string{"compiled in"}},
	} {
		v := got[line]
		if v.Starts || v.No != want.no || slices.ContainsFunc(want.words, func(word string) bool { return !strings.Contains(v.Why, word) }) {
			t.Errorf("line %d says %+v", line, v)
		}
	}
	table := succeed(t, "routes", "plan", path, "issue.created")
	for _, words := range []string{"sentry.issue.created for backend", "ready", "integrations: ", "levels: ", "30m"} {
		if !strings.Contains(table, words) {
			t.Errorf("%q is not in\n%s", words, table)
		}
	}
	if v := plans(t, exitOK, "--integration", "mobile", path, "issue.created")[2]; !v.Starts || v.WorkflowID != "triage_sentry_issue:mobile:<Request-ID>" {
		t.Errorf("for another integration: %+v", v)
	}
	if got := plans(t, exitNo, path, "comment.created"); got[4].No != routes.NoEvents || !strings.Contains(got[10].Why, "has none") {
		t.Errorf("where nothing starts: %+v", got)
	}
}

func TestAPlanIsMadeOfABodyToo(t *testing.T) {
	path := routesFile(t, rightRoutes)
	body, err := sentry.Sample("error.created")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "body.json")
	if err := os.WriteFile(file, []byte(strings.Replace(string(body), `"level":"error"`, `"level":"fatal"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if v := plans(t, exitOK, "--resource", "error", path, file)[10]; !v.Starts || v.Key != "Request-ID" {
		t.Errorf("of a body: %+v", v)
	}
	if err := os.WriteFile(file, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := triage(t, "routes", "plan", path, file); status != exitNo || !strings.Contains(stderr, "refused") {
		t.Errorf("of what is no body it exits with %d and says %q", status, stderr)
	}
	wrong := routesFile(t, "routes: []\n")
	if status, stdout, _ := triage(t, "routes", "plan", wrong, "issue.created"); status != exitNo || !strings.HasPrefix(stdout, wrong+":1:9: ") {
		t.Errorf("of a wrong file it exits with %d and says %q", status, stdout)
	}
	if status, _, stderr := triage(t, "routes", "plan", "--integration", "web", path, "issue.created"); status != exitNo || !strings.Contains(stderr, "web") {
		t.Errorf("of an integration nobody has it exits with %d and says %q", status, stderr)
	}
}

func TestRoutesAreNotPlannedForWhatIsNeitherSampleNorFile(t *testing.T) {
	path := routesFile(t, rightRoutes)
	for _, args := range [][]string{{"plan", path, "issue.creatd"}, {"plan", path}, {"check"}, {"chek", path}} {
		if status, _, stderr := triage(t, append([]string{"routes"}, args...)...); status != exitWrongUse || stderr == "" {
			t.Errorf("%q exits with %d and says %q", args, status, stderr)
		}
	}
}

func TestCheckIsContentWithATaskQueueThatIsPolled(t *testing.T) {
	path := routesFile(t, strings.ReplaceAll(rightRoutes, "ready", "mobile"))
	configured(t, "INTEGRATIONS=backend,mobile", "BACKEND_CLIENT_SECRET="+hush, "MOBILE_CLIENT_SECRET="+hush+hush, "BACKEND_NAMESPACE=mobile", "MOBILE_NAMESPACE=mobile", "ROUTES_FILE="+path)
	c, err := client.Dial(client.Options{HostPort: devservertest.Server().Address, Namespace: "mobile", Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	polling := worker.New(c, "pay-node", worker.Options{})
	polling.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "w"})
	if err := polling.Start(); err != nil {
		t.Fatal(err)
	}
	defer polling.Stop()
	for enough := time.Now().Add(20 * time.Second); ; {
		_, findings := findingsOf(t, "ingress")
		if !has(findings, statusWarning, "ingress", "task queue sentry in namespace mobile", "polls") {
			t.Fatalf("of a task queue that nobody polls it says %v", findings)
		}
		if !has(findings, statusWarning, "ingress", "task queue pay-node", "") {
			return
		}
		if time.Now().After(enough) {
			t.Fatalf("of a task queue that is polled it says %v", findings)
		}
	}
}

func TestCheckAndSetupLookAtTheRoutes(t *testing.T) {
	path := routesFile(t, strings.ReplaceAll(rightRoutes, "ready", "routed"))
	configured(t, "INTEGRATIONS=backend,mobile", "BACKEND_CLIENT_SECRET="+hush, "MOBILE_CLIENT_SECRET="+hush+hush, "BACKEND_NAMESPACE=ready", "MOBILE_NAMESPACE=ready", "ROUTES_FILE="+path)
	if _, findings := findingsOf(t, "ingress"); !has(findings, statusError, "ingress", "namespace routed at ", "SentryIssueId") || !has(findings, statusWarning, "ingress", "ROUTES_FILE", "5:36: ") {
		t.Errorf("before setup check says %v", findings)
	}
	if _, findings := findingsOf(t, "ingress"); !has(findings, statusWarning, "ingress", "task queue pay-node in namespace routed", "polls") {
		t.Errorf("of a task queue that nobody polls check says %v", findings)
	}
	if said := lineOf(succeed(t, "setup"), "routed"); !strings.Contains(said, "SentryIssueId") {
		t.Errorf("setup says %q of the namespace of a route", said)
	}
	if status, findings := findingsOf(t, "ingress"); status != exitOK || !has(findings, statusOK, "ingress", "namespace routed at ", "") || !has(findings, statusOK, "ingress", "ROUTES_FILE", "3 routes") {
		t.Errorf("after setup check says %v", findings)
	}
	configured(t, "INTEGRATIONS=backend", "BACKEND_CLIENT_SECRET="+hush, "BACKEND_NAMESPACE=ready", "ROUTES_FILE="+path)
	if status, findings := findingsOf(t, "ingress"); status != exitNo || !has(findings, statusError, "ingress", "ROUTES_FILE", "3:20: ") {
		t.Errorf("of a wrong file check says %v", findings)
	}
}
