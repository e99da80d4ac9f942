package admin

import (
	"errors"
	"time"
)

// State is where in the journal a delivery is.
type State string

// The states of a delivery in the journal.
const (
	Pending State = "pending" // its runs are not all started yet
	Parked  State = "parked"  // it waits for a person
)

// Code says in a word why a delivery is parked: refused, too_large,
// not_configured, damaged, bug, gave_up or by_hand.
type Code string

// ErrNotFound means that the journal has no delivery with this ID.
var ErrNotFound = errors.New("no such delivery")

// Filter says which deliveries of the journal are meant: those that are all of
// this.
type Filter struct {
	State       State
	IDs         []uint64      // only these, if any
	Integration string        // exact; "" for any, as the next two
	Event       string        //
	Project     string        //
	Reason      string        // code of the reason, or part of its text; "" for any; of parked ones only
	OlderThan   time.Duration // received at least so long ago; 0 for any
}

// Item is a delivery in the journal, without its body. Of a damaged one only ID,
// State, ParkedAt, the reason and Size are known.
type Item struct {
	ID          uint64    `json:"id"`
	State       State     `json:"state"`
	Received    time.Time `json:"received,omitzero"`
	ParkedAt    time.Time `json:"parked_at,omitzero"`
	Reason      string    `json:"reason,omitempty"` // why it is parked
	ReasonCode  Code      `json:"reason_code,omitempty"`
	Integration string    `json:"integration"`
	Event       string    `json:"event"`
	Namespace   string    `json:"namespace"`
	Project     string    `json:"project"`
	IssueID     string    `json:"issue_id"`
	ShortID     string    `json:"short_id"`
	Title       string    `json:"title"`
	RequestID   string    `json:"request_id"`
	Key         string    `json:"idempotency_key"`
	WorkflowIDs []string  `json:"workflow_ids"`
	Size        int       `json:"size"` // of the body, in bytes
}
