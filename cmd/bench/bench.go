package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/forwarder"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/workflows"
)

type bench struct {
	dir  string
	each time.Duration
	only string // one of the measurements; "": all
	out  io.Writer

	binaries string
	journals int // used so far
	refused  []string
	admin    string   // base address of the ingress that was started last
	after    []func() // what ends that runs for a measurement
}

// turns is in how many turns a cell of the table is measured.
const turns = 2

// parallel is how many starts the raw loop and the forwarder have under way.
const parallel = 16

func (b *bench) run(ctx context.Context) error {
	fmt.Fprintf(b.out, "%s, %d CPUs, %s; each cell %s; sender, servers and Temporal on this machine\n\n", runtime.GOARCH, runtime.NumCPU(), runtime.Version(), b.each)
	var err error
	if b.binaries, err = proc.Build(ctx, b.dir); err != nil {
		return err
	}
	for _, measure := range []struct {
		name string
		do   func(context.Context) error
	}{{"one", b.one}, {"acknowledgements", b.acknowledgements}, {"latency", b.latency}, {"starts", b.starts}, {"runs", b.runs}, {"memory", b.memory}} {
		if b.only != "" && b.only != measure.name {
			continue
		}
		if err := measure.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// acknowledgements prints how many deliveries a second are acknowledged: by a
// server that only verifies, and by the ingress without and with Temporal.
func (b *bench) acknowledgements(ctx context.Context) error {
	temporal, err := devserver.Start(ctx, devserver.Options{})
	if err != nil {
		return err
	}
	defer temporal.Kill()

	table := tabwriter.NewWriter(b.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "body\tconnections\t|\tbare/s\tp50\tp99\t|\tTemporal stopped/s\tp50\tp99\tof bare\t|\tTemporal up/s\tp50\tp99\tof bare\t")
	for _, size := range []int{2 << 10, 33 << 10} {
		body, err := bodyOf(size)
		if err != nil {
			return err
		}
		for _, connections := range []uint16{1, 16, 200} {
			fmt.Fprintf(table, "%d KiB\t%d\t", size>>10, connections)
			cells := make([]cell, 3)
			for range turns {
				for i, start := range []func(context.Context) (string, *proc.Program, error){
					b.startBare,
					func(ctx context.Context) (string, *proc.Program, error) { return b.startIngress(ctx, "127.0.0.1:1") },
					func(ctx context.Context) (string, *proc.Program, error) { return b.startIngress(ctx, temporal.Address) },
				} {
					if err := b.measure(ctx, start, body, connections, &cells[i]); err != nil {
						return err
					}
				}
			}
			for i, c := range cells {
				fmt.Fprintf(table, "|\t%.0f\t%s\t%s\t", mean(c.rates), ms(c.at(0.5)), ms(c.at(0.99)))
				if i > 0 {
					fmt.Fprintf(table, "%.2f\t", mean(c.rates)/mean(cells[0].rates))
				}
			}
			fmt.Fprintln(table)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, cell := range b.refused {
		fmt.Fprintf(b.out, "not all were taken: %s\n", cell)
	}
	return nil
}

// cell is what was measured in turns.
type cell struct {
	rates []float64
	times
}

// measure sends body as fast as connections carry it, under a new Request-ID
// each time, and adds acknowledgements a second and their latency to a cell.
func (b *bench) measure(ctx context.Context, start func(context.Context) (string, *proc.Program, error), body []byte, connections uint16, c *cell) error {
	url, program, err := start(ctx)
	if err != nil {
		return err
	}
	defer program.Kill()
	var metrics vegeta.Metrics
	load.Load{Duration: b.each / turns, Connections: connections}.Run(ctx, targets(url, body), func(r *vegeta.Result) {
		metrics.Add(r)
		c.times = append(c.times, r.Latency)
	})
	metrics.Close()
	if metrics.Success < 1 { // the disk was too slow for some, see the ingress' answers
		b.refused = append(b.refused, fmt.Sprintf("%d bytes over %d connections: %v", len(body), connections, metrics.StatusCodes))
	}
	if metrics.Success < 0.9 {
		return fmt.Errorf("%s answered %v: %v", url, metrics.StatusCodes, metrics.Errors)
	}
	c.rates = append(c.rates, metrics.Throughput)
	return ctx.Err()
}

// sendOne sends a delivery and waits for the answer.
func sendOne(ctx context.Context, next vegeta.Targeter) error {
	var t vegeta.Target
	if err := next(&t); err != nil {
		return err
	}
	request, err := t.Request()
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request.WithContext(ctx))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%s answered %s", t.URL, response.Status)
	}
	return nil
}

// targets signs once: the Request-ID is not signed, and signing is not what is
// measured.
func targets(url string, body []byte) vegeta.Targeter {
	signature := sentry.Sign(hook.DevelopmentSecret, body)
	return func(t *vegeta.Target) error {
		*t = vegeta.Target{Method: http.MethodPost, URL: url, Body: body, Header: http.Header{
			"Content-Type":          {"application/json"},
			"Request-Id":            {sentry.NewRequestID()},
			"Sentry-Hook-Resource":  {"issue"},
			"Sentry-Hook-Timestamp": {strconv.FormatInt(time.Now().Unix(), 10)},
			"Sentry-Hook-Signature": {signature},
		}}
		return nil
	}
}

// bodyOf returns an issue of size bytes.
func bodyOf(size int) ([]byte, error) {
	sample, err := sentry.Sample("issue.created")
	if err != nil {
		return nil, err
	}
	padding := strings.Repeat("x", size-len(sample)-len(`,"text":""`))
	return []byte(strings.TrimSuffix(string(sample), "}") + `,"text":"` + padding + `"}`), nil
}

func (b *bench) startBare(ctx context.Context) (string, *proc.Program, error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	ports, err := proc.FreePorts(1)
	if err != nil {
		return "", nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	p := &proc.Program{Binary: self, Args: []string{"-serve-bare", address}, Log: filepath.Join(b.dir, "bare.log")}
	if err := p.Start(); err != nil {
		return "", nil, err
	}
	return "http://" + address + "/webhooks/sentry", p, proc.AwaitListening(ctx, address)
}

func (b *bench) startIngress(ctx context.Context, temporal string) (string, *proc.Program, error) {
	ports, err := proc.FreePorts(2)
	if err != nil {
		return "", nil, err
	}
	b.journals++
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	b.admin = "http://127.0.0.1:" + strconv.Itoa(ports[1])
	p := &proc.Program{Binary: filepath.Join(b.binaries, "ingress"), Log: filepath.Join(b.dir, "ingress.log"), Environ: []string{
		"DEVELOPMENT=1", "SENTRY_CLIENT_SECRET=" + hook.DevelopmentSecret, "TEMPORAL_ADDRESS=" + temporal,
		"LISTEN_ADDR=" + address, "ADMIN_ADDR=" + strings.TrimPrefix(b.admin, "http://"),
		"JOURNAL_DIR=" + filepath.Join(b.dir, "journal"+strconv.Itoa(b.journals)), "JOURNAL_MAX_BYTES=" + strconv.Itoa(16<<30),
	}}
	if err := p.Start(); err != nil {
		return "", nil, err
	}
	return "http://" + address + "/webhooks/sentry", p, proc.AwaitListening(ctx, address)
}

// serveBare only verifies.
func serveBare(ctx context.Context, l net.Listener) error {
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<20))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mac := hmac.New(sha256.New, []byte(hook.DevelopmentSecret))
		mac.Write(body)
		given, err := hex.DecodeString(r.Header.Get("Sentry-Hook-Signature"))
		if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// starts prints how fast what is kept becomes runs, beside the raw loop that
// does nothing else. The two take turns, since the machine's
// speed drifts.
func (b *bench) starts(ctx context.Context) error {
	const deliveries, turns = 1500, 3
	var raw, drained []float64
	for range turns {
		r, err := rate(ctx, deliveries, rawLoop)
		if err != nil {
			return err
		}
		d, err := rate(ctx, deliveries, b.drain)
		if err != nil {
			return err
		}
		raw, drained = append(raw, r), append(drained, d)
	}
	fmt.Fprintln(b.out)
	fmt.Fprintf(b.out, "raw ExecuteWorkflow, %d callers %8.0f/s   (turns: %.0f)\n", parallel, mean(raw), raw)
	fmt.Fprintf(b.out, "forwarder, %d starts at once    %8.0f/s   (turns: %.0f), %.2f of the raw loop\n", parallel, mean(drained), drained, mean(drained)/mean(raw))
	return nil
}

var integrations = []config.Integration{{Name: "sentry", Namespace: client.DefaultNamespace, TaskQueue: "nobody-polls"}}

// rate runs do on a new Temporal server and returns starts a second.
func rate(ctx context.Context, n int, do func(context.Context, *starter.Connections, []sentry.Envelope) error) (float64, error) {
	temporal, err := devserver.Start(ctx, devserver.Options{})
	if err != nil {
		return 0, err
	}
	defer temporal.Kill()
	connections, err := starter.Connect(config.Temporal{Client: client.Options{HostPort: temporal.Address}}, integrations, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	defer connections.Close()
	envelopes, err := envelopesOf(n)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := do(ctx, connections, envelopes); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// envelopesOf returns n new issues.
func envelopesOf(n int) ([]sentry.Envelope, error) {
	body, err := bodyOf(2 << 10)
	if err != nil {
		return nil, err
	}
	envelopes := make([]sentry.Envelope, n)
	for i := range envelopes {
		header := http.Header{}
		header.Set(sentry.HeaderRequestID, sentry.NewRequestID())
		envelopes[i] = sentry.NewEnvelope("sentry", "sentry.issue.created", header, body, time.Now())
	}
	return envelopes, nil
}

func rawLoop(ctx context.Context, connections *starter.Connections, envelopes []sentry.Envelope) error {
	environment := connections.Environments()["sentry"]
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range parallel {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(envelopes)); i = next.Add(1) - 1 {
				_, err := environment.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
					ID:                    "triage_sentry_issue:sentry:" + envelopes[i].IdempotencyKey,
					TaskQueue:             environment.TaskQueue,
					WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
				}, "triage_sentry_issue", envelopes[i])
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// drain has the forwarder start what was kept before, so the time of appending
// counts, too: that is how it is.
func (b *bench) drain(ctx context.Context, connections *starter.Connections, envelopes []sentry.Envelope) error {
	b.journals++
	kept, err := journal.Open(filepath.Join(b.dir, "journal"+strconv.Itoa(b.journals)), journal.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer kept.Close()
	starts := starter.New(connections, slog.New(slog.DiscardHandler))
	planner := routes.NewPlanner(workflows.All, integrations, slog.New(slog.DiscardHandler))
	forwarding, stop := context.WithCancel(ctx)
	go starts.Run(forwarding) // knows what the namespace takes, as in the ingress
	done := make(chan struct{}, len(envelopes))
	lanes := forwarder.New(kept, func(env sentry.Envelope, plan []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
		start, err := starts.Prepare(env, plan)
		return func(ctx context.Context) ([]starter.Run, error) {
			runs, err := start(ctx)
			if err == nil {
				done <- struct{}{}
			}
			return runs, err
		}, err
	}, forwarder.Options{Parallel: parallel, Log: slog.New(slog.DiscardHandler)})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lanes.Run(forwarding)
	}()
	defer func() {
		stop()
		<-ended
	}()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(200)
	for _, env := range envelopes {
		delivery := sentry.DeliveryOf(env)
		group.Go(func() error {
			_, err := kept.Append(ctx, journal.Arrival{
				Envelope: env, Subject: delivery.Subject,
				Plan: func(env sentry.Envelope) []routes.Operation { return planner.Plan(delivery).For(env.IdempotencyKey) },
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for range envelopes {
		select {
		case <-done:
		case <-forwarding.Done():
			return forwarding.Err()
		}
	}
	return nil
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
