package main

import (
	"context"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// register makes a namespace.
func register(ctx context.Context, temporal, name string) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: temporal})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	return err
}

// remove deletes a namespace with all that is in it.
func remove(ctx context.Context, temporal, name string) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: temporal})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.OperatorService().DeleteNamespace(ctx, &operatorservice.DeleteNamespaceRequest{Namespace: name})
	return err
}
