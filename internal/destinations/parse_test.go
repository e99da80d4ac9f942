package destinations_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/yamlfile"
)

const (
	routingKey = "0123456789abcdef0123456789abcdef"
	hookURL    = "https://hooks.slack.com/services/T0/B0/XXXXXXXX"
)

// secrets are the variables of an environment.
type secrets map[string]config.Secret

func (s secrets) read(variable string) (config.Secret, error) {
	switch secret, there := s[variable]; {
	case !there:
		return "", config.ErrNotSet
	case secret == "":
		return "", errors.New("open the file: no such file")
	default:
		return secret, nil
	}
}

// configured is where all is configured that there is.
var configured = config.Outside{
	Sentry: map[string]config.SentryAPI{"sentry": {TokenVariable: "SENTRY_API_TOKEN"}},
	Secret: secrets{
		config.SlackToken: "xoxb-1", config.GitHubToken: "ghp_1", config.WebhookSecret: "whsec_1",
		"PAY_PAGERDUTY_KEY": routingKey, "OPS_PAGERDUTY_KEY": routingKey, "PAY_SLACK_HOOK": hookURL, "PAY_WEBHOOK": "https://pay.example/hook",
		"PAY_SLOPPY_KEY": "sloppy", "PAY_GONE_KEY": "",
	}.read,
}

// parse returns what is said of a file: nothing, if it is taken.
func parse(file string, outside config.Outside) (*destinations.Table, yamlfile.ProblemsError) {
	table, err := destinations.Parse([]byte(file), outside)
	var problems yamlfile.ProblemsError
	if err != nil && !errors.As(err, &problems) {
		panic(err)
	}
	return table, problems
}

// taken returns the table of a file that is right.
func taken(t *testing.T, file string) *destinations.Table {
	t.Helper()
	table, problems := parse(file, configured)
	if problems != nil {
		t.Fatalf("refused: %v\n%s", problems, file)
	}
	return table
}

// one is a file of one destination.
func one(lines ...string) string {
	return "destinations:\n  - name: pay\n    " + strings.Join(lines, "\n    ") + "\n"
}

// matching is a file of one destination with a match.
func matching(match string) string { return one(`slack: "#pay"`, "match: "+match) }

// say compares problems with what is wanted of each: "line:column: " and a word.
func say(t *testing.T, what string, problems []yamlfile.Problem, wants []string) {
	t.Helper()
	if len(problems) != len(wants) {
		t.Fatalf("%s are\n%v\nwant %q", what, problems, wants)
	}
	for i, problem := range problems {
		place, word, _ := strings.Cut(wants[i], ": ")
		if !strings.HasPrefix(problem.String(), place+": ") || !strings.Contains(problem.Text, word) {
			t.Errorf("%s: %s, want %s", what, problem, wants[i])
		}
	}
}

