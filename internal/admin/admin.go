// Package admin is the admin address of both programs: probes, metrics and a page
// for people, and of the ingress the parked deliveries and the codec for the
// Temporal UI.
package admin

import (
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gin-gonic/gin"
	commonpb "go.temporal.io/api/common/v1"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
)

// Check asks for one of the loops of a process.
type Check struct {
	Name string
	Turn func() error // nil if it turns, or has no reason to
}

// Options are what the admin handler is made of.
type Options struct {
	// Alive are the loops that have to turn for the process to be of use. They
	// must be quick.
	Alive []Check
	// Ready returns nil while the process can do its job, and else why not. It
	// must be quick, and is not about Temporal.
	Ready func() error
	// Temporal returns what is known of each namespace, see [Watch]. It must be
	// quick, and decides nothing.
	Temporal func() []NamespaceState
	Metrics  http.Handler // nil for none
	Journal  Journal      // nil in a worker
	// Decode decompresses payloads to budget bytes together at most, see
	// [starter.DecodeWithin]. It is nil in a worker.
	Decode func(payloads []*commonpb.Payload, budget int64) ([]*commonpb.Payload, error)
	// Drain makes the process not ready, for balancers, and returns what the journal
	// has, and whether that is new. It is nil in a worker.
	Drain  func() (s journal.Stats, began bool)
	UIURL  string        // base address of the Temporal UI, which may ask the codec
	Status *Status       // what the status page of an ingress shows
	Worker *WorkerStatus // and that of a worker; with neither there is none
	Token  config.Secret // that all but probes and metrics need; "" is none
	Hosts  []string      // names in lower case that it answers to, beside its own
	Log    *slog.Logger
}

// New returns the handler for the admin address, which is not for the public:
//
//	GET  /healthz          whether the process lives and its loops turn
//	GET  /readyz           whether it can do its job, and what Temporal answers
//	GET  /metrics          metrics in the format of Prometheus
//	GET  /                 the status page, for people
//	GET  /login            the form to log in, for people
//	POST /login            exchanges the token for a cookie
//	GET  /kept             what is parked or pending, and what to do with it, for people
//	GET  /api/deliveries   the last deliveries, see [DeliveryRecord]
//	GET  /api/deliveries/{integration}/{key}   all of one, see [DeliveryDetail]
//	GET  /deliveries/{integration}/{key}       its page, for people
//	GET  /deliveries/{integration}/{key}/body  its envelope, with its body
//	GET  /api/state        how it is with it and with what it needs, see [StateRecord]
//	GET  /journal          deliveries in the journal, see [journal.Item]
//	GET  /journal/{id}     the envelope of one, with its body
//	GET  /journal/export   the envelopes of many, a line for each
//	POST /journal/park     keeps pending ones from being started
//	POST /journal/retry    puts parked ones back
//	POST /journal/discard  deletes some for good
//	POST /development/send sends a sample, in a development stack
//	POST /drain            makes it not ready, and tells what is left, see [Drained]
//	POST /codec/decode     makes compressed payloads readable for the Temporal UI
//
// All but healthz, readyz and metrics answer only what cannot come from a page
// of another site that an engineer has open, and all of these but login only to
// those who have the token.
func New(o Options) http.Handler {
	a := &admin{Options: o, guard: newGuard(o.Token), crossOrigin: http.NewCrossOriginProtection()}
	for _, host := range o.Hosts {
		if err := a.crossOrigin.AddTrustedOrigin("https://" + host); err != nil {
			panic(err) // the configuration lets no such name through
		}
	}
	router := web.NewRouter()
	router.Use(pageHeaders)
	router.GET("/healthz", a.alive)
	router.GET("/readyz", a.ready)
	if o.Metrics != nil {
		router.GET("/metrics", gin.WrapH(o.Metrics))
	}
	local := router.Group("/", a.knownHost, a.sameSite)
	private := local.Group("/", a.authenticate)
	if o.Journal != nil {
		private.GET("/journal", a.listKept)
		private.GET("/journal/:id", a.exportKept)
		private.GET("/journal/export", a.exportAll)
		private.POST("/journal/park", a.park)
		private.POST("/journal/retry", a.putBack)
		private.POST("/journal/discard", a.discard)
	}
	if o.Drain != nil {
		private.POST("/drain", a.drain)
	}
	show := a.showWorker
	if o.Status != nil {
		status := &statusPage{Status: *o.Status, admin: a}
		show = status.show
		private.GET("/api/deliveries", status.listDeliveries)
		private.GET("/api/deliveries/:integration/:key", status.tellDelivery)
		private.GET("/deliveries/:integration/:key", status.showDelivery)
		private.GET("/deliveries/:integration/:key/body", status.showBody)
		if o.Status.Send != nil {
			private.POST("/development/send", status.sendSample)
		}
		private.GET("/api/state", status.showState)
	}
	if o.Status != nil && o.Journal != nil {
		private.GET("/kept", a.showKept)
	}
	if o.Status != nil || o.Worker != nil {
		private.GET("/", show)
		local.GET("/login", a.loginPage)
		local.POST("/login", a.login)
	}
	if o.Decode != nil {
		forUI := router.Group("/codec", a.knownHost, a.allowUI, a.authenticate)
		forUI.OPTIONS("/decode")
		forUI.POST("/decode", newCodec(o.Decode).decode)
	}
	router.NoMethod(func(c *gin.Context) { web.Refuse(c, http.StatusMethodNotAllowed, "not this method") })
	router.NoRoute(func(c *gin.Context) { web.Refuse(c, http.StatusNotFound, "nothing is here") })
	return router
}

