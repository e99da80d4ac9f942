package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
)

// The types of errors that activities of outside systems return.
const (
	TypeNotConfigured = "NotConfigured" // a variable is missing or wrong: final, but for what is wrong with a file
	TypeRefused       = "Refused"       // final: the system says no
	TypeUnknown       = "Unknown"       // final: whether it had its effect is not known, and repeating it might have it twice
	TypeNotSent       = "NotSent"       // repeated
	TypeUnclear       = "Unclear"       // repeated: whether it had its effect is not known, and the next attempt finds out
)

// failure is the one place that says what an error of an outside system means to Temporal.
// repeatable says that a request whose effect is not known may be repeated.
func failure(ctx context.Context, err error, repeatable bool) error {
	e, ok := errors.AsType[*outside.Error](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return err
	case e.Kind == outside.NotSent, e.Kind == outside.Maybe && repeatable:
		kind := TypeNotSent
		if e.Kind == outside.Maybe {
			kind = TypeUnclear
		}
		return temporal.NewApplicationErrorWithOptions(e.Error(), kind, temporal.ApplicationErrorOptions{NextRetryDelay: wait(ctx, e)})
	case e.Kind == outside.Maybe:
		return temporal.NewNonRetryableApplicationError(e.Error()+": whether it arrived is not known", TypeUnknown, nil)
	}
	return temporal.NewNonRetryableApplicationError(e.Error(), TypeRefused, nil)
}

// wait returns how long the next attempt waits, 0 for as long as the call's policy says.
// What the error says is the least, and with each attempt it is longer, as it is by the
// policy: a system that says a second for hours would use up the attempts of a day.
func wait(ctx context.Context, e *outside.Error) time.Duration {
	if e.Retry == 0 || !activity.IsActivity(ctx) {
		return e.Retry
	}
	attempt := min(activity.GetInfo(ctx).Attempt, 10)
	return max(e.Retry, min(time.Second<<(attempt-1), 5*time.Minute))
}

// notConfigured is the error for a variable that an activity needs. A file may be written
// at the moment, or be mended: then nothing is sent, and it is tried again.
func notConfigured(ctx context.Context, variable string, err error) error {
	if !errors.Is(err, config.ErrNotSet) {
		err = fmt.Errorf("cannot be used: %w", err)
	}
	if errors.Is(err, config.ErrFile) {
		if activity.IsActivity(ctx) && neverSent(ctx) {
			remember(ctx, unsent)
		}
		return temporal.NewApplicationError(variable+" "+err.Error(), TypeNotConfigured)
	}
	return temporal.NewNonRetryableApplicationError(variable+" "+err.Error(), TypeNotConfigured, nil)
}

// mistaken is the error for an input that no attempt can do anything with.
func mistaken(what string) error {
	return temporal.NewNonRetryableApplicationError(what, TypeRefused, nil)
}

// because adds what a system says to an error of it. What it says has to be without
// secrets, see [outside.Quote].
func because(err error, said string) error {
	e, ok := errors.AsType[*outside.Error](err)
	if !ok || said == "" {
		return err
	}
	told := *e
	told.Reason += ": " + said
	return &told
}

// strange is the error for a success whose body is none of the system's: the effect may
// be there, or something else has answered.
func strange(system string, answer outside.Answer) error {
	return &outside.Error{Kind: outside.Maybe, System: system, Status: answer.Status, Reason: fmt.Sprintf("it answers %d with something else than its API does", answer.Status)}
}
