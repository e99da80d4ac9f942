package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
)

// times are how long things took that were done one after the other.
type times []time.Duration

func (t times) rate() float64 {
	total := time.Duration(0)
	for _, d := range t {
		total += d
	}
	return float64(len(t)) / total.Seconds()
}

func (t times) at(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(t))
	return sorted[int(share*float64(len(sorted)-1))]
}

// one prints what a sender that is alone gets, beside what the disk does for a file
// that grows, which is to be compared with, and for one that is only overwritten,
// which is the limit. All take turns, since the machine's speed drifts.
func (b *bench) one(ctx context.Context) error {
	const turns, size = 8, 2 << 10
	ways := []struct {
		name  string
		began func() (do func() error, stop func(), _ error)
		times
	}{
		{name: "append and fdatasync", began: func() (func() error, func(), error) { return b.raw(size, 0) }},
		{name: "overwrite and fdatasync", began: func() (func() error, func(), error) { return b.raw(size, 64<<20) }},
		{name: "journal, one caller", began: func() (func() error, func(), error) { return b.kept(ctx, size) }},
		{name: "ingress, one connection", began: func() (func() error, func(), error) { return b.acknowledged(ctx, size) }},
	}
	for range turns {
		for i := range ways {
			do, stop, err := ways[i].began()
			if err != nil {
				return err
			}
			for began := time.Now(); time.Since(began) < b.each/turns*2; {
				from := time.Now()
				if err := do(); err != nil {
					stop()
					return fmt.Errorf("%s: %w", ways[i].name, err)
				}
				ways[i].times = append(ways[i].times, time.Since(from))
			}
			stop()
		}
	}
	table := tabwriter.NewWriter(b.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\none after the other, 2 KiB\ta second\tof append\tp50\tp99\tp50 of append\t\n")
	for _, w := range ways {
		fmt.Fprintf(table, "%s\t%.0f\t%.2f\t%s\t%s\t%.2f\t\n", w.name, w.rate(), w.rate()/ways[0].rate(), us(w.at(0.5)), us(w.at(0.99)), float64(w.at(0.5))/float64(ways[0].at(0.5)))
	}
	return table.Flush()
}

func us(d time.Duration) string { return strconv.Itoa(int(d.Microseconds())) + " µs" }

// raw writes blocks and makes each durable: at the end of a file, or over and over in
// one that has this size.
func (b *bench) raw(block int, size int64) (do func() error, stop func(), err error) {
	file, err := os.Create(filepath.Join(b.dir, "raw"))
	if err != nil {
		return nil, nil, err
	}
	stop = func() { _ = file.Close() } // what is in it is of no use
	if size > 0 {
		zeros := make([]byte, 1<<20)
		for at := int64(0); at < size; at += int64(len(zeros)) {
			if _, err := file.Write(zeros); err != nil {
				return nil, stop, err
			}
		}
		if err := file.Sync(); err != nil {
			return nil, stop, err
		}
	}
	data, at := slices.Repeat([]byte{'x'}, block), int64(0)
	return func() error {
		if _, err := file.WriteAt(data, at); err != nil {
			return err
		}
		if at += int64(block); size > 0 {
			at %= size
		}
		return datasync(file)
	}, stop, nil
}

// kept appends deliveries to a journal.
func (b *bench) kept(ctx context.Context, size int) (do func() error, stop func(), err error) {
	body, err := bodyOf(size)
	if err != nil {
		return nil, nil, err
	}
	b.journals++
	j, err := journal.Open(filepath.Join(b.dir, "journal"+strconv.Itoa(b.journals)), journal.Options{MaxBytes: 16 << 30, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	return func() error {
		_, err := j.Append(ctx, journal.Arrival{
			Envelope: sentry.Envelope{
				Webhook: true, Source: "sentry", IntegrationID: "sentry", EventType: "sentry.issue.created",
				IdempotencyKey: sentry.NewRequestID(), Timestamp: 1733337600, Body: sentry.Body(body),
			},
			Plan: func(env sentry.Envelope) []routes.Operation {
				return []routes.Operation{{Kind: routes.Start, Workflow: "triage_sentry_issue", WorkflowID: "triage_sentry_issue:sentry:" + env.IdempotencyKey, Integration: "sentry", Namespace: "default", TaskQueue: "sentry"}}
			},
		})
		return err
	}, func() { _ = j.Close() }, nil // it is of no use any more
}

// acknowledged sends deliveries to an ingress over one connection.
func (b *bench) acknowledged(ctx context.Context, size int) (do func() error, stop func(), err error) {
	body, err := bodyOf(size)
	if err != nil {
		return nil, nil, err
	}
	url, program, err := b.startIngress(ctx, "127.0.0.1:1")
	if err != nil {
		return nil, nil, err
	}
	next := targets(url, body)
	return func() error { return sendOne(ctx, next) }, program.Kill, nil
}

// latency prints how long senders wait who do not wait for each other.
func (b *bench) latency(ctx context.Context) error {
	body, err := bodyOf(2 << 10)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(b.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\nsenders, 2 KiB, Temporal stopped\ttaken\tp50\tp90\tp99\tmost\tbare p50\tbare p99\t\n")
	for _, rate := range []int{300, 1000} {
		var measured []vegeta.Metrics
		for _, start := range []func(context.Context) (string, *proc.Program, error){
			func(ctx context.Context) (string, *proc.Program, error) { return b.startIngress(ctx, "127.0.0.1:1") },
			b.startBare,
		} {
			m, err := b.open(ctx, start, body, rate)
			if err != nil {
				return err
			}
			measured = append(measured, m)
		}
		m, bare := measured[0], measured[1]
		fmt.Fprintf(table, "%d a second\t%.2f%%\t%s\t%s\t%s\t%s\t%s\t%s\t\n", rate, 100*m.Success,
			ms(m.Latencies.P50), ms(m.Latencies.P90), ms(m.Latencies.P99), ms(m.Latencies.Max), ms(bare.Latencies.P50), ms(bare.Latencies.P99))
	}
	return table.Flush()
}

// open sends at a rate that the receiver does not slow down.
func (b *bench) open(ctx context.Context, start func(context.Context) (string, *proc.Program, error), body []byte, rate int) (metrics vegeta.Metrics, err error) {
	url, program, err := start(ctx)
	if err != nil {
		return metrics, err
	}
	defer program.Kill()
	load.Load{Rate: rate, Duration: 2 * b.each, Connections: 200}.Run(ctx, targets(url, body), func(r *vegeta.Result) { metrics.Add(r) })
	metrics.Close()
	return metrics, ctx.Err()
}
