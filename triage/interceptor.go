package triage

import (
	"cmp"
	"context"
	"strings"
	"unicode"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

// Interceptor is for the options of a worker that [Register] is given the same
// activities for: it gives each log line of a workflow, and of the activities that it
// calls, the event and the issue, has the log tell of each attempt of an activity that
// fails, gives each activity a summary in the Temporal UI, and tells with a call of an
// activity whether the worker that made it has that registered. Histories do not depend on it.
func Interceptor(activities ...any) interceptor.WorkerInterceptor {
	registered := activityNames(activities)
	registered[LatestType] = true
	return &workerInterceptor{registered: registered}
}

type workerInterceptor struct {
	interceptor.WorkerInterceptorBase
	registered map[string]bool // activities by name
}

// InterceptWorkflow implements [interceptor.WorkerInterceptor].
func (w *workerInterceptor) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{interceptor.WorkflowInboundInterceptorBase{Next: next}, w.registered}
}

// InterceptActivity implements [interceptor.WorkerInterceptor].
func (*workerInterceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &activityInbound{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	registered map[string]bool
}

// Init implements [interceptor.WorkflowInboundInterceptor].
func (i *inbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outbound{interceptor.WorkflowOutboundInterceptorBase{Next: next}, i.registered})
}

// ExecuteWorkflow implements [interceptor.WorkflowInboundInterceptor].
func (i *inbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	if len(in.Args) == 1 {
		if env, ok := in.Args[0].(Envelope); ok {
			ctx = workflow.WithValue(ctx, aboutKey{}, about{event: env.EventType, subject: sentry.SubjectOf(env.Body)})
		}
	}
	return i.Next.ExecuteWorkflow(ctx, in)
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	registered map[string]bool
}

// ExecuteActivity implements [interceptor.WorkflowOutboundInterceptor].
func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	if !o.registered[name] {
		interceptor.WorkflowHeader(ctx)[headerUnknown] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)},
			Data:     []byte("true"),
		}
	}
	tellAbout(ctx)
	return o.Next.ExecuteActivity(ctx, name, args...)
}

// ExecuteLocalActivity implements [interceptor.WorkflowOutboundInterceptor].
func (o *outbound) ExecuteLocalActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	tellAbout(ctx)
	return o.Next.ExecuteLocalActivity(ctx, name, args...)
}

// tellAbout has an activity that is called with ctx know what the run is about.
func tellAbout(ctx workflow.Context) {
	a, ok := ctx.Value(aboutKey{}).(about)
	if !ok {
		return
	}
	payload, err := converter.GetDefaultDataConverter().ToPayload(a.keys())
	if err != nil {
		panic(err) // they are texts
	}
	interceptor.WorkflowHeader(ctx)[headerAbout] = payload
}

// Go implements [interceptor.WorkflowOutboundInterceptor].
func (o *outbound) Go(ctx workflow.Context, name string, f func(workflow.Context)) workflow.Context {
	return o.Next.Go(ctx, name, func(ctx workflow.Context) { f(workflow.WithValue(ctx, coroutineKey{}, true)) })
}

// GetLogger implements [interceptor.WorkflowOutboundInterceptor].
func (o *outbound) GetLogger(ctx workflow.Context) log.Logger {
	logger := o.Next.GetLogger(ctx)
	if a, ok := ctx.Value(aboutKey{}).(about); ok {
		logger = log.With(logger, a.keys()...)
	}
	return logger
}

type aboutKey struct{}

// about is what a run is about.
type about struct {
	event   string
	subject sentry.Subject
}

// maxAbout bounds what is told of an issue, in bytes.
const maxAbout = 128

// issue is what people call it.
func (a about) issue() string {
	return text.Cut(cmp.Or(a.subject.ShortID, a.subject.IssueID), maxAbout)
}

// keys are those of a log line and their values, which are texts.
func (a about) keys() []any {
	keys := []any{"event", text.Cut(a.event, maxAbout)}
	if a.subject.IssueID != "" {
		keys = append(keys, "issue", text.Cut(a.subject.IssueID, maxAbout))
	}
	if a.subject.ShortID != "" {
		keys = append(keys, "short_id", text.Cut(a.subject.ShortID, maxAbout))
	}
	return keys
}

// summary is what the Temporal UI shows beside an activity of the run.
func summary(ctx workflow.Context) string {
	const most = 100 // bytes
	a, ok := ctx.Value(aboutKey{}).(about)
	if !ok {
		return ""
	}
	words := cmp.Or(a.issue(), a.subject.Project) + " " + a.event
	return text.Cut(strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" .-", r) {
			return r
		}
		return ' ' // may be markup
	}, words)), most)
}
