package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/build"
)

func newVersion() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print what this program was built from",
		Example: "  triage version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(cmd.OutOrStdout(), build.Read())
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "triage", build.Read())
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}
