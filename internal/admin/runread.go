package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/text"
)

const (
	// maxReason bounds the reason of a state, in bytes, and maxDetail each text of a
	// [RunDetail].
	maxReason = 300
	maxDetail = 2 << 10
	// maxPending is how many pending activities are told of.
	maxPending = 20
	// maxCauses bounds how far a failure is followed to its causes.
	maxCauses = 10
)

// statusOf returns the status of a run, or "" if it has continued as another one.
func statusOf(status enumspb.WorkflowExecutionStatus) string {
	switch status { //nolint:exhaustive // what there may be in future runs
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return RunCompleted
	case enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:
		return RunFailed
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return RunCanceled
	case enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED:
		return RunTerminated
	case enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		return RunTimedOut
	case enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
		return ""
	}
	return RunRunning
}

// isMissing reports whether Temporal has the namespace, and not the run.
func isMissing(err error) bool {
	_, missing := errors.AsType[*serviceerror.NotFound](err)
	return missing
}

// reader asks for one run. Each of its methods is one request, which the SDK does not
// repeat.
type reader struct {
	service    workflowservice.WorkflowServiceClient
	namespace  string
	workflowID string
	runID      string // "" is the newest
}

func (r reader) execution() *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: r.workflowID, RunId: r.runID}
}

// description is a run as it describes itself.
type description struct {
	RunDetail
	run       string // ID
	continued bool   // as another one
	fails     bool   // its code does
}

// unsaid reports whether the reason is in the history alone.
func (d description) unsaid() bool {
	return d.fails || d.Status == RunFailed || d.Status == RunTerminated
}

// describe says what there is to say without the history.
func (r reader) describe(ctx context.Context) (description, error) {
	answer, err := r.service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: r.namespace, Execution: r.execution()})
	if err != nil {
		return description{}, err
	}
	info, now := answer.GetWorkflowExecutionInfo(), time.Now()
	d := description{
		RunDetail: RunDetail{
			RunState:  RunState{Status: statusOf(info.GetStatus()), Asked: now},
			Workflow:  text.Shorten(text.Line(info.GetType().GetName()), maxReason),
			TaskQueue: text.Shorten(text.Line(cmp.Or(answer.GetExecutionConfig().GetTaskQueue().GetName(), info.GetTaskQueue())), maxReason),
			Started:   info.GetStartTime().AsTime(),
			Events:    info.GetHistoryLength(),
		},
		run:       info.GetExecution().GetRunId(),
		continued: info.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
	}
	if info.GetCloseTime() != nil {
		d.Closed = info.GetCloseTime().AsTime()
	}
	if d.Status == RunRunning {
		d.open(answer, now)
	}
	return d, nil
}

// open says of a run that has not ended what it waits for. By that, what is wrong comes
// first.
func (d *description) open(answer *workflowservice.DescribeWorkflowExecutionResponse, now time.Time) {
	if answer.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED {
		d.Reason = "it is paused"
	}
	var worst waits
	for _, a := range answer.GetPendingActivities() {
		w := waitsFor(a, d.TaskQueue, now)
		if len(d.Pending) < maxPending {
			d.Pending = append(d.Pending, w.PendingActivity)
		}
		if w.rank > worst.rank {
			worst = w
		}
	}
	if worst.rank > 0 {
		d.Status, d.Reason = worst.status, worst.reason
	}
	task := answer.GetPendingWorkflowTask()
	switch {
	case task == nil:
	case task.GetAttempt() > 1:
		d.fails = true
		d.Status, d.Reason = RunStuck, "its code fails again and again"
	case task.GetState() == enumspb.PENDING_WORKFLOW_TASK_STATE_SCHEDULED && now.Sub(task.GetScheduledTime().AsTime()) >= soon:
		d.Status, d.Reason = RunUntaken, "no worker of task queue "+d.TaskQueue+" takes its next step"
		if d.Events <= 2 { // that it was started, and this
			d.Reason = "no worker of task queue " + d.TaskQueue + " has taken it"
		}
	}
	d.Reason = text.Shorten(d.Reason, maxReason)
}

// waits is an activity that a run waits for, and what that makes of the run.
type waits struct {
	PendingActivity
	status, reason string
	rank           int // the greater the worse; 0 is nothing
}

func waitsFor(a *workflowpb.PendingActivityInfo, taskQueue string, now time.Time) waits {
	w := waits{PendingActivity: PendingActivity{
		Activity:    text.Shorten(text.Line(a.GetActivityType().GetName()), maxReason),
		Attempt:     int(a.GetAttempt()),
		Started:     a.GetState() == enumspb.PENDING_ACTIVITY_STATE_STARTED,
		LastFailure: failureText(a.GetLastFailure(), maxReason),
	}}
	if scheduled := a.GetScheduledTime(); scheduled != nil && !w.Started {
		w.Scheduled = scheduled.AsTime()
	}
	if next := a.GetNextAttemptScheduleTime(); next != nil && !w.Started {
		w.Next = next.AsTime()
	}
	queue := text.Shorten(text.Line(cmp.Or(a.GetActivityOptions().GetTaskQueue().GetName(), taskQueue)), maxReason)
	name := "its activity " + w.Activity
	switch {
	case isUnregistered(a.GetLastFailure()):
		w.rank, w.status, w.reason = 4, RunStuck, "no worker of task queue "+queue+" has registered "+name
	case !w.Scheduled.IsZero() && now.Sub(w.Scheduled) >= soon && !a.GetPaused():
		w.rank, w.status, w.reason = 3, RunUntaken, "no worker of task queue "+queue+" takes "+name
	case w.LastFailure != "":
		w.rank, w.status, w.reason = 2, RunRunning, fmt.Sprintf("%s fails, attempt %d: %s", name, w.Attempt, w.LastFailure)
	case a.GetPaused():
		w.rank, w.status, w.reason = 1, RunRunning, name+" is paused"
	}
	return w
}