func TestAFileWithSomethingWrongIsRefusedWithThePlace(t *testing.T) {
	for name, tt := range map[string]struct {
		file  string
		wants []string
	}{
		"nothing":                {"", []string{"1:1: destinations"}},
		"an empty list":          {"destinations: []\n", []string{"1:15: empty list"}},
		"a key nobody knows":     {one(`slack: "#pay"`) + "routes: []\n", []string{"4:1: not known"}},
		"a destination of text":  {"destinations: [pay]\n", []string{"1:16: text, not keys"}},
		"no name":                {"destinations:\n  - slack: \"#pay\"\n", []string{"2:5: no name"}},
		"a name twice":           {one(`slack: "#a"`) + "  - name: pay\n    slack: \"#b\"\n    match: {levels: [fatal]}\n", []string{"4:11: line 2"}},
		"a name of nothing":      {"destinations:\n  - {name: \" \", slack: \"#a\"}\n", []string{"2:12: letters"}},
		"a name that is long":    {"destinations:\n  - {name: " + strings.Repeat("n", 65) + ", slack: \"#a\"}\n", []string{"2:12: 64"}},
		"a name of two lines":    {"destinations:\n  - {name: \"a\\nb\", slack: \"#a\"}\n", []string{"2:12: letters"}},
		"a name that turns":      {"destinations:\n  - {name: \"a\u202eb\", slack: \"#a\"}\n", []string{"2:12: letters"}},
		"nobody to tell":         {one("match: {levels: [fatal]}"), []string{"2:5: tells nobody"}},
		"nobody at all":          {"destinations: [{}]\n", []string{"1:16: no name", "1:16: tells nobody"}},
		"a field nobody knows":   {one("slak: a"), []string{"2:5: tells nobody", "3:5: mean slack?"}},
		"everything twice":       {one(`slack: "#a"`, "slack_webhook: ${PAY_SLACK_HOOK}"), []string{"4:5: twice"}},
		"a match of nothing":     {matching("{}"), []string{"4:12: leave it out"}},
		"a match of null":        {matching(""), []string{"4:11: empty, not keys"}},
		"a match of a text":      {matching("pay-*"), []string{"4:12: text, not keys"}},
		"a match nobody knows":   {matching("{project: [a]}"), []string{"4:13: mean projects?"}},
		"a text for projects":    {matching("{projects: a}"), []string{"4:23: text, not a list"}},
		"no projects":            {matching("{projects: []}"), []string{"4:23: empty list"}},
		"a project with a blank": {matching("{projects: [a b]}"), []string{"4:24: project's slug"}},
		"a * for all":            {matching(`{projects: ["*"], environments: ["*"], teams: ["*"], levels: ["*"]}`), []string{"4:24: project", "4:45: environment", "4:59: team", "4:74: fatal"}},
		"a * that is no end":     {matching(`{projects: ["a*b"], environments: ["a*b"], teams: ["a*b"]}`), []string{"4:24: project", "4:47: environment", "4:63: team"}},
		"a team with a #":        {matching(`{teams: ["#pay"]}`), []string{"4:21: team's slug"}},
		"an environment's slash": {matching("{environments: [a/b]}"), []string{"4:28: environment"}},
		"an environment's line":  {matching(`{environments: ["a\nb"]}`), []string{"4:28: environment"}},
		"a long environment":     {matching("{environments: [" + strings.Repeat("e", 65) + "]}"), []string{"4:28: environment"}},
		"a level nobody has":     {matching("{levels: [eror]}"), []string{"4:22: mean error?"}},
		"a level twice":          {matching("{levels: [error, error]}"), []string{"4:29: twice"}},
		"too many teams":         {matching("{teams: [t" + strings.Join(numbers(101), ",t") + "]}"), []string{"4:411: more than 100"}},

		"a channel without quotes":  {one("slack: #pay"), []string{"3:11: quotes"}},
		"a channel without #":       {one("slack: pay"), []string{"3:12: channel"}},
		"a channel in capitals":     {one(`slack: "#Pay"`), []string{"3:12: channel"}},
		"a list of channels":        {one(`slack: ["#pay"]`), []string{"3:12: list"}},
		"a repository without name": {one("github: acme"), []string{"3:13: repository"}},
		"an address of one":         {one("github: https://github.com/acme/pay"), []string{"3:13: repository"}},

		"a variable that is not set": {one("pagerduty: ${PAY_KEY}"), []string{"3:16: PAY_KEY_FILE"}},
		"three of them":              {one("pagerduty: ${A_KEY}", "slack_webhook: ${B_HOOK}", "webhook: ${C_HOOK}"), []string{"3:16: A_KEY", "4:20: B_HOOK", "5:14: C_HOOK"}},
		"a variable in small":        {one("pagerduty: ${pay_key}"), []string{"3:16: variable"}},
		"no variable":                {one("pagerduty: ${}"), []string{"3:16: variable"}},
		"two variables":              {one("pagerduty: ${PAY_PAGERDUTY_KEY}${PAY_PAGERDUTY_KEY}"), []string{"3:16: variable"}},
		"a variable of a shell":      {one("pagerduty: $PAY_PAGERDUTY_KEY"), []string{"3:16: variable"}},
		"a variable's name":          {one("pagerduty: PAY_PAGERDUTY_KEY"), []string{"3:16: variable"}},
		"a line end behind it":       {one(`pagerduty: "${PAY_PAGERDUTY_KEY}\n"`), []string{"3:16: variable"}},
		"a variable of YAML":         {one("pagerduty: {PAY_PAGERDUTY_KEY}"), []string{"3:16: keys with values"}},
		"a list of variables":        {one("pagerduty: [\"${PAY_PAGERDUTY_KEY}\"]"), []string{"3:16: list"}},
		"a tag":                      {one("pagerduty: !!str ${PAY_PAGERDUTY_KEY}"), []string{"3:16: tags"}},

		"all at once": {
			"destinations:\n  - name: a\n    slack: a\n    match: {levels: [bad], teams: [\"a b\"]}\n  - nam: b\n    pagerduty: x\n",
			[]string{"3:12: channel", "4:22: bad", "4:36: team", "5:5: mean name?", "5:5: no name", "6:16: variable"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table, problems := parse(tt.file, configured)
			if table != nil {
				t.Error("it is taken")
			}
			say(t, "the problems", problems, tt.wants)
		})
	}
}

