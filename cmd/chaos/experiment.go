package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/starter"
)

// experiment is one run of the program.
type experiment struct {
	deliveries int
	rate       int    // a second
	dir        string // "": a temporary one
	out        io.Writer

	temporal  *devserver.Server
	port      int // of Temporal
	ingress   *proc.Program
	worker    *proc.Program
	sent      int
	answers   map[string]int      // by status
	retried   int                 // acknowledged more than once
	runs      map[string]bool     // workflow IDs of what was acknowledged
	acked     map[string]struct{} // idempotency keys
	publicURL string
}

// retriedShare of the deliveries repeat a Request-ID and body.
const retriedShare = 0.1

// A kill happens once the share at of the deliveries is sent.
type kill struct {
	at   float64
	what string
	do   func(context.Context) error
}

func (e *experiment) run(ctx context.Context) (err error) {
	if e.dir == "" {
		memory := "/dev/shm" // SQLite is slow where fsync is
		if info, err := os.Stat(memory); err != nil || !info.IsDir() {
			memory = ""
		}
		if e.dir, err = os.MkdirTemp(memory, "sentry-temporal-chaos-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				_ = os.RemoveAll(e.dir)
			}
		}()
	}
	e.answers, e.runs, e.acked = map[string]int{}, map[string]bool{}, map[string]struct{}{}
	defer e.stopAll()
	if err := e.startAll(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := e.sendAndKill(ctx); err != nil {
		return fmt.Errorf("%w (logs are in %s)", err, e.dir)
	}
	fmt.Fprintf(e.out, "sent %d deliveries in %s: answers %v; %d acknowledged, %d of them more than once, %d runs to find\n",
		e.sent, time.Since(began).Round(time.Second), e.answers, len(e.acked), e.retried, len(e.runs))
	if len(e.acked) == 0 {
		return errors.New("nothing was acknowledged")
	}
	if err := e.verify(ctx); err != nil {
		return fmt.Errorf("%w (logs are in %s)", err, e.dir)
	}
	fmt.Fprintf(e.out, "every one of the %d runs is there, completed, once (%s)\n", len(e.runs), time.Since(began).Round(time.Second))
	return nil
}

