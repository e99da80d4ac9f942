package starter_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
)

// listed is what a namespace answers that has all attributes but some.
func listed(without ...string) *operatorservice.ListSearchAttributesResponse {
	attributes := map[string]enumspb.IndexedValueType{}
	for _, name := range starter.Attributes {
		if !slices.Contains(without, name) {
			attributes[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		}
	}
	return &operatorservice.ListSearchAttributesResponse{CustomAttributes: attributes}
}

func TestAStartWaitsForNoSearchAttributes(t *testing.T) {
	hung, never := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	sent := map[string][]string{} // by namespace: the attributes of the last start
	server := serve(t, &standIn{
		attributes: func(_ context.Context, namespace string) (*operatorservice.ListSearchAttributesResponse, error) {
			if namespace == "hangs" {
				close(hung)
				<-never
			}
			return listed("SentryLevel"), nil
		},
		start: func(request *workflowservice.StartWorkflowExecutionRequest) error {
			mu.Lock()
			defer mu.Unlock()
			sent[request.GetNamespace()] = slices.Sorted(maps.Keys(request.GetSearchAttributes().GetIndexedFields()))
			return nil
		},
	}, nil)
	t.Cleanup(func() { close(never) }) // before the server stops
	connections := connect(t, server.address,
		config.Integration{Name: "sentry", Namespace: "hangs", TaskQueue: "q"},
		config.Integration{Name: "mobile", Namespace: "answers", TaskQueue: "q"})
	s := startsOf(connections, slog.New(slog.DiscardHandler), all[:1]...)
	running(t, s)

	last := func(namespace string) []string {
		mu.Lock()
		defer mu.Unlock()
		return sent[namespace]
	}
	env := envelope("sentry.issue.created", `{"data":{"issue":{"id":"1","level":"error"}}}`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.Start(ctx, env); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(last("hangs"), "SentryLevel") {
		t.Errorf("while nothing is known %v are sent", last("hangs"))
	}
	<-hung
	env.IntegrationID = "mobile"
	for slices.Contains(last("answers"), "SentryLevel") || len(last("answers")) == 0 { // until the answer is there
		if _, err := s.Start(ctx, env); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(last("answers"), "SentryIssueId") {
		t.Errorf("once one is known to be missing %v are sent", last("answers"))
	}
}

// An attribute is removed long before the namespace is asked again.
func TestARefusedStartHasTheAttributesAskedForAgain(t *testing.T) {
	var mu sync.Mutex
	gone, asked := false, 0
	first := make(chan struct{})
	server := serve(t, &standIn{
		attributes: func(context.Context, string) (*operatorservice.ListSearchAttributesResponse, error) {
			mu.Lock()
			defer mu.Unlock()
			if asked++; asked == 1 {
				close(first)
			}
			if gone {
				return listed("SentryLevel"), nil
			}
			return listed(), nil
		},
		start: func(request *workflowservice.StartWorkflowExecutionRequest) error {
			mu.Lock()
			defer mu.Unlock()
			if _, there := request.GetSearchAttributes().GetIndexedFields()["SentryLevel"]; gone && there {
				return status.Error(codes.InvalidArgument, "no mapping defined for search attribute SentryLevel")
			}
			return nil
		},
	}, nil)
	connections := connect(t, server.address)
	s := startsOf(connections, slog.New(slog.DiscardHandler), all[:1]...)
	running(t, s)
	times := func() int {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
	<-first
	mu.Lock()
	gone = true
	mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for before := -1; before != 1; { // until a start is not refused at first
		server.mu.Lock()
		before = -server.starts
		server.mu.Unlock()
		if _, err := s.Start(ctx, envelope("sentry.issue.created", `{"data":{"issue":{"id":"1","level":"error"}}}`)); err != nil {
			t.Fatal(err)
		}
		server.mu.Lock()
		before += server.starts
		server.mu.Unlock()
	}
	if n := times(); n > 3 { // at first, and once or twice after the refusals
		t.Errorf("the namespace was asked %d times", n)
	}
}

// What is refused without any attribute, too, is refused for something else.
func TestAStartThatIsRefusedWhateverItHasIsTriedTwice(t *testing.T) {
	server := serve(t, &standIn{start: func(*workflowservice.StartWorkflowExecutionRequest) error {
		return status.Error(codes.InvalidArgument, "it is not to be")
	}}, nil)
	s := startsOf(connect(t, server.address), slog.New(slog.DiscardHandler), all[:1]...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // for one that goes on and on
	defer cancel()
	_, err := s.Start(ctx, envelope("sentry.issue.created", `{"data":{"issue":{"id":"1","level":"error"}}}`))
	server.mu.Lock()
	defer server.mu.Unlock()
	if err == nil || server.starts != 2 {
		t.Errorf("after %d starts the error is %v", server.starts, err)
	}
}

// lister is a client of a namespace that notes when it is asked.
type lister struct {
	client.Client
	operatorservice.OperatorServiceClient
	answer func(context.Context) (*operatorservice.ListSearchAttributesResponse, error)

	mu    sync.Mutex
	asked []time.Time
}

func (l *lister) OperatorService() operatorservice.OperatorServiceClient { return l }

func (l *lister) ListSearchAttributes(ctx context.Context, _ *operatorservice.ListSearchAttributesRequest, _ ...grpc.CallOption) (*operatorservice.ListSearchAttributesResponse, error) {
	l.mu.Lock()
	l.asked = append(l.asked, time.Now())
	l.mu.Unlock()
	return l.answer(ctx)
}

func (l *lister) times() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.asked)
}

func TestHowOftenANamespaceIsAskedForItsAttributes(t *testing.T) {
	for name, test := range map[string]struct {
		answer   func(context.Context) (*operatorservice.ListSearchAttributesResponse, error)
		from, to int // within an hour
		warnings int
	}{
		"every ten minutes when all are there": {
			func(context.Context) (*operatorservice.ListSearchAttributesResponse, error) { return listed(), nil }, 6, 8, 0,
		},
		"every minute while one is missing": {
			func(context.Context) (*operatorservice.ListSearchAttributesResponse, error) {
				return listed("SentryLevel"), nil
			}, 54, 68, 1,
		},
		"every minute while it does not tell": {
			func(context.Context) (*operatorservice.ListSearchAttributesResponse, error) {
				return nil, errors.New("not for you")
			}, 54, 74, 1,
		},
		"for five seconds, while it hangs": {
			func(ctx context.Context) (*operatorservice.ListSearchAttributesResponse, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}, 48, 74, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := &lister{answer: test.answer}
				log := &lines{}
				s := startsOf(starter.ConnectionsTo(asked, "n"), slog.New(slog.NewTextHandler(log, nil)), all...)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				s.Run(ctx)
				if n := asked.times(); n < test.from || n > test.to {
					t.Errorf("asked %d times", n)
				}
				if n := strings.Count(log.String(), "level=WARN"); n != test.warnings {
					t.Errorf("warned %d times: %s", n, log)
				}
			})
		})
	}
}

