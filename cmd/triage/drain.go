package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/admin"
)

// drain waits until an ingress has nothing left.
type drain struct {
	timeout time.Duration
	quiet   time.Duration // for which nothing may come
}

func newDrain() *cobra.Command {
	var d drain
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Empty the journal of an ingress that is to stop for good",
		Long: `Makes the ingress at ADMIN_ADDR answer 503 to /readyz, so that balancers take it out,
and waits until it has started all that it keeps and nothing has come for a while.
It goes on taking what still comes; a restart ends all that. It reads ADMIN_ADDR and
ADMIN_TOKEN, as the ingress does.

A restart needs no drain: the next process starts the rest.`,
		Example: `  triage drain
  kubectl exec ingress-2 -- /triage drain --timeout 30m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&d.timeout, "timeout", 10*time.Minute, "give up after this time")
	flags.DurationVar(&d.quiet, "quiet", 10*time.Second, "wait until nothing has come for so long")
	return cmd
}

func (d drain) run(ctx context.Context, out io.Writer) error {
	at, err := ingressOf("")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var last admin.Drained
	since := time.Now() // last is the case
	for first := true; ; first = false {
		now, err := askToDrain(ctx, at)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%d deliveries still wait after %s", last.Pending, d.timeout)
		case err != nil:
			return err
		}
		if first || now.Pending != last.Pending || now.Parked != last.Parked {
			fmt.Fprintf(out, "%d pending, %d parked\n", now.Pending, now.Parked)
		}
		if first || now != last {
			last, since = now, time.Now()
		}
		if now.Pending == 0 && time.Since(since) >= d.quiet {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second, d.quiet)):
		}
	}
	if last.Parked > 0 {
		return fmt.Errorf("%d deliveries are parked: put them back, export or discard them", last.Parked)
	}
	return nil
}

// askToDrain has the ingress drain, and returns what it still has.
func askToDrain(ctx context.Context, at ingressAt) (admin.Drained, error) {
	var answer admin.Drained
	err := at.ask(ctx, http.MethodPost, "/drain", nil, &answer)
	return answer, err
}
