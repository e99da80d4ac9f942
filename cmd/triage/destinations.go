package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/yamlfile"
)

func newDestinations() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "destinations",
		Short: "Check a file of destinations, and show who would be told by it",
		Example: `  triage destinations check destinations.yaml
  triage destinations plan destinations.yaml issue.created`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDestinationsCheck(), newDestinationsPlan())
	return cmd
}

func newDestinationsCheck() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "check <file>",
		Short: "Say what is wrong with a file of destinations, by line and column",
		Long: `Says all that is wrong with a file of destinations, and what may be wrong. It looks
for the variables that the file names and for those that the worker needs beside
it. It tells nobody, and asks nobody.

Warnings are no failure.`,
		Example: `  triage destinations check destinations.yaml
  triage destinations check --json destinations.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return checkDestinationsFile(args[0], asJSON, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print what is wrong as JSON")
	return cmd
}

// destinationsReport is what check says of a file, as JSON.
type destinationsReport struct {
	Destinations int                `json:"destinations"` // 0 if the file is wrong
	Problems     []yamlfile.Problem `json:"problems"`
	Warnings     []yamlfile.Problem `json:"warnings"`
}

func checkDestinationsFile(path string, asJSON bool, stdout io.Writer) error {
	table, problems, err := loadDestinations(path)
	if err != nil {
		return err
	}
	report := destinationsReport{Problems: append([]yamlfile.Problem{}, problems...), Warnings: []yamlfile.Problem{}} // [] in JSON
	if table != nil {
		report.Destinations = len(table.Rules())
		report.Warnings = append(report.Warnings, table.Warnings()...)
	}
	if asJSON {
		if err := printJSON(stdout, report); err != nil {
			return err
		}
	} else {
		printProblems(stdout, path, "", problems)
		printProblems(stdout, path, warning, report.Warnings)
		if table != nil {
			fmt.Fprintln(stdout, countDestinations(table))
		}
	}
	if len(problems) > 0 {
		return errWrongFile
	}
	return nil
}

// loadDestinations returns the table of a file, or what is wrong in it.
func loadDestinations(path string) (*destinations.Table, yamlfile.ProblemsError, error) {
	cfg, err := config.LoadWorker()
	if err != nil {
		return nil, nil, err
	}
	table, err := destinations.Load(path, cfg.Outside)
	problems, err := wrongIn(err)
	return table, problems, err
}

func countDestinations(table *destinations.Table) string {
	if n := len(table.Rules()); n != 1 {
		return fmt.Sprintf("%d destinations", n)
	}
	return "1 destination"
}

// telling is what the flags of plan say.
type telling struct {
	resource, environment, team string
	asJSON                      bool
}

func newDestinationsPlan() *cobra.Command {
	var t telling
	cmd := &cobra.Command{
		Use:   "plan <file> <resource.action|body file>",
		Short: "Show who would be told of a delivery, and why the others would not",
		Long: `Shows who would be told of a delivery by a file of destinations, and for each of
the others why not. The delivery is a sample or the body of a webhook. It tells
nobody, and asks nobody: what the worker asks Sentry for is given by flags.

