package routes_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/triage"
)

var (
	fatal = triage.New("page_fatal", idle, triage.On("sentry.error.created"), triage.Key(triage.PerIssue(hour)),
		triage.When(func(d triage.Delivery) bool { return d.Level == "fatal" }))
	compiledIn = []triage.Workflow{issues, comments, fatal}
	configured = []config.Integration{
		{Name: "backend", Namespace: "default", TaskQueue: "sentry"},
		{Name: "mobile", Namespace: "apps", TaskQueue: "triage"},
	}
)

// parse returns what is said of a file: nothing, if it is taken.
func parse(file string) (*routes.Table, yamlfile.ProblemsError) {
	table, err := routes.Parse([]byte(file), compiledIn, configured)
	var problems yamlfile.ProblemsError
	if err != nil && !errors.As(err, &problems) {
		panic(err)
	}
	return table, problems
}

// taken returns the table of a file that is right.
func taken(t *testing.T, file string) *routes.Table {
	t.Helper()
	table, problems := parse(file)
	if problems != nil {
		t.Fatalf("refused: %v\n%s", problems, file)
	}
	return table
}

// one is a file of one route.
func one(lines ...string) string {
	return "routes:\n  - workflow: PayTriage\n    events: [sentry.issue.created]\n    " + strings.Join(lines, "\n    ") + "\n"
}

