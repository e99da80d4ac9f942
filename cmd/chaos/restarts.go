package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/cmd/internal/reverseproxy"
	"sentry-temporal/internal/devserver"
)

// restarts stops and starts ingresses under load, and wants every delivery to be
// taken and to become one run: of one ingress whose socket is held for it, and of two
// behind nginx.
type restarts struct {
	times    int
	rate     int           // deliveries a second
	patience time.Duration // of the sender: Sentry's is a second
	dir      string
	binaries string
	out      io.Writer

	temporal *devserver.Server
	worker   *proc.Program
	programs []*proc.Program
	expected int // runs
}

func (r *restarts) run(ctx context.Context) error {
	defer r.stopAll()
	var err error
	if r.temporal, err = devserver.Start(ctx, devserver.Options{}); err != nil {
		return err
	}
	r.worker = &proc.Program{
		Binary: filepath.Join(r.binaries, "worker"), Log: filepath.Join(r.dir, "worker.log"),
		Environ: []string{"TEMPORAL_ADDRESS=" + r.temporal.Address, "WORKER_ADMIN_ADDR=127.0.0.1:0", "LOG_LEVEL=warn"},
	}
	if err := r.worker.Start(); err != nil {
		return err
	}
	if err := r.held(ctx); err != nil {
		return fmt.Errorf("one ingress whose socket is held: %w", err)
	}
	if err := r.behindNginx(ctx); err != nil {
		return fmt.Errorf("two ingresses behind nginx: %w", err)
	}
	return nil
}

func (r *restarts) stopAll() {
	for _, p := range append(r.programs, r.worker) {
		if p != nil {
			p.Kill()
		}
	}
	if r.temporal != nil {
		r.temporal.Kill()
	}
}

// ingress starts one with a journal of its own, and returns the base address of its
// admin address.
func (r *restarts) ingress(socket *os.File, environ ...string) (p *proc.Program, admin string, err error) {
	ports, err := proc.FreePorts(1)
	if err != nil {
		return nil, "", err
	}
	n := strconv.Itoa(len(r.programs))
	p = &proc.Program{
		Binary: filepath.Join(r.binaries, "ingress"), Log: filepath.Join(r.dir, "ingress"+n+".log"), Socket: socket,
		Environ: append([]string{
			"DEVELOPMENT=1", "SENTRY_CLIENT_SECRET=" + hook.DevelopmentSecret, "TEMPORAL_ADDRESS=" + r.temporal.Address,
			"ADMIN_ADDR=" + localhost(ports[0]), "JOURNAL_DIR=" + filepath.Join(r.dir, "journal"+n), "LOG_LEVEL=warn",
		}, environ...),
	}
	if err := p.Start(); err != nil {
		return nil, "", err
	}
	r.programs = append(r.programs, p)
	return p, "http://" + localhost(ports[0]), proc.AwaitListening(context.Background(), localhost(ports[0]))
}

// held restarts an ingress whose socket stays open.
func (r *restarts) held(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return errors.New("the listener is none of TCP")
	}
	socket, err := tcp.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	p, admin, err := r.ingress(socket)
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	sender := &http.Client{Timeout: r.patience, Transport: &http.Transport{DisableKeepAlives: true}}
	return r.underLoad(ctx, url, sender, func(int) error { return restart(ctx, p, admin) })
}

// behindNginx restarts two ingresses by turns.
func (r *restarts) behindNginx(ctx context.Context) error {
	ports, err := proc.FreePorts(2)
	if err != nil {
		return err
	}
	var programs [2]*proc.Program
	var admins [2]string
	for i := range programs {
		if programs[i], admins[i], err = r.ingress(nil, "LISTEN_ADDR="+localhost(ports[i])); err != nil {
			return err
		}
	}
	dir := filepath.Join(r.dir, "nginx")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	nginx, err := reverseproxy.Nginx(ctx, reverseproxy.Options{
		Dir: dir, Upstreams: [2]string{localhost(ports[0]), localhost(ports[1])}, Slow: r.patience > time.Second,
	})
	if err != nil {
		return err
	}
	err = r.underLoad(ctx, nginx.URL, nginx.Client(r.patience), func(n int) error { return restart(ctx, programs[n%2], admins[n%2]) })
	return errors.Join(err, nginx.Stop())
}

// restart returns once the next process is ready.
func restart(ctx context.Context, p *proc.Program, admin string) error {
	if err := p.Stop(); err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	for {
		response, err := http.Get(admin + "/readyz")
		if err == nil {
			_ = response.Body.Close() // it was not read
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the next ingress: %w", ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// underLoad restarts while deliveries are sent to url, and wants all of them to have
// one run.
func (r *restarts) underLoad(ctx context.Context, url string, sender *http.Client, restart func(n int) error) error {
	next, err := load.Samples(url+"/webhooks/sentry", hook.DevelopmentSecret, load.Mix{"issue.created": 1, "comment.created": 1}, 0)
	if err != nil {
		return err
	}
	sending, enough := context.WithCancel(ctx)
	defer enough()
	var gaps []time.Duration // from the signal until the next process is ready
	restarted := make(chan error, 1)
	go func() {
		defer enough()
		for n := range r.times {
			began := time.Now()
			if err := restart(n); err != nil {
				restarted <- err
				return
			}
			gaps = append(gaps, time.Since(began))
			select {
			case <-sending.Done():
			case <-time.After(time.Duration(n%10) * 20 * time.Millisecond): // at any moment of the load
			}
		}
		restarted <- nil
	}()
	sent, lost := 0, map[string]int{}
	wanted := map[string]bool{}
	var times []time.Duration
	load.Load{Rate: r.rate, Connections: 200, Client: sender}.Run(sending, next, func(result *vegeta.Result) {
		sent++
		times = append(times, result.Latency)
		a, ok := answerOf(result)
		if !ok || len(a.Runs) != 1 {
			lost[fmt.Sprintf("%d %s", result.Code, result.Error)]++
			return
		}
		wanted[a.Runs[0].WorkflowID] = true
	})
	if err := errors.Join(<-restarted, ctx.Err()); err != nil {
		return err
	}
	slices.Sort(gaps)
	slices.Sort(times)
	fmt.Fprintf(r.out, "%d deliveries during %d restarts: %d not taken; answered within %s, half within %s; from the signal until the next is ready %s at most, %s as a rule\n",
		sent, r.times, sent-len(wanted), times[len(times)-1].Round(time.Millisecond), times[len(times)/2].Round(100*time.Microsecond),
		gaps[len(gaps)-1].Round(time.Millisecond), gaps[len(gaps)/2].Round(time.Millisecond))
	if sent < r.times || len(wanted) < sent {
		return fmt.Errorf("%d of %d deliveries were not taken: %v", sent-len(wanted), sent, lost)
	}
	return r.oneRunEach(ctx, wanted)
}

// oneRunEach wants every delivery to have a completed run, and no other run to be
// there.
func (r *restarts) oneRunEach(ctx context.Context, wanted map[string]bool) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: r.temporal.Address})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := (&experiment{out: r.out}).awaitCompleted(ctx, c, slices.Collect(maps.Keys(wanted))); err != nil {
		return err
	}
	r.expected += len(wanted)
	runs, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{})
	if err != nil {
		return fmt.Errorf("count the runs: %w", err)
	}
	if int(runs.GetCount()) != r.expected {
		return fmt.Errorf("there are %d runs of %d deliveries", runs.GetCount(), r.expected)
	}
	fmt.Fprintf(r.out, "every delivery has one run, completed\n")
	return nil
}
