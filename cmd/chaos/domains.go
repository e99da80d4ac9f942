package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/devserver"
)

// domains breaks one of two integrations in every way, and measures the time from
// answer to start of the other, beside that of the other alone: all take turns,
// since the machine's speed drifts.
type domains struct {
	turns, each, rate int    // of each integration
	breaks            string // only those whose name has this in it
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
	before    bool                                              // half of what breaks is sent before, and nothing of it meanwhile
	midway    func(ctx context.Context, namespace string) error // happens when half is sent
	beside    string                                            // what it is compared with; "": alone
}

// delays are the times from answer to start of one turn.
type delays struct {
	p50, p99     time.Duration
	asked, not   int // /readyz
	started, all int // runs of the other integration that were started, and that were answered
}

// What there is to compare with. One more that is well costs processor and
// Temporal's time, and so does the deletion of a namespace, by itself.
const (
	alone       = "(nobody else)"
	wellToo     = "(is well, too)"
	justDeleted = "(just deletion)"
)

const deleted = "deleted"

// most is how many times longer the healthy integration's p99 may be.
const most = 2

func (d *domains) run(ctx context.Context) error {
	namespaces := []string{broken}
	for turn := range d.turns {
		namespaces = append(namespaces, ofTurn(deleted, turn), ofTurn(justDeleted, turn))
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
	kinds := []broke{
		{what: alone},
		{what: "namespace missing", other: broken, namespace: "missing"},
		{what: "namespace deleted", other: broken, namespace: deleted, midway: d.remove, beside: justDeleted},
		{what: justDeleted, other: broken, namespace: justDeleted, before: true, midway: d.remove},
		{what: "denied", other: broken, fault: answering(codes.PermissionDenied)},
		{what: alone}, // again: what all the others are compared with
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
		{what: wellToo, other: broken},
	}
	kinds = slices.DeleteFunc(kinds, func(b broke) bool {
		return !strings.Contains(b.what, d.breaks) && b.what != alone && b.what != wellToo
	})
	all := map[string][]delays{}
	for turn := range d.turns {
		for _, b := range kinds {
			took, err := d.turn(ctx, b, turn)
			if err != nil {
				return fmt.Errorf("%s: %w", b.what, err)
			}
			all[b.what] = append(all[b.what], took)
		}
	}
	fmt.Fprintf(d.out, "%d deliveries of each of two integrations at %d a second each; ms from answer to start of the healthy one, medians of %d turns\n", d.each, d.rate, d.turns)
	fmt.Fprintf(d.out, row, "the other", "p50", "p99", "each turn", "p99 of that", "started of the other", "/readyz not 200")
	var failed []error
	seen := map[string]bool{}
	for _, b := range kinds {
		if seen[b.what] {
			continue
		}
		seen[b.what] = true
		if err := d.report(b, all); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.what, err))
		}
	}
	return errors.Join(failed...)
}

// ofTurn is the namespace that a turn deletes.
func ofTurn(name string, turn int) string {
	return strings.Trim(strings.ReplaceAll(name, " ", "-"), "()") + strconv.Itoa(turn)
}

func (d *domains) remove(ctx context.Context, namespace string) error {
	return remove(ctx, d.temporal.Address, namespace)
}

// row is one line of what is printed.
const row = "%-18s %8s %8s %24s %24s %21s %16s\n"

// report prints what was measured, and returns an error if it is not as it is to
// be: a broken integration has a healthy one need no more than twice what it needs
// beside what there is to compare with, or no more than with one that is well.
func (d *domains) report(b broke, all map[string][]delays) error {
	p50, p99 := spread(all[b.what])
	asked, not, started, answered := 0, 0, 0, 0
	for _, turn := range all[b.what] {
		asked, not = asked+turn.asked, not+turn.not
		started, answered = started+turn.started, answered+turn.all
	}
	others := "-"
	if answered > 0 {
		others = fmt.Sprintf("%d of %d", started, answered)
	}
	beside := cmp.Or(b.beside, alone)
	_, besideP99 := spread(all[beside])
	_, wellP99 := spread(all[wellToo])
	ratio := median(p99) / median(besideP99)
	fmt.Fprintf(d.out, row, b.what, fmt.Sprintf("%.1f", median(p50)), fmt.Sprintf("%.1f", median(p99)), fmt.Sprintf("%.0f", p99),
		fmt.Sprintf("%.2f of %s", ratio, beside), others, fmt.Sprintf("%d of %d", not, asked))
	switch {
	case not > 0:
		return fmt.Errorf("/readyz did not answer 200 %d times of %d", not, asked)
	case b.what != justDeleted && ratio > most && median(p99) > median(wellP99):
		return fmt.Errorf("the p99 of the healthy one is %.2f of that with %s, and may be %d", ratio, beside, most)
	}
	return nil
}

// spread returns the figures of each turn.
func spread(turns []delays) (p50, p99 []float64) {
	for _, turn := range turns {
		p50, p99 = append(p50, ms(turn.p50)), append(p99, ms(turn.p99))
	}
	return p50, p99
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
	case deleted, justDeleted:
		namespace = ofTurn(b.namespace, turn)
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
	if b.before {
		theirs, err := d.send(ctx, d.each/2, d.rate, d.issues(b.other, "backend"), nil)
		if err == nil {
			err = d.awaitStarted(ctx, theirs)
		}
		if err != nil {
			return delays{}, err
		}
	} else if b.other != "" {
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
