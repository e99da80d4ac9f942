package starter_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"sentry-temporal/internal/starter"
)

func TestATaskQueueIsAskedAboutByKind(t *testing.T) {
	polled := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pollers := []*taskqueuepb.PollerInfo{{Identity: "a", LastAccessTime: timestamppb.New(polled)}, {Identity: "b", LastAccessTime: timestamppb.New(polled.Add(time.Second))}}
	for name, test := range map[string]struct {
		said *workflowservice.DescribeTaskQueueResponse // of workflow tasks
		want starter.Tasks
	}{
		"a backlog": {
			&workflowservice.DescribeTaskQueueResponse{Pollers: pollers, Stats: &taskqueuepb.TaskQueueStats{
				ApproximateBacklogCount: 3, ApproximateBacklogAge: durationpb.New(7 * time.Second), TasksDispatchRate: 0.1,
			}},
			starter.Tasks{Counted: true, Backlog: 3, Age: 7 * time.Second, Dispatched: true, Polls: []time.Time{polled, polled.Add(time.Second)}},
		},
		"nothing":                      {&workflowservice.DescribeTaskQueueResponse{Stats: &taskqueuepb.TaskQueueStats{}}, starter.Tasks{Counted: true}},
		"a server that does not count": {&workflowservice.DescribeTaskQueueResponse{Pollers: pollers[:1]}, starter.Tasks{Polls: []time.Time{polled}}},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, &standIn{taskQueue: func(r *workflowservice.DescribeTaskQueueRequest) (*workflowservice.DescribeTaskQueueResponse, error) {
				switch {
				case r.GetNamespace() != "default" || r.GetTaskQueue().GetName() != "q" || !r.GetReportStats():
					return nil, status.Error(codes.InvalidArgument, r.String())
				case r.GetTaskQueueType() == enumspb.TASK_QUEUE_TYPE_ACTIVITY:
					return &workflowservice.DescribeTaskQueueResponse{}, nil
				}
				return test.said, nil
			}}, nil)
			workflow, activity, err := connect(t, server.address).TaskQueue(t.Context(), "sentry", "default", "q")
			if err != nil || !reflect.DeepEqual(workflow, test.want) || !reflect.DeepEqual(activity, starter.Tasks{}) {
				t.Errorf("%+v, %+v: %v", workflow, activity, err)
			}
		})
	}
}

func TestATaskQueueOfWhichTemporalSaysNothingIsAnError(t *testing.T) {
	server := serve(t, &standIn{taskQueue: func(r *workflowservice.DescribeTaskQueueRequest) (*workflowservice.DescribeTaskQueueResponse, error) {
		if r.GetTaskQueueType() == enumspb.TASK_QUEUE_TYPE_ACTIVITY {
			return nil, status.Error(codes.PermissionDenied, "not yours")
		}
		return &workflowservice.DescribeTaskQueueResponse{}, nil
	}}, nil)
	connections := connect(t, server.address)
	if _, _, err := connections.TaskQueue(t.Context(), "sentry", "default", "q"); serviceerror.ToStatus(err).Code() != codes.PermissionDenied {
		t.Errorf("denied is %v", err)
	}
	if _, _, err := connections.TaskQueue(t.Context(), "sentry", "elsewhere", "q"); !errors.Is(err, starter.ErrNotConfigured) {
		t.Errorf("of a namespace that nothing has: %v", err)
	}
}
