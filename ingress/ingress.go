// Package ingress is the HTTP side: it takes Sentry's webhooks, verifies and
// names them, and hands them on wrapped in an envelope. It does not know which
// workflows there are.
package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
)

// Inbox takes deliveries in.
type Inbox interface {
	// Deliver keeps env, which is about subject, or has it started, and
	// returns the idempotency key that it has there and a run for each
	// workflow that wants it: none is fine. An error means that env may be
	// lost. With wait it also waits that long for the runs to start. It is
	// idempotent and obeys ctx's deadline.
	Deliver(ctx context.Context, env sentry.Envelope, subject sentry.Subject, wait time.Duration) (key string, runs []starter.Run, err error)
}

// Options are what an ingress is made of.
type Options struct {
	Integrations []config.Integration
	MaxBodyBytes int64 // a larger body is answered 413
	Inbox        Inbox
	Log          *slog.Logger
	// Observers are called with every delivery once it is answered. They must
	// be quick.
	Observers []func(context.Context, web.Delivery)
}

const (
	// answerTimeout is what an answer may take from the headers on, and
	// minKeepTimeout what Inbox.Deliver has of it however long the body took.
	// Sentry gives the whole exchange one second; what is left is for the
	// network.
	answerTimeout  = 800 * time.Millisecond
	minKeepTimeout = 300 * time.Millisecond
	// maxWait bounds what a sender may ask for with "Prefer: wait=N". Sentry
	// does not ask.
	maxWait = 10 * time.Second
)

// answer is the body of an answer to a delivery that was taken.
type answer struct {
	Status         starter.Status `json:"status"`
	Event          string         `json:"event"`
	IdempotencyKey string         `json:"idempotency_key"`
	Runs           []starter.Run  `json:"runs"`
}

// New returns the public handler: POST /webhooks/{integration} and nothing
// else.
func New(o Options) http.Handler {
	h := &handler{Options: o, secrets: map[string][]string{}}
	for _, integration := range o.Integrations {
		for _, secret := range integration.Secrets {
			h.secrets[integration.Name] = append(h.secrets[integration.Name], secret.Reveal())
		}
	}
	router := web.NewRouter()
	router.POST("/webhooks/:integration", h.deliver)
	router.NoMethod(func(c *gin.Context) { web.Refuse(c, http.StatusMethodNotAllowed, "webhooks are sent with POST") })
	router.NoRoute(func(c *gin.Context) {
		web.Refuse(c, http.StatusNotFound, "webhooks are sent to /webhooks/{integration}")
	})
	return router
}

type handler struct {
	Options
	secrets map[string][]string // by integration
}

// deliver answers one delivery, logs one line about it and tells the observers.
func (h *handler) deliver(c *gin.Context) {
	wait := preferredWait(c.Request.Header)
	d := web.Delivery{
		Time:        time.Now(),
		Wait:        wait,
		RequestID:   clip(c.GetHeader(sentry.HeaderRequestID)),
		Integration: clip(c.Param("integration")),
	}
	_, d.Known = h.secrets[c.Param("integration")]
	key, err := h.take(c.Writer, c.Request, c.Param("integration"), wait, &d)
	if err == nil {
		d.Outcome = string(starter.Overall(d.Runs))
		if wait > 0 {
			c.Header("Preference-Applied", fmt.Sprintf("wait=%d", wait/time.Second))
		}
		c.PureJSON(http.StatusAccepted, answer{
			Status: starter.Status(d.Outcome), Event: d.Event, IdempotencyKey: key,
			Runs: append([]starter.Run{}, d.Runs...), // [] in JSON, not null
		})
		h.tell(c, d, slog.LevelInfo, nil)
		return
	}
	refusal := asRefusal(err)
	d.Reason, d.Hint = refusal.words, refusal.hint
	level := slog.LevelWarn
	d.Outcome = web.Refused
	if refusal.status >= http.StatusInternalServerError {
		level = slog.LevelError
		d.Outcome = web.Failed
	}
	if refusal.status == http.StatusRequestEntityTooLarge {
		c.Header("Connection", "close") // the rest of the body is not read
	}
	web.Refuse(c, refusal.status, refusal.words)
	h.tell(c, d, level, refusal)
}

