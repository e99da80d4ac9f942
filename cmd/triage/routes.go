package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/workflows"
)

func newRoutes() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "Check a file of routes, and show what would start by it",
		Example: `  triage routes check routes.yaml
  triage routes plan routes.yaml issue.created`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRoutesCheck(), newRoutesPlan())
	return cmd
}

func newRoutesCheck() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "check <file>",
		Short: "Say what is wrong with a file of routes, by line and column",
		Long: `Says all that is wrong with a file of routes, and what may be wrong. It reads the
names of the integrations from INTEGRATIONS, and needs nothing else.

Warnings are no failure.`,
		Example: `  triage routes check routes.yaml
  INTEGRATIONS=backend,mobile triage routes check --json routes.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return checkRoutesFile(args[0], asJSON, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print what is wrong as JSON")
	return cmd
}

// routesReport is what check says of a file, as JSON.
type routesReport struct {
	Routes   int                `json:"routes"`   // 0 if the file is wrong
	Unlisted []string           `json:"unlisted"` // workflows that are compiled in and have no route
	Problems []yamlfile.Problem `json:"problems"`
	Warnings []yamlfile.Problem `json:"warnings"`
}

func checkRoutesFile(path string, asJSON bool, stdout io.Writer) error {
	table, problems, err := loadRoutes(path)
	if err != nil {
		return err
	}
	report := routesReport{Unlisted: []string{}, Problems: append([]yamlfile.Problem{}, problems...), Warnings: []yamlfile.Problem{}} // [] in JSON
	if table != nil {
		report.Routes = len(table.Routes())
		report.Unlisted = append(report.Unlisted, table.Unlisted()...)
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
			fmt.Fprintln(stdout, summaryOf(table))
		}
	}
	if len(problems) > 0 {
		return errWrongFile
	}
	return nil
}

// loadRoutes returns the table of a file, or what is wrong in it.
func loadRoutes(path string) (*routes.Table, yamlfile.ProblemsError, error) {
	cfg, err := config.LoadWorker() // which needs no secret
	if err != nil {
		return nil, nil, err
	}
	table, err := routes.Load(path, workflows.All, cfg.Integrations)
	problems, err := wrongIn(err)
	return table, problems, err
}

// summaryOf says how many routes a table has, and which workflows have none.
func summaryOf(table *routes.Table) string {
	n := len(table.Routes())
	summary := fmt.Sprintf("%d routes", n)
	if n == 1 {
		summary = "1 route"
	}
	if unlisted := table.Unlisted(); len(unlisted) > 0 {
		summary += "; compiled in and without a route, so never run: " + strings.Join(unlisted, ", ")
	}
	return summary
}

// planning is what the flags of plan say.
type planning struct {
	integration, resource string
	asJSON                bool
}

func newRoutesPlan() *cobra.Command {
	var p planning
	cmd := &cobra.Command{
		Use:   "plan <file> <resource.action|body file>",
		Short: "Show what would start for a delivery, and why the rest would not",
		Long: `Shows what would start for a delivery by a file of routes, and for each route by
which it would not, why. The delivery is a sample or the body of a webhook. It
starts nothing, and asks nobody.

