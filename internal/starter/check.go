package starter

import (
	"context"
	"fmt"
	"sync"

	enumspb "go.temporal.io/api/enums/v1"
)

// Checked is what Temporal says of a namespace that integrations have.
type Checked struct {
	Connection string // name of the profile; "" is the common connection
	Address    string
	Namespace  string
	Err        error  // Temporal does not answer for it
	Lacks      string // what is not as it has to be with its search attributes; "" if all is
	LacksErr   error  // Temporal does not tell which it has
}

// Check asks Temporal for the namespace of each integration, for all of them at
// the same time, and changes nothing.
func (c *Connections) Check(ctx context.Context) []Checked {
	places := c.sorted()
	all := make([]Checked, len(places))
	var asking sync.WaitGroup
	for i, at := range places {
		to, _ := c.at(at)
		all[i] = Checked{Connection: at.connection, Address: to.address, Namespace: at.namespace}
		asking.Go(func() {
			if all[i].Err = (Environment{Client: to.client, Namespace: at.namespace}).Reach(ctx); all[i].Err != nil {
				return
			}
			lacks, err := lackingAttributes(ctx, to.client, at.namespace)
			all[i].Lacks, all[i].LacksErr = lacks.String(), err
		})
	}
	asking.Wait()
	return all
}

// Polled reports whether somebody has asked lately for the workflow tasks of a task
// queue, in a namespace of the connection of integration.
func (c *Connections) Polled(ctx context.Context, integration, namespace, taskQueue string) (bool, error) {
	to, ok := c.Client(integration, namespace)
	if !ok {
		return false, fmt.Errorf("integration %s with namespace %s: %w", integration, namespace, ErrNotConfigured)
	}
	described, err := to.DescribeTaskQueue(ctx, taskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	return len(described.GetPollers()) > 0, err
}