func TestASecretThatIsWrittenOutIsRefusedAndNotRepeated(t *testing.T) {
	const plain = "Tops3cretTops3cretTops3cret00001"
	for _, secret := range []string{
		plain, "https://hooks.slack.com/services/T0/B0/" + plain, "xoxb-1-" + plain, "https://" + plain + "@github.com/acme/pay",
		"$" + plain, "${" + plain + "}", "${PAY_KEY:-" + plain + "}", "#" + plain, "*" + plain, "&" + plain, "!" + plain, "&a " + plain, "|\n      " + plain,
		"[" + plain, "{" + plain + "}", "{" + plain + ": 1}", "'" + plain, "\"\\" + plain + "\"", "`" + plain, "%" + plain, "@" + plain, "- " + plain, plain + ": " + plain,
		"? " + plain, "12345678901234567890123456789012" + "\n    # " + plain,
	} {
		for _, key := range []string{"slack", "slack_webhook", "pagerduty", "github", "webhook"} {
			table, problems := parse(one(key+": "+secret), configured)
			if table != nil || len(problems) == 0 {
				t.Errorf("%s takes %s", key, secret)
			}
			if strings.Contains(strings.ToLower(problems.Error()), "tops3cret") {
				t.Errorf("of %s: %s it is said: %v", key, secret, problems)
			}
		}
	}
}

func TestAFileMaySayAllThatThereIs(t *testing.T) {
	table := taken(t, `# of the payments team
destinations:
  - name: payments
    match: {projects: ["pay-*", shop], environments: [production, "eu *"], teams: [payments], levels: [fatal, error]}
    slack: "#pay-alerts"
    pagerduty: ${PAY_PAGERDUTY_KEY}
    github: acme/pay
    webhook: ${PAY_WEBHOOK}
  - name: Pay at night / second line
    match:
      levels:
        - fatal
    slack_webhook: "${PAY_SLACK_HOOK}"
  - name: everyone
    slack: C0123456789
`)
	want := []destinations.Rule{
		{
			Destination: destinations.Destination{Name: "payments", Slack: "#pay-alerts", PagerDuty: "PAY_PAGERDUTY_KEY", GitHub: "acme/pay", Webhook: "PAY_WEBHOOK"},
			Match: destinations.Match{
				Projects: []string{"pay-*", "shop"}, Environments: []string{"production", "eu *"}, Teams: []string{"payments"}, Levels: []string{"fatal", "error"},
			},
			Line: 3,
		},
		{
			Destination: destinations.Destination{Name: "Pay at night / second line", SlackWebhook: "PAY_SLACK_HOOK"},
			Match:       destinations.Match{Levels: []string{"fatal"}}, Line: 9,
		},
		{Destination: destinations.Destination{Name: "everyone", Slack: "C0123456789"}, Line: 14},
	}
	if !reflect.DeepEqual(table.Rules(), want) {
		t.Errorf("it says\n%+v, want\n%+v", table.Rules(), want)
	}
	if len(table.Warnings()) != 0 {
		t.Errorf("warned of %v", table.Warnings())
	}
}

