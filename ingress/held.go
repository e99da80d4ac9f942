package ingress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

// hold has a delivery held that err, of [keyring.Keyring.Verify], may be wrong
// about once there is a new secret.
func (h *handler) hold(err error, r *http.Request, integration string, body []byte, received time.Time) {
	if !errors.Is(err, keyring.ErrKnownInstallation) {
		return
	}
	event, err := sentry.EventName(r.Header.Get(sentry.HeaderResource), body)
	if err != nil {
		return // with no secret it would be taken
	}
	h.Keyring.Hold(keyring.Held{
		Envelope: sentry.NewEnvelope(integration, event, r.Header, body, received),
		Received: received,
		Trace:    telemetry.TraceParent(r.Context()),
	}, r.Header.Get(sentry.HeaderSignature))
}

// takeTimeout is what Inbox.Deliver has for a delivery that was held, and that
// nobody waits for.
const takeTimeout = 2 * time.Second

// TakeHeld returns what takes a delivery that was held, see
// [keyring.Keyring.Run], and logs one line about it.
func TakeHeld(inbox Inbox, log *slog.Logger) func(context.Context, keyring.Held) error {
	return func(ctx context.Context, held keyring.Held) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
				log.ErrorContext(ctx, "a delivery that was held ends in a bug", telemetry.KeyError, err.Error(), telemetry.KeyStack, string(debug.Stack()))
			}
		}()
		ctx, cancel := context.WithTimeout(telemetry.WithTraceParent(ctx, held.Trace), takeTimeout)
		defer cancel()
		taken, err := inbox.Deliver(ctx, held.Envelope, sentry.DeliveryOf(held.Envelope), 0)
		if err != nil {
			return err
		}
		ids := make([]string, len(taken.Runs))
		for i, run := range taken.Runs {
			ids[i] = run.WorkflowID
		}
		log.InfoContext(ctx, "held delivery",
			telemetry.KeyRequestID, clip(held.Envelope.Headers[strings.ToLower(sentry.HeaderRequestID)]),
			telemetry.KeyIntegration, held.Envelope.IntegrationID,
			telemetry.KeyEvent, held.Envelope.EventType,
			telemetry.KeyOutcome, string(starter.Overall(taken.Runs)),
			telemetry.KeyWorkflowIDs, ids)
		return nil
	}
}
