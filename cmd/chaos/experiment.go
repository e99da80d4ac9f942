package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/metrics"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// experiment kills everything, while the namespace of one of two integrations is
// missing, there and deleted.
type experiment struct {
	deliveries int
	rate       int // a second
	dir        string
	binaries   string
	out        io.Writer

	temporal  *devserver.Server
	port      int    // of Temporal
	proxy     *proxy // between the broken integration and Temporal: a deleted namespace cannot be asked
	ingress   *proc.Program
	worker    *proc.Program
	admin     string // base address of the ingress
	publicURL string
	traffic   traffic
	sent      int
	answers   map[string]int                  // by status
	retried   int                             // acknowledged more than once
	acked     map[string]struct{}             // integrations with idempotency keys
	runs      map[string]map[string]*expected // of what was acknowledged, by integration and workflow ID
	named     map[[sha256.Size]byte]named     // by body
	forgotten int                             // repetitions under a shared Request-ID that were taken for another delivery: the ingress, killed meanwhile, knew neither
	wrong     []string
}

// expected is a run that has to be found.
type expected struct {
	bodies []sent // one of which it was started with
	shared bool   // its Request-ID came with another body, too
}

// named is the run that was named for a body.
type named struct {
	workflowID string
	life       int64
}

// The integrations. Each has its runs in a namespace of its own.
const (
	healthy = "sentry"
	broken  = "mobile" // so is its namespace called
)

const (
	retriedShare = 0.1  // of the deliveries repeat a Request-ID and body
	sharedShare  = 0.05 // of the deliveries have the Request-ID of another, and a body of their own
)

// An event happens once the share at of the deliveries is sent.
type event struct {
	at   float64
	what string
	do   func(context.Context) error
}

func (e *experiment) run(ctx context.Context) error {
	e.answers, e.acked, e.named = map[string]int{}, map[string]struct{}{}, map[[sha256.Size]byte]named{}
	e.traffic.ids = map[[sha256.Size]byte]string{}
	e.runs = map[string]map[string]*expected{healthy: {}, broken: {}}
	defer e.stopAll()
	if err := e.startAll(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := e.sendAndKill(ctx); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "sent %d deliveries in %s: answers %v; %d acknowledged, %d of them more than once; to find: %d runs of %s, %d of %s\n",
		e.sent, time.Since(began).Round(time.Second), e.answers, len(e.acked), e.retried, len(e.runs[healthy]), healthy, len(e.runs[broken]), broken)
	if len(e.runs[healthy]) == 0 || len(e.runs[broken]) == 0 {
		return errors.New("nothing was acknowledged")
	}
	fmt.Fprintf(e.out, "%d repetitions of deliveries that share a Request-ID were named another run after a kill\n", e.forgotten)
	if len(e.wrong) > 0 {
		return fmt.Errorf("%d answers are wrong, as that %s", len(e.wrong), e.wrong[0])
	}
	if err := e.verifyHealthy(ctx); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "every one of the %d runs of %s is there, completed, once (%s)\n", len(e.runs[healthy]), healthy, time.Since(began).Round(time.Second))
	if err := e.verifyBroken(ctx); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "every one of the %d runs of %s was there once or is (%s)\n", len(e.runs[broken]), broken, time.Since(began).Round(time.Second))
	return nil
}

