package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/devserver"
)

// domains breaks one of two integrations in every way, and measures the time from
// answer to start of the other, beside that of the other alone: the two take
// turns, since the machine's speed drifts.
type domains struct {
	turns, each, rate int // of each integration
	dir, binaries     string
	out               io.Writer

	*stack
	worker     *proc.Program
	second     *devserver.Server // that of the integration elsewhere
	secondPort int
	profiles   string
}

// elsewhere is the integration whose Temporal is another one.
const elsewhere = "elsewhere"

// broke is a way in which an integration breaks.
type broke struct {
	what      string
	other     string // the integration that breaks; "": there is none
	namespace string // of broken, if it is not the one that is there
	fault     func(ctx context.Context, namespace string) error
	midway    func(ctx context.Context, namespace string) error // happens when half is sent
}

// delays are the times from answer to start of one turn.
type delays struct {
	p50, p99     time.Duration
	asked, not   int // /readyz
	started, all int // runs of the other integration that were started, and that were answered
}

// wellToo is when nothing breaks, to compare with: one more that is well costs
// processor and Temporal's time.
const wellToo = "(is well, too)"

// most is how many times longer the healthy integration's p99 may be.
const most = 2

func (d *domains) run(ctx context.Context) error {
	namespaces := []string{broken}
	for turn := range d.turns {
		namespaces = append(namespaces, deleted(turn))
	}
	var err error
	if d.stack, err = newStack(ctx, d.dir, d.binaries, namespaces...); err != nil {
		return err
	}
	defer d.stop()
	ports, err := proc.FreePorts(1)
	if err != nil {
		return err
	}
	d.secondPort = ports[0]
	d.profiles = filepath.Join(d.dir, "temporal.toml")
	text := fmt.Sprintf("[profile.%s]\naddress = %q\n", elsewhere, localhost(d.secondPort))
	if err := os.WriteFile(d.profiles, []byte(text), 0o600); err != nil {
		return err
	}
	d.worker = &proc.Program{
		Binary: filepath.Join(d.binaries, "worker"), Log: filepath.Join(d.dir, "worker.log"),
		Environ: []string{
			"INTEGRATIONS=" + healthy + "," + broken, "MOBILE_NAMESPACE=" + broken,
			"TEMPORAL_ADDRESS=" + d.temporal.Address, "WORKER_ADMIN_ADDR=127.0.0.1:0", "LOG_LEVEL=warn",
		},
	}
	if err := d.worker.Start(); err != nil {
		return err
	}
	defer d.worker.Kill()
	defer func() {
		if d.second != nil {
			d.second.Kill()
		}
	}()

	answering := func(code codes.Code) func(context.Context, string) error {
		return func(_ context.Context, namespace string) error {
			if namespace == broken {
				return status.Error(code, "as the experiment wants it")
			}
			return nil
		}
	}
	fmt.Fprintf(d.out, "%d deliveries of each of two integrations at %d a second each, %d turns; ms from answer to start of the healthy one\n", d.each, d.rate, d.turns)
	table := tabwriter.NewWriter(d.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "the other\talone p50\tp99\twith it p50\tp99\tp99 of alone\teach turn\tstarted of the other\t/readyz not 200\t")
	var failed []error
	for _, b := range []broke{
		{what: wellToo, other: broken},
		{what: "namespace missing", other: broken, namespace: "missing"},
		{what: "namespace deleted", other: broken, namespace: "deleted", midway: func(ctx context.Context, namespace string) error {
			return remove(ctx, d.temporal.Address, namespace)
		}},
		{what: "denied", other: broken, fault: answering(codes.PermissionDenied)},
		{what: "exhausted", other: broken, fault: answering(codes.ResourceExhausted)},
		{what: "hanging", other: broken, fault: func(ctx context.Context, namespace string) error {
			if namespace == broken {
				<-ctx.Done()
			}
			return ctx.Err()
		}},
		{what: "server killed", other: elsewhere, midway: func(context.Context, string) error {
			d.second.Kill()
			d.second = nil
			return nil
		}},
		{what: "(worker killed)", midway: func(context.Context, string) error {
			d.worker.Kill()
			return d.worker.Start()
		}},
	} {
		var alone, with []delays
		for turn := range d.turns {
			a, err := d.turn(ctx, broke{}, turn)
			if err != nil {
				return err
			}
			w, err := d.turn(ctx, b, turn)
			if err != nil {
				return fmt.Errorf("%s: %w", b.what, err)
			}
			alone, with = append(alone, a), append(with, w)
		}
		if err := report(table, b.what, alone, with); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.what, err))
		}
	}
	return errors.Join(append(failed, table.Flush())...)
}

