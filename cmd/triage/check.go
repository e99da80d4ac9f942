package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/yamlfile"
)

// checkTimeout is what Temporal gets to answer.
const checkTimeout = 10 * time.Second

// How a finding is.
const (
	statusOK      = "ok"
	statusWarning = "warning" // it may be wrong
	statusError   = "error"
)

// finding is a line of what check says.
type finding struct {
	Status  string `json:"status"`
	Program string `json:"program"` // ingress, worker or both
	About   string `json:"about"`   // a variable, or what was tried
	Says    string `json:"says"`
}

func newCheck() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "check [ingress|worker]",
		Short: "Say what is wrong with the configuration, Temporal and the disk",
		Long: `Reads the variables of ingress and worker, or of the one that is named, and says
all that is wrong with them and with the files of the routes and destinations. Then
it asks Temporal for each namespace and its search attributes, and whether a worker
polls the task queues of the routes, asks the outside systems that are configured for
the worker by calls that change nothing, and writes a file to the disk of the journal
and takes it away again. It disturbs no program that runs.

Warnings are no failure.`,
		Example: `  triage check
  triage check worker
  triage check --json`,
		ValidArgs: []string{"ingress", "worker"},
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			findings := check(cmd.Context(), len(args) == 0 || args[0] == "ingress", len(args) == 0 || args[0] == "worker")
			if err := printFindings(cmd.OutOrStdout(), findings, asJSON); err != nil {
				return err
			}
			if slices.ContainsFunc(findings, func(f finding) bool { return f.Status == statusError }) {
				return errors.New("not all is well")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print a list as JSON")
	return cmd
}

func printFindings(w io.Writer, findings []finding, asJSON bool) error {
	if asJSON {
		return printJSON(w, findings)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STATUS\tPROGRAM\tABOUT\t")
	for _, f := range findings {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.Status, f.Program, f.About, f.Says)
	}
	return table.Flush()
}

// check looks at what the programs need, of those that are asked for.
func check(ctx context.Context, ofIngress, ofWorker bool) []finding {
	var findings []finding
	var common []config.Common // that can be used
	var table *routes.Table    // of the ingress; nil: it cannot be used
	load := func(program string, cfg config.Common, err error) {
		problems, _ := errors.AsType[config.ProblemsError](err)
		for _, p := range problems {
			findings = add(findings, finding{statusError, program, p.Variable, p.Text})
		}
		for _, w := range cfg.Warnings {
			findings = add(findings, finding{statusWarning, program, w.Variable, w.Text})
		}
		if err == nil {
			common = append(common, cfg)
			findings = add(findings, finding{statusOK, program, "variables", "it would start with them"})
		}
	}
	if ofIngress {
		cfg, err := process.LoadIngress()
		load("ingress", cfg.Common, err)
		if err == nil && cfg.RoutesFile != "" {
			var found []finding
			table, found = checkRoutes(cfg)
			findings = append(findings, found...)
		}
		if cfg.JournalDir != "" {
			findings = append(findings, checkDisk(cfg.JournalDir, cfg.JournalMaxBytes))
		}
	}
	if ofWorker {
		cfg, err := config.LoadWorker()
		load("worker", cfg.Common, err)
		if cfg.Outside.DestinationsFile != "" {
			findings = append(findings, checkDestinations(cfg.Outside)...)
		}
		if err == nil {
			findings = append(findings, checkOutside(ctx, cfg)...)
		}
	}
	program := "both"
	if !ofIngress {
		program = "worker"
	} else if !ofWorker {
		program = "ingress"
	}
	if len(common) == 0 {
		return append(findings, finding{statusWarning, program, "Temporal", "is not asked before the variables are right"})
	}
	return append(findings, checkTemporal(ctx, common[0], table, program)...)
}

// add appends f, which becomes one with that of the other program.
func add(findings []finding, f finding) []finding {
	for i, other := range findings {
		if other.Status == f.Status && other.About == f.About && other.Says == f.Says {
			findings[i].Program = "both"
			return findings
		}
	}
	return append(findings, f)
}