func (e *experiment) startAll(ctx context.Context) error {
	ports, err := proc.FreePorts(4)
	if err != nil {
		return err
	}
	e.port = ports[0]
	temporalAddress := localhost(e.port)
	public := localhost(ports[1])
	e.publicURL = "http://" + public + "/webhooks/"
	e.admin = "http://" + localhost(ports[2])
	if e.proxy, err = startProxy(localhost(ports[3]), temporalAddress); err != nil {
		return err
	}
	profiles := filepath.Join(e.dir, "temporal.toml")
	text := fmt.Sprintf("[profile.%s]\naddress = %q\n", broken, e.proxy.address)
	if err := os.WriteFile(profiles, []byte(text), 0o600); err != nil {
		return err
	}
	e.ingress = &proc.Program{
		Binary: filepath.Join(e.binaries, "ingress"), Log: filepath.Join(e.dir, "ingress.log"),
		Environ: []string{
			"INTEGRATIONS=" + healthy + "," + broken,
			"DEVELOPMENT=1", "SENTRY_CLIENT_SECRET=" + hook.DevelopmentSecret, "MOBILE_CLIENT_SECRET=" + hook.DevelopmentSecret,
			"MOBILE_NAMESPACE=" + broken, "MOBILE_TEMPORAL_PROFILE=" + broken, "TEMPORAL_CONFIG_FILE=" + profiles,
			"TEMPORAL_ADDRESS=" + temporalAddress, "LISTEN_ADDR=" + public, "ADMIN_ADDR=" + localhost(ports[2]),
			"JOURNAL_DIR=" + filepath.Join(e.dir, "journal"), "LOG_LEVEL=warn",
		},
	}
	e.worker = &proc.Program{
		Binary: filepath.Join(e.binaries, "worker"), Log: filepath.Join(e.dir, "worker.log"),
		Environ: []string{
			"INTEGRATIONS=" + healthy + "," + broken, "MOBILE_NAMESPACE=" + broken,
			"TEMPORAL_ADDRESS=" + temporalAddress, "WORKER_ADMIN_ADDR=127.0.0.1:0", "LOG_LEVEL=warn",
		},
	}
	if err := e.startTemporal(ctx); err != nil {
		return err
	}
	if err := e.worker.Start(); err != nil {
		return err
	}
	if err := e.ingress.Start(); err != nil {
		return err
	}
	return proc.AwaitListening(ctx, public)
}