It exits with 1 if nothing would start.`,
		Example: `  triage routes plan routes.yaml issue.created
  triage routes plan --integration mobile routes.yaml body.json
  triage routes plan --json routes.yaml error.created`,
		Args: fileAndDelivery(),
		RunE: func(cmd *cobra.Command, args []string) error { return p.plan(args[0], args[1], cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&p.integration, "integration", "", "the integration that it comes for (default: the first of INTEGRATIONS)")
	flags.StringVar(&p.resource, "resource", "", "the Sentry-Hook-Resource of a body file (default: as far as the body says it)")
	flags.BoolVar(&p.asJSON, "json", false, "print the plan as JSON")
	return cmd
}

// planReport is what plan says of a delivery, as JSON.
type planReport struct {
	Event       string        `json:"event"`
	Integration string        `json:"integration"`
	Project     string        `json:"project"`
	Level       string        `json:"level"`
	Routes      []planVerdict `json:"routes"`
}

// planVerdict is what a route says.
type planVerdict struct {
	Workflow   string    `json:"workflow"`
	Line       int       `json:"line,omitempty"` // of the route in the file
	Starts     bool      `json:"starts"`
	WorkflowID string    `json:"workflow_id,omitempty"`
	Namespace  string    `json:"namespace,omitempty"`
	TaskQueue  string    `json:"task_queue,omitempty"`
	Key        string    `json:"key,omitempty"`
	No         routes.No `json:"no,omitempty"`  // what says that it does not start
	Why        string    `json:"why,omitempty"` // it does not, or what else is to be known
}

func (p *planning) plan(path, delivery string, stdout io.Writer) error {
	cfg, err := config.LoadWorker()
	if err != nil {
		return err
	}
	table, problems, err := loadRoutes(path)
	if err != nil {
		return err
	}
	if problems != nil {
		printProblems(stdout, path, "", problems)
		return errWrongFile
	}
	integration := cmp.Or(p.integration, cfg.Integrations[0].Name)
	if !slices.ContainsFunc(cfg.Integrations, func(i config.Integration) bool { return i.Name == integration }) {
		return fmt.Errorf("integration %s is not in INTEGRATIONS", integration)
	}
	env, err := readDelivery(delivery, p.resource, integration)
	if err != nil {
		return err
	}
	d := sentry.DeliveryOf(env)
	report := planReport{Event: d.Event, Integration: integration, Project: d.Project, Level: d.Level, Routes: []planVerdict{}}
	starts := 0
	for _, v := range table.Explain(d) {
		verdict := verdictOf(v, d)
		if verdict.Starts {
			starts++
		}
		report.Routes = append(report.Routes, verdict)
	}
	if p.asJSON {
		err = printJSON(stdout, report)
	} else {
		err = printPlan(stdout, report)
	}
	if err == nil && starts == 0 {
		err = errors.New("nothing would start")
	}
	return err
}

func verdictOf(v routes.Verdict, d sentry.Delivery) planVerdict {
	r := v.Route
	verdict := planVerdict{Workflow: r.Workflow, Line: r.Line, No: v.No, Why: whyNot(v, d)}
	o := v.Operation
	if o == nil {
		return verdict
	}
	verdict.Starts, verdict.Namespace, verdict.TaskQueue = true, o.Namespace, o.TaskQueue
	verdict.WorkflowID, verdict.Key = o.WorkflowID, "Request-ID"
	switch {
	case o.Shared:
		verdict.Key = "issue, a run every " + r.PerIssue.String()
	default:
		verdict.WorkflowID += "<Request-ID>"
		if r.PerIssue > 0 {
			verdict.Key = "Request-ID, for want of an issue or a time"
		}
	}
	switch {
	case v.Unsure != nil:
		verdict.Why = "it is not known what its condition says, so it runs: " + v.Unsure.Error()
	case o.Condition:
		verdict.Why = "its run asks its condition, if it has one"
	}
	return verdict
}

// whyNot says in words what a [routes.No] says.
func whyNot(v routes.Verdict, d sentry.Delivery) string {
	switch r := v.Route; v.No {
	case routes.NoEvents:
		return "it wants " + strings.Join(r.Events, ", ")
	case routes.NoIntegrations:
		return without("integration", r.Integrations, d.Integration)
	case routes.NoProjects:
		return without("project", r.Projects, d.Project)
	case routes.NoLevels:
		return without("level", r.Levels, d.Level)
	case routes.NoEarlier:
		return "a route before it is for the delivery"
	case routes.NoCondition:
		return "its condition, triage.When, says no"
	case routes.NoRoute:
		return "it is compiled in, and the file has no route for it"
	}
	return ""
}

func printPlan(w io.Writer, report planReport) error {
	fmt.Fprintf(w, "%s for %s, project %s, level %s\n\n", report.Event, report.Integration, cmp.Or(report.Project, "none"), cmp.Or(report.Level, "none"))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LINE\tWORKFLOW\tSTARTS\t")
	for _, v := range report.Routes {
		line := "-"
		if v.Line > 0 {
			line = fmt.Sprint(v.Line)
		}
		if !v.Starts {
			fmt.Fprintf(table, "%s\t%s\tno\t%s: %s\n", line, v.Workflow, v.No, v.Why)
			continue
		}
		fmt.Fprintf(table, "%s\t%s\tyes\t%s\n", line, v.Workflow, v.WorkflowID)
		fmt.Fprintf(table, "\t\t\tnamespace %s, task queue %s, key: %s\n", v.Namespace, v.TaskQueue, v.Key)
		if v.Why != "" {
			fmt.Fprintf(table, "\t\t\t%s\n", v.Why)
		}
	}
	return table.Flush()
}
