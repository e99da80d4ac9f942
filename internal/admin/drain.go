package admin

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/journal"
)

// Drained is the answer to POST /drain: what the journal still has.
type Drained struct {
	Pending   int    `json:"pending"`
	Parked    int    `json:"parked"`
	Forwarded uint64 `json:"forwarded"` // since the process started
}

// drain answers POST /drain, which may be repeated.
func (a *admin) drain(c *gin.Context) {
	s, began := a.Drain()
	if began {
		a.who(c).InfoContext(c.Request.Context(), "drains as asked: not ready any more")
	}
	c.PureJSON(http.StatusOK, drained(s))
}

func drained(s journal.Stats) Drained {
	return Drained{Pending: s.Pending, Parked: s.Parked, Forwarded: s.Forwarded}
}