func TestWhatMayBeWrongInAFileIsToldOf(t *testing.T) {
	nothing := config.Outside{Secret: secrets{"PAY_PAGERDUTY_KEY": routingKey, "PAY_WEBHOOK": "https://pay.example/hook"}.read}
	for name, tt := range map[string]struct {
		file    string
		outside config.Outside
		wants   []string
	}{
		"one behind everything": {
			one(`slack: "#a"`) + "  - {name: b, slack: \"#b\"}\n  - {name: c, slack: \"#c\", match: {levels: [fatal]}}\n", configured,
			[]string{"4:5: line 2", "5:5: line 2"},
		},
		"one for the same": {
			matching("{levels: [error, fatal], teams: [a]}") + "  - {name: b, slack: \"#b\", match: {teams: [a], levels: [fatal, error]}}\n  - {name: c, slack: \"#c\", match: {teams: [a], levels: [fatal]}}\n", configured,
			[]string{"5:5: line 2 is for the same"},
		},
		"no token of Sentry": {
			matching("{environments: [production], teams: [pay]}"), config.Outside{Secret: configured.Secret},
			[]string{"4:13: alerts alone", "4:41: mostly name none"},
		},
		"no tokens": {
			one(`slack: "#a"`, "github: acme/pay", "webhook: ${PAY_WEBHOOK}", "match: {levels: [fatal]}") + "  - {name: b, slack: \"#b\"}\n", nothing,
			[]string{"3:5: TRIAGE_SLACK_TOKEN", "4:5: TRIAGE_GITHUB_TOKEN", "5:5: TRIAGE_WEBHOOK_SECRET"},
		},
		"a secret of another form": {one("pagerduty: ${PAY_SLOPPY_KEY}"), configured, []string{"3:16: PAY_SLOPPY_KEY cannot be used"}},
		"a file that is not there": {one("pagerduty: ${PAY_GONE_KEY}"), configured, []string{"3:16: PAY_GONE_KEY cannot be used"}},
		"a key for an address":     {one("webhook: ${PAY_PAGERDUTY_KEY}"), configured, []string{"3:14: PAY_PAGERDUTY_KEY cannot be used"}},
		"one of them twice": {
			one("pagerduty: ${PAY_GONE_KEY}", "match: {levels: [fatal]}") + "  - {name: b, pagerduty: \"${PAY_GONE_KEY}\"}\n", configured,
			[]string{"3:16: PAY_GONE_KEY"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table, problems := parse(tt.file, tt.outside)
			if table == nil {
				t.Fatalf("it is refused: %v", problems)
			}
			say(t, "the warnings", table.Warnings(), tt.wants)
			for _, w := range table.Warnings() {
				if strings.Contains(w.Text, "sloppy") || strings.Contains(w.Text, routingKey) {
					t.Errorf("it repeats a secret: %s", w)
				}
			}
		})
	}
}

func numbers(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(i)
	}
	return all
}

// many is a file of n destinations, each for a project of its own.
func many(n int) string {
	var b strings.Builder
	b.WriteString("destinations:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: n%d, slack: \"#pay\", match: {projects: [p%d]}}\n", i, i)
	}
	return b.String()
}

func TestAHostileFileIsRefused(t *testing.T) {
	room := func(s string) string { return strings.Repeat(s, (yamlfile.MaxFile-64)/len(s)) }
	for name, file := range map[string]string{
		"10 MB":                 "destinations:\n" + strings.Repeat("  - {name: a, slack: \"#a\"}\n", 10<<20/27),
		"one byte too much":     one(`slack: "#a"`, "# "+strings.Repeat("x", yamlfile.MaxFile)),
		"too many destinations": many(destinations.MaxDestinations + 1),
		"lists in lists":        "destinations: " + room("["),
		"names":                 "destinations: [{name: " + room("x") + "}]",
		"many secrets":          one(room("webhook: x\n    ")),
		"many problems":         "destinations:\n" + room("- {pagerduty: x}\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if table, problems := parse(file, configured); table != nil || len(problems) == 0 || len(problems) > 100 || len(problems.Error()) > 64<<10 {
				t.Errorf("%d problems", len(problems))
			}
		})
	}
	if _, problems := parse(many(destinations.MaxDestinations), configured); problems != nil {
		t.Errorf("with as many as it may have, it is refused: %v", problems)
	}
	if _, problems := parse(matching("{teams: [t"+strings.Join(numbers(100), ",t")+"]}"), configured); problems != nil {
		t.Errorf("with as many teams as it may have, it is refused: %v", problems)
	}
}

func TestOnlyAFileIsLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "destinations.yaml")
	if _, err := destinations.Load(path, configured); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(path, []byte(one(`slack: "#a"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if table, err := destinations.Load(path, configured); err != nil || len(table.Rules()) != 1 {
		t.Errorf("%v, %v", table, err)
	}
}