type admin struct {
	Options
	guard       *guard
	crossOrigin *http.CrossOriginProtection
	changes     atomic.Int64 // to the journal that were asked for here
}

// health is the answer to GET /healthz and, with what Temporal answers, to GET
// /readyz.
type health struct {
	Status   string           `json:"status"`           // up or not up, ready or not ready
	Reason   string           `json:"reason,omitempty"` // why not
	Temporal []NamespaceState `json:"temporal,omitzero"`
}

// alive answers 503 for what a restart may help against.
func (a *admin) alive(c *gin.Context) {
	var stuck []string
	for _, check := range a.Alive {
		if err := check.Turn(); err != nil {
			stuck = append(stuck, check.Name+": "+err.Error())
		}
	}
	if len(stuck) > 0 {
		a.unwell(c, health{Status: "not up", Reason: strings.Join(stuck, "; ")})
		return
	}
	c.PureJSON(http.StatusOK, health{Status: "up"})
}

// ready answers 503 for what another process may do better. That Temporal is
// away is not of that kind.
func (a *admin) ready(c *gin.Context) {
	temporal := append([]NamespaceState{}, a.Temporal()...) // [] in JSON, not absent
	if err := a.Ready(); err != nil {
		a.unwell(c, health{Status: "not ready", Reason: err.Error(), Temporal: temporal})
		return
	}
	c.PureJSON(http.StatusOK, health{Status: "ready", Temporal: temporal})
}

func (a *admin) unwell(c *gin.Context, h health) {
	a.Log.WarnContext(c.Request.Context(), "probe answers 503", telemetry.KeyReason, h.Status+": "+h.Reason)
	c.PureJSON(http.StatusServiceUnavailable, h)
}

// fail answers a bug, or a disk that fails.
func (a *admin) fail(c *gin.Context, err error) {
	a.Log.ErrorContext(c.Request.Context(), "admin request", telemetry.KeyError, err.Error())
	web.Refuse(c, http.StatusInternalServerError, web.InternalError)
}

// allowUI lets the Temporal UI, in its users' browsers, ask from its own
// origin, and no other page.
func (a *admin) allowUI(c *gin.Context) {
	origin := c.GetHeader("Origin")
	ui, err := url.Parse(a.UIURL)
	if err != nil || a.UIURL == "" || !sameOrigin(origin, ui) {
		if origin != "" {
			c.Abort()
			web.Refuse(c, http.StatusForbidden, "this is for the Temporal UI")
		}
		return // not a browser
	}
	c.Header("Access-Control-Allow-Origin", origin)
	c.Header("Access-Control-Allow-Credentials", "true") // the cookie
	c.Header("Access-Control-Allow-Methods", http.MethodPost)
	c.Header("Access-Control-Allow-Headers", "Content-Type, X-Namespace, Authorization")
	c.Header("Vary", "Origin")
	if c.Request.Method == http.MethodOptions {
		c.AbortWithStatus(http.StatusNoContent)
	}
	c.Request.Header.Del("Authorization") // the UI's own token, which only who gave it can verify
}

// sameOrigin also takes localhost for 127.0.0.1: people type either.
func sameOrigin(origin string, ui *url.URL) bool {
	normal := func(s string) string { return strings.Replace(s, "//localhost:", "//127.0.0.1:", 1) }
	return normal(origin) == normal(ui.Scheme+"://"+ui.Host)
}

// sameSite refuses what a page of another site may have made a browser send.
func (a *admin) sameSite(c *gin.Context) {
	if err := a.crossOrigin.Check(c.Request); err != nil {
		c.Abort()
		web.Refuse(c, http.StatusForbidden, "this does not answer pages of other sites")
	}
}

// knownHost takes addresses, names without a dot, which nobody else can own, and
// those of Hosts: any other name may be one that another site has pointed here.
func (a *admin) knownHost(c *gin.Context) {
	host := strings.ToLower(c.Request.Host)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if net.ParseIP(strings.Trim(host, "[]")) == nil && strings.Contains(host, ".") && !slices.Contains(a.Hosts, host) {
		c.Abort()
		web.Refuse(c, http.StatusForbidden, "this does not answer to this name: use an address, localhost or a name in ADMIN_HOSTS")
	}
}

// pageHeaders makes browsers use an answer for nothing that it is not meant for.
// The origin stays in requests to this page itself: it proves that they are not
// from another one.
func pageHeaders(c *gin.Context) {
	c.Header("Content-Security-Policy", pagePolicy)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Referrer-Policy", "same-origin")
	c.Header("Cross-Origin-Resource-Policy", "same-origin")
	c.Header("Cache-Control", "no-store")
}
