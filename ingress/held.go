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
	"sentry-temporal/internal/web"
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
// [keyring.Keyring.Run], logs one line about it and tells observe: when it came and
// was answered 401, it was not one of those that are verified.
func TakeHeld(inbox Inbox, log *slog.Logger, observe func(context.Context, web.Delivery)) func(context.Context, keyring.Held) error {
	return func(ctx context.Context, held keyring.Held) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
				log.ErrorContext(ctx, "a delivery that was held ends in a bug", telemetry.KeyError, err.Error(), telemetry.KeyStack, string(debug.Stack()))
			}
		}()
		ctx, cancel := context.WithTimeout(telemetry.WithTraceParent(ctx, held.Trace), takeTimeout)
		defer cancel()
		delivery := sentry.DeliveryOf(held.Envelope)
		taken, err := inbox.Deliver(ctx, held.Envelope, delivery, 0)
		if err != nil {
			return err
		}
		ids := make([]string, len(taken.Runs))
		for i, run := range taken.Runs {
			ids[i] = run.WorkflowID
		}
		requestID := clip(held.Envelope.Headers[strings.ToLower(sentry.HeaderRequestID)])
		observe(ctx, web.Delivery{
			Time: held.Received, RequestID: requestID, Integration: held.Envelope.IntegrationID, Known: true, Verified: true,
			Event: held.Envelope.EventType, Subject: delivery.Subject, Key: taken.Key, Headers: held.Envelope.Headers, Size: len(held.Envelope.Body),
			Outcome: string(starter.Overall(taken.Runs)), Status: http.StatusUnauthorized, Hint: hintHeld, Runs: taken.Runs, Skipped: taken.Skipped,
		})
		log.InfoContext(ctx, "held delivery",
			telemetry.KeyRequestID, requestID,
			telemetry.KeyIntegration, held.Envelope.IntegrationID,
			telemetry.KeyEvent, held.Envelope.EventType,
			telemetry.KeyOutcome, string(starter.Overall(taken.Runs)),
			telemetry.KeyWorkflowIDs, ids)
		return nil
	}
}
