package admin

import (
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
)

// develop is what the page of a development stack offers to send.
type develop struct {
	Samples      []string
	Integrations []string
}

// develop returns what can be sent from the page; nil if nothing can.
func (s *statusPage) develop() *develop {
	if s.Send == nil {
		return nil
	}
	d := &develop{Samples: sentry.SampleNames()}
	for _, integration := range s.Integrations {
		d.Integrations = append(d.Integrations, integration.Name)
	}
	return d
}

// shownWithin is how long a sample that was sent has to be among the last deliveries:
// they are told of it after it is answered.
const shownWithin = 2 * time.Second

// sendSample answers POST /development/send: it sends a sample and leads to its page.
func (s *statusPage) sendSample(c *gin.Context) {
	given, err := parameters(c, []string{"integration", "sample"})
	if err != nil {
		web.Refuse(c, http.StatusBadRequest, err.Error())
		return
	}
	offered := s.develop()
	integration, sample := given.Get("integration"), given.Get("sample")
	if !slices.Contains(offered.Integrations, integration) || !slices.Contains(offered.Samples, sample) {
		web.Refuse(c, http.StatusBadRequest, "say which sample, for which integration")
		return
	}
	requestID, err := s.Send(c.Request.Context(), integration, sample)
	if err != nil {
		s.admin.Log.ErrorContext(c.Request.Context(), "sample not sent", telemetry.KeyError, err.Error())
		web.Refuse(c, http.StatusBadGateway, "the sample was not sent: the log says why")
		return
	}
	for began := time.Now(); time.Since(began) < shownWithin && !s.Recent.knows(integration, requestID); {
		<-time.After(10 * time.Millisecond)
	}
	c.Redirect(http.StatusSeeOther, DeliveryRecord{Integration: integration, Key: requestID}.Page())
}
