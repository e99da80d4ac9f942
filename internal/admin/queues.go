package admin

import "time"

// QueueState is what Temporal said of a task queue when it was asked last.
type QueueState struct {
	Connection string    `json:"connection"` // "" is the common one
	Namespace  string    `json:"namespace"`
	TaskQueue  string    `json:"task_queue"`
	Workflow   KindState `json:"workflow"`          // what runs are taken from
	Activity   KindState `json:"activity"`          // and their activities
	Asked      time.Time `json:"asked,omitzero"`    // when Temporal answered last, for both kinds
	Problem    string    `json:"problem,omitempty"` // why it does not now; "" while it does
}

// KindState is about the tasks of one kind in a task queue. It is zero before
// Temporal has answered.
type KindState struct {
	// Counted says that the server tells how many tasks wait: older ones do not, and
	// nothing is known of the backlog then.
	Counted           bool    `json:"counted"`
	Backlog           int64   `json:"backlog"`             // tasks that wait for a worker, about
	BacklogAgeSeconds float64 `json:"backlog_age_seconds"` // of the first of them
	// Untaken says that no worker has asked for work since the first of them came, or
	// that none was given any for half a minute.
	Untaken bool `json:"untaken"`
	// Pollers are the workers that ask for work: those that have in the last 75 s, for
	// a question of theirs lasts for up to 60 s.
	Pollers int `json:"pollers"`
	// LastPoll is when one asked last. The server forgets that after five minutes, and
	// this process does not; it is zero if none has since it began to ask.
	LastPoll time.Time `json:"last_poll,omitzero"`
	// Since is when this process began to ask: of what was more than five minutes
	// before, nothing is known.
	Since time.Time `json:"since,omitzero"`
}
