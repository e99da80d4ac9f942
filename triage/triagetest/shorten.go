package triagetest

import (
	"context"
	"errors"
	"math"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"sentry-temporal/triage"
)

// shortening has the timers of a run, and the pauses between the attempts of its
// activities, take no time to speak of, while the run's clock goes on as if the timers
// took theirs. What was shortened is told by its nanoseconds, which number it, so that
// [shortening.restore] can put back what it was.
type shortening struct {
	interceptor.WorkerInterceptorBase
	least    time.Duration   // what a timer takes at least
	replaced map[string]bool // activities by name

	*run // of the last time that the workflow was run from its beginning
}

// run is one time that a workflow is run from its beginning.
type run struct {
	calls    []Called
	timers   []time.Duration        // as they were, by number
	policies []temporal.RetryPolicy // as they were, by number
	waiting  []timer
	shift    time.Duration // the workflow's clock is so far ahead
}

// timer is one that may still fire.
type timer struct {
	future workflow.Future
	at     time.Time // on the workflow's clock
}

// pause is what there is between attempts.
const pause = time.Millisecond

// InterceptWorkflow implements [interceptor.WorkerInterceptor].
func (s *shortening) InterceptWorkflow(ctx workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	if workflow.GetInfo(ctx).WorkflowType.Name == triage.LatestType {
		return next // of another run
	}
	return &inbound{interceptor.WorkflowInboundInterceptorBase{Next: next}, func(next interceptor.WorkflowOutboundInterceptor) interceptor.WorkflowOutboundInterceptor {
		s.run = &run{}
		return &shortened{interceptor.WorkflowOutboundInterceptorBase{Next: next}, s, s.run}
	}}
}

// InterceptActivity implements [interceptor.WorkerInterceptor].
func (*shortening) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &soonAgain{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

// soonAgain has an activity that says when it wants to be repeated not wait for it.
type soonAgain struct {
	interceptor.ActivityInboundInterceptorBase
}

// ExecuteActivity implements [interceptor.ActivityInboundInterceptor].
func (s *soonAgain) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	out, err := s.Next.ExecuteActivity(ctx, in)
	if failed, ok := errors.AsType[*temporal.ApplicationError](err); ok && failed.NextRetryDelay() > pause {
		err = temporal.NewApplicationErrorWithOptions(failed.Message(), failed.Type(), temporal.ApplicationErrorOptions{
			NonRetryable: failed.NonRetryable(), Cause: failed.Unwrap(), NextRetryDelay: pause,
		})
	}
	return out, err
}

type shortened struct {
	interceptor.WorkflowOutboundInterceptorBase
	*shortening
	run *run
}

// Now implements [interceptor.WorkflowOutboundInterceptor].
func (s *shortened) Now(ctx workflow.Context) time.Time {
	now := s.Next.Now(ctx)
	var waiting []timer
	for _, t := range s.run.waiting {
		switch {
		case !t.future.IsReady():
			waiting = append(waiting, t)
		case t.future.Get(ctx, nil) == nil: // it was not cancelled
			s.run.shift = max(s.run.shift, t.at.Sub(now))
		}
	}
	s.run.waiting = waiting
	return now.Add(s.run.shift)
}

// NewTimer implements [interceptor.WorkflowOutboundInterceptor].
func (s *shortened) NewTimer(ctx workflow.Context, d time.Duration) workflow.Future {
	return s.NewTimerWithOptions(ctx, d, workflow.TimerOptions{})
}

// NewTimerWithOptions implements [interceptor.WorkflowOutboundInterceptor].
func (s *shortened) NewTimerWithOptions(ctx workflow.Context, d time.Duration, options workflow.TimerOptions) workflow.Future {
	at := s.Now(ctx).Add(d)
	if d <= 0 {
		return s.Next.NewTimerWithOptions(ctx, d, options)
	}
	// Of two timers the longer one stays that.
	short := s.least + time.Duration(float64(s.least)/5*math.Log2(1+d.Seconds())).Truncate(time.Millisecond)
	future := s.Next.NewTimerWithOptions(ctx, numbered(short, len(s.run.timers)), options)
	s.run.timers = append(s.run.timers, d)
	s.run.waiting = append(s.run.waiting, timer{future, at})
	return future
}

