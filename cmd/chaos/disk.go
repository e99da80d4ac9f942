package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/proc"
)

// disk has fsync fail in the ingress while Temporal is away, kills it, and wants to
// see that nothing was acknowledged meanwhile that was not synced by a call which
// succeeded, on a file of which none had failed, and that all of it becomes runs.
type disk struct {
	rate          int // deliveries a second
	row           int // of acknowledgements that show that it is well again
	patience      time.Duration
	dir, binaries string
	out           io.Writer

	*stack
}

const (
	injected = "12..40" // the calls that fail, of each thread
	enough   = 20       // of them
)

// synced is a call that was to sync a file.
type synced struct {
	began, ended time.Time
	path         string
	failed       bool
}

// acked is a delivery that was acknowledged.
type acked struct {
	sent, at time.Time
	runs     []acknowledged
}

func (d *disk) run(ctx context.Context) error {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("it needs strace: %w", err)
	}
	if d.stack, err = newStack(ctx, d.dir, d.binaries); err != nil {
		return err
	}
	defer d.stop()
	d.proxy.hangUp()
	ingress := filepath.Join(d.binaries, "ingress")
	d.traced = &proc.Program{Binary: strace, Args: []string{
		"-f", "-qq", "-y", "-T", "-ttt", "-o", d.trace(), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=" + injected, ingress,
	}}
	if err := d.begin(ctx, "LOG_LEVEL=error"); err != nil {
		log, _ := os.ReadFile(d.ingress.Log) // it may say why
		return fmt.Errorf("an ingress under strace, which this system may forbid: %w\n%s", err, log)
	}
	answers, counts, err := d.load(ctx)
	if err != nil {
		return err
	}
	if err := d.killTraced(); err != nil {
		return err
	}
	syncs, err := readTrace(d.trace())
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "%d of %d syncs failed; answers %v\n", failures(syncs), len(syncs), counts)
	if wrong := unsynced(answers, syncs); len(wrong) > 0 {
		return fmt.Errorf("%d of %d deliveries were acknowledged that no sync had succeeded for, as %+v", len(wrong), len(answers), wrong[0])
	}
	d.ingress = &proc.Program{Binary: ingress, Environ: d.ingress.Environ, Log: d.ingress.Log}
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.proxy.listen(); err != nil {
		return err
	}
	var all []acknowledged
	for _, a := range answers {
		all = append(all, a.runs...)
	}
	if err := d.awaitStarted(ctx, all); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "all %d that were acknowledged had been synced, and have their runs after a SIGKILL\n", len(answers))
	return nil
}

func (d *disk) trace() string { return filepath.Join(d.dir, "strace.log") }

// failures returns how many calls failed.
func failures(syncs []synced) (n int) {
	for _, s := range syncs {
		if s.failed {
			n++
		}
	}
	return n
}

// load sends deliveries until calls have failed and none does any more, which the
// ingress shows by many acknowledgements in a row.
func (d *disk) load(ctx context.Context) (answers []acked, counts map[int]int, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	counts = map[int]int{}
	row := 0
	load.Load{Rate: d.rate, Connections: 32}.Run(ctx, func(t *vegeta.Target) error {
		return d.issues(healthy, "shop")(t)
	}, func(r *vegeta.Result) {
		if r.Code == 0 {
			return // it was stopped
		}
		counts[int(r.Code)]++
		a, ok := answerOf(r)
		if !ok {
			row = 0
			return
		}
		one := acked{sent: r.Timestamp, at: r.Timestamp.Add(r.Latency)}
		for _, run := range a.Runs {
			one.runs = append(one.runs, acknowledged{run.WorkflowID, one.at, r.URL})
		}
		answers = append(answers, one)
		if row++; row >= d.row && row%100 == 0 {
			if syncs, err := readTrace(d.trace()); err == nil && failures(syncs) >= enough {
				cancel()
			}
		}
	})
	if row < d.row {
		return nil, nil, fmt.Errorf("it has not recovered in %s without a restart: answers %v, the last %d taken", d.patience, counts, row)
	}
	return answers, counts, nil
}

// killTraced kills the ingress that strace has started, which then ends.
func (d *disk) killTraced() error {
	pid := strconv.Itoa(d.ingress.PID())
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return err
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		return fmt.Errorf("strace has the children %q: %w", children, err)
	}
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		return err
	}
	return d.ingress.Wait()
}

// unsynced returns the deliveries between whose sending and answer no sync succeeded
// of a file of which none had failed.
func unsynced(answers []acked, syncs []synced) (wrong []acked) {
	bad := map[string]bool{}
	var good []synced
	for _, s := range syncs {
		switch {
		case s.failed:
			bad[s.path] = true
		case !bad[s.path]:
			good = append(good, s)
		}
	}
	slices.SortFunc(good, func(a, b synced) int { return a.began.Compare(b.began) })
	for _, a := range answers {
		first, _ := slices.BinarySearchFunc(good, a.sent, func(s synced, at time.Time) int { return s.began.Compare(at) })
		if !slices.ContainsFunc(good[first:min(first+100, len(good))], func(s synced) bool { return s.ended.Before(a.at) }) {
			wrong = append(wrong, a)
		}
	}
	return wrong
}

// Lines of a trace: 4711 1733337600.123456 fdatasync(7</x/journal.log>) = 0 <0.000123>,
// which may be in two parts if another thread came between.
var (
	tracedCall = regexp.MustCompile(`^(\d+) +(\d+\.\d+) (?:fsync|fdatasync)\(\d+<([^>]*)>(.*)$`)
	tracedRest = regexp.MustCompile(`^(\d+) +\d+\.\d+ <\.\.\. (?:fsync|fdatasync) resumed>(.*)$`)
	tracedEnd  = regexp.MustCompile(`\) = (-?\d+).*<(\d+\.\d+)>$`)
)

// readTrace returns the calls in the log of strace, in their order, but for those that
// did not end.
func readTrace(path string) ([]synced, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var syncs []synced
	under := map[string]synced{} // way, by thread
	end := func(s synced, rest string) {
		m := tracedEnd.FindStringSubmatch(rest)
		if m == nil {
			return
		}
		s.failed = m[1] != "0"
		s.ended = s.began.Add(seconds(m[2]))
		syncs = append(syncs, s)
	}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if m := tracedCall.FindStringSubmatch(lines.Text()); m != nil {
			s := synced{began: time.Unix(0, 0).Add(seconds(m[2])), path: m[3]}
			if strings.Contains(m[4], "<unfinished") {
				under[m[1]] = s
			} else {
				end(s, m[4])
			}
		} else if m := tracedRest.FindStringSubmatch(lines.Text()); m != nil {
			end(under[m[1]], m[2])
		}
	}
	if len(syncs) == 0 {
		return nil, errors.New("strace has seen no sync")
	}
	return syncs, lines.Err()
}

// seconds reads as many as strace prints.
func seconds(text string) time.Duration {
	whole, part, _ := strings.Cut(text, ".")
	d, _ := time.ParseDuration(whole + "s" + part + "us") // six digits, of a pattern that fits
	return d
}
