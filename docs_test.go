package sentrytemporal_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
)

func TestEveryMakeTargetHasHelp(t *testing.T) {
	targets := makeTargets(t)
	if len(targets) == 0 {
		t.Fatal("the Makefile has no target")
	}
	for target, help := range targets {
		if help == "" && !strings.Contains(target, "/") {
			t.Errorf("make %s has no help", target)
		}
	}
}

func TestMakeTargetsInDocumentsExist(t *testing.T) {
	targets := makeTargets(t)
	command := regexp.MustCompile(`\bmake ([a-z][a-z/-]*)`)
	seen := 0
	for path, text := range documents(t) {
		for _, code := range codeIn(text) {
			for _, m := range command.FindAllStringSubmatch(code, -1) {
				seen++
				if _, ok := targets[m[1]]; !ok {
					t.Errorf("%s: there is no `make %s`", path, m[1])
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no document names a make target")
	}
}

func TestCommandsInDocumentsExist(t *testing.T) {
	command := regexp.MustCompile(`(?:go run \./cmd/|\./bin/|(?:^|\s)(triage ))(\S+)([^\n#|;&]*)`)
	flag := regexp.MustCompile(`(?:^|\s)--?([a-z][a-z-]*)`)
	seen := 0
	for path, text := range documents(t) {
		for _, code := range codeIn(text) {
			for _, m := range command.FindAllStringSubmatch(code, -1) {
				seen++
				name, rest := m[2], m[3]
				if m[1] != "" { // by its name alone
					name, rest = "triage", m[2]+m[3]
				}
				if name == "triage" && !isSubcommand(strings.Fields(rest)) {
					t.Errorf("%s: there is no triage%s", path, rest)
				}
				flags := flagsOf(t, name)
				for _, f := range flag.FindAllStringSubmatch(rest, -1) {
					if !flags[f[1]] {
						t.Errorf("%s: %s has no flag -%s", path, name, f[1])
					}
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no document runs a command")
	}
}

// isSubcommand reports whether args of triage begin with one of its commands,
// each of which has a file of its name, or ask for help.
func isSubcommand(args []string) bool {
	if len(args) == 0 {
		return false
	}
	if args[0] == "completion" || args[0] == "--help" {
		return true
	}
	_, err := os.Stat(filepath.Join("cmd", "triage", args[0]+".go"))
	return err == nil
}

// flagsOf returns the flags that cmd/name defines, and those for help: the first
// literal in every call of a method of flags, and the second where there is a
// short form.
func flagsOf(t *testing.T, name string) map[string]bool {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join("cmd", name, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		t.Errorf("there is no cmd/%s", name)
	}
	flags := map[string]bool{"h": true, "help": true}
	for _, source := range sources {
		for _, call := range callsIn(t, source) {
			receiver, method := methodOf(call)
			if receiver != "flags" {
				continue
			}
			literals := literalsOf(t, call)
			if len(literals) > 0 {
				flags[literals[0]] = true
			}
			if strings.HasSuffix(method, "P") && len(literals) > 1 {
				flags[literals[1]] = true
			}
		}
	}
	return flags
}

func TestConfigurationTableHasEveryVariableAndItsDefault(t *testing.T) {
	want := configuredVariables(t)
	got := map[string]string{}
	for _, row := range table(t, "docs/operations.md", "Variable") {
		name := onlySpan(t, row[0])
		got[name] = ""
		if spans := spansIn(row[2]); len(spans) == 1 && row[2] == "`"+spans[0]+"`" {
			got[name] = spans[0]
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the table has %v, the code %v", got, want)
	}
}

// configuredVariables returns the variables that internal/config reads, with
// their defaults: the tags of raw, and of rawIntegration below "<NAME>_".
func configuredVariables(t *testing.T) map[string]string {
	t.Helper()
	word := regexp.MustCompile(`API|[A-Z][a-z]+`)
	variables := map[string]string{}
	for name, prefix := range map[string]string{"raw": "", "rawIntegration": "<NAME>_"} {
		for _, f := range structFields(t, "internal/config/config.go", name) {
			variable := f.tag.Get("envconfig")
			if variable == "" {
				variable = strings.ToUpper(strings.Join(word.FindAllString(f.name, -1), "_"))
			}
			variables[prefix+variable] = f.tag.Get("default")
		}
	}
	return variables
}

// A program reads a variable if another value changes what it loads, or makes
// it complain.
func TestConfigurationTableNamesTheProgramsThatReadAVariable(t *testing.T) {
	other := map[string]string{ // than what an empty one does
		"TEMPORAL_UI_URL":              "http://ui.internal",
		"DEVELOPMENT":                  "yes",
		"TEMPORAL_API_KEY_FILE":        filepath.Join(t.TempDir(), "none"),
		"PUBLIC_URL":                   "http://hooks.internal",
		"ADMIN_TOKEN":                  "0123456789abcdef",
		"ADMIN_TOKEN_FILE":             filepath.Join(t.TempDir(), "none"),
		"ADMIN_HOSTS":                  "admin.internal",
		"ROUTES_FILE":                  filepath.Join(t.TempDir(), "none"),
		"<NAME>_CLIENT_SECRET_FILE":    filepath.Join(t.TempDir(), "none"),
		"<NAME>_TEMPORAL_PROFILE":      "none",
		"<NAME>_TEMPORAL_API_KEY_FILE": filepath.Join(t.TempDir(), "none"),
		"<NAME>_MAX_STARTS_PER_SECOND": "5",
		"<NAME>_API_URL":               "http://sentry.internal",
		"DESTINATIONS_FILE":            filepath.Join(t.TempDir(), "none"),
	}
	for _, row := range table(t, "docs/operations.md", "Variable") {
		t.Run(row[0], func(t *testing.T) {
			variable := onlySpan(t, row[0])
			setOnlyTheSecret(t)
			ingress, _ := config.LoadIngress()
			worker, _ := config.LoadWorker()
			value, known := other[variable]
			if !known && strings.HasPrefix(row[2], "none") {
				value = "wrong"
			}
			t.Setenv(strings.Replace(variable, "<NAME>", "SENTRY", 1), value)
			changedIngress, err := config.LoadIngress()
			ingressReads := err != nil || !reflect.DeepEqual(ingress, changedIngress)
			changedWorker, err := config.LoadWorker()
			worker.Outside.Secret, changedWorker.Outside.Secret = nil, nil // functions are never equal
			workerReads := err != nil || !reflect.DeepEqual(worker, changedWorker)

			reads := "neither"
			switch {
			case ingressReads && workerReads:
				reads = "both"
			case ingressReads:
				reads = "ingress"
			case workerReads:
				reads = "worker"
			}
			if row[3] != reads {
				t.Errorf("the table says %s, but it is %s", row[3], reads)
			}
		})
	}
}

// "from A to B" in the table is what the programs take.
func TestConfigurationTableGivesTheRangesThatAreTaken(t *testing.T) {
	bounds := regexp.MustCompile(`from (\d+) to (\d+)`)
	seen := 0
	for _, row := range table(t, "docs/operations.md", "Variable") {
		m := bounds.FindStringSubmatch(row[1])
		if m == nil {
			continue
		}
		seen++
		t.Run(row[0], func(t *testing.T) {
			setOnlyTheSecret(t)
			for i, bound := range m[1:] {
				n, err := strconv.ParseInt(bound, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				beyond := n - 1 + 2*int64(i)
				for value, taken := range map[int64]bool{n: true, beyond: false} {
					t.Setenv(onlySpan(t, row[0]), strconv.FormatInt(value, 10))
					if _, err := config.LoadIngress(); (err == nil) != taken {
						t.Errorf("%d: %v", value, err)
					}
				}
			}
		})
	}
	if seen == 0 {
		t.Error("the table gives no range")
	}
}

// setOnlyTheSecret makes the environment one in which both programs start,
// whatever is set where the tests run.
func setOnlyTheSecret(t *testing.T) {
	t.Helper()
	for variable := range configuredVariables(t) {
		variable = strings.Replace(variable, "<NAME>", "SENTRY", 1)
		t.Setenv(variable, "") // restores it afterwards
		if err := os.Unsetenv(variable); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("SENTRY_CLIENT_SECRET", "s")
}

func TestConnectionVariablesAreThoseThatTheSDKReads(t *testing.T) {
	read := connectionVariables(t)
	for _, row := range table(t, "docs/operations.md", "Connection variable") {
		for _, variable := range spansIn(row[0]) {
			if !read[variable] {
				t.Errorf("the SDK does not read %s", variable)
			}
		}
	}
}

// connectionVariables returns what the SDK looks up.
func connectionVariables(t *testing.T) map[string]bool {
	t.Helper()
	looked := lookups{}
	if _, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{EnvLookup: looked}); err != nil {
		t.Fatal(err)
	}
	return looked
}

// lookups is an environment that notes what is asked of it. The configuration
// file in it is none.
type lookups map[string]bool

func (lookups) Environ() []string { return nil }

func (l lookups) LookupEnv(name string) (string, bool) {
	l[name] = true
	if name == "TEMPORAL_CONFIG_FILE" {
		return os.DevNull, true
	}
	return "", false
}

func TestVariablesInDocumentsExist(t *testing.T) {
	known := connectionVariables(t)
	for variable := range configuredVariables(t) {
		for _, integration := range []string{"<NAME>", "SENTRY", "BACKEND", "MOBILE"} { // the documents' own
			known[strings.Replace(variable, "<NAME>", integration, 1)] = true
		}
	}
	for _, path := range []string{"Makefile", "docker-compose.yml"} {
		for _, m := range regexp.MustCompile(`(?m)^\s*([A-Z][A-Z_]+)\s*(?::|\?=)`).FindAllStringSubmatch(read(t, path), -1) {
			known[m[1]] = true
		}
		for _, m := range regexp.MustCompile(`\$\{([A-Z_]+):`).FindAllStringSubmatch(read(t, path), -1) {
			known[m[1]] = true
		}
	}
	for name := range openTelemetryVariables(t) {
		known[name] = true
	}
	for _, m := range regexp.MustCompile(`Getenv\("([A-Z_]+)"\)`).FindAllStringSubmatch(read(t, "internal/devserver/devservertest/devservertest.go"), -1) {
		known[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`recordVariable = "([A-Z_]+)"`).FindAllStringSubmatch(read(t, "triage/triagetest/history.go"), -1) {
		known[m[1]] = true
	}
	for _, m := range regexp.MustCompile("not `SENTRY_AUTH_TOKEN`[^.]*").FindAllString(read(t, "docs/operations.md"), -1) {
		for _, name := range spansIn(m) {
			known[name] = true // said to be of other tools
		}
	}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)\}`).FindAllStringSubmatch(read(t, "docs/destinations.md"), -1) {
		known[m[1]], known[m[1]+"_FILE"] = true, true // of the reader's own
	}
	known["PATH"] = true
	known["LISTEN_FDS"] = true // by the library that knows systemd
	variable := regexp.MustCompile(`(?:<NAME>_)?\b[A-Z]+(?:_[A-Z]+)+\b|\b[A-Z_]{3,}\b=`)
	for path, text := range documents(t) {
		for _, code := range codeIn(text) {
			for _, name := range variable.FindAllString(code, -1) {
				if name = strings.TrimSuffix(name, "="); !known[name] {
					t.Errorf("%s: nothing reads %s", path, name)
				}
			}
		}
	}
}

// openTelemetryVariables returns those that internal/telemetry or its tests
// name: what the tests set is known to work.
func openTelemetryVariables(t *testing.T) map[string]bool {
	t.Helper()
	sources, err := filepath.Glob("internal/telemetry/*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, source := range sources {
		for _, name := range regexp.MustCompile(`OTEL_[A-Z_]*[A-Z]`).FindAllString(read(t, source), -1) {
			names[name] = true
		}
	}
	return names
}

// The text before a block of Go links to the file that it is from, and says
// "all of" if it is the whole file.
func TestGoInDocumentsIsThatOfTheFiles(t *testing.T) {
	seen := 0
	for path, text := range documents(t) {
		for _, b := range blocksIn(text) {
			if b.language != "go" || path == "docs/workflows.md" { // whose code the tests of examples run
				continue
			}
			seen++
			links := linksIn(b.before)
			if len(links) == 0 {
				t.Errorf("%s: the text before a block of Go links to no file: %q", path, b.before)
				continue
			}
			file := filepath.Join(filepath.Dir(path), links[len(links)-1])
			switch source := read(t, file); {
			case strings.Contains(b.before, "all of") && b.text != source:
				t.Errorf("%s: the block is not all of %s", path, file)
			case !strings.Contains("\n"+source, "\n"+b.text):
				t.Errorf("%s: the block is not in %s", path, file)
			}
		}
	}
	if seen == 0 {
		t.Error("no document shows Go")
	}
}

func TestEventTableHasEverySampleAndWhoWantsIt(t *testing.T) {
	var named []string
	rows := table(t, "README.md", "Resource")
	for _, row := range rows {
		resource := onlySpan(t, row[0])
		if want := "`sentry." + resource + ".*`"; row[2] != want {
			t.Errorf("the pattern of all %s is %s, not %s", resource, row[2], want)
		}
		for _, action := range spansIn(row[1]) {
			named = append(named, resource+"."+action)
		}
	}
	slices.Sort(named)
	if !slices.Equal(named, sentry.SampleNames()) {
		t.Errorf("the table has %v, the samples are %v", named, sentry.SampleNames())
	}
	for _, problem := range wantedByProblems(t, rows, workflows.All) {
		t.Error(problem)
	}
}

// wantedByProblems says what has to be in the last column of the table of events,
// where it is not.
func wantedByProblems(t *testing.T, rows [][]string, all []triage.Workflow) (problems []string) {
	t.Helper()
	for _, row := range rows {
		resource := onlySpan(t, row[0])
		var entries []string
		for _, w := range all {
			var actions []string
			for _, action := range spansIn(row[1]) {
				body, err := sentry.Sample(resource + "." + action)
				if err != nil {
					t.Fatal(err)
				}
				event, err := sentry.EventName(resource, body)
				if err != nil {
					t.Fatal(err)
				}
				if w.Wants(event) {
					actions = append(actions, "`"+action+"`")
				}
			}
			if len(actions) > 0 {
				entries = append(entries, "`"+w.Name()+"`: "+strings.Join(actions, ", "))
			}
		}
		if want := strings.Join(entries, "; "); row[4] != want {
			problems = append(problems, fmt.Sprintf("README.md: the row of %s in the table of events has %q in its last column, which has to be %q", resource, row[4], want))
		}
	}
	return problems
}

func TestAWorkflowThatTheEventTableLacksIsSaidToBeAdded(t *testing.T) {
	idle := func(workflow.Context, triage.Envelope) (string, error) { return "", nil }
	one := triage.New("one", idle, triage.On("sentry.issue.created", "sentry.issue.ignored", "sentry.comment.created"))
	two := triage.New("two", idle, triage.On("sentry.comment.*"))
	for name, tt := range map[string]struct {
		issue, comment string // what the table has
		want           string // in what is said
	}{
		"all of it":         {"`one`: `created`, `ignored`, `archived`", "`one`: `created`; `two`: `created`, `updated`", ""},
		"one is missing":    {"`one`: `created`, `ignored`, `archived`", "`one`: `created`", "has to be \"`one`: `created`; `two`: `created`, `updated`\""},
		"one is too many":   {"`one`: `created`, `ignored`, `archived`; `two`: `created`", "`one`: `created`; `two`: `created`, `updated`", "row of issue"},
		"an action is":      {"`one`: `created`, `ignored`, `archived`", "`one`: `created`, `updated`; `two`: `created`, `updated`", "row of comment"},
		"there is none yet": {"", "`one`: `created`; `two`: `created`, `updated`", "has to be \"`one`: `created`, `ignored`, `archived`\""},
	} {
		t.Run(name, func(t *testing.T) {
			said := wantedByProblems(t, [][]string{
				{"`issue`", "`created`, `resolved`, `ignored`, `archived`", "", "", tt.issue},
				{"`comment`", "`created`, `updated`", "", "", tt.comment},
			}, []triage.Workflow{one, two})
			if tt.want == "" && len(said) > 0 || tt.want != "" && (len(said) != 1 || !strings.Contains(said[0], tt.want)) {
				t.Errorf("it is said: %q", said)
			}
		})
	}
}

func TestDemoOutputIsOfTheSamples(t *testing.T) {
	events := map[string]bool{}
	for _, name := range sentry.SampleNames() {
		events["sentry."+name] = true
	}
	for _, b := range blocksIn(read(t, "README.md")) {
		if !strings.HasPrefix(b.text, "DELIVERY") {
			continue
		}
		sent := 0
		for line := range strings.Lines(b.text) {
			event, _, _ := strings.Cut(line, " ")
			if strings.HasPrefix(event, "sentry.") && !events[event] {
				t.Errorf("there is no sample of %s", event)
			}
			if strings.HasPrefix(event, "sentry.") || strings.HasPrefix(event, "(") {
				sent++
			}
		}
		if want := strconv.Itoa(sent) + " deliveries sent, 0 not as they should be\n"; !strings.HasSuffix(b.text, want) {
			t.Errorf("the demo's output does not end with %q", want)
		}
		return
	}
	t.Error("the README shows no output of the demo")
}

func TestTheWordsOfResultsAreThoseOfTheCode(t *testing.T) {
	var code strings.Builder
	files, err := filepath.Glob("activities/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			code.WriteString(read(t, file))
		}
	}
	words := 0
	for _, row := range table(t, "docs/integrations.md", "System") {
		for _, said := range spansIn(row[len(row)-1]) {
			words++
			if !strings.Contains(code.String(), said) {
				t.Errorf("no activity says %q", said)
			}
		}
	}
	if words == 0 {
		t.Error("the table of what is promised has no words of results")
	}
}

func TestTheMessageOfAWebhookIsDescribedFieldByField(t *testing.T) {
	var message struct {
		Data map[string]any `json:"data"`
	}
	text := read(t, "docs/integrations.md")
	if err := json.Unmarshal([]byte(jsonBlock(t, "docs/integrations.md", "run_url")), &message); err != nil {
		t.Fatal(err)
	}
	fields := append(jsonNames(reflect.TypeFor[activities.Card]()), "run_url")
	for _, field := range fields {
		if _, ok := message.Data[field]; !ok && !strings.Contains(text, "`"+field+"`") {
			t.Errorf("%s is not described", field)
		}
	}
	for field := range message.Data {
		if !slices.Contains(fields, field) {
			t.Errorf("no message has %s", field)
		}
	}
}

func TestTheReceiverOfWebhooksIsTheOneThatIsTested(t *testing.T) {
	block := regexp.MustCompile("(?s)```go\n(func [^`]*webhook-id.*?)```").FindStringSubmatch(read(t, "docs/integrations.md"))
	if len(block) == 0 || !strings.Contains(read(t, "activities/receiver_test.go"), block[1]) {
		t.Error("docs/integrations.md has another receiver than activities/receiver_test.go")
	}
}

// A route with something absurd for a key is refused in other words than one with a
// key that nobody knows.
func TestTableOfRoutesHasTheKeysThatAreKnown(t *testing.T) {
	integrations := []config.Integration{{Name: "backend"}}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(read(t, "docs/routes.md"))
	if _, err := routes.Parse([]byte(example[1]), workflows.All, integrations); err != nil {
		t.Errorf("the example is refused: %v", err)
	}
	keys := map[string]bool{}
	for _, row := range table(t, "docs/routes.md", "Key") {
		key := onlySpan(t, row[0])
		keys[key] = true
		_, err := routes.Parse([]byte("routes: [{"+key+": {}}]"), workflows.All, integrations)
		if err == nil || strings.Contains(err.Error(), "is not known") {
			t.Errorf("%s: %v", key, err)
		}
		if !strings.Contains(example[1], key+": ") {
			t.Errorf("%s is not in the example", key)
		}
	}
	// Beside the keys a route has whether it is compiled in, and its line.
	if fields := reflect.TypeFor[routes.Route]().NumField(); len(keys) != fields-2 {
		t.Errorf("the table has %d keys, and a route %d", len(keys), fields-2)
	}
}

// As with the routes.
func TestTableOfDestinationsHasTheKeysThatAreKnown(t *testing.T) {
	outside := config.Outside{Secret: func(string) (config.Secret, error) { return config.Secret(strings.Repeat("k", 32)), nil }}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(read(t, "docs/destinations.md"))
	if _, err := destinations.Parse([]byte(example[1]), outside); err != nil {
		t.Errorf("the example is refused: %v", err)
	}
	keys := map[string]bool{}
	for _, row := range table(t, "docs/destinations.md", "Key") {
		key := onlySpan(t, row[0])
		keys[key] = true
		file := "destinations: [{" + key + ": []}]"
		if strings.HasPrefix(row[1], "in `match`") {
			file = "destinations: [{match: {" + key + ": {}}}]"
		}
		_, err := destinations.Parse([]byte(file), outside)
		if err == nil || strings.Contains(err.Error(), "is not known") {
			t.Errorf("%s: %v", key, err)
		}
		if !strings.Contains(example[1], key+": ") {
			t.Errorf("%s is not in the example", key)
		}
	}
	text := read(t, "docs/destinations.md")
	_, err := destinations.Parse([]byte("destinations:\n  - {name: a, pagerduty: b}\n  - name: c\n    slack: #d\n"), outside)
	for _, problem := range yamlfile.ProblemsOf(destinations.Variable, "destinations.yaml", err) {
		if _, said, _ := strings.Cut(problem.Text, ": "); !strings.Contains(text, said) {
			t.Errorf("the document has no %q", said)
		}
	}
	if bound := fmt.Sprintf("%d KiB and %d destinations", yamlfile.MaxFile>>10, destinations.MaxDestinations); !strings.Contains(text, bound) {
		t.Errorf("the document has no %q", bound)
	}
	if fields := reflect.TypeFor[destinations.Destination]().NumField() + reflect.TypeFor[destinations.Match]().NumField() + 1; len(keys) != fields {
		t.Errorf("the table has %d keys, and a destination %d", len(keys), fields)
	}
}

func TestEnvelopeIsDescribedFieldByField(t *testing.T) {
	want := jsonNames(reflect.TypeFor[sentry.Envelope]())
	block := jsonBlock(t, "docs/deliveries.md", "_webhook")
	if got := keysInOrder(t, block); !slices.Equal(got, want) {
		t.Errorf("the block has the fields %v, an envelope %v", got, want)
	}
	var env sentry.Envelope
	if err := json.Unmarshal([]byte(block), &env); err != nil {
		t.Errorf("the block is no envelope: %v", err)
	}
	if event, err := sentry.EventName(env.Headers["sentry-hook-resource"], []byte(env.Body)); err != nil || event != env.EventType {
		t.Errorf("the body in the block is of the event %q, %v", event, err)
	}
	var got []string
	for _, row := range table(t, "docs/deliveries.md", "Field") {
		got = append(got, onlySpan(t, row[0]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table has the fields %v, an envelope %v", got, want)
	}
}

func TestAnswerIsDescribedFieldByField(t *testing.T) {
	var want []string
	for _, f := range structFields(t, "ingress/ingress.go", "answer") {
		want = append(want, strings.TrimSuffix(f.tag.Get("json"), ",omitempty"))
	}
	block := jsonBlock(t, "docs/deliveries.md", "runs")
	if got := keysInOrder(t, block); !slices.Equal(got, want) {
		t.Errorf("the block has the fields %v, an answer %v", got, want)
	}
	var shown struct{ Runs []json.RawMessage }
	if err := json.Unmarshal([]byte(block), &shown); err != nil || len(shown.Runs) == 0 {
		t.Fatalf("the block has no runs: %v", err)
	}
	want = jsonNames(reflect.TypeFor[starter.Run]())
	if got := keysInOrder(t, string(shown.Runs[0])); !slices.Equal(got, want) {
		t.Errorf("a run has the fields %v, the code %v", got, want)
	}
}

func TestAnswersTableHasTheStatusesThatTheTestsOfTheIngressKnow(t *testing.T) {
	documented := map[string]bool{}
	for _, row := range table(t, "docs/deliveries.md", "Status") {
		documented[row[0]] = true
	}
	tested := map[string]bool{}
	for _, path := range []string{"ingress/ingress_test.go", "ingress/bounds_test.go"} {
		ast.Inspect(parse(t, path), func(n ast.Node) bool {
			pair, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, isName := pair.Key.(*ast.Ident)
			value, isLiteral := pair.Value.(*ast.BasicLit)
			if isName && isLiteral && key.Name == "status" && value.Kind == token.INT {
				tested[value.Value] = true
			}
			return true
		})
	}
	if len(tested) == 0 || !maps.Equal(documented, tested) {
		t.Errorf("the table has %v, the tests %v", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(tested)))
	}
}

func TestAdminTableHasTheRoutesThatThereAre(t *testing.T) {
	var documented []string
	for _, row := range table(t, "docs/operations.md", "Request") {
		documented = append(documented, onlySpan(t, row[0]))
	}
	prefixes := map[string]string{"/decode": "/codec"} // of a group of routes
	var routed []string
	for _, call := range callsIn(t, "internal/admin/admin.go") {
		_, method := methodOf(call)
		literals := literalsOf(t, call)
		if slices.Contains([]string{"GET", "POST", "PUT", "DELETE"}, method) && len(literals) > 0 {
			route := regexp.MustCompile(`:(\w+)`).ReplaceAllString(literals[0], "{$1}")
			routed = append(routed, method+" "+prefixes[route]+route)
		}
	}
	slices.Sort(documented)
	slices.Sort(routed)
	if !slices.Equal(documented, routed) {
		t.Errorf("the table has %q, the code %q", documented, routed)
	}
}

func TestTablesSayWhatTheWordsOfThePageMean(t *testing.T) {
	for header, meanings := range map[string][]admin.Meaning{"Outcome": admin.Outcomes, "State of a run": admin.RunStates} {
		var documented []admin.Meaning
		for _, row := range table(t, "docs/operations.md", header) {
			documented = append(documented, admin.Meaning{Name: onlySpan(t, row[0]), Text: row[1]})
		}
		if !slices.Equal(documented, meanings) {
			t.Errorf("the table has %v, the code %v", documented, meanings)
		}
	}
}

func TestTableOfParametersHasThoseThatTheJournalIsAskedWith(t *testing.T) {
	documented := map[string]bool{}
	for _, row := range table(t, "docs/operations.md", "Parameter") {
		for _, name := range spansIn(row[0]) {
			documented[name] = true
		}
	}
	taken := map[string]bool{}
	ast.Inspect(parse(t, "internal/admin/journal.go"), func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "of") {
			return true
		}
		ast.Inspect(spec, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok {
				taken[unquote(t, literal)] = true
			}
			return true
		})
		return false
	})
	if len(taken) == 0 || !maps.Equal(documented, taken) {
		t.Errorf("the table has %v, the code %v", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(taken)))
	}
}

func TestAnswerOfAProbeIsDescribedFieldByField(t *testing.T) {
	block := jsonBlock(t, "docs/operations.md", "temporal")
	if got, want := keysInOrder(t, block), tagsOf(structFields(t, "internal/admin/admin.go", "health")); !slices.Equal(got, want) {
		t.Errorf("the block has the fields %v, an answer %v", got, want)
	}
	var shown struct{ Temporal []json.RawMessage }
	if err := json.Unmarshal([]byte(block), &shown); err != nil || len(shown.Temporal) == 0 {
		t.Fatalf("the block has no namespaces: %v", err)
	}
	if got, want := keysInOrder(t, string(shown.Temporal[len(shown.Temporal)-1])), jsonNames(reflect.TypeFor[admin.NamespaceState]()); !slices.Equal(got, want) {
		t.Errorf("a namespace has the fields %v, the code %v", got, want)
	}
}

func tagsOf(fields []field) []string {
	var names []string
	for _, f := range fields {
		name, _, _ := strings.Cut(f.tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := documents(t)
	for path, text := range all {
		for _, link := range linksIn(text) {
			if strings.Contains(link, "://") {
				continue
			}
			file, heading, _ := strings.Cut(link, "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if heading != "" && !slices.Contains(headingsIn(all[target]), heading) {
				t.Errorf("%s: %s has no heading #%s", path, target, heading)
			}
		}
	}
}

// A picture that no test makes goes stale, and one that nobody sees is of no use.
func TestEachPictureIsMadeByATestAndShown(t *testing.T) {
	pictures, err := filepath.Glob("docs/*.png")
	if err != nil || len(pictures) < 5 {
		t.Fatalf("there are the pictures %v, %v", pictures, err)
	}
	makes := read(t, "cmd/dev/screenshots_test.go")
	var shown strings.Builder
	for _, text := range documents(t) {
		shown.WriteString(text)
	}
	for _, path := range pictures {
		name := filepath.Base(path)
		if !strings.Contains(shown.String(), "]("+name+")") && !strings.Contains(shown.String(), "](docs/"+name+")") {
			t.Errorf("%s is shown nowhere", path)
		}
		if !strings.Contains(makes, strconv.Quote(strings.TrimSuffix(name, ".png"))) {
			t.Errorf("no test makes %s", path)
		}
	}
}

// A path is whatever begins with a folder of the tree.
func TestPathsInDocumentsExist(t *testing.T) {
	path := regexp.MustCompile(`(?:^|\s)(?:\./)?((?:cmd|ingress|worker|triage|workflows|activities|examples|internal|docs|deploy|scripts)/[a-z/_.]*)(?:\s|$)`)
	seen := 0
	for document, text := range documents(t) {
		for _, code := range codeIn(text) {
			for line := range strings.Lines(code) {
				for _, m := range path.FindAllStringSubmatch(line, -1) {
					seen++
					if _, err := os.Stat(m[1]); err != nil {
						t.Errorf("%s: %v", document, err)
					}
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no document names a path")
	}
}

func TestDocumentsAreFinished(t *testing.T) {
	unfinished := regexp.MustCompile(`\b(TODO|FIXME|XXX|TBD|WIP)\b`)
	for path, text := range documents(t) {
		if found := unfinished.FindString(text); found != "" {
			t.Errorf("%s: %s", path, found)
		}
	}
}

// documents returns the text of every public document, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			all[path] = read(t, path)
		}
	}
	for _, path := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		if all[path] == "" {
			t.Errorf("there is no %s", path)
		}
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// makeTargets returns the targets of the Makefile with their help.
func makeTargets(t *testing.T) map[string]string {
	t.Helper()
	targets := map[string]string{}
	rule := regexp.MustCompile(`(?m)^([a-z][a-z/-]*):(?:[^=\n#]*)(?:## *(.*))?$`)
	for _, m := range rule.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = m[2]
	}
	return targets
}

// block is a fenced block of a document.
type block struct {
	language string
	text     string
	before   string // the paragraph before it
}

var fenced = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

func blocksIn(text string) []block {
	var all []block
	for _, at := range fenced.FindAllStringSubmatchIndex(text, -1) {
		before := strings.TrimSpace(text[:at[0]])
		before = before[strings.LastIndex(before, "\n\n")+1:]
		all = append(all, block{language: text[at[2]:at[3]], text: text[at[4]:at[5]], before: before})
	}
	return all
}

// codeIn returns the fenced blocks of a document and its code spans.
func codeIn(text string) []string {
	var all []string
	for _, b := range blocksIn(text) {
		all = append(all, b.text)
	}
	return append(all, spansIn(fenced.ReplaceAllString(text, ""))...)
}

func spansIn(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(m[1], "\n", " "))
	}
	return all
}

func onlySpan(t *testing.T, cell string) string {
	t.Helper()
	spans := spansIn(cell)
	if len(spans) != 1 {
		t.Fatalf("%q is not one code span", cell)
	}
	return spans[0]
}

func linksIn(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// headingsIn returns the anchors of a document's headings.
func headingsIn(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

// table returns the rows of the table in a document whose first column has
// that heading.
func table(t *testing.T, path, heading string) [][]string {
	t.Helper()
	var rows [][]string
	inside := false
	for line := range strings.Lines(read(t, path)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case cells[0] == heading:
			inside = true
		case inside && !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table with the heading %s", path, heading)
	}
	return rows
}

// jsonBlock returns the block of JSON in a document that has key.
func jsonBlock(t *testing.T, path, key string) string {
	t.Helper()
	for _, b := range blocksIn(read(t, path)) {
		if b.language == "json" && strings.Contains(b.text, strconv.Quote(key)+":") {
			return b.text
		}
	}
	t.Fatalf("%s shows no JSON with %s", path, key)
	return ""
}

// keysInOrder returns the keys of a JSON object as they stand there.
func keysInOrder(t *testing.T, object string) []string {
	t.Helper()
	var keys []string
	decoder := json.NewDecoder(strings.NewReader(object))
	if _, err := decoder.Token(); err != nil {
		t.Fatal(err)
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		name, ok := key.(string)
		if !ok {
			t.Fatalf("%v is no key", key)
		}
		keys = append(keys, name)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// jsonNames returns the names that a struct's fields have in JSON.
func jsonNames(of reflect.Type) []string {
	var names []string
	for i := range of.NumField() {
		if name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ","); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// field is a field of a struct in the source.
type field struct {
	name string
	tag  reflect.StructTag
}

func structFields(t *testing.T, path, name string) []field {
	t.Helper()
	var fields []field
	ast.Inspect(parse(t, path), func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != name {
			return true
		}
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, f := range structure.Fields.List {
			var tag string
			if f.Tag != nil {
				tag = unquote(t, f.Tag)
			}
			for _, n := range f.Names {
				fields = append(fields, field{name: n.Name, tag: reflect.StructTag(tag)})
			}
		}
		return false
	})
	if len(fields) == 0 {
		t.Fatalf("%s has no struct %s", path, name)
	}
	return fields
}

func callsIn(t *testing.T, path string) []*ast.CallExpr {
	t.Helper()
	var calls []*ast.CallExpr
	ast.Inspect(parse(t, path), func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

// methodOf returns the names in a call of the form receiver.method().
func methodOf(call *ast.CallExpr) (receiver, method string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if of, ok := selector.X.(*ast.Ident); ok {
		receiver = of.Name
	}
	return receiver, selector.Sel.Name
}

// literalsOf returns those arguments of a call that are string literals.
func literalsOf(t *testing.T, call *ast.CallExpr) []string {
	t.Helper()
	var all []string
	for _, argument := range call.Args {
		if literal, ok := argument.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			all = append(all, unquote(t, literal))
		}
	}
	return all
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func unquote(t *testing.T, literal *ast.BasicLit) string {
	t.Helper()
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