func localhost(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (e *experiment) startTemporal(ctx context.Context) error {
	var err error
	e.temporal, err = devserver.Start(ctx, devserver.Options{Port: e.port, DBFile: filepath.Join(e.dir, "temporal.db")})
	return err
}

func (e *experiment) stopAll() {
	for _, p := range []*proc.Program{e.ingress, e.worker} {
		if p != nil {
			p.Kill()
		}
	}
	if e.temporal != nil {
		e.temporal.Kill()
	}
	if e.proxy != nil {
		e.proxy.close()
	}
}

// sendAndKill sends all deliveries while parts are killed and started again, and
// a namespace comes and goes.
func (e *experiment) sendAndKill(ctx context.Context) error {
	restart := func(p *proc.Program) func(context.Context) error {
		return func(context.Context) error {
			p.Kill()
			return p.Start()
		}
	}
	restartIngress := func(context.Context) error {
		e.traffic.life.Add(1)
		defer e.traffic.life.Add(1)
		e.ingress.Kill()
		return e.ingress.Start()
	}
	killTemporal := func(ctx context.Context) error {
		e.temporal.Kill()
		return e.startTemporal(ctx)
	}
	events := []event{
		{0.10, "kill -9 ingress", restartIngress},
		{0.20, "create the namespace " + broken, e.register},
		{0.25, "kill -9 Temporal", killTemporal},
		{0.40, "kill -9 ingress", restartIngress},
		{0.55, "kill -9 worker", restart(e.worker)},
		{0.65, "kill -9 Temporal", killTemporal},
		{0.75, "delete the namespace " + broken, func(ctx context.Context) error {
			return insist(ctx, func() error { return remove(ctx, e.temporal.Address, broken) })
		}},
		{0.85, "kill -9 ingress", restartIngress},
	}
	due := make(chan event, len(events))
	happened := make(chan error, 1)
	go func() {
		for next := range due {
			fmt.Fprintln(e.out, next.what)
			if err := next.do(ctx); err != nil {
				happened <- fmt.Errorf("%s: %w", next.what, err)
				return
			}
		}
		happened <- nil
	}()

	mix := load.Mix{"issue.created": 4, "comment.created": 4, "seer.pr_created": 1}
	var of []vegeta.Targeter
	for _, integration := range []string{healthy, broken} {
		next, err := load.Samples(e.publicURL+integration, hook.DevelopmentSecret, mix, retriedShare)
		if err != nil {
			return err
		}
		of = append(of, next)
	}
	e.traffic.next, e.traffic.shared = mixed(of...), sharedShare
	sending, enough := context.WithCancel(ctx)
	defer enough()
	load.Load{Rate: e.rate, Connections: 64}.Run(sending, e.traffic.target, func(r *vegeta.Result) {
		e.count(r)
		if e.sent >= e.deliveries {
			enough()
		}
		for len(events) > 0 && float64(e.sent) >= events[0].at*float64(e.deliveries) {
			due <- events[0]
			events = events[1:]
		}
	})
	close(due)
	return errors.Join(<-happened, ctx.Err())
}

func (e *experiment) register(ctx context.Context) error {
	return insist(ctx, func() error { return register(ctx, e.temporal.Address, broken) })
}

// insist does again what a Temporal that has just started may not do yet.
func insist(ctx context.Context, do func() error) error {
	for began := time.Now(); ; {
		err := do()
		if err == nil || time.Since(began) > 20*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// count notes an answer. What was acknowledged has to be found later.
func (e *experiment) count(r *vegeta.Result) {
	e.sent++
	status := strconv.Itoa(int(r.Code))
	if r.Code == 0 {
		status = "none"
	}
	e.answers[status]++
	a, ok := answerOf(r)
	if !ok {
		return
	}
	this, err := e.traffic.of(r)
	if err != nil {
		e.wrong = append(e.wrong, err.Error())
		return
	}
	integration := healthy
	if strings.Contains(r.URL, "/"+broken+"?") {
		integration = broken
	}
	key := integration + " " + a.Key
	if _, again := e.acked[key]; again {
		e.retried++
	}
	e.acked[key] = struct{}{}
	for _, run := range a.Runs {
		e.expect(integration, a.Key, run.WorkflowID, this)
	}
}

// expect notes that a run was named in the answer to a delivery.
func (e *experiment) expect(integration, key, workflowID string, of sent) {
	runs := e.runs[integration]
	this := runs[workflowID]
	if this == nil {
		this = &expected{}
		runs[workflowID] = this
	}
	if requestID, _, other := strings.Cut(key, "-"); other {
		this.shared = true
		if first := runs[strings.TrimSuffix(workflowID, key)+requestID]; first != nil {
			first.shared = true
		}
	}
	// The ingress tells deliveries apart as long as it lives, and what is kept
	// for longer.
	same := func(life int64) bool { return life == of.life && life == e.traffic.life.Load() }
	switch before, again := e.named[of.body]; {
	case !again:
		e.named[of.body] = named{workflowID, of.life}
	case before.workflowID != workflowID && same(before.life):
		e.wrong = append(e.wrong, workflowID+" is named for what was to become "+before.workflowID)
	case before.workflowID != workflowID:
		e.forgotten++
	}
	if slices.ContainsFunc(this.bodies, func(s sent) bool { return s.body == of.body }) {
		return
	}
	if slices.ContainsFunc(this.bodies, func(s sent) bool { return same(s.life) }) {
		e.wrong = append(e.wrong, workflowID+" is named for two bodies")
	}
	this.bodies = append(this.bodies, of)
}

// patience is how long there may be no progress.
const patience = 90 * time.Second

// verifyHealthy reads from Temporal until every run of the healthy integration
// is found completed, and compares the input of those whose Request-ID came with
// several bodies.
func (e *experiment) verifyHealthy(ctx context.Context) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: e.temporal.Address})
	if err != nil {
		return err
	}
	defer c.Close()
	var ids []string
	for id := range e.runs[healthy] {
		ids = append(ids, id)
	}
	if err := e.awaitCompleted(ctx, c, ids); err != nil {
		return err
	}
	return e.compareInputs(ctx, c, healthy, ids)
}

