// Package ingress is the HTTP side: it takes Sentry's webhooks, verifies and
// names them, and hands them on wrapped in an envelope. It does not know which
// workflows there are.
package ingress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/text"
	"sentry-temporal/internal/web"
)

// Inbox takes deliveries in.
type Inbox interface {
	// Deliver keeps env, whose typed view d is, or has it started, and returns
	// what became of it: no run is fine. An error means that env may be lost.
	// With wait it also waits that long for the runs to start. It is idempotent
	// and obeys ctx's deadline.
	Deliver(ctx context.Context, env sentry.Envelope, d sentry.Delivery, wait time.Duration) (starter.Taken, error)
}

// Options are what an ingress is made of.
type Options struct {
	Keyring      *keyring.Keyring // of the integrations that there are
	MaxBodyBytes int64            // a larger body is answered 413
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
	// bodyTimeout is what a body may take to arrive, from the headers on: more
	// than Sentry takes.
	bodyTimeout = 1500 * time.Millisecond
	// lingerTimeout bounds what a sender who has his answer may still send. To
	// close at once would often take the answer from him.
	lingerTimeout = 500 * time.Millisecond
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
	Skipped        []routes.Skip  `json:"skipped,omitempty"`
}

// New returns the public handler: POST /webhooks/{integration} and nothing
// else.
func New(o Options) http.Handler {
	h := &handler{Options: o, budget: newBudget(o.MaxBodyBytes), lines: newQuota(o.Log)}
	router := web.NewRouter()
	router.POST("/webhooks/:integration", h.deliver)
	router.NoMethod(func(c *gin.Context) {
		hangUp(c)
		web.Refuse(c, http.StatusMethodNotAllowed, "webhooks are sent with POST")
	})
	router.NoRoute(h.stray)
	return router
}

type handler struct {
	Options
	budget *budget
	lines  *quota
}

// stray answers what is sent to no webhook's path. A POST was meant to be a
// delivery.
func (h *handler) stray(c *gin.Context) {
	refusal := &refusal{status: http.StatusNotFound, code: codeUnknown, unread: true, words: "webhooks are sent to /webhooks/{integration}", hint: hintPath}
	if c.Request.Method != http.MethodPost {
		hangUp(c)
		web.Refuse(c, refusal.status, refusal.words)
		return
	}
	h.refuse(c, web.Delivery{
		Time:        time.Now(),
		RequestID:   clip(c.GetHeader(sentry.HeaderRequestID)),
		Integration: clip(c.Request.URL.Path),
	}, refusal)
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
	d.Known = h.Keyring.Has(c.Param("integration"))
	err := h.take(c.Writer, c.Request, c.Param("integration"), wait, &d)
	if err == nil {
		d.Outcome = string(starter.Overall(d.Runs))
		if wait > 0 {
			c.Header("Preference-Applied", fmt.Sprintf("wait=%d", wait/time.Second))
		}
		c.PureJSON(http.StatusAccepted, answer{
			Status: starter.Status(d.Outcome), Event: d.Event, IdempotencyKey: d.Key,
			Runs:    append([]starter.Run{}, d.Runs...), // [] in JSON, not null
			Skipped: d.Skipped,
		})
		h.tell(c, d, slog.LevelInfo, nil)
		return
	}
	h.refuse(c, d, asRefusal(err))
}

// refuse answers a delivery that was not taken.
func (h *handler) refuse(c *gin.Context, d web.Delivery, refusal *refusal) {
	d.Code, d.Reason, d.Hint = refusal.code, refusal.words, refusal.hint
	level := slog.LevelWarn
	d.Outcome = web.Refused
	if refusal.status >= http.StatusInternalServerError {
		d.Outcome = web.Failed
		if refusal.code != codeBusy { // which strangers bring about
			level = slog.LevelError
		}
	}
	if refusal.unread {
		hangUp(c)
	}
	web.Refuse(c, refusal.status, refusal.words)
	h.tell(c, d, level, refusal)
}

// hangUp has the connection closed after the answer, whatever the sender has yet
// to send.
func hangUp(c *gin.Context) {
	c.Header("Connection", "close")
	setReadDeadline(c.Writer, time.Now().Add(lingerTimeout))
}

// setReadDeadline bounds reads of a request's body. An error means that there is
// no connection, as in tests.
func setReadDeadline(w http.ResponseWriter, deadline time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(deadline)
}

// tell logs d and gives it to the observers.
func (h *handler) tell(c *gin.Context, d web.Delivery, level slog.Level, refusal *refusal) {
	d.Status = c.Writer.Status()
	d.Duration = time.Since(d.Time)
	if d.Verified || h.lines.allow() {
		h.log(c.Request.Context(), d, level, refusal)
	}
	for _, observe := range h.Observers {
		observe(c.Request.Context(), d)
	}
}

