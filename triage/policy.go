package triage

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// LocalOptions is the policy of [Local]: an attempt takes at most 2 s, there
// are at most 3, and all of it ends within 5 s, well inside a workflow task.
func LocalOptions() workflow.LocalActivityOptions {
	return workflow.LocalActivityOptions{
		StartToCloseTimeout:    2 * time.Second,
		ScheduleToCloseTimeout: 5 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    100 * time.Millisecond,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Second,
			MaximumAttempts:    3,
		},
	}
}

// RemoteOptions is the policy of [Do]: an attempt takes at most 30 s, the next
// one follows after 1 s, 2 s, 4 s and so on up to 5 minutes, and after 300 of them
// the activity has failed. That is 24 hours or more, so that an outage of a night
// is outlasted, and not more than an attempt in 5 minutes for each run, so that
// runs which wait do not weigh on a system that comes back.
//
// Attempts are counted, and no time is: what a call spends in the queue, for want of
// a worker, takes nothing from its retries.
//
// An activity ends its retries early by returning an error that is not
// retryable, see [temporal.NewNonRetryableApplicationError].
func RemoteOptions() workflow.ActivityOptions {
	return workflow.ActivityOptions{
		StartToCloseTimeout: 30 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    5 * time.Minute,
			MaximumAttempts:    300,
		},
	}
}

// Limit sets one call of [Do] another limit than [RemoteOptions] has: [Timeout],
// [Attempts] or [Within]. Limits may change while runs are open.
type Limit func(*workflow.ActivityOptions) error

// Timeout has an attempt take at most d. One whose worker is gone is repeated only
// after that time.
func Timeout(d time.Duration) Limit {
	return func(o *workflow.ActivityOptions) error {
		if d <= 0 {
			return fmt.Errorf("a timeout of %s is none", d)
		}
		o.StartToCloseTimeout = d
		return nil
	}
}

// Attempts has the call fail after n attempts, with the pauses that there are
// otherwise: 9 of them span at least 4 minutes, 21 an hour.
func Attempts(n int32) Limit {
	return func(o *workflow.ActivityOptions) error {
		if n < 1 {
			return fmt.Errorf("%d attempts are none", n)
		}
		o.RetryPolicy.MaximumAttempts = n
		return nil
	}
}

// Within has the call fail when d has passed, whatever it waits for then: its turn in
// the queue, an answer, or the next attempt. It is for what must not hold a run up.
func Within(d time.Duration) Limit {
	return func(o *workflow.ActivityOptions) error {
		if d <= 0 {
			return fmt.Errorf("a call within %s is none", d)
		}
		o.ScheduleToCloseTimeout = d
		return nil
	}
}
