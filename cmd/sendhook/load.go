package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/load"
)

// report is what -report writes. Times are in milliseconds.
type report struct {
	Seconds     float64            `json:"seconds"`
	Connections uint16             `json:"connections"`
	Sent        uint64             `json:"sent"`
	Rate        float64            `json:"sent_per_second"`
	Taken       float64            `json:"taken_per_second"`
	Latency     map[string]float64 `json:"latency_ms"`
	Answers     map[string]int     `json:"answers"` // by status; 0: none came
	Errors      []string           `json:"errors,omitempty"`
}

// sendLoad sends load and prints what came back. Its error says how many
// deliveries were not taken.
func sendLoad(ctx context.Context, l load.Load, next vegeta.Targeter, file string, stdout, stderr io.Writer) error {
	var metrics vegeta.Metrics
	bar := newBar(stderr, l.Duration)
	taken := uint64(0)
	l.Run(ctx, next, func(r *vegeta.Result) {
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
		Seconds: metrics.Duration.Seconds(), Connections: l.Connections,
		Sent: metrics.Requests, Rate: metrics.Rate, Taken: float64(taken) / max((metrics.Duration+metrics.Wait).Seconds(), 1e-9),
		Latency: map[string]float64{"p50": ms(latencies.P50), "p90": ms(latencies.P90), "p99": ms(latencies.P99), "max": ms(latencies.Max)},
		Answers: metrics.StatusCodes, Errors: metrics.Errors[:min(len(metrics.Errors), 10)],
	}
	if err := r.write(file, stdout); err != nil {
		return err
	}
	if file != "-" {
		r.print(stdout)
	}
	if missed := r.Sent - taken; missed > 0 {
		return fmt.Errorf("%d of %d not taken", missed, r.Sent)
	}
	return nil
}

func (r report) write(file string, stdout io.Writer) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if file == "-" {
		_, err := stdout.Write(text)
		return err
	}
	return os.WriteFile(file, text, 0o600)
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
