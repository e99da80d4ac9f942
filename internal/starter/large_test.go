package starter_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/starter"
)

// eightMiB is an event of the largest size that the ingress takes by default:
// JSON as it is, which repeats itself.
func eightMiB() string {
	var frames strings.Builder
	for i := 0; frames.Len() < 8<<20-4096; i++ {
		fmt.Fprintf(&frames, `{"filename":"checkout/services/module_%d.py","function":"handle_%x","lineno":%d,"in_app":true,"vars":{"order":"%d","note":"Caf\u00e9 <%d>"}},`,
			i%97, i*2654435761%1000003, i%4000, i*7919, i)
	}
	return `{"action":"created","data":{"error":{"frames":[` + strings.TrimSuffix(frames.String(), ",") + `]}}}`
}

func TestAnEightMiBBodyBecomesARun(t *testing.T) {
	connections := connect(t, devservertest.Server().Address)
	environment := connections.Environments()["sentry"]
	environment.TaskQueue = runWorker(t, environment.Client)
	s := starter.New(all, map[string]starter.Environment{"sentry": environment}, "", slog.New(slog.DiscardHandler))
	body := eightMiB()
	runs := start(t, s, envelope("sentry.error.created", body))
	var length int
	if err := environment.Client.GetWorkflow(t.Context(), runs[0].WorkflowID, "").Get(t.Context(), &length); err != nil {
		t.Fatal(err)
	}
	if length != len(body) {
		t.Errorf("the workflow got %d bytes of %d", length, len(body))
	}
}

func TestADeliveryThatTemporalCannotTakeFailsForEver(t *testing.T) {
	connections := connect(t, devservertest.Server().Address)
	s := starter.New(all, connections.Environments(), "", slog.New(slog.DiscardHandler))
	noise := make([]byte, 9<<20/4) // base64 compresses to the noise that is in it
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	body := `{"x":"` + base64.StdEncoding.EncodeToString(noise) + `"}`
	_, err := s.Start(t.Context(), envelope("sentry.comment.created", body))
	if !errors.Is(err, starter.ErrTooLarge) || !starter.Permanent(err) {
		t.Errorf("the error is %v", err)
	}
}

func TestWhatMayPassIsNotPermanent(t *testing.T) {
	for name, integration := range map[string]config.Integration{
		"Temporal is unreachable":  {Name: "sentry", Namespace: client.DefaultNamespace, TaskQueue: "q"},
		"no such namespace so far": {Name: "sentry", Namespace: "later", TaskQueue: "q"},
	} {
		t.Run(name, func(t *testing.T) {
			address := devservertest.Server().Address
			if integration.Namespace == client.DefaultNamespace {
				address = "127.0.0.1:1"
			}
			connections := connect(t, address, integration)
			s := starter.New(all, connections.Environments(), "", slog.New(slog.DiscardHandler))
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := s.Start(ctx, envelope("sentry.comment.created", `{}`))
			if err == nil || starter.Permanent(err) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
