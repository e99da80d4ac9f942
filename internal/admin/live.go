package admin

import "time"

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
	Reason string    `json:"reason,omitempty"` // why it failed, or what it waits for; bounded
	Asked  time.Time `json:"asked,omitzero"`
}

// The statuses of a run. The zero [RunState] says that nothing is known.
const (
	RunRunning    = "running"
	RunUntaken    = "untaken" // no worker has taken it so far
	RunStuck      = "stuck"   // its code fails, or it waits for an activity that nobody has registered
	RunCompleted  = "completed"
	RunFailed     = "failed"
	RunTimedOut   = "timed_out"
	RunTerminated = "terminated"
	RunCanceled   = "canceled"
	RunMissing    = "missing" // Temporal does not have it any more
)

// QueueState is what Temporal said of a task queue when it was asked last.
type QueueState struct {
	Connection string        `json:"connection"` // "" is the common one
	Namespace  string        `json:"namespace"`
	TaskQueue  string        `json:"task_queue"`
	Backlog    int64         `json:"backlog"`     // tasks that wait for a worker, about
	BacklogAge time.Duration `json:"backlog_age"` // of the first of them
	Pollers    int           `json:"pollers"`     // workers that have asked for work in the last five minutes, as the server remembers
	LastPoll   time.Time     `json:"last_poll,omitzero"`
	Problem    string        `json:"problem,omitempty"` // why nothing is known
	Asked      time.Time     `json:"asked,omitzero"`
}
