package process_test

import (
	"context"
	"net"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"sentry-temporal/internal/starter"
)

// denying answers for every namespace, and starts nothing.
type denying struct {
	workflowservice.UnimplementedWorkflowServiceServer
}

func (denying) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}

func (denying) DescribeNamespace(context.Context, *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	return &workflowservice.DescribeNamespaceResponse{}, nil
}

func (denying) StartWorkflowExecution(context.Context, *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	return nil, status.Error(codes.PermissionDenied, "not for you")
}

func TestANamespaceThatAnswersAndTakesNoStartsIsSeen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, denying{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	public, admin, _ := runIngressOf(t, l.Addr().String(), t.TempDir(), 0, integrations[0])
	if answer := send(t, public, integrations[0], "issue.created"); answer.Status != starter.Accepted {
		t.Fatalf("answered %+v", answer)
	}
	awaitMetric(t, admin, `sentry_temporal_lane_failing{connection="",namespace="default"} 1`)
	for enough := time.Now().Add(30 * time.Second); ; {
		r := ready(t, admin)
		if r.code != 200 {
			t.Fatalf("/readyz answered %d", r.code)
		}
		if len(r.Temporal) == 1 && r.Temporal[0].Status == "refused" {
			return
		}
		if time.Now().After(enough) {
			t.Fatalf("/readyz says %+v", r)
		}
		<-time.After(50 * time.Millisecond)
	}
}
