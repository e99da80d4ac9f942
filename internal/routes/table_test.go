package routes_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/triage"
)

// about is a delivery to backend.
func about(event, project, level string) sentry.Delivery {
	return sentry.Delivery{Event: event, Integration: "backend", Subject: sentry.Subject{Project: project, Level: level, IssueID: "17"}}
}

// planned is what runs for a delivery, as "workflow namespace/queue", and what does
// not, as "not workflow: why".
func planned(table *routes.Table, d sentry.Delivery) []string {
	plan := table.Plan(d, func(string, error) {})
	var all []string
	for _, o := range plan.Operations {
		all = append(all, o.Workflow+" "+o.Namespace+"/"+o.TaskQueue)
	}
	for _, s := range plan.Skipped {
		all = append(all, "not "+s.Workflow+": "+string(s.Why))
	}
	return all
}

func TestARouteIsForTheDeliveriesThatItSays(t *testing.T) {
	const created = "sentry.issue.created"
	for name, tt := range map[string]struct {
		route string
		d     sentry.Delivery
		no    routes.No // "" if it runs
	}{
		"its event":                        {"namespace: a", about(created, "shop", "error"), ""},
		"an integration of the list":       {"integrations: [mobile, backend]", about(created, "", ""), ""},
		"another integration":              {"integrations: [mobile]", about(created, "", ""), routes.NoIntegrations},
		"a project of the list":            {"projects: [till, shop]", about(created, "shop", ""), ""},
		"a project that goes on":           {"projects: [shop]", about(created, "shop-2", ""), routes.NoProjects},
		"a project with the prefix":        {`projects: ["pay-*"]`, about(created, "pay-eu", ""), ""},
		"the prefix alone":                 {`projects: ["pay-*"]`, about(created, "pay-", ""), ""},
		"a project without all the prefix": {`projects: ["pay-*"]`, about(created, "pay", ""), routes.NoProjects},
		"a project with another beginning": {`projects: ["pay-*"]`, about(created, "to-pay-eu", ""), routes.NoProjects},
		"no project where one is wanted":   {"projects: [shop]", about(created, "", ""), routes.NoProjects},
		"a level of the list":              {"levels: [fatal, error]", about(created, "", "error"), ""},
		"another level":                    {"levels: [fatal, error]", about(created, "", "warning"), routes.NoLevels},
		"no level where one is wanted":     {"levels: [fatal, error]", about(created, "", ""), routes.NoLevels},
		"project right and level wrong":    {"projects: [shop]\n    levels: [fatal]", about(created, "shop", "error"), routes.NoLevels},
	} {
		t.Run(name, func(t *testing.T) {
			got := taken(t, one(tt.route)).Plan(tt.d, nil)
			if runs := len(got.Operations) == 1; runs != (tt.no == "") || len(got.Operations)+len(got.Skipped) != 1 {
				t.Fatalf("planned %+v", got)
			}
			if tt.no != "" && got.Skipped[0] != (routes.Skip{Workflow: "PayTriage", Why: routes.WhyRoute, Field: tt.no}) {
				t.Errorf("skipped %+v", got.Skipped)
			}
		})
	}
	if got := planned(taken(t, one("levels: [fatal]")), about("sentry.comment.created", "shop", "fatal")); got != nil {
		t.Errorf("an event that no route wants is planned as %q", got)
	}
}

func TestWithAFileOnlyWhatItListsRuns(t *testing.T) {
	table := taken(t, "routes:\n  - workflow: log_comment\n")
	if got := planned(table, about("sentry.issue.created", "shop", "error")); got != nil {
		t.Errorf("what is in no route is planned: %q", got)
	}
	if got := planned(table, about("sentry.comment.created", "shop", "")); !slices.Equal(got, []string{"log_comment default/sentry"}) {
		t.Errorf("what is in a route is planned as %q", got)
	}
}