// ExecuteActivity implements [interceptor.WorkflowOutboundInterceptor].
func (s *shortened) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	s.Now(ctx)
	policy := serverPolicy(workflow.GetActivityOptions(ctx).RetryPolicy)
	short := policy
	short.InitialInterval = numbered(pause, len(s.run.policies))
	short.MaximumInterval, short.BackoffCoefficient = short.InitialInterval, 1
	s.run.policies = append(s.run.policies, policy)
	if name != triage.LatestType {
		s.run.calls = append(s.run.calls, called(name, args...)) //workflowcheck:ignore a test may encode JSON
	}
	return s.Next.ExecuteActivity(workflow.WithRetryPolicy(ctx, short), name, args...)
}

type replacing struct{}

// ExecuteLocalActivity implements [interceptor.WorkflowOutboundInterceptor].
func (s *shortened) ExecuteLocalActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	s.Now(ctx)
	if s.replaced[name] && ctx.Value(replacing{}) == nil {
		// By its name it is what the worker has registered: what replaces it.
		return workflow.ExecuteLocalActivity(workflow.WithValue(ctx, replacing{}, true), name, args...)
	}
	return s.Next.ExecuteLocalActivity(ctx, name, args...)
}

// numbered returns d, which is of milliseconds, with a number.
func numbered(d time.Duration, n int) time.Duration { return d + time.Duration(n) }

// numberOf returns the number of d, one of a list of so many.
func numberOf(d *durationpb.Duration, many int) (n int, ok bool) {
	n = int(d.AsDuration() % time.Millisecond)
	return n, n < many
}

// restore has history tell what there would be without s.
func (s *shortening) restore(history *historypb.History) {
	clock := map[int64]time.Time{} // of workflow tasks, by the event that they started with
	started := map[int64]int64{}   // that event, by the one that the task completed with
	fires := map[int64]time.Time{} // by the event that the timer started with
	var shift time.Duration
	for i, e := range history.Events {
		if e.GetEventType() == enumspb.EVENT_TYPE_TIMER_FIRED {
			// The workflow sees it when its next task starts.
			shift = max(shift, fires[e.GetTimerFiredEventAttributes().GetStartedEventId()].Sub(nextTask(history.Events[i:])))
		}
		e.EventTime = timestamppb.New(e.GetEventTime().AsTime().Add(shift))
		switch e.GetEventType() { //nolint:exhaustive // the others have no time of their own
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
			clock[e.GetEventId()] = e.GetEventTime().AsTime()
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			started[e.GetEventId()] = e.GetWorkflowTaskCompletedEventAttributes().GetStartedEventId()
		case enumspb.EVENT_TYPE_TIMER_STARTED:
			a := e.GetTimerStartedEventAttributes()
			if n, ok := numberOf(a.GetStartToFireTimeout(), len(s.timers)); ok {
				a.StartToFireTimeout = durationpb.New(s.timers[n])
				fires[e.GetEventId()] = clock[started[a.GetWorkflowTaskCompletedEventId()]].Add(s.timers[n])
			}
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			p := e.GetActivityTaskScheduledEventAttributes().GetRetryPolicy()
			if n, ok := numberOf(p.GetInitialInterval(), len(s.policies)); ok {
				was := s.policies[n]
				p.InitialInterval, p.MaximumInterval = durationpb.New(was.InitialInterval), durationpb.New(was.MaximumInterval)
				p.BackoffCoefficient, p.MaximumAttempts = was.BackoffCoefficient, was.MaximumAttempts
			}
		case enumspb.EVENT_TYPE_MARKER_RECORDED:
			for _, p := range e.GetMarkerRecordedEventAttributes().GetDetails()["data"].GetPayloads() {
				p.Data = later(p.GetData(), shift)
			}
		}
	}
}

// nextTask returns when the first workflow task of events has started.
func nextTask(events []*historypb.HistoryEvent) time.Time {
	for _, e := range events {
		if e.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED {
			return e.GetEventTime().AsTime()
		}
	}
	return events[len(events)-1].GetEventTime().AsTime()
}
