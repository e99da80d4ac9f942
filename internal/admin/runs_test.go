package admin_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/starter"
)

// standIn is a Temporal with the runs that a test gives it, in bubbles of synctest,
// where no connection works.
type standIn struct {
	workflowservice.WorkflowServiceClient

	mu    sync.Mutex
	runs  []*run
	asked []question
	// answer is asked before each answer, if it is not nil. It may hang.
	answer func(ctx context.Context, q question) error
}

// question is one that was asked.
type question struct {
	kind       string // list, describe, history
	namespace  string
	workflowID string // of describe and history
	at         time.Time
}

// run is one in a [standIn].
type run struct {
	namespace, id, runID string
	status               enumspb.WorkflowExecutionStatus
	started              time.Time
	unlisted             bool
	task                 *workflowpb.PendingWorkflowTaskInfo
	activities           []*workflowpb.PendingActivityInfo
	last                 *historypb.HistoryEvent
}

// change changes the runs.
func (s *standIn) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// count counts the questions of a kind since then.
func (s *standIn) count(since time.Time, kinds ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, q := range s.asked {
		if slices.Contains(kinds, q.kind) && !q.at.Before(since) {
			n++
		}
	}
	return n
}

// most is how many questions of a kind there were at most in any five seconds.
func (s *standIn) most(kinds ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at []time.Time
	for _, q := range s.asked {
		if slices.Contains(kinds, q.kind) {
			at = append(at, q.at)
		}
	}
	most := 0
	for first, last := 0, 0; last < len(at); last++ {
		for at[last].Sub(at[first]) >= 5*time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func (s *standIn) ask(ctx context.Context, kind, namespace string, e *commonpb.WorkflowExecution) error {
	q := question{kind, namespace, e.GetWorkflowId(), time.Now()}
	s.mu.Lock()
	s.asked = append(s.asked, q)
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx, q)
}

func (r *run) info() *workflowpb.WorkflowExecutionInfo {
	return &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: r.id, RunId: r.runID}, Status: r.status, StartTime: timestamppb.New(r.started),
		TaskQueue: "sentry", HistoryLength: 2,
	}
}

func (s *standIn) ListWorkflowExecutions(ctx context.Context, r *workflowservice.ListWorkflowExecutionsRequest, _ ...grpc.CallOption) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if err := s.ask(ctx, "list", r.GetNamespace(), nil); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &workflowservice.ListWorkflowExecutionsResponse{}
	for _, run := range s.runs {
		if run.namespace == r.GetNamespace() && !run.unlisted && strings.Contains(r.GetQuery(), `"`+run.id+`"`) {
			answer.Executions = append(answer.Executions, run.info())
		}
	}
	return answer, nil
}

func (s *standIn) GetWorkflowExecutionHistory(ctx context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest, _ ...grpc.CallOption) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	return nil, cmp.Or(s.ask(ctx, "history", r.GetNamespace(), r.GetExecution()), errors.New("the test has no history"))
}

// find returns a run, or the newest without an ID.
func (s *standIn) find(namespace string, e *commonpb.WorkflowExecution) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, run := range slices.Backward(s.runs) {
		if run.namespace == namespace && run.id == e.GetWorkflowId() && (e.GetRunId() == "" || run.runID == e.GetRunId()) {
			found := *run
			return &found, nil
		}
	}
	return nil, serviceerror.NewNotFound("workflow execution not found")
}

func (s *standIn) DescribeWorkflowExecution(ctx context.Context, r *workflowservice.DescribeWorkflowExecutionRequest, _ ...grpc.CallOption) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if err := s.ask(ctx, "describe", r.GetNamespace(), r.GetExecution()); err != nil {
		return nil, err
	}
	run, err := s.find(r.GetNamespace(), r.GetExecution())
	if err != nil {
		return nil, err
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: run.info(), PendingWorkflowTask: run.task, PendingActivities: run.activities}, nil
}

func (s *standIn) GetWorkflowExecutionHistoryReverse(ctx context.Context, r *workflowservice.GetWorkflowExecutionHistoryReverseRequest, _ ...grpc.CallOption) (*workflowservice.GetWorkflowExecutionHistoryReverseResponse, error) {
	if err := s.ask(ctx, "history", r.GetNamespace(), r.GetExecution()); err != nil {
		return nil, err
	}
	run, err := s.find(r.GetNamespace(), r.GetExecution())
	if err != nil {
		return nil, err
	}
	return &workflowservice.GetWorkflowExecutionHistoryReverseResponse{History: &historypb.History{Events: []*historypb.HistoryEvent{run.last}}}, nil
}