// deleted is the namespace that a turn deletes.
func deleted(turn int) string { return fmt.Sprintf("deleted-%d", turn) }

func report(table io.Writer, what string, alone, with []delays) error {
	ratios := make([]float64, len(alone))
	var ap50, ap99, wp50, wp99 []float64
	asked, not, started, all := 0, 0, 0, 0
	for i := range alone {
		ratios[i] = float64(with[i].p99) / float64(alone[i].p99)
		ap50, ap99 = append(ap50, ms(alone[i].p50)), append(ap99, ms(alone[i].p99))
		wp50, wp99 = append(wp50, ms(with[i].p50)), append(wp99, ms(with[i].p99))
		asked, not = asked+with[i].asked, not+with[i].not
		started, all = started+with[i].started, all+with[i].all
	}
	others := "-"
	if all > 0 {
		others = fmt.Sprintf("%d of %d", started, all)
	}
	fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%s\t%d of %d\t\n",
		what, median(ap50), median(ap99), median(wp50), median(wp99), median(ratios), ratios, others, not, asked)
	switch {
	case not > 0:
		return fmt.Errorf("/readyz did not answer 200 %d times of %d", not, asked)
	case what != wellToo && median(ratios) > most:
		return fmt.Errorf("the p99 of the healthy one is %.2f of that alone, and may be %d", median(ratios), most)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// turn sends what there is to send with a new ingress.
func (d *domains) turn(ctx context.Context, b broke, turn int) (delays, error) {
	namespace := broken
	switch b.namespace {
	case "":
	case "deleted":
		namespace = deleted(turn)
	default:
		namespace = b.namespace
	}
	if b.other == elsewhere {
		var err error
		if d.second, err = devserver.Start(ctx, devserver.Options{Port: d.secondPort}); err != nil {
			return delays{}, err
		}
	}
	d.proxy.answer(b.fault)
	defer d.proxy.answer(nil)
	if err := d.begin(ctx, "INTEGRATIONS="+strings.Join([]string{healthy, broken, elsewhere}, ","),
		"MOBILE_CLIENT_SECRET="+hook.DevelopmentSecret, "MOBILE_NAMESPACE="+namespace,
		"ELSEWHERE_CLIENT_SECRET="+hook.DevelopmentSecret, "ELSEWHERE_TEMPORAL_PROFILE="+elsewhere,
		"TEMPORAL_CONFIG_FILE="+d.profiles); err != nil {
		return delays{}, err
	}
	well := d.issues(healthy, "backend")
	warm, err := d.send(ctx, 20, d.rate, well, nil) // it connects, and asks for the search attributes
	if err == nil {
		err = d.awaitStarted(ctx, warm)
	}
	if err != nil {
		return delays{}, err
	}

	n, rate, next := d.each, d.rate, well
	if b.other != "" {
		n, rate, next = 2*d.each, 2*d.rate, alternating(well, d.issues(b.other, "backend"))
	}
	asking, enough := context.WithCancel(ctx)
	defer enough()
	var times delays
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		times.asked, times.not = d.unready(asking)
	}()
	happened := make(chan error, 1)
	if b.midway == nil {
		happened <- nil
	}
	all, err := d.send(ctx, n, rate, next, func(answered int) {
		if b.midway != nil && answered == n/2 {
			go func() { happened <- b.midway(ctx, namespace) }()
		}
	})
	if err != nil {
		return delays{}, err
	}
	mine := slices.DeleteFunc(slices.Clone(all), func(a acknowledged) bool { return !strings.HasSuffix(a.path, "/"+healthy) })
	if err := errors.Join(d.awaitStarted(ctx, mine), <-happened); err != nil {
		return delays{}, err
	}
	enough()
	<-asked
	times.all = len(all) - len(mine)
	var took []time.Duration
	for _, a := range all {
		at, started := d.proxy.started(a.workflowID)
		switch {
		case strings.HasSuffix(a.path, "/"+healthy):
			took = append(took, max(0, at.Sub(a.at)))
		case started:
			times.started++
		}
	}
	slices.Sort(took)
	times.p50, times.p99 = took[len(took)/2], took[len(took)*99/100]
	if b.other == elsewhere {
		times.all = 0 // its starts do not come by the proxy
		if d.second != nil {
			d.second.Kill()
			d.second = nil
		}
	}
	return times, ctx.Err()
}

func alternating(targeters ...vegeta.Targeter) vegeta.Targeter {
	i := 0
	return func(t *vegeta.Target) error {
		i++
		return targeters[i%len(targeters)](t)
	}
}
