package ingress

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/telemetry"
)

// readyTimeout bounds the question whether Temporal answers.
const readyTimeout = 2 * time.Second

// Admin returns the handler for the admin address: GET /healthz says that the
// process is up, GET /readyz whether ready returns nil, with 200 or 503. It is
// not for the public: what is wrong stands in the answer.
func Admin(ready func(context.Context) error, log *slog.Logger) http.Handler {
	router := newRouter()
	router.GET("/healthz", func(c *gin.Context) { c.PureJSON(http.StatusOK, gin.H{"status": "up"}) })
	router.GET("/readyz", func(c *gin.Context) {
		ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
		defer cancel()
		if err := ready(ctx); err != nil {
			log.WarnContext(ctx, "not ready", telemetry.KeyError, err.Error())
			refuse(c, http.StatusServiceUnavailable, err.Error())
			return
		}
		c.PureJSON(http.StatusOK, gin.H{"status": "ready"})
	})
	router.NoMethod(func(c *gin.Context) { refuse(c, http.StatusMethodNotAllowed, "this address is asked with GET") })
	router.NoRoute(func(c *gin.Context) { refuse(c, http.StatusNotFound, "there are /healthz and /readyz here") })
	return router
}
