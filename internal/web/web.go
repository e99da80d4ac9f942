// Package web is what the public and the admin address share: a router, answers
// and limits of the server, and what is told of a delivery that has been
// answered.
package web

import (
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// Delivery is what is told of a delivery that has been answered: neither its
// body nor a signature. Texts of senders that are not verified are cut.
type Delivery struct {
	Time        time.Time // of receipt
	Duration    time.Duration
	Wait        time.Duration // that the sender has asked for, within Duration
	RequestID   string
	Integration string // as in the URL
	Known       bool   // whether there is such an integration
	Verified    bool   // whether it is from Sentry; else nothing of it is believed, and Event and Subject are empty
	Event       string // empty if it was refused before it had a name
	Subject     sentry.Subject
	Outcome     string            // a starter.Status, or Refused or Failed
	Status      int               // of the HTTP answer
	Code        string            // of one that is not verified: why not, in one word
	Reason      string            // why it was refused or failed, as the sender was told
	Hint        string            // what may set that right, for engineers here
	Key         string            // the idempotency key that it has; empty if it was refused
	Headers     map[string]string // that its envelope has
	Size        int               // of its body, in bytes
	Runs        []starter.Run
	Skipped     []routes.Skip // the workflows that want the event and do not run for it
}

// Outcomes of deliveries that were not taken.
const (
	Refused = "refused" // 4xx: the sender's problem
	Failed  = "failed"  // 5xx: ours
)

// NewRouter returns a router without what gin does unasked: a trailing slash
// is not redirected, since Sentry takes a redirect for success, and no header
// of a proxy is believed.
func NewRouter() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.RedirectTrailingSlash = false
	router.HandleMethodNotAllowed = true
	if err := router.SetTrustedProxies(nil); err != nil {
		panic(err) // no proxy cannot be malformed
	}
	return router
}

// InternalError is all that is said of a bug: its cause is for the log.
const InternalError = "internal error"

// Refuse answers with an error in words for whoever asks.
func Refuse(c *gin.Context, status int, words string) {
	c.PureJSON(status, gin.H{"error": words})
}