// checkDisk tries the disk of the journal in dir, whose file may grow to twice
// maxBytes.
func checkDisk(dir string, maxBytes int64) finding {
	path, err := filepath.Abs(dir)
	if err != nil {
		path = dir
	}
	f := finding{Status: statusOK, Program: "ingress", About: "journal in " + path}
	switch bytes, err := journal.CheckDisk(dir); {
	case err != nil:
		f.Status, f.Says = statusError, err.Error()
	case bytes >= 0 && bytes < 2*maxBytes:
		f.Status = statusWarning
		f.Says = fmt.Sprintf("there is room for %d MiB, and its file may grow to %d, twice JOURNAL_MAX_BYTES", bytes>>20, 2*maxBytes>>20)
	default:
		f.Says = "its disk can be written and synced, and has room"
	}
	return f
}

// checkRoutes says what may be wrong with the routes of a file that can be used.
func checkRoutes(cfg config.Ingress) (*routes.Table, []finding) {
	const about = "ROUTES_FILE"
	table, err := process.Routes(cfg.RoutesFile, cfg.Integrations)
	if err != nil { // the ingress would start with the routes that it used last
		return nil, []finding{{statusError, "ingress", about, err.Error()}}
	}
	findings := []finding{{statusOK, "ingress", about, summaryOf(table)}}
	for _, w := range table.Warnings() {
		findings = append(findings, finding{statusWarning, "ingress", about, w.String()})
	}
	return table, findings
}

// checkDestinations says what is wrong with the file of the destinations, and what may be.
func checkDestinations(outside config.Outside) []finding {
	table, err := destinations.Load(outside.DestinationsFile, outside)
	if err != nil {
		var findings []finding
		for _, p := range yamlfile.ProblemsOf(destinations.Variable, outside.DestinationsFile, err) {
			findings = append(findings, finding{statusError, "worker", p.Variable, p.Text})
		}
		return findings
	}
	findings := []finding{{statusOK, "worker", destinations.Variable, countDestinations(table)}}
	for _, w := range table.Warnings() {
		findings = append(findings, finding{statusWarning, "worker", destinations.Variable, w.String()})
	}
	return findings
}

// checkTemporal asks for each namespace, also of those that the routes name.
func checkTemporal(ctx context.Context, cfg config.Common, table *routes.Table, program string) []finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, slog.New(slog.DiscardHandler))
	if err != nil {
		return []finding{{statusError, program, "Temporal", err.Error()}}
	}
	defer connections.Close()
	if table != nil {
		if err := process.OpenPlaces(connections, table); err != nil {
			return []finding{{statusError, program, "Temporal", err.Error()}}
		}
	}
	var findings []finding
	for _, c := range connections.Check(ctx) {
		about := "namespace " + c.Namespace + " at " + c.Address
		if c.Connection != "" {
			about += " by profile " + c.Connection
		}
		f := finding{statusOK, program, about, "answers, and has the search attributes"}
		switch {
		case c.Err != nil:
			f.Status, f.Says = statusError, c.Err.Error()
		case c.LacksErr != nil:
			f.Status, f.Says = statusWarning, "does not tell its search attributes: "+c.LacksErr.Error()
		case c.Lacks != "":
			f.Status, f.Says = statusError, "search attributes "+c.Lacks+": triage setup adds those that are missing"
		}
		findings = append(findings, f)
	}
	if table != nil {
		findings = append(findings, checkQueues(ctx, connections, table, program)...)
	}
	return findings
}

// checkQueues warns of the task queues of routes that nobody polls: runs wait there
// in silence. What is wrong with a namespace is told already.
func checkQueues(ctx context.Context, connections *starter.Connections, table *routes.Table, program string) []finding {
	type queue struct{ namespace, name string }
	seen := map[queue]bool{}
	var findings []finding
	for _, q := range table.Queues() {
		polled, err := connections.Polled(ctx, q.Integration, q.Namespace, q.TaskQueue)
		if of := (queue{q.Namespace, q.TaskQueue}); err == nil && !polled && !seen[of] {
			seen[of] = true
			findings = append(findings, finding{statusWarning, program, "task queue " + q.TaskQueue + " in namespace " + q.Namespace, "no worker polls it: the runs that routes start there wait"})
		}
	}
	return findings
}
