package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/story"
	"sentry-temporal/internal/sentry"
)

// playing is what the flags of story say.
type playing struct {
	target
	every time.Duration
	issue string
	wait  int
}

func newStory() *cobra.Command {
	var p playing
	cmd := &cobra.Command{
		Use:   "story",
		Short: "Send the life of one issue, as signed sample deliveries",
		Long: `Sends what Sentry sends about one issue, from the day it is new to its end:
created, an alert about it, assigned, a comment, resolved, unresolved since it
came back, and resolved again. What listens acts on it: where that is not the
stand-ins of make dev, somebody may be paged.`,
		Example: `  triage story
  triage story --every 30s --url https://hooks.example.com/webhooks/sentry
  triage story --issue first-try   # the same issue at each call`,
		Args: func(_ *cobra.Command, args []string) error { return p.check(args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			post, err := p.open(cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return p.tell(cmd.Context(), post)
		},
	}
	p.add(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&p.every, "every", 2*time.Second, "pause between two deliveries")
	flags.StringVar(&p.issue, "issue", "", "any name: the same has the same issue id (default: a new issue at each call)")
	flags.IntVar(&p.wait, "wait", 5, "wait up to this many seconds for the runs to start; 0 does not, like Sentry")
	return cmd
}

func (p *playing) check(args []string) error {
	switch {
	case len(args) > 0:
		return fmt.Errorf("%q: a story takes no names of samples", args[0])
	case p.every < 0:
		return fmt.Errorf("--every %s: a pause is not below 0", p.every)
	}
	return nil
}

func (p *playing) tell(ctx context.Context, post *poster) error {
	for n, part := range story.OfIssue(cmp.Or(p.issue, sentry.NewRequestID())) {
		if n > 0 {
			select {
			case <-time.After(p.every):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		d := hook.Delivery{Resource: part.Resource(), RequestID: sentry.NewRequestID(), Body: part.Body, Wait: p.wait}
		if err := post.send(ctx, d); err != nil {
			return err
		}
	}
	return post.verdict()
}
