package process_test

import (
	"strings"
	"testing"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// Sentry sends what programs do by its API, this one's own acts included.
func TestWhatSentryAndPeopleDoStartsRunsAndWhatProgramsDoStartsNone(t *testing.T) {
	public, _ := runIngress(t, devservertest.Server().Address)
	runWorker(t, devservertest.Server().Address)
	const (
		bySentry  = `"actor":{"type":"application","id":"sentry","name":"Sentry"}`
		byProgram = `"actor":{"type":"application","id":"0f3c2f44-1b1f-4b8f-a2ab-9f0a4f3f5c11","name":"Acme"}`
		byPerson  = `"actor":{"type":"user","id":3120566,"name":"Jonas Br\u00e5ten"}`
		byAnother = `"actor":{"type":"user","id":3120481,"name":"Ines Okafor"}`
	)
	for name, tt := range map[string]struct {
		sample, of, by string
		want           starter.Status
	}{
		"created by Sentry":                  {"issue.created", bySentry, bySentry, starter.Started},
		"created by a program":               {"issue.created", bySentry, byProgram, starter.Started},
		"resolved by a person":               {"issue.resolved", byPerson, byPerson, starter.Started},
		"resolved by Sentry":                 {"issue.resolved", byPerson, bySentry, starter.Started},
		"resolved by a program":              {"issue.resolved", byPerson, byProgram, starter.Ignored},
		"set to unresolved by a program":     {"issue.unresolved", bySentry, byProgram, starter.Ignored},
		"commented by a person":              {"comment.created", byAnother, byAnother, starter.Started},
		"commented by a program":             {"comment.created", byAnother, byProgram, starter.Ignored},
		"a link on an issue":                 {"issue.external_issue_created", "", "", starter.Ignored},
		"an error, which is one of too many": {"error.created", "", "", starter.Ignored},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := sentry.Sample(tt.sample)
			if err != nil || !strings.Contains(string(body), tt.of) {
				t.Fatalf("the sample is not by %s, %v", tt.of, err)
			}
			answer, err := hook.Send(t.Context(), hook.Delivery{
				URL: public + "/webhooks/sentry", Secret: integrations[0].Secrets[0].Reveal(), RequestID: sentry.NewRequestID(),
				Body: []byte(strings.Replace(string(body), tt.of, tt.by, 1)), Wait: 5,
			})
			if err != nil || answer.Status != tt.want {
				t.Errorf("answered %+v, %v", answer, err)
			}
		})
	}
}
