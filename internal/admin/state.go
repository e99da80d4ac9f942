package admin

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Level says how it is with something, for people and for programs.
type Level string

// The levels, from the best to the worst.
const (
	LevelGood    Level = "good"
	LevelUnknown Level = "unknown" // not asked to the end so far, or not for longer than 15 s
	LevelBusy    Level = "busy"    // it may be all right, and is worth a look
	LevelBad     Level = "bad"     // it does not get better by itself, or not soon
)

// Verdict is a level and the words for it: the page, GET /api/state and tests say
// the same.
type Verdict struct {
	Level Level    `json:"level"`
	Title string   `json:"title"` // a few words, such as "Does not answer"
	Notes []string `json:"notes"` // why, and what to do, line by line; may be none
}

// StateRecord is how it is with an ingress and with what it needs, as GET
// /api/state gives it. Times are UTC.
type StateRecord struct {
	Instance     string              `json:"instance"` // whom this is about, among several
	Time         time.Time           `json:"time"`     // of this record
	Level        Level               `json:"level"`    // the worst of all below
	Temporal     TemporalRecord      `json:"temporal"`
	Workers      WorkersRecord       `json:"workers"`
	Journal      JournalRecord       `json:"journal"`
	Parked       ParkedRecord        `json:"parked"`
	Integrations []IntegrationRecord `json:"integrations"` // in their order
	Routes       RoutesRecord        `json:"routes"`
}

// TemporalRecord is about all namespaces: the level is the worst of theirs.
type TemporalRecord struct {
	Verdict
	Namespaces []NamespaceRecord `json:"namespaces"`
}

// NamespaceRecord is about a namespace, and about what waits for it here.
type NamespaceRecord struct {
	Verdict
	Connection string    `json:"connection"` // "" is the common one
	Namespace  string    `json:"namespace"`
	Status     string    `json:"status"`            // as in GET /readyz
	Problem    string    `json:"problem,omitempty"` // what Temporal answered, or that it did not
	Asked      time.Time `json:"asked,omitzero"`    // when that was
	Lane       LaneState `json:"lane"`              // the deliveries that wait for it
}

// LaneState is how it is with the deliveries whose runs are not started, of a
// connection and namespace.
type LaneState struct {
	Connection string    `json:"-"`
	Namespace  string    `json:"-"`
	Waiting    int       `json:"waiting"`           // deliveries
	Failing    string    `json:"failing,omitempty"` // the error for which they wait; "" if starts do not fail
	Since      time.Time `json:"since,omitzero"`    // when that began
}

// WorkersRecord is about all task queues: the level is the worst of theirs.
type WorkersRecord struct {
	Verdict
	Queues []QueueRecord `json:"queues"`
}

// QueueRecord is about a task queue.
type QueueRecord struct {
	Verdict
	QueueState
}

// JournalRecord is about the journal.
type JournalRecord struct {
	Verdict
	Pending       int       `json:"pending"`            // deliveries whose runs are not all started
	PendingBytes  int64     `json:"pending_bytes"`      // that they take
	MaxBytes      int64     `json:"max_bytes"`          // that they may take
	OldestSeconds float64   `json:"oldest_seconds"`     // age of the oldest of them; 0 without any
	Committed     time.Time `json:"committed,omitzero"` // when the last commit succeeded
	CommitMS      float64   `json:"commit_ms"`          // that it took
	Problem       string    `json:"problem,omitempty"`  // why no delivery can be kept
}

// ParkedRecord is about deliveries that wait for a person.
type ParkedRecord struct {
	Verdict
	Deliveries int   `json:"deliveries"`
	Bytes      int64 `json:"bytes"`     // that they take
	MaxBytes   int64 `json:"max_bytes"` // that they may take
}

// IntegrationRecord is about an integration.
type IntegrationRecord struct {
	Integration string        `json:"integration"`
	Last        LastRecord    `json:"last_delivery"`
	Secrets     SecretsRecord `json:"client_secrets"`
}

// LastRecord is about the last delivery that came.
type LastRecord struct {
	Verdict
	Time time.Time `json:"time,omitzero"` // zero: none since the ingress started
}

// SecretsRecord is about the Client Secrets of an integration. Numbers are since
// the ingress started.
type SecretsRecord struct {
	Verdict
	Valid      int       `json:"valid"`               // secrets
	Mismatches int64     `json:"mismatches"`          // deliveries of installations that are known, which match none
	Mismatched time.Time `json:"mismatched,omitzero"` // the last of them
	Held       int       `json:"held"`                // of them: those that wait for a new secret
	Taken      int64     `json:"taken"`               // of them: those that matched one later
	Dropped    int64     `json:"dropped"`             // of them: those that were to be held and are lost
	Problem    string    `json:"problem,omitempty"`   // with the file that the secrets are from
}

// RoutesRecord is about the file of the routes.
type RoutesRecord struct {
	Verdict
	File    string `json:"file,omitempty"`    // "" is none
	Problem string `json:"problem,omitempty"` // why it cannot be used, and the routes from before are
}

// showState answers GET /api/state.
func (s *statusPage) showState(c *gin.Context) {
	c.PureJSON(http.StatusOK, s.state())
}
