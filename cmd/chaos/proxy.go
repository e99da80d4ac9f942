package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// proxy stands between the ingress and Temporal. It notes each start that
// Temporal has confirmed, and can answer instead of Temporal.
type proxy struct {
	address string
	server  *grpc.Server
	conn    *grpc.ClientConn // to Temporal

	mu        sync.Mutex
	fault     func(ctx context.Context, namespace string) error // answers instead of Temporal if not nil
	confirmed map[string]*confirmed                             // by workflow ID
	order     []string                                          // of their first confirmation
	asked     int                                               // starts that were asked for, whatever became of them
	changed   chan struct{}                                     // closed with the next confirmation
	epoch     int                                               // goes up when a namespace begins anew, with runs of its own
	doubled   []string                                          // what has two runs of one epoch
}

// confirmed is a workflow ID of which Temporal has said that it has a run.
type confirmed struct {
	at     time.Time      // first
	runIDs map[int]string // by epoch
}

// startProxy returns a proxy at address that listens.
func startProxy(address, temporal string) (*proxy, error) {
	conn, err := grpc.NewClient(temporal,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(unparsed{})),
		// It is there again as soon as Temporal is.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, err
	}
	p := &proxy{address: address, conn: conn, confirmed: map[string]*confirmed{}, changed: make(chan struct{})}
	if err := p.listen(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return p, nil
}

// listen makes the proxy reachable, also again after hangUp.
func (p *proxy) listen() error {
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodec(unparsed{}), grpc.UnknownServiceHandler(p.handle))
	p.server = server
	go func() { _ = server.Serve(l) }() // ends with hangUp
	return nil
}

// hangUp closes the port and all connections.
func (p *proxy) hangUp() { p.server.Stop() }

func (p *proxy) close() {
	p.hangUp()
	_ = p.conn.Close() // nobody uses it any more
}

// unparsed leaves messages as they came.
type unparsed struct{}

func (unparsed) Marshal(v any) ([]byte, error) {
	message, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("a %T is no message", v)
	}
	return *message, nil
}

func (unparsed) Unmarshal(data []byte, v any) error {
	message, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a %T is no message", v)
	}
	*message = append([]byte(nil), data...)
	return nil
}

func (unparsed) Name() string { return "proto" }

func (p *proxy) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	var request, reply []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	ctx := stream.Context()
	headers, _ := metadata.FromIncomingContext(ctx)
	if method != workflowservice.WorkflowService_StartWorkflowExecution_FullMethodName {
		if err := p.conn.Invoke(metadata.NewOutgoingContext(ctx, headers), method, &request, &reply); err != nil {
			return err
		}
		return stream.SendMsg(&reply)
	}
	var start workflowservice.StartWorkflowExecutionRequest
	if err := proto.Unmarshal(request, &start); err != nil {
		return err
	}
	p.mu.Lock()
	fault := p.fault
	p.asked++
	p.mu.Unlock()
	if fault != nil {
		if err := fault(ctx, start.GetNamespace()); err != nil {
			return err
		}
	}
	err := p.conn.Invoke(metadata.NewOutgoingContext(ctx, headers), method, &request, &reply)
	if err != nil {
		var already *serviceerror.WorkflowExecutionAlreadyStarted
		if s, ok := status.FromError(err); ok && errors.As(serviceerror.FromStatus(s), &already) {
			p.confirm(start.GetWorkflowId(), already.RunId)
		}
		return err
	}
	var started workflowservice.StartWorkflowExecutionResponse
	if err := proto.Unmarshal(reply, &started); err != nil {
		return err
	}
	p.confirm(start.GetWorkflowId(), started.GetRunId())
	return stream.SendMsg(&reply)
}

func (p *proxy) confirm(workflowID, runID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.confirmed[workflowID]
	if c == nil {
		c = &confirmed{at: time.Now(), runIDs: map[int]string{}}
		p.confirmed[workflowID] = c
		p.order = append(p.order, workflowID)
		close(p.changed)
		p.changed = make(chan struct{})
	}
	if other, there := c.runIDs[p.epoch]; there && other != runID {
		p.doubled = append(p.doubled, fmt.Sprintf("%s has two runs, %s and %s", workflowID, other, runID))
	}
	c.runIDs[p.epoch] = runID
}

// answer has fault asked before each start: its error is answered instead of
// what Temporal would. nil ends that.
func (p *proxy) answer(fault func(ctx context.Context, namespace string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// started returns when Temporal confirmed the start of a run first.
func (p *proxy) started(workflowID string) (at time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.confirmed[workflowID]
	if !ok {
		return time.Time{}, false
	}
	return c.at, true
}

// requests returns how many starts were asked for.
func (p *proxy) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// inOrder returns the workflow IDs in the order of their starts, and a channel
// that is closed once there is another.
func (p *proxy) inOrder() (workflowIDs []string, another <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clip(p.order), p.changed
}