// isUnregistered reports whether an activity failed because the worker does not have
// it, by what the SDKs say: of Go; of TypeScript and Python; of Java.
func isUnregistered(f *failurepb.Failure) bool {
	message := f.GetMessage()
	return f.GetApplicationFailureInfo().GetType() == "ActivityNotRegisteredError" ||
		strings.HasPrefix(message, "Activity ") && (strings.Contains(message, " is not registered on this ") ||
			strings.Contains(message, " is not registered with a worker"))
}

// history returns the last events of the run, the newest first.
func (r reader) history(ctx context.Context) ([]*historypb.HistoryEvent, error) {
	const enough = 5 // what came since a workflow task failed may be behind it
	answer, err := r.service.GetWorkflowExecutionHistoryReverse(ctx, &workflowservice.GetWorkflowExecutionHistoryReverseRequest{
		Namespace: r.namespace, Execution: r.execution(), MaximumPageSize: enough,
	})
	return answer.GetHistory().GetEvents(), err
}

// reason returns why the run ended, or its code fails, as far as that is known.
func (r reader) reason(ctx context.Context) (string, error) {
	events, err := r.history(ctx)
	return reasonOf(events, maxReason), err
}

// reasonOf is like [reader.reason], out of the last events of a history.
func reasonOf(events []*historypb.HistoryEvent, limit int) string {
	for _, e := range events {
		switch e.GetEventType() { //nolint:exhaustive // the others give no reason
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
			return failureText(e.GetWorkflowExecutionFailedEventAttributes().GetFailure(), limit)
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
			return text.Shorten(text.Line(e.GetWorkflowExecutionTerminatedEventAttributes().GetReason()), limit)
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
			return text.Shorten("its workflow task fails: "+failureText(e.GetWorkflowTaskFailedEventAttributes().GetFailure(), limit), limit)
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
			return "a worker takes its workflow task and does not answer in time"
		}
	}
	return ""
}

// resultOf returns the result of a run that has completed, out of the last events of
// its history.
func resultOf(events []*historypb.HistoryEvent) string {
	for _, e := range events {
		payloads := e.GetWorkflowExecutionCompletedEventAttributes().GetResult().GetPayloads()
		if len(payloads) == 0 {
			continue
		}
		plain, err := starter.DecodeWithin(payloads[:1], codecBudget)
		if err != nil {
			return "(" + err.Error() + ")"
		}
		switch encoding := string(plain[0].GetMetadata()[converter.MetadataEncoding]); encoding {
		case converter.MetadataEncodingNil:
			return ""
		case converter.MetadataEncodingJSON, converter.MetadataEncodingProtoJSON:
			return text.Shorten(text.Clean(string(plain[0].GetData())), maxDetail)
		default:
			return fmt.Sprintf("(%d bytes, %s)", len(plain[0].GetData()), text.Shorten(text.Line(encoding), maxReason))
		}
	}
	return ""
}

// input returns the delivery that a run began with.
func (r reader) input(ctx context.Context) (sentry.Envelope, error) {
	var env sentry.Envelope
	answer, err := r.service.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: r.namespace, Execution: r.execution(), MaximumPageSize: 1,
	})
	if err != nil {
		return env, err
	}
	events := answer.GetHistory().GetEvents()
	if len(events) == 0 {
		return env, errNoInput
	}
	payloads := events[0].GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()
	if len(payloads) == 0 {
		return env, errNoInput
	}
	plain, err := starter.DecodeWithin(payloads[:1], codecBudget)
	if err != nil {
		return env, err
	}
	return env, converter.GetDefaultDataConverter().FromPayload(plain[0], &env)
}

// errNoInput says that a run began with nothing.
var errNoInput = errors.New("the run has no input")

// failureText says what a failure is, as one line: what failed, with the name of the
// activity or the workflow, and why.
func failureText(f *failurepb.Failure, limit int) string {
	var parts []string
	add := func(part string) {
		if part = text.Line(part); part != "" && (len(parts) == 0 || !strings.Contains(parts[len(parts)-1], part)) {
			parts = append(parts, part)
		}
	}
	for n := 0; f != nil && n < maxCauses; f, n = f.GetCause(), n+1 {
		switch {
		case f.GetActivityFailureInfo() != nil:
			add("activity " + f.GetActivityFailureInfo().GetActivityType().GetName())
		case f.GetChildWorkflowExecutionFailureInfo() != nil:
			add("workflow " + f.GetChildWorkflowExecutionFailureInfo().GetWorkflowType().GetName())
		default:
			add(cmp.Or(f.GetMessage(), f.GetApplicationFailureInfo().GetType()))
		}
	}
	return text.Shorten(strings.Join(parts, ": "), limit)
}