func (e *experiment) startAll(ctx context.Context) error {
	ports, err := proc.FreePorts(3)
	if err != nil {
		return err
	}
	e.port = ports[0]
	binaries, err := proc.Build(ctx, e.dir)
	if err != nil {
		return err
	}
	temporalAddress := "127.0.0.1:" + strconv.Itoa(e.port)
	public := "127.0.0.1:" + strconv.Itoa(ports[1])
	e.publicURL = "http://" + public + "/webhooks/sentry"
	e.ingress = &proc.Program{
		Binary: filepath.Join(binaries, "ingress"), Log: filepath.Join(e.dir, "ingress.log"),
		Environ: []string{
			"SENTRY_CLIENT_SECRET=" + hook.DevelopmentSecret, "TEMPORAL_ADDRESS=" + temporalAddress,
			"LISTEN_ADDR=" + public, "ADMIN_ADDR=127.0.0.1:" + strconv.Itoa(ports[2]),
			"JOURNAL_DIR=" + filepath.Join(e.dir, "journal"), "LOG_LEVEL=warn",
		},
	}
	e.worker = &proc.Program{
		Binary: filepath.Join(binaries, "worker"), Log: filepath.Join(e.dir, "worker.log"),
		Environ: []string{"TEMPORAL_ADDRESS=" + temporalAddress, "WORKER_ADMIN_ADDR=127.0.0.1:0", "LOG_LEVEL=warn"},
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
}

// sendAndKill sends all deliveries while parts are killed and started again.
func (e *experiment) sendAndKill(ctx context.Context) error {
	restart := func(p *proc.Program) func(context.Context) error {
		return func(context.Context) error {
			p.Kill()
			return p.Start()
		}
	}
	killTemporal := func(ctx context.Context) error {
		e.temporal.Kill()
		return e.startTemporal(ctx)
	}
	kills := []kill{
		{0.10, "ingress", restart(e.ingress)},
		{0.25, "Temporal", killTemporal},
		{0.40, "ingress", restart(e.ingress)},
		{0.55, "worker", restart(e.worker)},
		{0.65, "Temporal", killTemporal},
		{0.80, "ingress", restart(e.ingress)},
	}
	due := make(chan kill, len(kills))
	killed := make(chan error, 1)
	go func() {
		for k := range due {
			fmt.Fprintf(e.out, "kill -9 %s\n", k.what)
			if err := k.do(ctx); err != nil {
				killed <- fmt.Errorf("start %s again: %w", k.what, err)
				return
			}
		}
		killed <- nil
	}()

	next, err := load.Samples(e.publicURL, hook.DevelopmentSecret,
		load.Mix{"issue.created": 4, "comment.created": 4, "seer.pr_created": 1}, retriedShare)
	if err != nil {
		return err
	}
	sending, enough := context.WithCancel(ctx)
	defer enough()
	load.Load{Rate: e.rate, Connections: 64}.Run(sending, next, func(r *vegeta.Result) {
		e.count(r)
		if e.sent >= e.deliveries {
			enough()
		}
		for len(kills) > 0 && float64(e.sent) >= kills[0].at*float64(e.deliveries) {
			due <- kills[0]
			kills = kills[1:]
		}
	})
	close(due)
	return errors.Join(<-killed, ctx.Err())
}

// count notes an answer. What was acknowledged has to be found later.
func (e *experiment) count(r *vegeta.Result) {
	e.sent++
	status := strconv.Itoa(int(r.Code))
	if r.Code == 0 {
		status = "none"
	}
	e.answers[status]++
	if r.Code != http.StatusAccepted {
		return
	}
	var answer struct {
		Key  string        `json:"idempotency_key"`
		Runs []starter.Run `json:"runs"`
	}
	if err := json.Unmarshal(r.Body, &answer); err != nil {
		return // the acknowledgement did not arrive whole
	}
	if _, again := e.acked[answer.Key]; again {
		e.retried++
	}
	e.acked[answer.Key] = struct{}{}
	for _, run := range answer.Runs {
		e.runs[run.WorkflowID] = true
	}
}

// patience is how long there may be no progress.
const patience = 90 * time.Second

// verify reads from Temporal until every run is found completed. What it finds
// twice, or failed, is an error at once.
func (e *experiment) verify(ctx context.Context) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: e.temporal.Address})
	if err != nil {
		return err
	}
	defer c.Close()
	best, since := -1, time.Now()
	for {
		completed, err := e.completed(ctx, c)
		if wrong := (*wrongRunError)(nil); errors.As(err, &wrong) {
			return err
		}
		if err == nil && completed == len(e.runs) {
			return nil
		}
		if completed > best {
			best, since = completed, time.Now()
			fmt.Fprintf(e.out, "%d of %d runs are completed\n", completed, len(e.runs))
		}
		if time.Since(since) > patience {
			return errors.Join(fmt.Errorf("%d of %d runs are missing or not completed", len(e.runs)-best, len(e.runs)), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(3 * time.Second):
		}
	}
}

// wrongRunError says what nothing can set right any more.
type wrongRunError struct{ what string }

func (w *wrongRunError) Error() string { return w.what }

// completed returns how many of the runs to find are completed. It fails with a
// wrongRunError, or because Temporal, which is busy, does not answer.
func (e *experiment) completed(ctx context.Context, c client.Client) (int, error) {
	seen := map[string]string{} // run ID by workflow ID
	completed := 0
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
				if e.runs[id] {
					completed++
				}
			case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
			default:
				return 0, &wrongRunError{fmt.Sprintf("%s ended as %s", id, run.GetStatus())}
			}
		}
		if page = list.GetNextPageToken(); len(page) == 0 {
			return completed, nil
		}
	}
}
