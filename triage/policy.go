package triage

import (
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
// one follows after 1 s, 2 s, 4 s and so on up to a minute, and after an hour
// of that the activity has failed. An hour outlasts most outages of the systems
// that triage talks to, and ends before anyone relies on the run.
//
// An activity ends its retries early by returning an error that is not
// retryable, see [temporal.NewNonRetryableApplicationError].
func RemoteOptions() workflow.ActivityOptions {
	return workflow.ActivityOptions{
		StartToCloseTimeout:    30 * time.Second,
		ScheduleToCloseTimeout: time.Hour,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Minute,
		},
	}
}
