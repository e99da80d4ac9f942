package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/config"
)

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check",
		Short:   "Say what is wrong with the configuration",
		Long:    "Reads the variables of ingress and worker, and says all that is wrong with them.",
		Example: "  triage check",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check(cmd.Context(), cmd.OutOrStdout())
		},
	}
}

func check(_ context.Context, stdout io.Writer) error {
	_, ofIngress := config.LoadIngress()
	_, ofWorker := config.LoadWorker()
	if err := errors.Join(ofIngress, ofWorker); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout, "the configuration is right")
	return err
}
