package starter_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// standIn is a server that answers as a test wants Temporal to. It knows every
// namespace.
type standIn struct {
	workflowservice.UnimplementedWorkflowServiceServer
	operatorservice.UnimplementedOperatorServiceServer

	address string
	start   func(*workflowservice.StartWorkflowExecutionRequest) error
	// attributes answers for a namespace; nil: there are none.
	attributes func(context.Context, string) (*operatorservice.ListSearchAttributesResponse, error)
	taskQueue  func(*workflowservice.DescribeTaskQueueRequest) (*workflowservice.DescribeTaskQueueResponse, error)

	mu          sync.Mutex
	connections []net.Conn
	serial      int64  // of the client certificate that was shown last
	key         string // the authorization that was sent last
	starts      int
	described   int
}

// serve runs the server for as long as the test, with TLS if that is not nil.
func serve(t *testing.T, s *standIn, with *tls.Config) *standIn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	var options []grpc.ServerOption
	if with != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(with)))
	}
	server := grpc.NewServer(options...)
	workflowservice.RegisterWorkflowServiceServer(server, s)
	operatorservice.RegisterOperatorServiceServer(server, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(remembering{l, s}) // ends with Stop
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return s
}

// remembering is a listener whose connections can be cut.
type remembering struct {
	net.Listener
	s *standIn
}

func (r remembering) Accept() (net.Conn, error) {
	conn, err := r.Listener.Accept()
	if err == nil {
		r.s.mu.Lock()
		r.s.connections = append(r.s.connections, conn)
		r.s.mu.Unlock()
	}
	return conn, err
}

// cut closes every connection and forgets who was there.
func (s *standIn) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.connections {
		_ = conn.Close()
	}
	s.connections, s.serial = nil, 0
}

func (s *standIn) shown() (serial int64, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serial, s.key
}

func (s *standIn) DescribeNamespace(ctx context.Context, _ *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from, ok := peer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			s.serial = info.State.PeerCertificates[0].SerialNumber.Int64()
		}
	}
	headers, _ := metadata.FromIncomingContext(ctx)
	s.key = ""
	if sent := headers.Get("authorization"); len(sent) > 0 {
		s.key = sent[0]
	}
	return &workflowservice.DescribeNamespaceResponse{}, nil
}

func (s *standIn) StartWorkflowExecution(_ context.Context, request *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	s.mu.Lock()
	s.starts++
	s.mu.Unlock()
	if s.start != nil {
		if err := s.start(request); err != nil {
			return nil, err
		}
	}
	return &workflowservice.StartWorkflowExecutionResponse{RunId: "run", Started: true}, nil
}

func (s *standIn) SignalWithStartWorkflowExecution(context.Context, *workflowservice.SignalWithStartWorkflowExecutionRequest) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	s.mu.Lock()
	s.starts++
	s.mu.Unlock()
	if err := s.start(nil); err != nil {
		return nil, err
	}
	return &workflowservice.SignalWithStartWorkflowExecutionResponse{RunId: "run"}, nil
}

// DescribeWorkflowExecution fails the first time.
func (s *standIn) DescribeWorkflowExecution(context.Context, *workflowservice.DescribeWorkflowExecutionRequest) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.described++; s.described == 1 {
		return nil, status.Error(codes.Unavailable, "busy")
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{}, nil
}

func (s *standIn) ListSearchAttributes(ctx context.Context, request *operatorservice.ListSearchAttributesRequest) (*operatorservice.ListSearchAttributesResponse, error) {
	if s.attributes == nil {
		return &operatorservice.ListSearchAttributesResponse{}, nil
	}
	answer, err := s.attributes(ctx, request.GetNamespace())
	if err == nil && answer == nil {
		err = errors.New("the test has no answer")
	}
	return answer, err
}

func (s *standIn) DescribeTaskQueue(_ context.Context, r *workflowservice.DescribeTaskQueueRequest) (*workflowservice.DescribeTaskQueueResponse, error) {
	return s.taskQueue(r)
}