func TestTheFirstRouteOfAWorkflowThatIsForADeliveryCounts(t *testing.T) {
	table := taken(t, `routes:
  - workflow: PayTriage
    events: [sentry.issue.created]
    projects: [till]
    namespace: tills
  - workflow: triage_issue
    task_queue: own
  - workflow: PayTriage
    events: [sentry.issue.*]
    namespace: payments
    task_queue: pay-node
  - workflow: PayTriage
    events: [sentry.issue.*, sentry.comment.*]
    levels: [fatal]
`)
	for _, tt := range []struct {
		d    sentry.Delivery
		want []string
	}{
		{about("sentry.issue.created", "till", ""), []string{"PayTriage tills/sentry", "triage_issue default/own"}},
		{about("sentry.issue.created", "shop", "fatal"), []string{"PayTriage payments/pay-node", "triage_issue default/own"}},
		{about("sentry.issue.resolved", "till", ""), []string{"PayTriage payments/pay-node"}},
		{about("sentry.comment.created", "till", "fatal"), []string{"PayTriage default/sentry"}},
		{about("sentry.comment.created", "till", "error"), []string{"not PayTriage: route"}},
		{about("sentry.error.created", "till", "error"), nil},
	} {
		if got := planned(table, tt.d); !slices.Equal(got, tt.want) {
			t.Errorf("%s of %q with the level %q is planned as %q, want %q", tt.d.Event, tt.d.Project, tt.d.Level, got, tt.want)
		}
	}
}

func TestTheRunOfAWorkflowFromElsewhereAsksItsConditionItself(t *testing.T) {
	table := taken(t, "routes:\n  - workflow: page_fatal\n  - workflow: PagePayments\n    events: [sentry.error.created]\n    per_issue: 30m\n    compress: false\n")
	d := about("sentry.error.created", "shop", "fatal")
	d.Time = time.Date(2026, 11, 25, 15, 47, 0, 0, time.UTC)
	got := table.Plan(d, nil).For("request")
	for i, want := range []routes.Operation{
		{
			Kind: routes.Start, Workflow: "page_fatal", WorkflowID: "page_fatal:backend:issue~17~20261125T150000Z", Shared: true,
		},
		{
			Kind: routes.Start, Workflow: "PagePayments", WorkflowID: "PagePayments:backend:issue~17~20261125T153000Z", Shared: true,
			Condition: true, Uncompressed: true,
		},
	} {
		want.Integration, want.Namespace, want.TaskQueue, want.Priority, want.FairnessKey = "backend", "default", "sentry", 1, "backend/shop"
		if len(got) != 2 || got[i] != want {
			t.Errorf("planned\n%+v, want\n%+v", got, want)
		}
	}
	d.Level = "error"
	if got := planned(table, d); !slices.Equal(got, []string{"PagePayments default/sentry", "not page_fatal: condition"}) {
		t.Errorf("where the condition of what is compiled in says no: %q", got)
	}
}

// What passes by the routes of all other teams is told of, but not without end.
func TestWhatIsSkippedForRoutesIsBounded(t *testing.T) {
	file := manyRoutes(500)
	got := taken(t, file).Plan(about("sentry.issue.created", "p499", ""), nil)
	if len(got.Operations) != 1 || got.Operations[0].Workflow != "w499" || len(got.Skipped) != routes.MaxSkipped {
		t.Errorf("planned %+v and skipped %d", got.Operations, len(got.Skipped))
	}
}

func TestEachRouteSaysWhyNot(t *testing.T) {
	table := taken(t, `routes:
  - workflow: page_fatal
  - workflow: PayTriage
    events: [sentry.comment.*]
  - workflow: PayTriage
    events: [sentry.error.*]
    integrations: [mobile]
  - workflow: PayTriage
    events: [sentry.error.*]
    projects: [till]
  - workflow: PayTriage
    events: [sentry.error.*]
    levels: [info]
  - workflow: PayTriage
    events: [sentry.error.*]
  - workflow: PayTriage
    events: [sentry.*]
    namespace: never
`)
	d := about("sentry.error.created", "shop", "error")
	var got []string
	for _, v := range table.Explain(d) {
		got = append(got, fmt.Sprintf("%s %d %s %t", v.Route.Workflow, v.Route.Line, v.No, v.Operation != nil))
	}
	want := []string{
		"page_fatal 2 condition false", "PayTriage 3 events false", "PayTriage 5 integrations false", "PayTriage 8 projects false",
		"PayTriage 11 levels false", "PayTriage 14  true", "PayTriage 16 earlier false", "triage_issue 0 route false", "log_comment 0 route false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("explained as\n%q, want\n%q", got, want)
	}
	plan := table.Plan(d, nil)
	for _, v := range table.Explain(d) {
		if v.Operation != nil && (len(plan.Operations) != 1 || plan.Operations[0] != *v.Operation) {
			t.Errorf("explained as %+v, planned %+v", v.Operation, plan.Operations)
		}
	}
}

