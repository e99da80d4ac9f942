// Package examples_test does what docs/workflows.md and the pages beside the
// examples say, as their readers would.
package examples_test

import (
	"encoding/json"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// repository is where this one is.
const repository = ".."

// On this machine the page's addresses may be taken, and this repository is where it is.
func newReader(t *testing.T, dir string) (r *reader, temporal client.Client) {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds and runs everything")
	}
	root := absolute(t, repository)
	at := freeAddresses(t, 6)
	r = &reader{
		t:   t,
		dir: dir,
		here: strings.NewReplacer(
			`"$PWD/../sentry-temporal`, `"`+root,
			"../sentry-temporal", root,
			"../backend-triage", filepath.Join(dir, "backend-triage"),
			"make dev", "go run ./cmd/dev -temporal-port "+portOf(t, at[0])+" -ui-port "+portOf(t, at[1])+" -dir "+t.TempDir(),
			"127.0.0.1:8083", at[5],
			"triage send", "triage send --url http://"+at[2]+"/webhooks/sentry",
			"npm ci", "test -d node_modules || npm ci",
		),
		environ: []string{
			"TEMPORAL_ADDRESS=" + at[0], "LISTEN_ADDR=" + at[2], "ADMIN_ADDR=" + at[3], "WORKER_ADMIN_ADDR=" + at[4],
		},
		lasting: map[string]string{"make dev": "Ctrl-C stops everything", "go run .": "", "npm start": ""},
	}
	temporal, err := client.NewLazyClient(client.Options{HostPort: at[0], Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(temporal.Close)
	return r, temporal
}

// started returns the ID of the one run that `triage send` has printed.
func started(t *testing.T, printed, workflow string) (id string) {
	t.Helper()
	ids := regexp.MustCompile(`(?m)started (`+workflow+`:\S+)$`).FindAllStringSubmatch(printed, -1)
	if len(ids) != 1 {
		t.Fatalf("the runs of %s are %q", workflow, ids)
	}
	return ids[0][1]
}

// eventsOf yields what happens in a run, until it has ended.
func eventsOf(t *testing.T, temporal client.Client, id string) iter.Seq[*historypb.HistoryEvent] {
	return func(yield func(*historypb.HistoryEvent) bool) {
		history := temporal.GetWorkflowHistory(t.Context(), id, "", true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for history.HasNext() {
			event, err := history.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !yield(event) {
				return
			}
		}
	}
}

func TestTutorialLeadsToARunThatWaits(t *testing.T) {
	dir := t.TempDir()
	r, temporal := newReader(t, dir)
	page, _, _ := strings.Cut(readPage(t, "../docs/workflows.md"), "## Under an address of your own")
	id := started(t, r.follow(page), "page_when_urgent")

	asked, refused := false, false
	for event := range eventsOf(t, temporal, id) {
		asked = asked || event.GetMarkerRecordedEventAttributes() != nil // of its own condition
		refused = refused || event.GetActivityTaskFailedEventAttributes() != nil
		if timer := event.GetTimerStartedEventAttributes(); timer != nil {
			if wait := timer.GetStartToFireTimeout().AsDuration(); !asked || !refused || wait != 30*time.Minute {
				t.Errorf("it waits for %s; it asked its condition: %v; the post was refused: %v", wait, asked, refused)
			}
			r.dir = filepath.Join(dir, "backend-triage")
			r.run("WORKER_ADMIN_ADDR=127.0.0.1:8083 go run . -health")
			return
		}
	}
	t.Error("it has ended, and waited for nothing")
}

func TestTutorialIsShort(t *testing.T) {
	lines := 0
	for _, s := range stepsOf(readPage(t, "../docs/workflows.md")) {
		if strings.HasPrefix(s.file, "urgent/") && s.language == "go" {
			lines += strings.Count(s.text, "\n")
		}
	}
	if lines == 0 || lines >= 120 {
		t.Errorf("the rule and its test have %d lines", lines)
	}
}

func TestTypeScriptWorkerRunsWhatIsRoutedToIt(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		t.Fatalf("%v: `scripts/need npm` installs it", err)
	}
	r, temporal := newReader(t, absolute(t, repository))
	id := started(t, r.follow(readPage(t, "typescript/README.md")), "PostNewIssue")
	type result struct{ Issue, Level, Posted string }
	outcome := func(id string) (got result) {
		t.Helper()
		for event := range eventsOf(t, temporal, id) {
			if failed := event.GetWorkflowTaskFailedEventAttributes(); failed != nil {
				t.Fatalf("the worker cannot run it: %s", failed.GetFailure().GetMessage())
			}
		}
		if err := temporal.GetWorkflow(t.Context(), id, "").Get(t.Context(), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := outcome(id)
	if !strings.HasPrefix(got.Issue, "BACKEND-") || got.Level != "error" || !strings.HasPrefix(got.Posted, got.Issue+": CartTotalMismatch") {
		t.Errorf("the result is %+v", got)
	}

	// The Go workers get one of this size compressed.
	large := filepath.Join(t.TempDir(), "body.json")
	body, err := json.Marshal(map[string]any{"action": "created", "data": map[string]any{
		"issue": map[string]any{"id": "1", "shortId": "BACKEND-2B", "culprit": strings.Repeat("x", 400_000)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, body, 0o600); err != nil {
		t.Fatal(err)
	}
	id = started(t, r.run("go run ./cmd/triage send --body "+large+" issue.created"), "PostNewIssue")
	if got := outcome(id); got.Issue != "BACKEND-2B" {
		t.Errorf("of a large body the result is %+v", got)
	}
}

func TestTypeScriptTypesAreThoseOfTheSchema(t *testing.T) {
	r, _ := newReader(t, absolute(t, "typescript"))
	file := filepath.Join(t.TempDir(), "envelope.ts")
	r.run("npm ci\nnode_modules/.bin/json2ts --input ../../docs/envelope.schema.json --output " + file)
	if readPage(t, file) != readPage(t, "typescript/src/envelope.ts") {
		t.Error("src/envelope.ts is out of date: `npm run types` makes it anew")
	}
}

func TestModuleCanBePutAtAnotherAddress(t *testing.T) {
	copied := t.TempDir()
	r, _ := newReader(t, absolute(t, repository))
	r.run("git ls-files -co --exclude-standard -z | tar --null -T - -cf - | tar -xf - -C " + copied)
	r.dir = copied
	r.run("git init -q .\ngit add -A")
	_, section, _ := strings.Cut(readPage(t, "../docs/workflows.md"), "## Under an address of your own")
	r.follow(section)
	r.run("go vet ./...\ngo test -run 'TestImportsPointOneWay|TestBuildsStamp' .")
}
