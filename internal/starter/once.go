package starter

import (
	"context"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
)

// startOnce keeps the SDK from repeating a start inside one call, which takes it
// seconds when Temporal is busy: whoever keeps the delivery repeats it, and
// meanwhile others get their turn.
//
// The SDK finds how to repeat a call in the context, under a key of its own, and
// repeats nothing when there is nothing. gRPC asks an interceptor that is given
// in this way, alone, before those of the SDK.
func startOnce() grpc.DialOption {
	return grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		switch method {
		case workflowservice.WorkflowService_StartWorkflowExecution_FullMethodName,
			workflowservice.WorkflowService_SignalWithStartWorkflowExecution_FullMethodName:
			ctx = once{ctx}
		}
		return invoke(ctx, method, req, reply, conn, options...)
	})
}

// once is a context without the SDK's way of repeating a call.
type once struct{ context.Context }

func (c once) Value(key any) any {
	value := c.Context.Value(key)
	if _, repeats := value.(interface{ SetMaximumAttempts(attempts int) }); repeats {
		return nil
	}
	return value
}
