package starter_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// eightMiB is an event of the largest size that the ingress takes by default:
// JSON as it is, which repeats itself.
func eightMiB() string {
	var frames strings.Builder
	for i := 0; frames.Len() < 8<<20-4096; i++ {
		fmt.Fprintf(&frames, `{"filename":"checkout/services/module_%d.py","function":"handle_%x","lineno":%d,"in_app":true,"vars":{"order":"%d","note":"Caf\u00e9 <%d>"}},`,
			i%97, i*2654435761%1000003, i%4000, i*7919, i)
	}
	return `{"action":"created","data":{"error":{"frames":[` + strings.TrimSuffix(frames.String(), ",") + `]}}}`
}

func TestAnEightMiBBodyBecomesARun(t *testing.T) {
	connections := connect(t, devservertest.Server().Address)
	environment := connections.Environments()["sentry"]
	s := newStarter(t, nil, runWorker(t, environment.Client))
	body := eightMiB()
	runs := start(t, s, envelope("sentry.error.created", body))
	var length int
	if err := environment.Client.GetWorkflow(t.Context(), runs[0].WorkflowID, "").Get(t.Context(), &length); err != nil {
		t.Fatal(err)
	}
	if length != len(body) {
		t.Errorf("the workflow got %d bytes of %d", length, len(body))
	}
}

func TestADeliveryThatTemporalCannotTakeFailsForEver(t *testing.T) {
	connections := connect(t, devservertest.Server().Address)
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler), all...))
	noise := make([]byte, 9<<20/4) // base64 compresses to the noise that is in it
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	body := `{"x":"` + base64.StdEncoding.EncodeToString(noise) + `"}`
	_, err := s.Start(t.Context(), envelope("sentry.comment.created", body))
	if !errors.Is(err, starter.ErrTooLarge) || !strings.Contains(err.Error(), strconv.Itoa(len(body))) {
		t.Errorf("the error is %v", err)
	}
}

// What is planned is what is asked for, whatever this build knows.
func TestAPlanIsCarriedOutAsItStands(t *testing.T) {
	connections := connect(t, devservertest.Server().Address)
	c := connections.Environments()["sentry"].Client
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler))) // knows no workflow
	env := envelope("sentry.issue.created", `{}`)
	plan := []routes.Operation{{
		Kind: routes.Start, Workflow: "of_another_team", WorkflowID: "of_another_team:sentry:" + env.IdempotencyKey,
		Integration: "sentry", Namespace: client.DefaultNamespace, TaskQueue: "their queue", Priority: 1, FairnessKey: "sentry/backend",
	}}
	begin, err := s.Prepare(env, plan)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	described, err := c.DescribeWorkflowExecution(t.Context(), plan[0].WorkflowID, runs[0].RunID)
	if err != nil {
		t.Fatal(err)
	}
	info, config := described.GetWorkflowExecutionInfo(), described.GetExecutionConfig()
	if name, queue := info.GetType().GetName(), config.GetTaskQueue().GetName(); name != "of_another_team" || queue != "their queue" {
		t.Errorf("it runs %s on %s", name, queue)
	}
	if p := info.GetPriority(); p.GetPriorityKey() != 1 || p.GetFairnessKey() != "sentry/backend" {
		t.Errorf("its priority is %v", p)
	}
	for name, change := range map[string]struct {
		do   func(*routes.Operation)
		want error
	}{
		"integration gone":          {func(o *routes.Operation) { o.Integration = "gone" }, starter.ErrNotConfigured},
		"namespace gone":            {func(o *routes.Operation) { o.Namespace = "gone" }, starter.ErrNotConfigured},
		"a kind of operation later": {func(o *routes.Operation) { o.Kind = "signal_with_start" }, starter.ErrUnknownPlan},
	} {
		changed := plan[0]
		change.do(&changed)
		if _, err := s.Prepare(env, []routes.Operation{changed}); !errors.Is(err, change.want) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if _, err := s.Prepare(env, nil); !errors.Is(err, starter.ErrUnknownPlan) {
		t.Errorf("nothing planned: the error is %v", err)
	}
}

// operation is a start of echo_body for env on a queue that nobody serves.
func operation(env sentry.Envelope, uncompressed bool) routes.Operation {
	o := routes.Operation{
		Kind: routes.Start, Workflow: "echo_body", WorkflowID: fmt.Sprintf("echo_body:sentry:%s-%t", env.IdempotencyKey, uncompressed),
		Integration: "sentry", Namespace: client.DefaultNamespace, TaskQueue: "nobody's", Uncompressed: uncompressed,
	}
	return o
}

// encodingOf returns how the input of a run is encoded in Temporal.
func encodingOf(t *testing.T, c client.Client, run starter.Run) string {
	t.Helper()
	event, err := c.GetWorkflowHistory(t.Context(), run.WorkflowID, run.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT).Next()
	if err != nil {
		t.Fatal(err)
	}
	metadata := event.GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()[0].GetMetadata()
	if len(metadata) != 1 {
		t.Errorf("the metadata is %v", metadata)
	}
	return string(metadata["encoding"])
}

// A worker that reads no compressed payloads gets none.
func TestARouteCanHavePayloadsLeftAsTheyAre(t *testing.T) {
	connections := connect(t, devservertest.Server().Address)
	s := starter.New(connections, slog.New(slog.DiscardHandler))
	env := envelope("sentry.error.created", `{"x":"`+strings.Repeat("a", 1<<20)+`"}`)
	begin, err := s.Prepare(env, []routes.Operation{operation(env, false), operation(env, true)})
	if err != nil {
		t.Fatal(err)
	}
	runs, err := begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := connections.Environments()["sentry"].Client
	if encoding := encodingOf(t, c, runs[0]); encoding != "binary/zlib" {
		t.Errorf("a large payload is %s", encoding)
	}
	if encoding := encodingOf(t, c, runs[1]); encoding != "json/plain" {
		t.Errorf("one that is to be left is %s", encoding)
	}
}

// One run that Temporal cannot take does not take the other with it.
func TestWhatIsTooLargeUncompressedIsSaidAndTheRestStarts(t *testing.T) {
	connections := connect(t, devservertest.Server().Address)
	s := starter.New(connections, slog.New(slog.DiscardHandler))
	env := envelope("sentry.error.created", `{"x":"`+strings.Repeat("a", 3<<20)+`"}`)
	if _, err := s.Prepare(env, []routes.Operation{operation(env, true)}); !errors.Is(err, starter.ErrTooLarge) {
		t.Errorf("alone: the error is %v", err)
	}
	begin, err := s.Prepare(env, []routes.Operation{operation(env, true), operation(env, false)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begin(t.Context()); !errors.Is(err, starter.ErrTooLarge) || !strings.Contains(err.Error(), "echo_body") {
		t.Errorf("with another: the error is %v", err)
	}
	c := connections.Environments()["sentry"].Client
	if _, err := c.DescribeWorkflowExecution(t.Context(), operation(env, false).WorkflowID, ""); err != nil {
		t.Errorf("the other: %v", err)
	}
	if _, err := c.DescribeWorkflowExecution(t.Context(), operation(env, true).WorkflowID, ""); err == nil {
		t.Error("what is too large is started")
	}
}