func TestAFileWithSomethingWrongIsRefusedWithThePlace(t *testing.T) {
	const elsewhere = "routes:\n  - workflow: PayTriage\n    events: [sentry.issue.created]\n"
	for name, tt := range map[string]struct {
		file  string
		wants []string // "line:column: " and a word of each problem, in this order
	}{
		"nothing":               {"", []string{"1:1: empty"}},
		"a comment":             {"# routes to come\n", []string{"1:1: empty"}},
		"not YAML":              {"routes: [\n", []string{"1:1: YAML"}},
		"a list":                {"- workflow: a\n", []string{"1:1: list"}},
		"no routes":             {"{}\n", []string{"1:1: routes"}},
		"routes without a list": {"routes:\n", []string{"1:8: empty"}},
		"an empty list":         {"routes: []\n", []string{"1:9: empty list"}},
		"routes of a text":      {"routes: all\n", []string{"1:9: text, not a list"}},
		"a key nobody knows":    {elsewhere + "route: []\n", []string{"4:1: mean routes?"}},
		"two documents":         {elsewhere + "---\n" + elsewhere, []string{"4:1: second document"}},
		"a half second one":     {elsewhere + "---\n[", []string{"5:1: YAML"}},
		"a key twice":           {elsewhere + "routes: []\n", []string{"4:1: line 1 already"}},
		"a text for a route":    {"routes: [triage_issue]\n", []string{"1:10: text, not keys"}},
		"no workflow":           {"routes:\n  - events: [sentry.*]\n", []string{"2:5: no workflow"}},

		"a field nobody knows":     {one("task-queue: a"), []string{`4:5: mean task_queue?`}},
		"a field twice":            {one("namespace: a", "namespace: b"), []string{"5:5: line 4"}},
		"a number for a text":      {one("namespace: 17"), []string{"4:16: number"}},
		"a truth value for a text": {one("task_queue: true"), []string{"4:17: true or false, not a text"}},
		"a time for a text":        {one("task_queue: 2026-01-02"), []string{"4:17: time, not a text"}},
		"a list for a text":        {one("namespace: [a]"), []string{"4:16: list"}},
		"nothing for a text":       {one("namespace:"), []string{"4:15: empty"}},
		"an empty text":            {one(`namespace: ""`), []string{"4:16: empty"}},
		"a text for a list":        {one("projects: shop"), []string{"4:15: not a list"}},
		"keys for a list":          {one("projects: {shop: 1}"), []string{"4:15: keys with values"}},
		"an empty list of a field": {one("levels: []"), []string{"4:13: empty list"}},
		"a number in a list":       {one("projects: [shop, 17]"), []string{"4:22: quotes"}},
		"an entry twice":           {one("projects: [shop, shop]"), []string{"4:22: twice"}},
		"a text for compress":      {one("compress: no"), []string{"4:15: not true or false"}},
		"a number for per_issue":   {one("per_issue: 30"), []string{"4:16: quotes"}},
		"a word for per_issue":     {one("per_issue: hourly"), []string{"4:16: 30m"}},
		"a window too short":       {one("per_issue: 10ms"), []string{"4:16: 1s"}},
		"a window too long":        {one("per_issue: 1000h"), []string{"4:16: 720h"}},
		"a key that is a list":     {one("[a]: b"), []string{"4:5: list"}},
		"a key that is a number":   {one("1: b"), []string{"4:5: number"}},

		"an integration nobody has": {one("integrations: [backend, mobil]"), []string{"4:29: mean mobile?"}},
		"a level nobody has":        {one("levels: [eror]"), []string{"4:14: mean error?"}},
		"a project with a blank":    {one(`projects: ["pay ments"]`), []string{"4:16: slug"}},
		"a * that is no end":        {one(`projects: ["pay-*-eu"]`), []string{"4:16: slug"}},
		"a * for all":               {one(`projects: ["*"]`), []string{"4:16: slug"}},
		"a namespace with a blank":  {one(`namespace: "a b"`), []string{"4:16: blanks"}},
		"a task queue too long":     {one("task_queue: " + strings.Repeat("q", 201)), []string{"4:17: 200"}},
		"a pattern that is none":    {"routes:\n  - {workflow: a, events: [sentry.iss*]}\n", []string{"2:28: sentry.issue"}},
		"an event misspelled":       {"routes:\n  - {workflow: a, events: [sentryissue.created]}\n", []string{"2:28: mean sentry.issue.created?"}},
		"an event that never comes": {"routes:\n  - {workflow: a, events: [sentry.issue.archived]}\n", []string{"2:28: sentry.issue.ignored"}},

		"a workflow with a colon":  {"routes:\n  - {workflow: \"a:b\", events: [sentry.*]}\n", []string{"2:16: colons"}},
		"a workflow with a blank":  {"routes:\n  - {workflow: a b, events: [sentry.*]}\n", []string{"2:16: blanks"}},
		"a workflow of an umlaut":  {"routes:\n  - {workflow: tri\u00e4ge, events: [sentry.*]}\n", []string{"2:16: ASCII"}},
		"a workflow too long":      {"routes:\n  - {workflow: " + strings.Repeat("w", 65) + ", events: [sentry.*]}\n", []string{"2:16: 64"}},
		"a workflow without event": {"routes:\n  - workflow: triage_isue\n", []string{"2:15: mean triage_issue?"}},
		"events of one that has":   {"routes:\n  - workflow: triage_issue\n    events: [sentry.*]\n", []string{"3:5: compiled in"}},
		"a window of one that has": {"routes:\n  - workflow: triage_issue\n    per_issue: 1h\n", []string{"3:5: compiled in"}},
		"a route twice": {
			elsewhere + "    levels: [error, fatal]\n  - workflow: PayTriage\n    levels: [fatal, error]\n    events: [sentry.issue.created]\n    namespace: a\n",
			[]string{"5:5: line 2"},
		},

		"an anchor":          {"routes: &a\n  - workflow: triage_issue\n", []string{"1:9: anchors"}},
		"an alias":           {"routes:\n  - &a {workflow: triage_issue}\n  - *a\n", []string{"2:5: anchors", "3:5: anchors"}},
		"an anchor of a key": {"&a routes:\n  - workflow: triage_issue\n", []string{"1:1: anchors", "1:1: no routes"}},
		"a merge":            {"routes:\n  - {<<: {workflow: triage_issue}}\n", []string{"2:5: no workflow", "2:6: merge"}},
		"a tag":              {"routes:\n  - workflow: !!str triage_issue\n", []string{"2:15: tags"}},
		"a tag of one's own": {"routes: !routes\n  - workflow: triage_issue\n", []string{"1:9: tags"}},

		"all at once": {
			"routes:\n  - workflow: triage_issue\n    events: [sentry.*]\n    levels: [bad, worse]\n  - wokflow: a\n    per_issue: 0s\nmore: 1\n",
			[]string{"3:5: compiled", "4:14: bad", "4:19: worse", "5:5: mean workflow?", "5:5: no workflow", "6:16: 1s", "7:1: more"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table, problems := parse(tt.file)
			if table != nil || len(problems) != len(tt.wants) {
				t.Fatalf("it has the problems\n%v\nwant %q", problems, tt.wants)
			}
			for i, problem := range problems {
				place, word, _ := strings.Cut(tt.wants[i], ": ")
				if !strings.HasPrefix(problem.String(), place+": ") || !strings.Contains(problem.Text, word) {
					t.Errorf("problem %d is %s, want %s", i+1, problem, tt.wants[i])
				}
			}
		})
	}
}

