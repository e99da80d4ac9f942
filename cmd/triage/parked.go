package main

import (
	"github.com/spf13/cobra"

	"sentry-temporal/internal/journal"
)

func newParked() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "parked",
		Short: "List what is parked, put it back, export or discard it",
		Long: `Parked deliveries wait for a person in the journal of an ingress: Temporal can never
take them, or somebody has parked them. Once the cause is gone, put them back.

ADMIN_ADDR and ADMIN_TOKEN, or its file, are read as the ingress does.`,
		Example: `  triage parked list
  triage parked retry --reason not_configured
  triage parked export --all >parked.jsonl
  triage parked discard 4711 4712 --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newKeptList(journal.Parked),
		newKeptChange(journal.Parked, "retry", "Put parked deliveries back, to be started like new ones", "Put back", "put back", "retried"),
		newKeptExport(journal.Parked),
		newKeptChange(journal.Parked, "discard", "Delete parked deliveries for good", "Discard for good", "discarded for good", "discarded"),
	)
	return cmd
}
