package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/lint"
)

func newLint() *cobra.Command {
	return &cobra.Command{
		Use:   "lint [packages]",
		Short: "Find mistakes in the code of triage workflows",
		Long: `Reads the Go packages that are named, ./... if none is, all of them together, and
says what is wrong with the triage workflows in them and what to add or change:
workflows that no list has or that share a name, events that do not come,
activities that are not registered or that Local cannot run, and workflows and
conditions that read the environment, files, the clock or the network.

It runs the go command. Warnings are no failure.`,
		Example: `  triage lint
  triage lint ./workflows/... ./cmd/worker`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"./..."}
			}
			findings, err := lint.Run(cmd.Context(), ".", args...)
			if err != nil {
				return err
			}
			wrong := false
			for _, f := range findings {
				fmt.Fprintln(cmd.OutOrStdout(), f)
				wrong = wrong || !f.Warning
			}
			if wrong {
				return errors.New("there are mistakes")
			}
			return nil
		},
	}
}
