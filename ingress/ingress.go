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
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

// Starter makes deliveries into workflow runs.
type Starter interface {
	// Start returns a run for each workflow that wants env: none is fine. It
	// is idempotent, obeys ctx's deadline, and an error means that env may not
	// have been kept.
	Start(ctx context.Context, env sentry.Envelope) ([]starter.Run, error)
}

// Options are what an ingress is made of.
type Options struct {
	Integrations []config.Integration
	MaxBodyBytes int64 // a larger body is answered 413
	Starter      Starter
	Log          *slog.Logger
}

// startTimeout bounds Starter.Start. Sentry gives the whole exchange one
// second; what is left is for the network and for reading the body.
const startTimeout = 700 * time.Millisecond

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
	taken, err := h.take(c.Writer, c.Request, c.Param("integration"))
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

// take is the way of a delivery: cap, verify, name, wrap, start. With an error
// the answer holds what was known by then. Errors that are not a refusal are
// bugs.
func (h *handler) take(w http.ResponseWriter, r *http.Request, integration string) (taken answer, err error) {
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), startTimeout)
	defer cancel()
	runs, err := h.Starter.Start(ctx, env)
	if err != nil {
		return taken, &refusal{status: http.StatusInternalServerError, words: "the delivery could not be kept, send it again", cause: err}
	}
	taken.Status = starter.Overall(runs)
	taken.Runs = append([]starter.Run{}, runs...) // [] in JSON, not null
	return taken, nil
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
