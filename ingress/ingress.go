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
)

// Inbox takes deliveries in.
type Inbox interface {
	// Deliver keeps env, or has it started, and returns a run for each
	// workflow that wants it: none is fine. An error means that env may be
	// lost. With wait it also waits that long for the runs to start. It is
	// idempotent and obeys ctx's deadline.
	Deliver(ctx context.Context, env sentry.Envelope, wait time.Duration) ([]starter.Run, error)
}

// Options are what an ingress is made of.
type Options struct {
	Integrations []config.Integration
	MaxBodyBytes int64 // a larger body is answered 413
	Inbox        Inbox
	Log          *slog.Logger
}

const (
	// keepTimeout bounds Inbox.Deliver. Sentry gives the whole exchange one
	// second; what is left is for the network and for reading the body.
	keepTimeout = 700 * time.Millisecond
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
	router := newRouter()
	router.POST("/webhooks/:integration", h.deliver)
	router.NoMethod(func(c *gin.Context) { refuse(c, http.StatusMethodNotAllowed, "webhooks are sent with POST") })
	router.NoRoute(func(c *gin.Context) { refuse(c, http.StatusNotFound, "webhooks are sent to /webhooks/{integration}") })
	return router
}

// newRouter returns a router without what gin does unasked: a trailing slash
// is not redirected, since Sentry takes a redirect for success, and no header
// of a proxy is believed.
func newRouter() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.RedirectTrailingSlash = false
	router.HandleMethodNotAllowed = true
	if err := router.SetTrustedProxies(nil); err != nil {
		panic(err) // no proxy cannot be malformed
	}
	return router
}

func refuse(c *gin.Context, status int, words string) {
	c.PureJSON(status, gin.H{"error": words})
}

type handler struct {
	Options
	secrets map[string][]string // by integration
}

// deliver answers one delivery and logs one line about it.
func (h *handler) deliver(c *gin.Context) {
	began := time.Now()
	attrs := []slog.Attr{
		slog.String(telemetry.KeyRequestID, clip(c.GetHeader(sentry.HeaderRequestID))),
		slog.String(telemetry.KeyIntegration, clip(c.Param("integration"))),
	}
	wait := preferredWait(c.Request.Header)
	taken, err := h.take(c.Writer, c.Request, c.Param("integration"), wait)
	if taken.Event != "" {
		attrs = append(attrs, slog.String(telemetry.KeyEvent, taken.Event))
	}
	level := slog.LevelInfo
	if err == nil {
		ids := make([]string, len(taken.Runs))
		for i, run := range taken.Runs {
			ids[i] = run.WorkflowID
		}
		attrs = append(attrs,
			slog.String(telemetry.KeyOutcome, string(taken.Status)),
			slog.Any(telemetry.KeyWorkflowIDs, ids))
		if wait > 0 {
			c.Header("Preference-Applied", fmt.Sprintf("wait=%d", wait/time.Second))
		}
		c.PureJSON(http.StatusAccepted, taken)
	} else {
		refusal := asRefusal(err)
		outcome := "refused"
		level = slog.LevelWarn
		if refusal.status >= 500 {
			outcome = "failed"
			level = slog.LevelError
		}
		attrs = append(attrs,
			slog.String(telemetry.KeyOutcome, outcome),
			slog.String(telemetry.KeyReason, refusal.words))
		if refusal.cause != nil {
			attrs = append(attrs, slog.String(telemetry.KeyError, refusal.cause.Error()))
		}
		if refusal.stack != "" {
			attrs = append(attrs, slog.String(telemetry.KeyStack, refusal.stack))
		}
		if refusal.status == http.StatusRequestEntityTooLarge {
			c.Header("Connection", "close") // the rest of the body is not read
		}
		refuse(c, refusal.status, refusal.words)
	}
	attrs = append(attrs,
		slog.Int(telemetry.KeyStatus, c.Writer.Status()),
		slog.Float64(telemetry.KeyDuration, float64(time.Since(began).Microseconds())/1000))
	h.Log.LogAttrs(c.Request.Context(), level, "delivery", attrs...)
}

// take is the way of a delivery: cap, verify, name, wrap, keep. With an error
// the answer holds what was known by then. Errors that are not a refusal are
// bugs.
func (h *handler) take(w http.ResponseWriter, r *http.Request, integration string, wait time.Duration) (taken answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &refusal{status: http.StatusInternalServerError, words: internalError, cause: fmt.Errorf("panic: %v", p), stack: string(debug.Stack())}
		}
	}()
	secrets, ok := h.secrets[integration]
	if !ok {
		return taken, &refusal{status: http.StatusNotFound, words: "no integration has this name"}
	}
	body, err := readBody(w, r, h.MaxBodyBytes)
	if err != nil {
		return taken, err
	}
	if err := sentry.Verify(secrets, body, r.Header.Get(sentry.HeaderSignature)); err != nil {
		return taken, &refusal{status: http.StatusUnauthorized, words: err.Error()}
	}
	event, err := sentry.EventName(r.Header.Get(sentry.HeaderResource), body)
	if err != nil {
		return taken, &refusal{status: http.StatusBadRequest, words: err.Error()}
	}
	env := sentry.NewEnvelope(integration, event, r.Header, body, time.Now())
	taken = answer{Event: event, IdempotencyKey: env.IdempotencyKey}

	// Sentry hanging up must not stop what has begun.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), keepTimeout+wait)
	defer cancel()
	runs, err := h.Inbox.Deliver(ctx, env, wait)
	if err != nil {
		return taken, &refusal{status: http.StatusInternalServerError, words: "the delivery could not be kept, send it again", cause: err}
	}
	taken.Status = starter.Overall(runs)
	taken.Runs = append([]starter.Run{}, runs...) // [] in JSON, not null
	return taken, nil
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
	tooLarge := &refusal{status: http.StatusRequestEntityTooLarge, words: "the body is larger than this server takes"}
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
		return nil, &refusal{status: http.StatusBadRequest, words: "the body did not arrive whole", cause: err}
	}
	return body.Bytes(), nil
}

const internalError = "internal error"

// refusal is an error that is an HTTP answer.
type refusal struct {
	status int
	words  string // for the sender: his problem, and nothing of ours
	cause  error  // for the log
	stack  string // for the log, of a panic
}

func (r *refusal) Error() string { return r.words }

// asRefusal makes any error an answer: what nobody thought of is a bug.
func asRefusal(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	return &refusal{status: http.StatusInternalServerError, words: internalError, cause: err}
}

// clip bounds a text of a sender who is not verified yet, for the log.
func clip(s string) string {
	const most = 128
	return s[:min(len(s), most)]
}
