package starter

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"
)

// Tasks is what Temporal says of the tasks of one kind in a task queue.
type Tasks struct {
	// Counted says that the server tells the next three, which may be up to five
	// seconds old: older servers do not.
	Counted    bool
	Backlog    int64         // tasks that wait for a worker, about
	Age        time.Duration // of the first of them
	Dispatched bool          // some were given to workers within the last half minute
	// Polls is when each worker that has asked for tasks within the last five minutes
	// did so last, by the clock of the server. A question lasts for up to a minute.
	Polls []time.Time
}

// TaskQueue asks Temporal about the workflow tasks and the activity tasks of a task
// queue, in a namespace of the connection of integration.
func (c *Connections) TaskQueue(ctx context.Context, integration, namespace, taskQueue string) (workflow, activity Tasks, err error) {
	to, ok := c.Client(integration, namespace)
	if !ok {
		return Tasks{}, Tasks{}, fmt.Errorf("integration %s with namespace %s: %w", integration, namespace, ErrNotConfigured)
	}
	group, asking := errgroup.WithContext(ctx)
	ask := func(kind enumspb.TaskQueueType, tasks *Tasks) {
		group.Go(func() error {
			described, err := to.WorkflowService().DescribeTaskQueue(asking, &workflowservice.DescribeTaskQueueRequest{
				Namespace:     namespace,
				TaskQueue:     &taskqueuepb.TaskQueue{Name: taskQueue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
				TaskQueueType: kind,
				ReportStats:   true,
			})
			*tasks = tasksOf(described)
			return err
		})
	}
	ask(enumspb.TASK_QUEUE_TYPE_WORKFLOW, &workflow)
	ask(enumspb.TASK_QUEUE_TYPE_ACTIVITY, &activity)
	err = group.Wait()
	return workflow, activity, err
}

func tasksOf(described *workflowservice.DescribeTaskQueueResponse) Tasks {
	stats := described.GetStats()
	tasks := Tasks{
		Counted:    stats != nil,
		Backlog:    stats.GetApproximateBacklogCount(),
		Age:        stats.GetApproximateBacklogAge().AsDuration(),
		Dispatched: stats.GetTasksDispatchRate() > 0,
	}
	for _, poller := range described.GetPollers() {
		tasks.Polls = append(tasks.Polls, poller.GetLastAccessTime().AsTime())
	}
	return tasks
}