It exits with 1 if nobody would be told.`,
		Example: `  triage destinations plan destinations.yaml issue.created
  triage destinations plan --environment production --team payments destinations.yaml body.json
  triage destinations plan --json destinations.yaml metric_alert.critical`,
		Args: fileAndDelivery(),
		RunE: func(cmd *cobra.Command, args []string) error { return t.plan(args[0], args[1], cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&t.resource, "resource", "", "the Sentry-Hook-Resource of a body file (default: as far as the body says it)")
	flags.StringVar(&t.environment, "environment", "", "the environment of the issue's latest event (default: as far as the body says it)")
	flags.StringVar(&t.team, "team", "", "the slug of the team that the issue is assigned to (default: as far as the body says it)")
	flags.BoolVar(&t.asJSON, "json", false, "print the plan as JSON")
	return cmd
}

// tellingReport is what plan says of a delivery, as JSON.
type tellingReport struct {
	Event        string           `json:"event"`
	Projects     []string         `json:"projects"`
	Environment  string           `json:"environment"`
	Team         string           `json:"team"`
	Level        string           `json:"level"`
	Destinations []tellingVerdict `json:"destinations"`
}

// tellingVerdict is what is said of a destination.
type tellingVerdict struct {
	destinations.Destination
	Line int             `json:"line"` // in the file
	Told bool            `json:"told"`
	No   destinations.No `json:"no,omitempty"`  // what says that it is not
	Why  string          `json:"why,omitempty"` // it is not
}

func (t *telling) plan(path, delivery string, stdout io.Writer) error {
	table, problems, err := loadDestinations(path)
	if err != nil {
		return err
	}
	if problems != nil {
		printProblems(stdout, path, "", problems)
		return errWrongFile
	}
	env, err := readDelivery(delivery, t.resource, "")
	if err != nil {
		return err
	}
	q := t.question(env)
	report := tellingReport{
		Event: env.EventType, Projects: append([]string{}, q.Projects...), Environment: q.Environment, Team: q.Team, Level: q.Level,
		Destinations: []tellingVerdict{},
	}
	for _, v := range table.Explain(q) {
		report.Destinations = append(report.Destinations, tellingVerdict{
			Destination: v.Rule.Destination, Line: v.Rule.Line, Told: v.No == "", No: v.No, Why: whyNotTold(v, q),
		})
	}
	if t.asJSON {
		err = printJSON(stdout, report)
	} else {
		err = printTelling(stdout, report)
	}
	if _, told := table.For(q); err == nil && !told {
		err = errors.New("nobody would be told")
	}
	return err
}

// question is what the worker would look for a destination with, if it had the answers of
// the flags from Sentry.
func (t *telling) question(env sentry.Envelope) destinations.Question {
	q := activities.QuestionOf(activities.Case{Envelope: env})
	q.Environment, q.Team = cmp.Or(t.environment, q.Environment), cmp.Or(t.team, q.Team)
	return q
}

// whyNotTold says in words what a [destinations.No] says.
func whyNotTold(v destinations.Verdict, q destinations.Question) string {
	switch m := v.Rule.Match; v.No {
	case destinations.NoProjects:
		return without("project", m.Projects, q.Projects...)
	case destinations.NoEnvironments:
		return without("environment", m.Environments, q.Environment)
	case destinations.NoTeams:
		return without("team", m.Teams, q.Team)
	case destinations.NoLevels:
		return without("level", m.Levels, q.Level)
	case destinations.NoEarlier:
		return "another one comes first, and matches"
	}
	return ""
}

func printTelling(w io.Writer, report tellingReport) error {
	none := func(s string) string { return cmp.Or(s, "none") }
	fmt.Fprintf(w, "%s, project %s, environment %s, team %s, level %s\n\n", report.Event,
		none(strings.Join(report.Projects, ", ")), none(report.Environment), none(report.Team), none(report.Level))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LINE\tDESTINATION\tTOLD\t")
	for _, v := range report.Destinations {
		if !v.Told {
			fmt.Fprintf(table, "%d\t%s\tno\t%s: %s\n", v.Line, v.Name, v.No, v.Why)
			continue
		}
		fmt.Fprintf(table, "%d\t%s\tyes\t%s\n", v.Line, v.Name, waysOf(v.Destination))
	}
	return table.Flush()
}

// waysOf says how somebody is told.
func waysOf(d destinations.Destination) string {
	var ways []string
	for _, way := range []struct{ what, to string }{
		{"Slack ", d.Slack}, {"Slack by ", d.SlackWebhook}, {"PagerDuty by ", d.PagerDuty}, {"GitHub ", d.GitHub}, {"webhook by ", d.Webhook},
	} {
		if way.to != "" {
			ways = append(ways, way.what+way.to)
		}
	}
	return strings.Join(ways, ", ")
}