// tell logs d and gives it to the observers.
func (h *handler) tell(c *gin.Context, d web.Delivery, level slog.Level, refusal *refusal) {
	d.Status = c.Writer.Status()
	d.Duration = time.Since(d.Time)
	attrs := []slog.Attr{
		slog.String(telemetry.KeyRequestID, d.RequestID),
		slog.String(telemetry.KeyIntegration, d.Integration),
		slog.String(telemetry.KeyEvent, d.Event),
		slog.String(telemetry.KeyOutcome, d.Outcome),
		slog.Int(telemetry.KeyStatus, d.Status),
		slog.Float64(telemetry.KeyDuration, float64(d.Duration.Microseconds())/1000),
	}
	if d.Subject.IssueID != "" {
		attrs = append(attrs, slog.String(telemetry.KeyIssue, clip(d.Subject.IssueID)))
	}
	if len(d.Runs) > 0 {
		ids := make([]string, len(d.Runs))
		for i, run := range d.Runs {
			ids[i] = run.WorkflowID
		}
		attrs = append(attrs, slog.Any(telemetry.KeyWorkflowIDs, ids))
	}
	if refusal != nil {
		attrs = append(attrs, slog.String(telemetry.KeyReason, refusal.words))
		if refusal.cause != nil {
			attrs = append(attrs, slog.String(telemetry.KeyError, refusal.cause.Error()))
		}
		if refusal.stack != "" {
			attrs = append(attrs, slog.String(telemetry.KeyStack, refusal.stack))
		}
	}
	h.Log.LogAttrs(c.Request.Context(), level, "delivery", attrs...)
	for _, observe := range h.Observers {
		observe(c.Request.Context(), d)
	}
}

// take is the way of a delivery: cap, verify, name, wrap, keep. It notes in d
// what it learns and returns the idempotency key. Errors that are not a refusal
// are bugs.
func (h *handler) take(w http.ResponseWriter, r *http.Request, integration string, wait time.Duration, d *web.Delivery) (key string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &refusal{status: http.StatusInternalServerError, words: web.InternalError, hint: hintBug, cause: fmt.Errorf("panic: %v", p), stack: string(debug.Stack())}
		}
	}()
	if !d.Known {
		return "", &refusal{status: http.StatusNotFound, words: "no integration has this name", hint: hintUnknown}
	}
	body, err := readBody(w, r, h.MaxBodyBytes)
	if err != nil {
		return "", err
	}
	if err := sentry.Verify(h.secrets[integration], body, r.Header.Get(sentry.HeaderSignature)); err != nil {
		return "", &refusal{status: http.StatusUnauthorized, words: err.Error(), hint: hintFor(err, r.Header)}
	}
	event, err := sentry.EventName(r.Header.Get(sentry.HeaderResource), body)
	if err != nil {
		return "", &refusal{status: http.StatusBadRequest, words: err.Error(), hint: hintFor(err, r.Header)}
	}
	env := sentry.NewEnvelope(integration, event, r.Header, body, d.Time)
	d.Event = event
	d.Subject = sentry.SubjectOf(env.Body)

	// Sentry hanging up must not stop what has begun.
	left := max(answerTimeout-time.Since(d.Time), minKeepTimeout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), left+wait)
	defer cancel()
	if key, d.Runs, err = h.Inbox.Deliver(ctx, env, d.Subject, wait); err != nil {
		d.Runs = nil
		return "", &refusal{status: http.StatusInternalServerError, words: "the delivery could not be kept, send it again", hint: hintNotKept, cause: err}
	}
	return key, nil
}

// preferredWait returns how long the sender would like to wait for the runs to
// start: the preference "wait" of RFC 7240, in seconds, at most maxWait. What is
// malformed counts as absent.
func preferredWait(header http.Header) time.Duration {
	for preference := range strings.SplitSeq(strings.Join(header.Values("Prefer"), ","), ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		if err != nil {
			return 0
		}
		return min(time.Duration(seconds)*time.Second, maxWait)
	}
	return 0
}

// readBody reads no further than the cap.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	tooLarge := &refusal{status: http.StatusRequestEntityTooLarge, words: "the body is larger than this server takes", hint: hintTooLarge}
	if r.ContentLength > most {
		return nil, tooLarge
	}
	var body bytes.Buffer
	// What the sender claims is believed up to 64 KiB, beyond that what comes.
	body.Grow(int(min(max(r.ContentLength, 0), 64<<10)) + bytes.MinRead)
	_, err := io.Copy(&body, http.MaxBytesReader(w, r.Body, most))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, tooLarge
	case err != nil:
		return nil, &refusal{status: http.StatusBadRequest, words: "the body did not arrive whole", hint: hintCutOff, cause: err}
	}
	return body.Bytes(), nil
}

// refusal is an error that is an HTTP answer.
type refusal struct {
	status int
	words  string // for the sender: his problem, and nothing of ours
	hint   string // for engineers here
	cause  error  // for the log
	stack  string // for the log, of a panic
}

func (r *refusal) Error() string { return r.words }

// asRefusal makes any error an answer: what nobody thought of is a bug.
func asRefusal(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	return &refusal{status: http.StatusInternalServerError, words: web.InternalError, hint: hintBug, cause: err}
}

// clip bounds a text from outside, for the log.
func clip(s string) string {
	const most = 128
	return s[:min(len(s), most)]
}
