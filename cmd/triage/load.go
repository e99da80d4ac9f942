package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/internal/sentry"
)

// loading is what the flags of load say.
type loading struct {
	target
	duration    time.Duration
	rate        int
	connections int
	retried     float64
	json        bool
}

func newLoad() *cobra.Command {
	var l loading
	cmd := &cobra.Command{
		Use:   "load <resource.action>[=<share>]...",
		Short: "Send sample deliveries at a rate, and measure the answers",
		Long: `Sends a mix of signed sample deliveries at a rate that the receiver does not slow
down, and tells what came back. issue.created=3 is sent three times as often as
the others. A delivery that is not taken is a failure.`,
		Example: `  triage load issue.created
  triage load --rate 100 --duration 1m issue.created=3 comment.created
  triage load --rate 0 --connections 64 --json issue.created`,
		ValidArgs: sentry.SampleNames(),
		Args:      func(_ *cobra.Command, mix []string) error { return l.check(mix) },
		RunE: func(cmd *cobra.Command, mix []string) error {
			return l.send(cmd.Context(), mix, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	l.add(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&l.duration, "duration", 10*time.Second, "send for this long")
	flags.IntVar(&l.rate, "rate", 10, "deliveries a second; 0 sends as many as the connections carry")
	flags.IntVar(&l.connections, "connections", 16, "at most this many connections")
	flags.Float64Var(&l.retried, "retried", 0, "share of deliveries, 0 to 1, that repeat an earlier Request-ID and body")
	flags.BoolVar(&l.json, "json", false, "print the report as JSON")
	return cmd
}

func (l *loading) check(names []string) error {
	switch {
	case len(names) == 0:
		return errors.New("nothing to send: name a sample, triage send --list lists them")
	case l.duration <= 0 || l.rate < 0 || l.connections < 1 || l.connections > math.MaxUint16 || l.retried < 0 || l.retried > 1:
		return errors.New("--duration, --rate, --connections or --retried is out of range")
	}
	if _, err := load.ParseMix(names); err != nil {
		return fmt.Errorf("%w: triage send --list lists them", err)
	}
	return nil
}

// report is what --json prints. Times are in milliseconds.
type report struct {
	Seconds     float64            `json:"seconds"`
	Connections int                `json:"connections"`
	Sent        uint64             `json:"sent"`
	Rate        float64            `json:"sent_per_second"`
	Taken       float64            `json:"taken_per_second"`
	Latency     map[string]float64 `json:"latency_ms"`
	Answers     map[string]int     `json:"answers"` // by status; 0: none came
	Errors      []string           `json:"errors,omitempty"`
}

// send sends load and prints what came back. Its error says how many deliveries
// were not taken.
func (l *loading) send(ctx context.Context, names []string, stdout, stderr io.Writer) error {
	mix, err := load.ParseMix(names)
	if err != nil {
		return err
	}
	secret, err := l.key()
	if err != nil {
		return err
	}
	next, err := load.Samples(l.url, secret, mix, l.retried)
	if err != nil {
		return err
	}
	var metrics vegeta.Metrics
	bar := newBar(stderr, l.duration)
	taken := uint64(0)
	load.Load{Rate: l.rate, Duration: l.duration, Connections: uint16(l.connections)}.Run(ctx, next, func(r *vegeta.Result) { //nolint:gosec // its range is checked
		metrics.Add(r)
		if r.Code >= 200 && r.Code < 300 {
			taken++
		}
		bar.show(metrics.Requests, taken)
	})
	metrics.Close()
	bar.clear()

	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	latencies := metrics.Latencies
	r := report{
		Seconds: metrics.Duration.Seconds(), Connections: l.connections,
		Sent: metrics.Requests, Rate: metrics.Rate, Taken: float64(taken) / max((metrics.Duration+metrics.Wait).Seconds(), 1e-9),
		Latency: map[string]float64{"p50": ms(latencies.P50), "p90": ms(latencies.P90), "p99": ms(latencies.P99), "max": ms(latencies.Max)},
		Answers: metrics.StatusCodes, Errors: metrics.Errors[:min(len(metrics.Errors), 10)],
	}
	if l.json {
		if err := printJSON(stdout, r); err != nil {
			return err
		}
	} else {
		r.print(stdout)
	}
	if missed := r.Sent - taken; missed > 0 {
		return fmt.Errorf("%d of %d not taken", missed, r.Sent)
	}
	return nil
}

func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "sent      %d in %.1f s over up to %d connections, %.0f/s\n", r.Sent, r.Seconds, r.Connections, r.Rate)
	fmt.Fprintf(w, "taken     %.0f/s\n", r.Taken)
	fmt.Fprintf(w, "latency   p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms\n", r.Latency["p50"], r.Latency["p90"], r.Latency["p99"], r.Latency["max"])
	for _, status := range slices.Sorted(maps.Keys(r.Answers)) {
		what := status
		if status == "0" {
			what = "none"
		}
		fmt.Fprintf(w, "answer    %s: %d\n", what, r.Answers[status])
	}
	for _, text := range r.Errors {
		fmt.Fprintf(w, "error     %s\n", text)
	}
}

// bar is a progress bar on a terminal, and nothing elsewhere.
type bar struct {
	w        io.Writer
	began    time.Time
	duration time.Duration
	shown    time.Time
}

func newBar(w io.Writer, duration time.Duration) *bar {
	b := &bar{began: time.Now(), duration: duration}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			b.w = w
		}
	}
	return b
}

func (b *bar) show(sent uint64, taken uint64) {
	const width = 30
	if b.w == nil || time.Since(b.shown) < 100*time.Millisecond {
		return
	}
	b.shown = time.Now()
	elapsed := time.Since(b.began)
	done := min(int(width*elapsed/b.duration), width)
	fmt.Fprintf(b.w, "\r[%s%s] %s of %s, %d sent, %d taken ", strings.Repeat("=", done), strings.Repeat(" ", width-done),
		elapsed.Round(time.Second), b.duration, sent, taken)
}

func (b *bar) clear() {
	if b.w != nil {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