// add adds runs of one status and returns them as they are asked for.
func (s *standIn) add(namespace string, n int, status enumspb.WorkflowExecutionStatus) []admin.RunOf {
	var all []admin.RunOf
	s.change(func() {
		for range n {
			id := fmt.Sprintf("w:sentry:%d", len(s.runs))
			s.runs = append(s.runs, &run{namespace: namespace, id: id, runID: "run of " + id, status: status, started: time.Now(), last: &historypb.HistoryEvent{}})
			all = append(all, admin.RunOf{Integration: "sentry", Namespace: namespace, WorkflowID: id, RunID: "run of " + id})
		}
	})
	return all
}

// latest is the run that was added last.
func (s *standIn) latest() *run { return s.runs[len(s.runs)-1] }

func failed(message string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes{
			WorkflowExecutionFailedEventAttributes: &historypb.WorkflowExecutionFailedEventAttributes{Failure: &failurepb.Failure{Message: message}},
		},
	}
}

const (
	running   = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	completed = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	failing   = enumspb.WORKFLOW_EXECUTION_STATUS_FAILED
	continued = enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
)

// runsOf runs a Runs for as long as the test. Nothing is configured for the
// integration "gone".
func runsOf(t *testing.T, s workflowservice.WorkflowServiceClient) *admin.Runs {
	t.Helper()
	r := admin.NewRuns(func(integration, _ string) (admin.RunPlace, bool) {
		return admin.RunPlace{Service: s}, integration != "gone"
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return r
}

// look looks every second, for so long, and returns what there is to see then.
func look(r *admin.Runs, of []admin.RunOf, d time.Duration) map[admin.RunOf]admin.RunState {
	for range d / time.Second {
		r.States(of)
		pass(time.Second)
	}
	return r.States(of)
}

func TestTemporalIsAskedAboutRunsOnceInFiveSecondsHoweverManyLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		runs := slices.Concat(s.add("default", 200, running), s.add("default", 100, failing), s.add("mobile", 50, running))
		for range 300 {
			for range 20 {
				r.States(runs)
			}
			pass(time.Second / 3)
		}
		if n := s.most("list"); n > 2 {
			t.Errorf("%d lists of two namespaces in 5 s", n)
		}
		if n := s.most("describe", "history"); n != 10 {
			t.Errorf("%d questions about one run in 5 s", n)
		}
		for _, of := range runs[200:300] {
			if s.count(time.Time{}, "history") < 100 {
				t.Errorf("the reason of %s is not known after 100 s", of.WorkflowID)
			}
		}
	})
}

func TestNothingIsAskedAboutRunsWhileNobodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		pass(time.Minute)
		runs := s.add("default", 3, running)
		look(r, runs, 20*time.Second)
		pass(10 * time.Second)
		before := time.Now()
		pass(time.Minute)
		if n := s.count(before, "list", "describe", "history"); n != 0 {
			t.Errorf("%d questions", n)
		}
		look(r, s.add("mobile", 3, running), time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if slices.ContainsFunc(s.asked, func(q question) bool { return q.namespace == "default" && q.at.After(before) }) {
			t.Error("while somebody looks at others there are questions")
		}
	})
}

func TestWhatHasEndedIsNotAskedForAgain(t *testing.T) {
	for name, test := range map[string]struct {
		status enumspb.WorkflowExecutionStatus
		lists  int // within four minutes
	}{
		"completed, for good":                  {completed, 1},
		"failed, once a minute for a reset":    {failing, 5},
		"open, all the time":                   {running, 49},
		"unknown to Temporal, once a minute":   {enumspb.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED, 5},
		"terminated, once a minute for others": {enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &standIn{}
				r := runsOf(t, s)
				runs := s.add("default", 1, test.status)
				if test.status == enumspb.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED {
					s.change(func() { s.runs = nil })
				}
				look(r, runs, 4*time.Minute)
				if n := s.count(time.Time{}, "list"); n < test.lists-2 || n > test.lists+2 {
					t.Errorf("looked for %d times, want about %d", n, test.lists)
				}
			})
		})
	}
}

