package process

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
)

// sampler returns what sends a sample to the ingress at base, signed with the secret
// of an integration, as triage send does. It returns the Request-ID.
func sampler(base string, integrations []config.Integration) func(ctx context.Context, integration, sample string) (string, error) {
	return func(ctx context.Context, integration, sample string) (string, error) {
		at := slices.IndexFunc(integrations, func(i config.Integration) bool { return i.Name == integration })
		if at < 0 {
			return "", fmt.Errorf("there is no integration %q", integration)
		}
		secrets := integrations[at].Secrets
		if file := integrations[at].SecretFile; file != "" {
			var err error
			if secrets, err = config.ReadSecrets(file); err != nil {
				return "", fmt.Errorf("read the secrets of %s: %w", integration, err)
			}
		}
		body, err := sentry.Sample(sample)
		if err != nil {
			return "", err
		}
		resource, _, _ := strings.Cut(sample, ".")
		d := hook.Delivery{
			URL: base + "/webhooks/" + integration, Secret: secrets[0].Reveal(), Resource: resource,
			RequestID: sentry.NewRequestID(),
		}
		d.Body = sentry.WithIDs(body, d.RequestID)
		answer, err := hook.Send(ctx, d)
		if err == nil && !answer.OK() {
			err = fmt.Errorf("the ingress answered %d: %s", answer.Code, answer.Error)
		}
		return d.RequestID, err
	}
}
