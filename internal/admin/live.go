package admin

import (
	"errors"
	"time"
)

// RunOf names a run in Temporal.
type RunOf struct {
	Integration string
	Namespace   string
	WorkflowID  string
	RunID       string
}

// RunState is what Temporal said of a run when it was asked last.
type RunState struct {
	Status string    `json:"status"`           // one of the statuses of a run
	Reason string    `json:"reason,omitempty"` // why it failed, or what it waits for; one line of at most 300 bytes
	RunID  string    `json:"run_id,omitempty"` // of the run that it went on as, and that this is about; "" if it is the one that was asked about
	Asked  time.Time `json:"asked,omitzero"`
}

// RunDetail is what Temporal says of one run when it is asked for all of it.
type RunDetail struct {
	RunState
	Workflow  string            `json:"workflow"` // type
	TaskQueue string            `json:"task_queue"`
	Started   time.Time         `json:"started,omitzero"`
	Closed    time.Time         `json:"closed,omitzero"`   // zero while it is open
	Result    string            `json:"result,omitempty"`  // JSON, cut at 2 KiB; "" if it has none
	Failure   string            `json:"failure,omitempty"` // the reason at more length, at most 2 KiB
	Pending   []PendingActivity `json:"pending,omitempty"` // activities that it waits for, at most 20
	Events    int64             `json:"events"`            // in its history
}

// PendingActivity is one that a run waits for.
type PendingActivity struct {
	Activity    string    `json:"activity"` // type
	Attempt     int       `json:"attempt"`  // from 1
	Started     bool      `json:"started"`  // a worker has it at the moment
	Scheduled   time.Time `json:"scheduled,omitzero"`
	Next        time.Time `json:"next,omitzero"` // attempt; zero if that is not known
	LastFailure string    `json:"last_failure,omitempty"`
}

// ErrAskedTooMuch says that Temporal has been asked about runs as often as it may
// be; a few seconds later it can be asked again.
var ErrAskedTooMuch = errors.New("asked about many runs at the moment, try again in a few seconds")

// The statuses of a run. The zero [RunState] says that nothing is known.
const (
	RunRunning    = "running"
	RunUntaken    = "untaken" // no worker takes it, or its next activity
	RunStuck      = "stuck"   // its code fails, or it waits for an activity that nobody has registered
	RunCompleted  = "completed"
	RunFailed     = "failed"
	RunTimedOut   = "timed_out"
	RunTerminated = "terminated"
	RunCanceled   = "canceled"
	RunMissing    = "missing" // Temporal does not have it any more
)
