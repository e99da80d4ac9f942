package outside

import (
	"go.temporal.io/sdk/client"
)

// What a worker counts of its runs, by the metrics handler of Temporal's SDK. In
// Prometheus the names end in _total.
const (
	MetricNobodyTold    = "sentry_temporal_nobody_told"
	MetricEffectsFailed = "sentry_temporal_effects_failed" // by LabelEffect
	LabelEffect         = "effect"
)

var (
	// Urgent are the severities of which somebody has to be told.
	Urgent = []string{"critical", "high"}
	// Effects are those that runs have.
	Effects = []string{"page", "resolve", "slack", "slack webhook", "webhook", "ticket", "link"}
)

// CountFromZero has what is counted of the runs that have these metrics begin at zero,
// so that the first one is seen as more.
func CountFromZero(metrics client.MetricsHandler) {
	metrics.Counter(MetricNobodyTold).Inc(0)
	for _, effect := range Effects {
		metrics.WithTags(map[string]string{LabelEffect: effect}).Counter(MetricEffectsFailed).Inc(0)
	}
}