func TestWithoutAFileEachWorkflowSaysItself(t *testing.T) {
	table := routes.CompiledIn(compiledIn, configured)
	d := about("sentry.error.created", "shop", "fatal")
	d.Integration = "mobile"
	if got := planned(table, d); !slices.Equal(got, []string{"page_fatal apps/triage"}) {
		t.Errorf("planned as %q", got)
	}
	if got := table.Unlisted(); len(got) != 0 {
		t.Errorf("not listed are %q", got)
	}
}

// A storm of what a condition panics on is no storm in the log.
func TestAConditionThatPanicsIsToldOfOnceAMinute(t *testing.T) {
	panics := triage.New("panics", idle, triage.On("sentry.*"), triage.When(func(triage.Delivery) bool { panic("a bug") }))
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := routes.NewPlanner([]triage.Workflow{panics}, configured, slog.New(slog.NewTextHandler(&log, nil)))
		for second := range 121 {
			if plan := p.Plan(about("sentry.error.created", "", "")); len(plan.Operations) != 1 {
				t.Fatalf("planned %+v", plan)
			}
			if lines := strings.Count(log.String(), "\n"); lines != 1+second/60 {
				t.Fatalf("after %d s the log has %d lines", second, lines)
			}
			<-time.After(time.Second)
		}
	})
}

// followed is a Planner of a file that is read again.
type followed struct {
	*routes.Planner
	path string
	dir  string // of the copy of what is used
	log  lines
	fail atomic.Pointer[error] // of what opens the places of a table
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// follow runs in a bubble of synctest.
func follow(t *testing.T, file string) *followed {
	t.Helper()
	f := &followed{path: filepath.Join(t.TempDir(), "routes.yaml"), dir: t.TempDir()}
	f.write(t, file)
	var err error
	if f.Planner, err = routes.OpenPlanner(f.path, f.dir, compiledIn, configured, slog.New(slog.NewTextHandler(&f.log, nil))); err != nil {
		t.Fatal(err)
	}
	go f.Follow(t.Context(), func(*routes.Table) error {
		if err := f.fail.Load(); err != nil {
			return *err
		}
		return nil
	})
	<-time.After(time.Second / 2) // what a test does comes between two looks at the file
	return f
}

func (f *followed) write(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
}

// seconds passes, and returns how often the log then has said words in all.
func (f *followed) seconds(n int, words string) int {
	<-time.After(time.Duration(n) * time.Second)
	synctest.Wait()
	return strings.Count(f.log.String(), words)
}

const (
	issuesOnly   = "routes:\n  - workflow: triage_issue\n"
	commentsOnly = "routes:\n  - workflow: log_comment\n"
	wrong        = "routes:\n  - workflow: nobody\n  - workflow: triage_issue\n"
	cannotBeUsed = "cannot be used"
)

func TestAFileIsReadAgainWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, taken1)
		if n := f.seconds(5, "\n"); n != 0 {
			t.Errorf("of a file that does not change the log says\n%s", f.log.String())
		}
		f.write(t, commentsOnly)
		if n := f.seconds(3, "have changed"); n != 1 {
			t.Errorf("the log says\n%s", f.log.String())
		}
		if got := planned(f.Table(), about("sentry.comment.created", "", "")); len(got) != 1 {
			t.Errorf("planned %q", got)
		}
	})
}

func TestAWrongFileIsRefusedAsAWholeAndTheOldOneStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, commentsOnly)
		for name, spoil := range map[string]func(){
			"wrong":   func() { f.write(t, wrong) },
			"missing": func() { _ = os.Remove(f.path) },
			"places that cannot be opened": func() {
				f.fail.Store(&os.ErrPermission)
				f.write(t, taken1)
			},
		} {
			before := f.Table()
			spoil()
			said := strings.Count(f.log.String(), cannotBeUsed)
			if n := f.seconds(60, cannotBeUsed) - said; n != 1 {
				t.Errorf("%s: in a minute the log says %d times that it cannot be used\n%s", name, n, f.log.String())
			}
			if state := f.State(); f.Table() != before || state.Problem == "" || len(state.Routes) != 1 {
				t.Errorf("%s: %+v", name, state)
			}
			f.fail.Store(nil)
			f.write(t, commentsOnly)
			if f.seconds(3, ""); f.State().Problem != "" {
				t.Errorf("%s: once it is right again: %+v", name, f.State())
			}
		}
		if n := strings.Count(f.log.String(), "can be used again"); n != 3 {
			t.Errorf("the log says %d times that it can be used again\n%s", n, f.log.String())
		}
	})
}

