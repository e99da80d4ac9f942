package triagetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

// asInProduction has the test environment repeat activities as a server does, where
// it would itself end all that have no end after 10 attempts, and notes calls.
type asInProduction struct {
	interceptor.WorkerInterceptorBase
	calls *[]Called
}

// InterceptWorkflow implements [interceptor.WorkerInterceptor].
func (a *asInProduction) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{interceptor.WorkflowInboundInterceptorBase{Next: next}, func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
		return &productionCalls{interceptor.WorkflowOutboundInterceptorBase{Next: next}, a.calls}
	}}
}

// inbound has what a workflow calls go through outbound.
type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	outbound func(interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor
}

// Init implements [interceptor.WorkflowInboundInterceptor].
func (i *inbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(i.outbound(next))
}

type productionCalls struct {
	interceptor.WorkflowOutboundInterceptorBase
	calls *[]Called
}

// ExecuteActivity implements [interceptor.WorkflowOutboundInterceptor].
func (p *productionCalls) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	if name != triage.LatestType {
		*p.calls = append(*p.calls, called(name, args...)) //workflowcheck:ignore a test may encode JSON
	}
	return p.Next.ExecuteActivity(workflow.WithRetryPolicy(ctx, serverPolicy(workflow.GetActivityOptions(ctx).RetryPolicy)), name, args...)
}

// serverPolicy returns policy with what a server takes for what is not set. One
// without an end has one here, too, so that a test ends: after ten days of the pauses
// that a server makes.
func serverPolicy(policy *temporal.RetryPolicy) temporal.RetryPolicy {
	const noEnd = 10_000
	var p temporal.RetryPolicy
	if policy != nil {
		p = *policy
	}
	if p.InitialInterval == 0 {
		p.InitialInterval = time.Second
	}
	if p.BackoffCoefficient == 0 {
		p.BackoffCoefficient = 2
	}
	if p.MaximumInterval == 0 {
		p.MaximumInterval = 100 * p.InitialInterval
	}
	if p.MaximumAttempts == 0 {
		p.MaximumAttempts = noEnd
	}
	return p
}

// called is a call of the activity called name.
func called(name string, args ...any) Called {
	var in []string
	for _, arg := range args {
		text, err := json.Marshal(arg)
		if err != nil {
			text = fmt.Appendf(nil, "cannot travel: %v", err)
		}
		in = append(in, string(text))
	}
	return Called{name, strings.Join(in, ", ")}
}