func TestAFileMaySayAllThatThereIs(t *testing.T) {
	table := taken(t, `# of the payments team
routes:
  - workflow: triage_issue
    integrations: [backend]
    projects: ["pay-*"]
  - workflow: PayTriage-2/v1
    events: [sentry.issue.created, "sentry.error.*"]
    levels: [fatal, error]
    namespace: payments
    task_queue: pay-node
    per_issue: 30m
    compress: false
  - workflow: triage_issue
    compress: true
`)
	got := fmt.Sprintf("%+v", table.Routes())
	want := fmt.Sprintf("%+v", []routes.Route{
		{
			Workflow: "triage_issue", Compiled: true, Events: []string{"sentry.issue.created"}, Integrations: []string{"backend"},
			Projects: []string{"pay-*"}, Line: 3,
		},
		{
			Workflow: "PayTriage-2/v1", Events: []string{"sentry.issue.created", "sentry.error.*"}, Levels: []string{"fatal", "error"},
			Namespace: "payments", TaskQueue: "pay-node", PerIssue: hour / 2, Uncompressed: true, Line: 6,
		},
		{Workflow: "triage_issue", Compiled: true, Events: []string{"sentry.issue.created"}, Line: 13},
	})
	if got != want {
		t.Errorf("routes\n%s, want\n%s", got, want)
	}
	if got := table.Unlisted(); !slices.Equal(got, []string{"log_comment", "page_fatal"}) {
		t.Errorf("not listed are %q", got)
	}
	places := table.Places()
	if want := []routes.Place{{"backend", "payments"}, {"mobile", "payments"}}; !slices.Equal(places, want) {
		t.Errorf("places %v", places)
	}
	if len(table.Warnings()) != 0 {
		t.Errorf("warned of %v", table.Warnings())
	}
}

func TestWhatMayBeWrongInAFileIsToldOf(t *testing.T) {
	table := taken(t, "routes:\n  - workflow: triage_isue\n    events: [sentry.issue.creatd, sentry.isue.*, sentry.issue.ignored, sentry.*]\n")
	wants := []string{"2:15: mean triage_issue?", "3:14: mean sentry.issue.created?", "3:35: "}
	for i, warning := range table.Warnings() {
		place, word, _ := strings.Cut(wants[min(i, len(wants)-1)], ": ")
		if len(table.Warnings()) != len(wants) || !strings.HasPrefix(warning.String(), place+": ") || !strings.Contains(warning.Text, word) {
			t.Errorf("warned of %s, want %q", warning, wants)
		}
	}
	if len(table.Warnings()) == 0 {
		t.Error("nothing is warned of")
	}
}