// verifyBroken wants everything of the broken integration that never was started
// to be kept, and to be started once its namespace is there again.
func (e *experiment) verifyBroken(ctx context.Context) error {
	var kept []string
	for id := range e.runs[broken] {
		if _, started := e.proxy.started(id); !started {
			kept = append(kept, id)
		}
	}
	series, err := metrics.Read(ctx, e.admin)
	if err != nil {
		return err
	}
	pending, parked := int(series[metrics.Pending]), int(series[metrics.Parked])
	fmt.Fprintf(e.out, "%d runs of %s were there before its namespace was deleted, %d were not; %d deliveries are kept\n",
		len(e.runs[broken])-len(kept), broken, len(kept), pending)
	// Each has one run. There may be more: those whose answer nobody got, and
	// those that the ingress, killed meanwhile, does not know to be started.
	if pending < len(kept) || parked > 0 {
		return fmt.Errorf("%d deliveries are pending and %d parked, but %d have no run", pending, parked, len(kept))
	}

	fmt.Fprintf(e.out, "create the namespace %s again\n", broken)
	e.proxy.mu.Lock()
	e.proxy.epoch++
	e.proxy.mu.Unlock()
	if err := e.register(ctx); err != nil {
		return err
	}
	c, err := client.DialContext(ctx, client.Options{HostPort: e.temporal.Address, Namespace: broken})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := e.awaitCompleted(ctx, c, kept); err != nil {
		return err
	}
	e.proxy.mu.Lock()
	defer e.proxy.mu.Unlock()
	if len(e.proxy.doubled) > 0 {
		return errors.New(e.proxy.doubled[0])
	}
	return e.compareInputs(ctx, c, broken, kept)
}

// compareInputs wants each of the runs whose Request-ID came with several bodies
// to have been started with the one that was answered with it.
func (e *experiment) compareInputs(ctx context.Context, c client.Client, integration string, ids []string) error {
	compared := 0
	for _, id := range ids {
		this := e.runs[integration][id]
		if !this.shared {
			continue
		}
		first, err := c.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT).Next()
		if err != nil {
			return fmt.Errorf("read %s: %w", id, err)
		}
		var env sentry.Envelope
		if err := starter.DataConverter().FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), &env); err != nil {
			return fmt.Errorf("read %s: %w", id, err)
		}
		body := sha256.Sum256([]byte(env.Body))
		if !slices.ContainsFunc(this.bodies, func(s sent) bool { return s.body == body }) {
			return fmt.Errorf("%s was started with another delivery's body", id)
		}
		compared++
	}
	fmt.Fprintf(e.out, "%d runs whose Request-ID came with several bodies have their own\n", compared)
	return nil
}

// awaitCompleted returns once all the runs are found completed. What it finds
// twice, or failed, is an error at once.
func (e *experiment) awaitCompleted(ctx context.Context, c client.Client, ids []string) error {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	best, since := -1, time.Now()
	for {
		completed, err := completed(ctx, c, wanted)
		if wrong := (*wrongRunError)(nil); errors.As(err, &wrong) {
			return err
		}
		if err == nil && completed == len(wanted) {
			return nil
		}
		if completed > best {
			best, since = completed, time.Now()
			fmt.Fprintf(e.out, "%d of %d runs are completed\n", completed, len(wanted))
		}
		if time.Since(since) > patience {
			return errors.Join(fmt.Errorf("%d of %d runs are missing or not completed", len(wanted)-best, len(wanted)), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// wrongRunError says what nothing can set right any more.
type wrongRunError struct{ what string }

func (w *wrongRunError) Error() string { return w.what }

// completed returns how many of the wanted runs are completed. It fails with a
// wrongRunError, or because Temporal, which is busy, does not answer.
func completed(ctx context.Context, c client.Client, wanted map[string]bool) (int, error) {
	seen := map[string]string{} // run ID by workflow ID
	found := 0
	var page []byte
	for {
		list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000, NextPageToken: page})
		if err != nil {
			return 0, fmt.Errorf("list the runs: %w", err)
		}
		for _, run := range list.GetExecutions() {
			id, runID := run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId()
			if other, twice := seen[id]; twice {
				if other != runID {
					return 0, &wrongRunError{fmt.Sprintf("%s has two runs, %s and %s", id, other, runID)}
				}
				continue // new ones move the pages
			}
			seen[id] = runID
			switch run.GetStatus() {
			case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
				if wanted[id] {
					found++
				}
			case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
			default:
				return 0, &wrongRunError{fmt.Sprintf("%s ended as %s", id, run.GetStatus())}
			}
		}
		if page = list.GetNextPageToken(); len(page) == 0 {
			return found, nil
		}
	}
}