func TestARunGoesOnAsAnotherOne(t *testing.T) {
	for name, test := range map[string]struct {
		first, second enumspb.WorkflowExecutionStatus
		follow        bool
		unlisted      bool
	}{
		"continued as new":                      {continued, running, true, false},
		"continued as new, and not in the list": {continued, running, true, true},
		"failed and started again":              {failing, completed, true, false},
		"completed, and its ID used again":      {completed, failing, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &standIn{}
				r := runsOf(t, s)
				runs := s.add("default", 1, test.first)
				pass(time.Second)
				s.change(func() {
					next := *s.latest()
					next.runID, next.status, next.started = "second", test.second, time.Now()
					s.runs = append(s.runs, &next)
					for _, r := range s.runs {
						r.unlisted = test.unlisted
					}
				})
				state := look(r, runs, 20*time.Second)[runs[0]]
				followed := map[bool]string{true: "second"}[test.follow]
				want := map[bool]map[enumspb.WorkflowExecutionStatus]string{
					true: {running: admin.RunRunning, completed: admin.RunCompleted}, false: {failing: admin.RunCompleted},
				}[test.follow][test.second]
				if state.Status != want || state.RunID != followed {
					t.Errorf("the state is %+v, want %s of run %q", state, want, followed)
				}
			})
		})
	}
}

func TestANamespaceThatDoesNotTellOfItsRunsKeepsWhatIsKnown(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(context.Context, question) error
		status string
		lists  int // at most, in the two minutes for which that is so
	}{
		"it hangs": {func(ctx context.Context, _ question) error { return hang(ctx) }, admin.StatusUnreachable, 6},
		"it is away": {func(context.Context, question) error { return serviceerror.NewUnavailable("away") },
			admin.StatusUnreachable, 6},
		"it does not let them be listed": {func(_ context.Context, q question) error {
			if q.kind == "list" {
				return serviceerror.NewPermissionDenied("not for you", "")
			}
			return nil
		}, admin.StatusRefused, 6},
		"it does not let one be described": {func(_ context.Context, q question) error {
			if q.kind != "list" {
				return serviceerror.NewPermissionDenied("not for you", "")
			}
			return nil
		}, admin.StatusRefused, 26},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &standIn{}
				r := runsOf(t, s)
				theirs, others := s.add("theirs", 1, running), s.add("others", 1, running)
				all := slices.Concat(theirs, others)
				if states := look(r, all, 10*time.Second); states[theirs[0]].Status != admin.RunRunning || len(r.Problems()) != 0 {
					t.Fatalf("at first: %+v, %+v", states, r.Problems())
				}
				bad := time.Now()
				s.change(func() {
					s.answer = func(ctx context.Context, q question) error {
						if q.namespace == "theirs" {
							return test.answer(ctx, q)
						}
						return nil
					}
				})
				for range 120 {
					pass(time.Second)
					states := r.States(all)
					if age := time.Since(states[others[0]].Asked); age > 5*time.Second {
						t.Fatalf("of another namespace something is known since %s", age)
					}
					if states[theirs[0]].Status != admin.RunRunning {
						t.Fatalf("it is forgotten: %+v", states[theirs[0]])
					}
				}
				if asked := r.States(all)[theirs[0]].Asked; name != "it does not let one be described" && asked.Sub(bad) > 5*time.Second { // a last description may be under way
					t.Errorf("the state is told to be of %s after it", asked.Sub(bad))
				}
				if p := r.Problems(); len(p) != 1 || p[0].Namespace != "theirs" || p[0].Status != test.status || p[0].Problem == "" {
					t.Errorf("the problems are %+v", p)
				}
				s.mu.Lock()
				n := 0
				for _, q := range s.asked {
					if q.namespace == "theirs" && !q.at.Before(bad) {
						n++
					}
				}
				s.mu.Unlock()
				if n > test.lists+6 {
					t.Errorf("asked %d times in two minutes", n)
				}
				s.change(func() { s.answer = nil })
				if states := look(r, all, 65*time.Second); time.Since(states[theirs[0]].Asked) > 6*time.Second || len(r.Problems()) != 0 {
					t.Errorf("once it answers: %+v, %+v", states, r.Problems())
				}
			})
		})
	}
}

