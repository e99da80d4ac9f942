package main

import (
	"github.com/spf13/cobra"

	"sentry-temporal/internal/journal"
)

func newPending() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pending",
		Short: "List what waits for Temporal, park, export or discard it",
		Long: `Pending deliveries wait in the journal of an ingress until Temporal has all their
runs. One that is parked is not started until it is put back.

ADMIN_ADDR and ADMIN_TOKEN, or its file, are read as the ingress does.`,
		Example: `  triage pending list --older-than 10m
  triage pending park --integration mobile --event sentry.error.created
  triage pending export --all >pending.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newKeptList(journal.Pending),
		newKeptChange(journal.Pending, "park", "Keep pending deliveries from being started", "Park", "parked", "parked"),
		newKeptExport(journal.Pending),
		newKeptChange(journal.Pending, "discard", "Delete pending deliveries for good", "Discard for good", "discarded for good", "discarded"),
	)
	return cmd
}