// An editor that writes into the file itself has it half written for a moment.
func TestAFileThatIsBeingWrittenIsNotTakenForWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, commentsOnly)
		before := f.Table()
		for i := range 20 { // each of these is right, were it whole
			f.write(t, manyRoutes(i+1))
			f.seconds(1, "")
			if f.Table() != before {
				t.Fatalf("%d routes of a file that is being written are used", len(f.Table().Routes()))
			}
		}
		f.seconds(2, "")
		if n := len(f.Table().Routes()); n != 20 {
			t.Errorf("once it is written %d routes are used", n)
		}
	})
}

func TestAnIngressDoesNotStartWithAWrongFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := routes.OpenPlanner(path, t.TempDir(), compiledIn, configured, slog.New(slog.DiscardHandler))
	if problems := yamlfile.ProblemsOf("ROUTES_FILE", path, err); len(problems) != 1 || problems[0].Variable != "ROUTES_FILE" || !strings.HasPrefix(problems[0].Text, path+":2:15: ") {
		t.Errorf("problems %v", problems)
	}
	if _, err := routes.OpenPlanner("", t.TempDir(), compiledIn, configured, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("without a file: %v", err)
	}
}

// Nobody sends again what comes while an ingress does not start.
func TestAnIngressStartsWithTheRoutesThatWereUsedLastWhereTheFileIsWrong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "routes.yaml")
	write := func(file string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func(path string) (*routes.Planner, string, error) {
		var log lines
		p, err := routes.OpenPlanner(path, dir, compiledIn, configured, slog.New(slog.NewTextHandler(&log, nil)))
		if err == nil {
			p.Keep()
		}
		return p, log.String(), err
	}
	write(commentsOnly)
	if _, log, err := open(path); err != nil || log != "" {
		t.Fatalf("%v, logged was %s", err, log)
	}
	for what, spoil := range map[string]func(){
		"wrong":   func() { write(wrong) },
		"missing": func() { _ = os.Remove(path) },
	} {
		spoil()
		for range 2 { // nor does the next start
			p, log, err := open(path)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if state := p.State(); state.Problem == "" || len(state.Routes) != 1 || !strings.Contains(log, "level=ERROR") {
				t.Errorf("%s: the state is %+v, logged was %s", what, state, log)
			}
		}
	}
	// Without a file for a while they are forgotten.
	if _, _, err := open(""); err != nil {
		t.Fatal(err)
	}
	write(wrong)
	if _, _, err := open(path); err == nil {
		t.Error("routes of long ago are used")
	}
}

func TestRoutesThatAreUsedAreKeptForTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, commentsOnly)
		f.Keep()
		f.write(t, issuesOnly)
		f.seconds(3, "")
		f.write(t, wrong)
		f.seconds(3, "2:15")
		again, err := routes.OpenPlanner(f.path, f.dir, compiledIn, configured, slog.New(slog.DiscardHandler))
		if err != nil || len(again.Table().Routes()) != len(f.Table().Routes()) || again.Table().Routes()[0].Workflow != f.Table().Routes()[0].Workflow {
			t.Errorf("%v, the next start has %+v", err, again)
		}
	})
}

// What all routes of all teams cost a delivery does not grow with them, but for
// looking at each.
func TestRoutesThatAreForOthersTakeNoMemory(t *testing.T) {
	d := about("sentry.issue.created", "p0", "")
	few, many := taken(t, manyRoutes(20)), taken(t, manyRoutes(1000))
	cost := func(table *routes.Table) float64 {
		return testing.AllocsPerRun(100, func() { table.Plan(d, nil) })
	}
	if a, b := cost(few), cost(many); b > a {
		t.Errorf("20 routes take %.0f allocations, 1000 take %.0f", a, b)
	}
}