// ExecuteWorkflow refuses attributes.
func (*lister) ExecuteWorkflow(_ context.Context, options client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	if options.TypedSearchAttributes.Size() > 0 {
		return nil, serviceerror.NewInvalidArgument("not these")
	}
	return startedRun{}, nil
}

type startedRun struct{ client.WorkflowRun }

func (startedRun) GetRunID() string { return "run" }

// The namespace has all attributes, and refuses them for another reason.
func TestManyRefusedStartsHaveTheAttributesAskedForOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &lister{answer: func(context.Context) (*operatorservice.ListSearchAttributesResponse, error) { return listed(), nil }}
		log := &lines{}
		s := startsOf(starter.ConnectionsTo(asked, "n"), slog.New(slog.NewTextHandler(log, nil)), all...)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		go s.Run(ctx)
		for ctx.Err() == nil {
			start(t, s, envelope("sentry.issue.created", `{}`))
			<-time.After(10 * time.Millisecond)
		}
		if n := asked.times(); n < 15 || n > 25 {
			t.Errorf("asked %d times", n)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("warned %d times: %s", n, log)
		}
	})
}

// adder is a namespace without one attribute, which says what it is told to say to
// one who adds it and to one who then looks for it.
type adder struct {
	lister
	add, look error
	looked    int
}

func (a *adder) OperatorService() operatorservice.OperatorServiceClient { return a }

func (a *adder) AddSearchAttributes(context.Context, *operatorservice.AddSearchAttributesRequest, ...grpc.CallOption) (*operatorservice.AddSearchAttributesResponse, error) {
	return &operatorservice.AddSearchAttributesResponse{}, a.add
}

func (a *adder) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if a.looked++; a.looked < 3 { // a server takes a moment to know it
		return nil, serviceerror.NewInvalidArgument("it is not there")
	}
	return &workflowservice.ListWorkflowExecutionsResponse{}, a.look
}

func TestWhatASetupCannotAddIsAnError(t *testing.T) {
	denied := serviceerror.NewPermissionDenied("not for you", "")
	for name, test := range map[string]struct {
		add, look error
		looked    int
	}{
		"it may add":      {nil, nil, 3},
		"it may not add":  {denied, nil, 0},
		"it may not look": {nil, denied, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &adder{add: test.add, look: test.look}
				a.answer = func(context.Context) (*operatorservice.ListSearchAttributesResponse, error) {
					return listed("SentryLevel"), nil
				}
				added, err := starter.ConnectionsTo(a, "n").AddAttributes(t.Context())
				if fails := test.add != nil || test.look != nil; (err != nil) != fails || a.looked != test.looked || !fails && (len(added) != 1 || !slices.Equal(added[0].Names, []string{"SentryLevel"})) {
					t.Errorf("added %+v, %v, looked for %d times", added, err, a.looked)
				}
			})
		})
	}
}
