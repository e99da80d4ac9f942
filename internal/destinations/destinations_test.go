package destinations_test

import (
	"slices"
	"testing"

	"sentry-temporal/internal/destinations"
)

const several = `destinations:
  - name: payments
    match: {projects: ["pay-*", shop], environments: [production, "eu-*"], teams: [payments], levels: [fatal, error]}
    pagerduty: ${PAY_PAGERDUTY_KEY}
  - name: shop
    match: {projects: [shop]}
    slack: "#shop"
  - name: fatal
    match: {levels: [fatal]}
    pagerduty: ${OPS_PAGERDUTY_KEY}
  - name: backup
    match: {environments: ["eu-*"]}
    pagerduty: ${PAY_PAGERDUTY_KEY}
`

func TestTheFirstDestinationThatMatchesIsTold(t *testing.T) {
	table := taken(t, several)
	all := destinations.Question{Projects: []string{"pay-api"}, Environment: "production", Team: "payments", Level: "error"}
	for name, tt := range map[string]struct {
		change func(*destinations.Question)
		want   string
		no     [4]destinations.No
	}{
		"all of it":             {func(*destinations.Question) {}, "payments", [4]destinations.No{"", "projects", "levels", "environments"}},
		"what a prefix is":      {func(q *destinations.Question) { q.Projects, q.Environment = []string{"pay-"}, "eu-" }, "payments", [4]destinations.No{"", "projects", "levels", "earlier"}},
		"what begins otherwise": {func(q *destinations.Question) { q.Projects = []string{"pay"} }, "", [4]destinations.No{"projects", "projects", "levels", "environments"}},
		"a whole name":          {func(q *destinations.Question) { q.Projects = []string{"shop"} }, "payments", [4]destinations.No{"", "earlier", "levels", "environments"}},
		"more than a name":      {func(q *destinations.Question) { q.Projects = []string{"shops"} }, "", [4]destinations.No{"projects", "projects", "levels", "environments"}},
		"another environment":   {func(q *destinations.Question) { q.Projects, q.Environment = []string{"shop"}, "staging" }, "shop", [4]destinations.No{"environments", "", "levels", "environments"}},
		"no environment":        {func(q *destinations.Question) { q.Projects, q.Environment = []string{"shop"}, "" }, "shop", [4]destinations.No{"environments", "", "levels", "environments"}},
		"another team":          {func(q *destinations.Question) { q.Team, q.Level = "search", "fatal" }, "fatal", [4]destinations.No{"teams", "projects", "", "environments"}},
		"no team":               {func(q *destinations.Question) { q.Team = "" }, "", [4]destinations.No{"teams", "projects", "levels", "environments"}},
		"another level":         {func(q *destinations.Question) { q.Level, q.Environment = "info", "eu-1" }, "backup", [4]destinations.No{"levels", "projects", "levels", ""}},
		"no level":              {func(q *destinations.Question) { q.Level = "" }, "", [4]destinations.No{"levels", "projects", "levels", "environments"}},
		"no project":            {func(q *destinations.Question) { q.Projects = nil }, "", [4]destinations.No{"projects", "projects", "levels", "environments"}},
		"one of two projects":   {func(q *destinations.Question) { q.Projects = []string{"search", "shop"} }, "payments", [4]destinations.No{"", "earlier", "levels", "environments"}},
		"nothing known":         {func(q *destinations.Question) { *q = destinations.Question{} }, "", [4]destinations.No{"projects", "projects", "levels", "environments"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := all
			tt.change(&q)
			if got, ok := table.For(q); got.Name != tt.want || ok != (tt.want != "") {
				t.Errorf("told is %q, %v; want %q", got.Name, ok, tt.want)
			}
			for i, v := range table.Explain(q) {
				if v.No != tt.no[i] {
					t.Errorf("%s says %q, want %q", v.Rule.Name, v.No, tt.no[i])
				}
			}
		})
	}
}

func TestADestinationWithoutAMatchIsForEverything(t *testing.T) {
	table := taken(t, several+"  - name: everyone\n    slack: \"#sentry\"\n")
	if got, ok := table.For(destinations.Question{}); !ok || got.Name != "everyone" {
		t.Errorf("told is %+v", got)
	}
}

// What it matched when somebody was paged is not known when that is resolved.
func TestAllThatMayHaveBeenPagedForProjectsAreKnown(t *testing.T) {
	table := taken(t, several)
	for name, tt := range map[string]struct {
		projects []string
		want     []string
	}{
		"a project":         {[]string{"shop"}, []string{"PAY_PAGERDUTY_KEY", "OPS_PAGERDUTY_KEY"}},
		"a project of none": {[]string{"search"}, []string{"OPS_PAGERDUTY_KEY", "PAY_PAGERDUTY_KEY"}},
		"several":           {[]string{"search", "pay-api"}, []string{"PAY_PAGERDUTY_KEY", "OPS_PAGERDUTY_KEY"}},
		"any":               {nil, []string{"PAY_PAGERDUTY_KEY", "OPS_PAGERDUTY_KEY"}},
	} {
		if got := table.PagersOf(tt.projects); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := destinations.None().PagersOf(nil); len(got) != 0 {
		t.Errorf("of no destinations there are %q", got)
	}
}

func TestATableIsEmptyWithoutADestination(t *testing.T) {
	if !destinations.None().Empty() || taken(t, several).Empty() {
		t.Error("it is not")
	}
}