func TestAProblemIsForgottenOnceNobodyLooksAtItsRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{answer: func(context.Context, question) error { return serviceerror.NewUnavailable("away") }}
		r := runsOf(t, s)
		look(r, s.add("default", 1, running), 10*time.Second)
		if p := r.Problems(); len(p) != 1 {
			t.Fatalf("the problems are %+v", p)
		}
		look(r, nil, 2*time.Minute)
		if p := r.Problems(); len(p) != 0 {
			t.Errorf("the problems are %+v", p)
		}
	})
}

func TestAWorkflowIDThatWouldEndAQueryIsNotInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		runs := s.add("default", 1, running)
		for _, id := range []string{`") OR WorkflowId != ("`, `\`, "\xff", "\x00"} {
			runs = append(runs, admin.RunOf{Integration: "sentry", Namespace: "default", WorkflowID: id, RunID: "r"})
		}
		if states := look(r, runs, 10*time.Second); len(states) != 1 || len(r.Problems()) != 0 {
			t.Errorf("the states are %+v, the problems %+v", states, r.Problems())
		}
	})
}

func TestThePageDoesNotWaitForTemporal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{answer: func(ctx context.Context, _ question) error { return hang(ctx) }}
		r := runsOf(t, s)
		runs := s.add("default", 1, running)
		before := time.Now()
		r.States(runs)
		synctest.Wait()
		r.States(runs)
		if took := time.Since(before); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}

func TestEachRunHasItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		runs := slices.Concat(s.add("default", 50, running), s.add("mobile", 2, failing))
		s.change(func() {
			for _, run := range s.runs {
				run.last = failed("boom")
			}
		})
		// Those of 5 s, of 10 s and so on until all had theirs.
		look(r, runs, 35*time.Second)
		s.mu.Lock()
		turns := map[string]int{}
		for _, q := range s.asked {
			if q.kind != "list" {
				turns[q.workflowID]++
			}
		}
		s.mu.Unlock()
		for _, of := range runs {
			if n := turns[of.WorkflowID]; n < 1 || n > 2 {
				t.Errorf("%s was asked for %d times", of.WorkflowID, n)
			}
		}
	})
}

func TestTheReasonOfARunIsOneShortLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		runs := s.add("default", 1, failing)
		s.change(func() { s.latest().last = failed("first\nsecond\x1b[31m\u202e" + strings.Repeat("ä", 5000)) })
		state := look(r, runs, 10*time.Second)[runs[0]]
		if !strings.HasPrefix(state.Reason, "first second") || len(state.Reason) > 300 || strings.ContainsAny(state.Reason, "\n\x1b\u202e") {
			t.Errorf("the reason has %d bytes: %q", len(state.Reason), state.Reason)
		}
	})
}

func TestTheReasonOfAnEndStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		runs := s.add("default", 1, failing)
		s.change(func() { s.latest().last = failed("boom") })
		look(r, runs, 10*time.Second)
		s.change(func() {
			s.answer = func(_ context.Context, q question) error {
				if q.kind == "history" {
					return serviceerror.NewUnavailable("away")
				}
				return nil
			}
		})
		for range 150 { // it is looked for once a minute
			pass(time.Second)
			if state := r.States(runs)[runs[0]]; state.Reason != "boom" {
				t.Fatalf("it is %+v", state)
			}
		}
	})
}

func TestAnEndIsNotTakenBackByAListThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		runs := s.add("default", 1, failing)
		s.change(func() { s.latest().unlisted = true })
		if state := look(r, runs, 10*time.Second)[runs[0]]; state.Status != admin.RunFailed {
			t.Fatalf("described, it is %+v", state)
		}
		s.change(func() { s.latest().unlisted, s.latest().status = false, running })
		if state := look(r, runs, 90*time.Second)[runs[0]]; state.Status != admin.RunFailed { // it is looked for once a minute
			t.Errorf("then it is %+v", state)
		}
	})
}

func TestNoMoreRunsAreRememberedThanThereIsRoomFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		runs := s.add("default", 5000, completed)
		for of := range slices.Chunk(runs, 500) {
			look(r, of, 6*time.Second)
		}
		known := 0
		for _, of := range slices.Backward(runs) { // what is not known pushes the oldest out
			known += len(r.States([]admin.RunOf{of}))
		}
		if known > 4096 || known == 0 {
			t.Errorf("%d are remembered", known)
		}
	})
}

func TestARunOfAnIntegrationThatIsGoneIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runsOf(t, &standIn{})
		of := admin.RunOf{Integration: "gone", Namespace: "default", WorkflowID: "w", RunID: "r"}
		if states := look(r, []admin.RunOf{of}, 10*time.Second); len(states) != 0 {
			t.Errorf("the states are %+v", states)
		}
		if _, err := r.Describe(t.Context(), of); !errors.Is(err, starter.ErrNotConfigured) {
			t.Errorf("described, the error is %v", err)
		}
		if _, err := r.Input(t.Context(), of); !errors.Is(err, starter.ErrNotConfigured) {
			t.Errorf("asked for its input, the error is %v", err)
		}
	})
}

func TestARunIsDescribedOnceForAllWhoLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{answer: func(context.Context, question) error {
			<-time.After(time.Second)
			return nil
		}}
		r := runsOf(t, s)
		of := s.add("default", 1, running)[0]
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if d, err := r.Describe(t.Context(), of); err != nil || d.Status != admin.RunRunning {
					t.Errorf("described as %+v: %v", d, err)
				}
			})
		}
		group.Wait()
		if n := s.count(time.Time{}, "describe"); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestDescriptionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		var enough error
		for _, of := range s.add("default", 30, failing) {
			if _, err := r.Describe(t.Context(), of); err != nil {
				enough = err
			}
		}
		if n := s.count(time.Time{}, "describe", "history"); n != 10 || !errors.Is(enough, admin.ErrAskedTooMuch) {
			t.Errorf("asked %d times, and then %v", n, enough)
		}
		pass(5 * time.Second)
		of := s.add("default", 1, running)[0]
		if _, err := r.Describe(t.Context(), of); err != nil {
			t.Errorf("five seconds later: %v", err)
		}
		s.change(func() { s.answer = func(ctx context.Context, _ question) error { return hang(ctx) } })
		pass(5 * time.Second)
		before := time.Now()
		d, err := r.Describe(t.Context(), of)
		if err == nil || d.Status != admin.RunRunning || !d.Asked.Equal(before.Add(-5*time.Second)) || time.Since(before) > 2*time.Second {
			t.Errorf("after %s of a hanging Temporal it is %+v: %v", time.Since(before), d, err)
		}
		if _, err := r.Input(t.Context(), of); err == nil {
			t.Error("there is an input")
		}
	})
}

// The row is told first that a run was reset; its page must not say otherwise.
func TestADescriptionFromBeforeARunWentOnIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		of := s.add("default", 1, failing)
		look(r, of, 50*time.Second)
		if d, err := r.Describe(t.Context(), of[0]); err != nil || d.Status != admin.RunFailed {
			t.Fatalf("described as %+v: %v", d, err)
		}
		s.change(func() {
			next := *s.latest()
			next.runID, next.status, next.started = "reset", running, time.Now()
			s.runs = append(s.runs, &next)
		})
		if state := look(r, of, 30*time.Second)[of[0]]; state.Status != admin.RunRunning || state.RunID != "reset" {
			t.Fatalf("the row says %+v", state)
		}
		if d, err := r.Describe(t.Context(), of[0]); err != nil || d.Status != admin.RunRunning || d.RunID != "reset" {
			t.Errorf("its page says %+v: %v", d, err)
		}
	})
}

// Many questions that are under way when a namespace goes away are one failure: the next
// one does not have to wait for a minute.
func TestAHiccupOfANamespaceIsSoonOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &standIn{}
		r := runsOf(t, s)
		runs := s.add("default", 20, running)
		look(r, runs, 10*time.Second)
		s.change(func() {
			s.answer = func(_ context.Context, q question) error {
				if q.kind == "list" {
					return nil
				}
				return serviceerror.NewUnavailable("away")
			}
		})
		look(r, runs, 5*time.Second)
		s.change(func() { s.answer = nil })
		mended := time.Now()
		look(r, runs, 12*time.Second)
		if n := s.count(mended, "describe"); n < 10 || len(r.Problems()) != 0 {
			t.Errorf("asked about %d runs in 12 s, and the problems are %+v", n, r.Problems())
		}
	})
}