func (h *handler) log(ctx context.Context, d web.Delivery, level slog.Level, refusal *refusal) {
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
	if d.Subject.ShortID != "" {
		attrs = append(attrs, slog.String(telemetry.KeyShortID, clip(d.Subject.ShortID)))
	}
	if len(d.Runs) > 0 {
		ids := make([]string, len(d.Runs))
		for i, run := range d.Runs {
			ids[i] = run.WorkflowID
		}
		attrs = append(attrs, slog.Any(telemetry.KeyWorkflowIDs, ids))
	}
	if len(d.Skipped) > 0 {
		attrs = append(attrs, slog.Any(telemetry.KeySkipped, d.Skipped))
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
	if d.Verified {
		h.Log.LogAttrs(ctx, level, "delivery", attrs...)
	} else {
		h.Log.LogAttrs(ctx, level, "unverified delivery", attrs...)
	}
}

// take is the way of a delivery: bound, verify, name, wrap, keep. It notes in d
// what it learns. Errors that are not a refusal are bugs.
func (h *handler) take(w http.ResponseWriter, r *http.Request, integration string, wait time.Duration, d *web.Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &refusal{status: http.StatusInternalServerError, code: codeBug, words: web.InternalError, hint: hintBug, cause: fmt.Errorf("panic: %v", p), stack: string(debug.Stack())}
		}
	}()
	body, err := h.verified(w, r, integration, d)
	if err != nil {
		return err
	}
	d.Verified = true
	web.Keep(r.Context())
	event, err := sentry.EventName(r.Header.Get(sentry.HeaderResource), body)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, words: err.Error(), hint: hintFor(err, r.Header)}
	}
	env := sentry.NewEnvelope(integration, event, r.Header, body, d.Time)
	d.Event = event
	delivery := sentry.DeliveryOf(env)
	d.Subject = delivery.Subject
	d.Key, d.Headers, d.Size = env.IdempotencyKey, env.Headers, len(body)

	// Sentry hanging up must not stop what has begun.
	left := max(answerTimeout-time.Since(d.Time), minKeepTimeout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), left+wait)
	defer cancel()
	taken, err := h.Inbox.Deliver(ctx, env, delivery, wait)
	if err != nil {
		return &refusal{status: http.StatusInternalServerError, words: "the delivery could not be kept, send it again", hint: hintNotKept, cause: err}
	}
	d.Key, d.Runs, d.Skipped = taken.Key, taken.Runs, taken.Skipped
	return nil
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

// verified returns the body of a delivery that is from Sentry. All that can be
// refused without its body is, and what it takes in memory until then is bounded.
func (h *handler) verified(w http.ResponseWriter, r *http.Request, integration string, d *web.Delivery) ([]byte, error) {
	if !d.Known {
		return nil, &refusal{status: http.StatusNotFound, code: codeUnknown, unread: true, words: "no integration has this name", hint: hintUnknown}
	}
	signature := r.Header.Get(sentry.HeaderSignature)
	if err := sentry.CheckSignature(signature); err != nil {
		return nil, unsigned(err, r.Header, true)
	}
	if r.ContentLength > h.MaxBodyBytes {
		return nil, errTooLarge
	}
	claim := h.budget.claim(max(r.ContentLength, 0), func() { setReadDeadline(w, longAgo) })
	defer claim.release()
	setReadDeadline(w, d.Time.Add(bodyTimeout))
	body, err := readBody(r, h.MaxBodyBytes, claim, d.Time.Add(answerTimeout))
	if err != nil {
		return nil, err
	}
	if err := h.Keyring.Verify(integration, body, signature); err != nil {
		h.hold(err, r, integration, body, d.Time)
		return nil, unsigned(err, r.Header, false)
	}
	return body, nil
}

// longAgo is a deadline that ends a read at once.
var longAgo = time.Unix(1, 0)

// unsigned is the answer to a signature that err is wrong with.
func unsigned(err error, header http.Header, unread bool) *refusal {
	return &refusal{status: http.StatusUnauthorized, code: codeFor(err), unread: unread, words: err.Error(), hint: hintFor(err, header)}
}

// readBody reads a body of at most so many bytes into what claim holds, for
// which it waits until the time given at most.
func readBody(r *http.Request, most int64, claim *claim, patient time.Time) ([]byte, error) {
	limit := cmp.Or(max(r.ContentLength, 0), most) + 1 // to see the end, or that there is more
	var body []byte
	for {
		if len(body) == cap(body) {
			if int64(len(body)) == limit {
				return nil, errTooLarge
			}
			size := min(max(int64(cap(body))*growth, firstRead), limit)
			if err := claim.grow(size, patient); err != nil {
				return nil, tooBusy(err)
			}
			body = append(make([]byte, 0, size), body...)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == nil {
			continue
		}
		if busy := claim.keep(); busy != nil {
			return nil, tooBusy(busy)
		}
		switch {
		case int64(len(body)) > most:
			return nil, errTooLarge
		case errors.Is(err, io.EOF):
			return body, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &refusal{status: http.StatusRequestTimeout, code: codeLate, unread: true, words: "the body did not arrive in time", hint: hintLate, cause: err}
		}
		return nil, &refusal{status: http.StatusBadRequest, code: codeIncomplete, unread: true, words: "the body did not arrive whole", hint: hintCutOff, cause: err}
	}
}

var errTooLarge = &refusal{status: http.StatusRequestEntityTooLarge, code: codeTooLarge, unread: true, words: "the body is larger than this server takes", hint: hintTooLarge}

func tooBusy(err error) *refusal {
	return &refusal{status: http.StatusInternalServerError, code: codeBusy, unread: true, words: "too much is under way, send it again", hint: hintBusy, cause: err}
}

// refusal is an error that is an HTTP answer.
type refusal struct {
	status int
	code   string // of one whose sender is not verified: see codes
	unread bool   // the body was not read to its end
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
	return &refusal{status: http.StatusInternalServerError, code: codeBug, words: web.InternalError, hint: hintBug, cause: err}
}

// clip makes a text from outside a short line.
func clip(s string) string {
	const most = 128 // bytes
	return text.Cut(text.Line(s), most)
}
