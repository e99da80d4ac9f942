package process_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// requests counts the requests for a start that leave for Temporal, repeated ones, too.
type requests struct{ starts atomic.Int64 }

type methodKey struct{}

func (*requests) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, info.FullMethodName)
}

func (r *requests) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, out := s.(*stats.OutHeader); out && ctx.Value(methodKey{}) == workflowservice.WorkflowService_StartWorkflowExecution_FullMethodName {
		r.starts.Add(1)
	}
}

func (*requests) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*requests) HandleConn(context.Context, stats.ConnStats)                       {}

// stormed is an ingress whose route has the errors of an issue within an hour be one
// run.
func stormed(t *testing.T, temporal string) (public, admin string, count *requests, stop func()) {
	t.Helper()
	file := newRoutesFile(t, "routes:\n  - workflow: StormTriage\n    events: [sentry.error.created]\n    per_issue: 1h\n")
	p, a := listen(t), listen(t)
	count = &requests{}
	cfg := config.Ingress{Common: common(temporal), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir(), RoutesFile: string(file)}
	cfg.Temporal.Client.ConnectionOptions.DialOptions = []grpc.DialOption{grpc.WithStatsHandler(count)}
	stop = inBackground(t, func(ctx context.Context) error {
		return process.Ingress(ctx, cfg, p, a, slog.New(slog.DiscardHandler))
	})
	return "http://" + p.Addr().String(), "http://" + a.Addr().String(), count, stop
}

// errorOf is an error of an issue, as number n of a storm. It is of March 2026, and so
// its window is over.
func errorOf(t *testing.T, sample string, issue, n int) hook.Delivery {
	t.Helper()
	body := strings.ReplaceAll(sample, "6702149985", strconv.Itoa(4711000+issue))
	body = strings.ReplaceAll(body, "4be1c7a09d5e4f8fa2d36c0b9e7715f2", fmt.Sprintf("%032x", n))
	return hook.Delivery{Resource: "error", Secret: integrations[0].Secrets[0].Reveal(), RequestID: sentry.NewRequestID(), Body: []byte(body)}
}

// storm sends deliveries from many senders, until all are taken, and returns their
// answers.
func storm(t *testing.T, public string, deliveries []hook.Delivery) []hook.Answer {
	t.Helper()
	answers := make([]hook.Answer, len(deliveries))
	var next atomic.Int64
	var senders sync.WaitGroup
	for range 16 {
		senders.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(deliveries) {
					return
				}
				d := deliveries[n]
				d.URL = public + "/webhooks/sentry"
				answer, err := hook.Send(t.Context(), d)
				for err == nil && answer.Code == http.StatusInternalServerError { // a disk that is too slow for Sentry's second
					answer, err = hook.Send(t.Context(), d)
				}
				if err != nil || answer.Code != http.StatusAccepted || len(answer.Runs) != 1 {
					t.Errorf("answered %+v, %v", answer, err)
					return
				}
				answers[n] = answer
			}
		})
	}
	senders.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return answers
}

// Ten issues storm, while Temporal is away at first.
func TestAStormOfAFewIssuesIsARunAnIssueAndFewRequests(t *testing.T) {
	const issues = 10
	many := 10_000
	if testing.Short() {
		many = 1000
	}
	text, err := sentry.Sample("error.created")
	if err != nil {
		t.Fatal(err)
	}
	deliveries := make([]hook.Delivery, many)
	for n := range deliveries {
		deliveries[n] = errorOf(t, string(text), n%issues, n)
	}
	address, port := nowhere(t)
	options := devserver.Options{Port: port, Namespaces: []string{"mobile"}}
	public, admin, count, stop := stormed(t, address)

	began := time.Now()
	before := storm(t, public, deliveries[:many/4])
	for _, answer := range before {
		if answer.Status != starter.Accepted {
			t.Fatalf("without Temporal a delivery was answered %+v", answer)
		}
	}
	devservertest.Start(t, options)
	answers := slices.Concat(before, storm(t, public, deliveries[many/4:]))
	took := time.Since(began)
	awaitMetric(t, admin, "sentry_temporal_journal_pending 0")

	// Each is answered with the run that it falls into: in the order of their issues.
	again := storm(t, public, deliveries[:issues])
	runIDs := map[string]bool{}
	existing := 0
	for n, answer := range answers {
		run, want := answer.Runs[0], again[n%issues].Runs[0]
		if want.Status != starter.Existing || run.WorkflowID != want.WorkflowID || run.RunID != "" && run.RunID != want.RunID {
			t.Fatalf("delivery %d of the storm was answered %+v, and once more %+v", n, answer, want)
		}
		if run.Status == starter.Existing {
			existing++
		}
		runIDs[want.RunID] = true
	}
	if got := count.starts.Load(); len(runIDs) != issues || got > 100 {
		t.Errorf("%d runs, and %d requests for a start", len(runIDs), got)
	}
	t.Logf("%d deliveries of %d issues in %s: %d runs, %d requests for a start; %d answers have the run's ID", many, issues, took.Round(time.Millisecond), len(runIDs), count.starts.Load(), existing)

	// Their window is long over, and another ingress has nothing in its memory.
	stop()
	public, admin, count, _ = stormed(t, address)
	storm(t, public, deliveries[:20*issues])
	awaitMetric(t, admin, "sentry_temporal_journal_pending 0")
	for n, answer := range storm(t, public, deliveries[:20*issues]) {
		if run, want := answer.Runs[0], again[n%issues].Runs[0]; run.Status != starter.Existing || run.RunID != want.RunID {
			t.Errorf("the same delivery, later, was answered %+v instead of %+v", run, want)
		}
	}
	if got := count.starts.Load(); got > 2*issues {
		t.Errorf("%d requests for a start", got)
	}
}
