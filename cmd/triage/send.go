package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
)

// target is where deliveries are sent, and under which secret.
type target struct{ url, secret string }

// add adds the flags for it to cmd.
func (t *target) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&t.url, "url", "http://127.0.0.1:8080/webhooks/sentry", "post to this address")
	flags.StringVar(&t.secret, "secret", "", "sign with this Client Secret (default: the newest of $SENTRY_CLIENT_SECRET or its file, else the one of make dev)")
}

// key returns the secret to sign with.
func (t *target) key() (string, error) {
	if t.secret != "" {
		return t.secret, nil
	}
	if file := os.Getenv("SENTRY_CLIENT_SECRET_FILE"); file != "" {
		secrets, err := config.ReadSecrets(file)
		if err != nil {
			return "", fmt.Errorf("SENTRY_CLIENT_SECRET_FILE: %w", err)
		}
		return secrets[0].Reveal(), nil
	}
	newest, _, _ := strings.Cut(os.Getenv("SENTRY_CLIENT_SECRET"), ",")
	return cmp.Or(strings.TrimSpace(newest), hook.DevelopmentSecret), nil
}

// sending is what the flags of send say.
type sending struct {
	target
	requestID string
	count     int
	bodyFile  string
	wait      int
	list      bool
}

func newSend() *cobra.Command {
	var s sending
	cmd := &cobra.Command{
		Use:   "send <resource.action>...",
		Short: "Send signed sample deliveries, as Sentry does",
		Long: `Signs a sample delivery for each name, as in issue.created, and posts it. The
ids in it follow from the Request-ID: each send is another issue, and the same
sample under the same Request-ID is one delivery that comes again, also in
another call. What is something else, and comes under a Request-ID that is
known, is told on standard error. A delivery that is not taken is a failure.`,
		Example: `  triage send issue.created
  triage send --request-id again -n 2 issue.created
  triage send --body body.json --url https://hooks.example.com/webhooks/sentry
  triage send --list`,
		ValidArgs: sentry.SampleNames(),
		Args:      func(_ *cobra.Command, names []string) error { return s.check(names) },
		RunE: func(cmd *cobra.Command, names []string) error {
			if s.list {
				for _, name := range sentry.SampleNames() {
					fmt.Fprintln(cmd.OutOrStdout(), name)
				}
				return nil
			}
			return s.send(cmd.Context(), names, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&s.requestID, "request-id", "", "send this Request-ID (default: a new one for each send)")
	flags.IntVarP(&s.count, "count", "n", 1, "send each delivery this many times")
	flags.StringVar(&s.bodyFile, "body", "", "send this file, byte for byte, instead of a sample; a name then only sets the resource")
	flags.IntVar(&s.wait, "wait", 5, "wait up to this many seconds for the runs to start; 0 does not, like Sentry")
	flags.BoolVar(&s.list, "list", false, "list the samples")
	return cmd
}

func (s *sending) check(names []string) error {
	switch {
	case s.list:
		return nil
	case len(names) == 0 && s.bodyFile == "":
		return errors.New("nothing to send: name a sample, --list lists them")
	case s.count < 1:
		return fmt.Errorf("--count %d: send at least once", s.count)
	case s.bodyFile != "":
		return nil
	}
	for _, name := range names {
		if _, err := sentry.Sample(name); err != nil {
			return fmt.Errorf("%w: triage send --list lists them", err)
		}
	}
	return nil
}

func (s *sending) send(ctx context.Context, names []string, stdout, stderr io.Writer) error {
	if len(names) == 0 {
		names = []string{""} // the ingress infers the resource
	}
	post, err := s.open(stdout, stderr)
	if err != nil {
		return err
	}
	for _, name := range names {
		for range s.count {
			requestID := cmp.Or(s.requestID, sentry.NewRequestID())
			body, err := bodyOf(name, s.bodyFile, requestID)
			if err != nil {
				return err
			}
			resource, _, _ := strings.Cut(name, ".")
			if err := post.send(ctx, hook.Delivery{Resource: resource, RequestID: requestID, Body: body, Wait: s.wait}); err != nil {
				return err
			}
		}
	}
	return post.verdict()
}

// bodyOf returns what is sent under a Request-ID: the same each time.
func bodyOf(name, bodyFile, requestID string) ([]byte, error) {
	if bodyFile != "" {
		return os.ReadFile(bodyFile)
	}
	sample, err := sentry.Sample(name)
	if err != nil {
		return nil, err
	}
	return sentry.WithIDs(sample, requestID), nil
}
