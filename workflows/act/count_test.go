package act_test

import (
	"maps"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/workflows/act"
)

// counts are counters by name and value of their labels.
type counts struct {
	client.MetricsHandler

	mu    *sync.Mutex
	tags  map[string]string
	found map[string]int64
}

func (c counts) WithTags(tags map[string]string) client.MetricsHandler {
	c.tags = maps.Clone(c.tags)
	maps.Copy(c.tags, tags)
	return c
}

func (c counts) Counter(name string) client.MetricsCounter {
	if effect := c.tags[activities.LabelEffect]; effect != "" {
		name += " " + effect
	}
	return count{c, name}
}

type count struct {
	counts
	name string
}

func (c count) Inc(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found[c.name] += n
}

func TestWhatNobodySeesOfARunIsCounted(t *testing.T) {
	slack := activities.Step{Effect: activities.EffectSlack, To: "#sentry", Key: "k"}
	done := activities.Step{Effect: activities.EffectPage, Skipped: "it is low"}
	for name, tt := range map[string]struct {
		d              activities.Decision
		untold, failed int64
	}{
		"it is urgent, and no destination matches": {activities.Decision{Untold: true, Steps: []activities.Step{done}}, 1, 0},
		"an effect fails":                          {activities.Decision{Steps: []activities.Step{done, slack}}, 0, 1},
		"nothing is wrong":                         {activities.Decision{Steps: []activities.Step{done}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := counts{MetricsHandler: client.MetricsNopHandler, mu: &sync.Mutex{}, tags: map[string]string{}, found: map[string]int64{}}
			var suite testsuite.WorkflowTestSuite
			suite.SetMetricsHandler(c)
			env := suite.NewTestWorkflowEnvironment()
			env.SetTestTimeout(time.Minute)
			env.RegisterActivity(&activities.Slack{}) // which is not configured
			env.ExecuteWorkflow(func(ctx workflow.Context) (act.Outcome, error) { return act.Carry(ctx, tt.d) })
			untold, failed := c.found[activities.MetricNobodyTold], c.found[activities.MetricEffectsFailed+" slack"]
			if untold != tt.untold || failed != tt.failed {
				t.Errorf("%d were untold, and %d have failed: %v", untold, failed, c.found)
			}
		})
	}
}
