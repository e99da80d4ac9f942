package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

// setupTimeout bounds all of setup: new attributes can be used after some seconds.
const setupTimeout = time.Minute

func newSetup() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Add the search attributes to each Temporal namespace",
		Long: `Adds the search attributes by which engineers find runs to the Temporal namespace
of each integration, and to those that the file of the routes names. It reads the
variables of the worker and ROUTES_FILE, and can be repeated.`,
		Example: `  triage setup
  TEMPORAL_ADDRESS=temporal:7233 TEMPORAL_NAMESPACE=team triage setup`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return setup(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

func setup(ctx context.Context, stdout, stderr io.Writer) error {
	cfg, err := config.LoadWorker()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, telemetry.NewLogger(stderr, cfg.Log.JSON, cfg.Log.Level))
	if err != nil {
		return err
	}
	defer connections.Close()
	table, err := process.Routes(config.RoutesFile(), cfg.Integrations)
	if err != nil {
		return err
	}
	if err := process.OpenPlaces(connections, table); err != nil {
		return err
	}
	added, err := connections.AddAttributes(ctx)
	for _, a := range added {
		what := "nothing was missing"
		if len(a.Names) > 0 {
			what = "added " + strings.Join(a.Names, ", ")
		}
		of := ""
		if a.Connection != "" {
			of = " of profile " + a.Connection
		}
		fmt.Fprintf(stdout, "namespace %s%s: %s\n", a.Namespace, of, what)
	}
	return err
}
