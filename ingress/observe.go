package ingress

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

// Values of labels for what is not in a metric by its own name: senders must
// not be able to make up metrics.
const (
	labelUnknown = "unknown" // an integration that is not configured
	labelOther   = "other"   // an event that nobody expects
	labelNone    = "none"    // a delivery that was refused before it had a name
)

// Codes say why a delivery is not verified.
const (
	codeUnknown    = "unknown" // no such integration, or path
	codeMissing    = "missing" // signature
	codeMalformed  = "malformed"
	codeMismatch   = "mismatch"
	codeTooLarge   = "too_large"
	codeLate       = "late"
	codeIncomplete = "incomplete"
	codeBusy       = "busy"
	codeBug        = "bug"
)

var codes = []string{codeUnknown, codeMissing, codeMalformed, codeMismatch, codeTooLarge, codeLate, codeIncomplete, codeBusy, codeBug}

var outcomes = []string{string(starter.Started), string(starter.Existing), string(starter.Accepted), string(starter.Ignored), web.Refused, web.Failed}

// codeFor returns the code of what [sentry.Verify] finds wrong.
func codeFor(err error) string {
	switch {
	case errors.Is(err, sentry.ErrSignatureMissing):
		return codeMissing
	case errors.Is(err, sentry.ErrSignatureMalformed):
		return codeMalformed
	}
	return codeMismatch
}

// Count returns an observer that measures deliveries with instruments of meter:
// those that are not verified apart from the others, by why. Events that are not
// among the given ones share a label, as do integrations that are not.
func Count(meter metric.Meter, integrations []config.Integration, events []string) (func(context.Context, web.Delivery), error) {
	deliveries, err := meter.Int64Counter("sentry_temporal_deliveries",
		metric.WithDescription("Verified deliveries that were answered."))
	if err != nil {
		return nil, err
	}
	unverified, err := meter.Int64Counter("sentry_temporal_unverified",
		metric.WithDescription("Requests that may have been deliveries and are not verified."))
	if err != nil {
		return nil, err
	}
	duration, err := meter.Float64Histogram("sentry_temporal_ack_duration",
		metric.WithUnit("s"),
		metric.WithDescription("Time from the headers of a verified delivery to its answer, without those that ask to wait for their runs."),
		metric.WithExplicitBucketBoundaries(.001, .002, .005, .01, .02, .05, .1, .2, .35, .5, .7, .85, 1))
	if err != nil {
		return nil, err
	}
	count := func(ctx context.Context, n int64, integration, event, outcome string) {
		deliveries.Add(ctx, n, metric.WithAttributeSet(attribute.NewSet(
			attribute.String("integration", integration),
			attribute.String("event", event),
			attribute.String("outcome", outcome))))
	}
	countUnverified := func(ctx context.Context, n int64, integration, reason string) {
		unverified.Add(ctx, n, metric.WithAttributeSet(attribute.NewSet(
			attribute.String("integration", integration),
			attribute.String("reason", reason))))
	}
	known := map[string]bool{}
	for _, event := range events {
		known[event] = true
	}
	// The first one of each is to be seen as an increase, too.
	for _, integration := range integrations {
		for _, event := range append([]string{labelNone, labelOther}, events...) {
			for _, outcome := range outcomes {
				count(context.Background(), 0, integration.Name, event, outcome)
			}
		}
		for _, code := range codes {
			countUnverified(context.Background(), 0, integration.Name, code)
		}
	}
	countUnverified(context.Background(), 0, labelUnknown, codeUnknown)
	return func(ctx context.Context, d web.Delivery) {
		if !d.Verified {
			integration := d.Integration
			if !d.Known {
				integration = labelUnknown
			}
			countUnverified(ctx, 1, integration, d.Code)
			return
		}
		event := d.Event
		switch {
		case event == "":
			event = labelNone
		case !known[event]:
			event = labelOther
		}
		count(ctx, 1, d.Integration, event, d.Outcome)
		if d.Wait == 0 {
			duration.Record(ctx, d.Duration.Seconds())
		}
	}, nil
}

// Describe is an observer that says on the request's span what was delivered.
func Describe(ctx context.Context, d web.Delivery) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	if d.Outcome == web.Failed {
		span.SetStatus(otelcodes.Error, d.Reason)
	}
	span.SetAttributes(
		attribute.String("http.request.method", http.MethodPost),
		attribute.String("http.route", "/webhooks/{integration}"),
		attribute.Int("http.response.status_code", d.Status),
		attribute.String("sentry.integration", d.Integration),
		attribute.String("sentry.event", d.Event),
		attribute.String("sentry.request_id", d.RequestID),
		attribute.String("sentry.outcome", d.Outcome),
	)
}