func TestAHostileFileIsRefused(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'z'; c++ {
		alias := fmt.Sprintf("*%c", c-1)
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(alias+",", 9), ","))
	}
	room := func(s string) string { return strings.Repeat(s, (routes.MaxFile-64)/len(s)) }
	for name, file := range map[string]string{
		"10 MB":                "routes:\n" + strings.Repeat("  - workflow: triage_issue\n", 10<<20/27),
		"one byte too much":    one("# " + strings.Repeat("x", routes.MaxFile-len(one("# "))+1)),
		"aliases of aliases":   bomb,
		"lists in lists":       "routes: " + room("["),
		"lists that end":       "routes: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"keys in keys":         "routes: " + room("{a: "),
		"blocks in blocks":     "routes: " + room("- "),
		"many keys":            room("? "),
		"a key for all":        room("x: "),
		"one long key":         "? " + room("k") + "\n: v",
		"anchors":              "routes: [" + room("&a a,") + "]",
		"many unknown keys":    manyKeys(20_000),
		"too many routes":      manyRoutes(routes.MaxRoutes + 1),
		"too many entries":     one("projects: [p" + strings.Join(numbers(101), ",p") + "]"),
		"an endless text":      "routes: \"" + room("\\u0041"),
		"zero bytes":           room("\x00"),
		"no UTF-8":             room("\xff"),
		"a document after all": taken1 + room("---\n"),
		"comments":             room("#\n"),
		"tags":                 "routes: [" + room("!!x a,") + "]",
	} {
		t.Run(name, func(t *testing.T) {
			if table, problems := parse(file); table != nil || len(problems) == 0 || len(problems) > 100 {
				t.Errorf("%d problems", len(problems))
			} else if size := len(problems.Error()); size > 64<<10 {
				t.Errorf("%d bytes are said of it", size)
			}
		})
	}
	if _, problems := parse(one("# " + strings.Repeat("x", routes.MaxFile-len(one("# "))))); problems != nil {
		t.Errorf("as large as it may be, it is refused: %v", problems)
	}
	if _, problems := parse(manyNamespaces(51)); len(problems) != 1 {
		t.Errorf("with too many namespaces it has the problems %v", problems)
	}
	if _, problems := parse(manyNamespaces(50)); problems != nil {
		t.Errorf("with as many namespaces as it may have, it is refused: %v", problems)
	}
	if _, problems := parse(manyRoutes(routes.MaxRoutes)); problems != nil {
		t.Errorf("with as many routes as it may have, it is refused: %v", problems)
	}
	if _, problems := parse(one("projects: [p" + strings.Join(numbers(100), ",p") + "]")); problems != nil {
		t.Errorf("with as many projects as it may have, it is refused: %v", problems)
	}
}

const taken1 = "routes:\n  - workflow: triage_issue\n"

func numbers(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(i)
	}
	return all
}

// manyKeys is n lines with a key nobody knows each.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%x: 1\n", i)
	}
	return b.String()
}

// manyRoutes is a file of n routes, each for a project of its own.
func manyRoutes(n int) string {
	var b strings.Builder
	b.WriteString("routes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {workflow: w%d, events: [sentry.issue.created], projects: [p%d]}\n", i, i)
	}
	return b.String()
}

// manyNamespaces is a file with n namespaces, each of which two routes have.
func manyNamespaces(n int) string {
	var b strings.Builder
	b.WriteString("routes:\n")
	for i := range 2 * n {
		fmt.Fprintf(&b, "  - {workflow: w%d, events: [sentry.issue.created], namespace: n%d}\n", i, i%n)
	}
	return b.String()
}

func TestOnlyAFileIsRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := routes.Load(dir, compiledIn, configured); err == nil {
		t.Error("a directory is read")
	}
	if _, err := routes.Load(filepath.Join(dir, "none"), compiledIn, configured); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	large := filepath.Join(dir, "large") // the beginning of it would be right
	if err := os.WriteFile(large, []byte(taken1+"#"+strings.Repeat("x", routes.MaxFile-len(taken1))), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := routes.Load(large, compiledIn, configured); err == nil {
		t.Error("a file that is too large is read")
	}
}
