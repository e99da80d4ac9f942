package starter_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// noting is a client that notes what is to be started, and starts nothing.
type noting struct {
	client.Client
	options *client.StartWorkflowOptions
}

var errNoted = errors.New("noted")

func (n noting) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	*n.options = o
	return nil, errNoted
}

// Servers take a summary of 400 bytes and details of 20,000, as payloads.
func TestSummaryAndDetailsFitHoweverTheyAreEncoded(t *testing.T) {
	for name, unit := range map[string]string{
		"letters": "a", "two bytes": "é", "four bytes": "🧾", "quotes": `"`, "ampersands": "&", "tags": "<>", "backslashes": `\`,
		"markup": "*_[", "control characters": "\x01", "no characters": "\uffff", "separators": "\u2028",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			long := strings.Repeat(unit, 3000)
			issue := map[string]any{
				"id": long, "shortId": long, "title": long, "culprit": long, "level": long, "firstSeen": long, "project": map[string]any{"slug": long},
				"web_url": "https://acme.sentry.io/issues/1/?" + strings.Repeat("&", 967),
			}
			body, err := json.Marshal(map[string]any{"action": "created", "data": map[string]any{"issue": issue}})
			if err != nil {
				t.Fatal(err)
			}
			var o client.StartWorkflowOptions
			s := startsOf(starter.ConnectionsTo(noting{options: &o}, "n"), slog.New(slog.DiscardHandler), echo)
			if _, err := s.Start(t.Context(), envelope("sentry.issue.created", string(body))); !errors.Is(err, errNoted) {
				t.Fatal(err)
			}
			if !strings.Contains(o.StaticDetails, "](https://acme.sentry.io/") {
				t.Errorf("there is no link in %s", o.StaticDetails)
			}
			for what, part := range map[string]struct {
				text string
				most int
			}{"summary": {o.StaticSummary, 400}, "details": {o.StaticDetails, 20_000}} {
				payload, err := starter.DataConverter().ToPayload(part.text)
				if err != nil {
					t.Fatal(err)
				}
				if size := payload.Size(); size > part.most || !utf8.ValidString(part.text) {
					t.Errorf("the %s is %d bytes as a payload: %q", what, size, part.text)
				}
			}
		})
	}
}

// Temporal takes a payload of 2 MiB.
func TestADeliveryIsTooLargeAtAByteOverTheBound(t *testing.T) {
	s := startsOf(starter.ConnectionsTo(noting{options: &client.StartWorkflowOptions{}}, "n"), slog.New(slog.DiscardHandler))
	env := envelope("sentry.issue.created", "")
	empty, err := converter.GetDefaultDataConverter().ToPayload(env)
	if err != nil {
		t.Fatal(err)
	}
	plan := []routes.Operation{{Kind: routes.Start, Workflow: "w", WorkflowID: "w:sentry:1", Integration: "sentry", Namespace: "n", TaskQueue: "q", Uncompressed: true}}
	for over, tooLarge := range map[int]bool{0: false, 1: true} {
		env.Body = sentry.Body(strings.Repeat("a", 2<<20-len(empty.GetData())+over))
		start, err := s.Prepare(env, plan)
		if err == nil {
			_, err = start(t.Context())
		}
		if errors.Is(err, starter.ErrTooLarge) != tooLarge || !tooLarge && !errors.Is(err, errNoted) {
			t.Errorf("%d bytes over the bound: %v", over, err)
		}
	}
}
