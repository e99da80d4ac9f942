package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/metrics"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// issues has a few issues storm, within a window of a workflow that is keyed by
// issue, while Temporal is away at first, and counts what it is asked. Then
// everything comes again, when the window is over.
type issues struct {
	deliveries, issues, rate int
	away, window             time.Duration
	dir, binaries            string
	out                      io.Writer

	*stack
	began time.Time
	all   []hook.Delivery
}

// maxRequests is how often Temporal may be asked for a start.
const maxRequests = 100

func (s *issues) run(ctx context.Context) error {
	var err error
	if s.stack, err = newStack(ctx, s.dir, s.binaries); err != nil {
		return err
	}
	defer s.stop()
	file := filepath.Join(s.dir, "routes.yaml")
	text := "routes:\n  - workflow: StormTriage\n    events: [sentry.error.created]\n    per_issue: " + s.window.String() + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	if err := s.begin(ctx, "ROUTES_FILE="+file); err != nil {
		return err
	}
	if err := s.storm(ctx); err != nil {
		return err
	}
	return s.again(ctx, file)
}

// storm sends everything within a window.
func (s *issues) storm(ctx context.Context) error {
	s.proxy.hangUp()
	s.began = time.Now().Truncate(s.window)
	if err := s.make(); err != nil {
		return err
	}
	var back error
	var returning sync.WaitGroup
	returning.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(s.away):
		}
		back = s.proxy.listen()
	})
	first := time.Now()
	answers, err := s.post(ctx, s.all, s.rate)
	took := time.Since(first)
	returning.Wait()
	if err := errors.Join(err, back); err != nil {
		return err
	}
	if err := s.awaitAll(ctx); err != nil {
		return err
	}
	runs, known := map[string]bool{}, 0
	for _, a := range answers {
		runs[a.run.WorkflowID] = true
		if a.run.Status == starter.Existing {
			known++
		}
	}
	asked := s.proxy.requests()
	fmt.Fprintf(s.out, "%d deliveries of %d issues in %.0f s, Temporal away for the first %.0f s: %d runs, Temporal was asked for a start %d times\n",
		len(answers), s.issues, took.Seconds(), s.away.Seconds(), len(runs), asked)
	fmt.Fprintf(s.out, "each answer names the run that it fell into, %d with its run ID; half came within %.1f ms, all within %.0f ms\n",
		known, ms(answers.latency(0.5)), ms(answers.latency(1)))
	order, _ := s.proxy.inOrder()
	if len(runs) != s.issues || len(order) != s.issues || asked > maxRequests {
		return fmt.Errorf("%d issues have %d runs, %d of them in Temporal, for %d requests", s.issues, len(runs), len(order), asked)
	}
	return nil
}

// again sends everything once more: after the window, and to an ingress that has
// nothing.
func (s *issues) again(ctx context.Context, file string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(s.began.Add(s.window))):
	}
	before := s.proxy.requests()
	for _, what := range []string{"the same ingress", "an ingress that has nothing"} {
		answers, err := s.post(ctx, s.all, 0)
		if err != nil {
			return err
		}
		if err := s.awaitAll(ctx); err != nil {
			return err
		}
		existing := 0
		for _, a := range answers {
			if a.run.Status == starter.Existing {
				existing++
			}
		}
		order, _ := s.proxy.inOrder()
		fmt.Fprintf(s.out, "all of it once more after the window, to %s: %d runs, Temporal was asked %d times, %d answers have the run ID\n",
			what, len(order), s.proxy.requests()-before, existing)
		if len(order) != s.issues || len(s.proxy.doubled) > 0 || s.proxy.requests()-before > maxRequests {
			return fmt.Errorf("the same deliveries have other runs: %d, %v", len(order), s.proxy.doubled)
		}
		before = s.proxy.requests()
		if err := s.begin(ctx, "ROUTES_FILE="+file); err != nil {
			return err
		}
	}
	return nil
}

// make makes the deliveries, of the window that now is in.
func (s *issues) make() error {
	text, err := sentry.Sample("error.created")
	if err != nil {
		return err
	}
	for n := range s.deliveries {
		body := strings.NewReplacer(
			"6702149985", strconv.Itoa(4711000+n%s.issues),
			"4be1c7a09d5e4f8fa2d36c0b9e7715f2", fmt.Sprintf("%032x", n),
			"1773740530.793", strconv.FormatInt(s.began.Unix(), 10),
		).Replace(string(text))
		s.all = append(s.all, hook.Delivery{
			URL: s.public + "/webhooks/sentry", Secret: hook.DevelopmentSecret, Resource: "error", RequestID: sentry.NewRequestID(), Body: []byte(body),
		})
	}
	return nil
}

// answered is what a delivery was answered.
type answered struct {
	run     starter.Run
	latency time.Duration
}

type answers []answered

// latency returns what a share of the answers took at most.
func (a answers) latency(share float64) time.Duration {
	all := make([]time.Duration, len(a))
	for n := range a {
		all[n] = a[n].latency
	}
	slices.Sort(all)
	return all[max(int(share*float64(len(all)))-1, 0)]
}

// post sends deliveries, rate a second or 0 for as fast as can be. It wants all to be
// taken.
func (*issues) post(ctx context.Context, all []hook.Delivery, rate int) (answers, error) {
	var sent atomic.Int64
	var got answers
	var refused error
	load.Load{Rate: rate, Connections: 32}.Run(ctx, func(t *vegeta.Target) error {
		n := int(sent.Add(1)) - 1
		if n >= len(all) {
			return vegeta.ErrNoTargets
		}
		d := all[n]
		r, err := d.Request(context.Background())
		if err != nil {
			return err
		}
		*t = vegeta.Target{Method: http.MethodPost, URL: d.URL, Body: d.Body, Header: r.Header}
		return nil
	}, func(r *vegeta.Result) {
		if r.Error == vegeta.ErrNoTargets.Error() {
			return
		}
		a, ok := answerOf(r)
		if !ok || len(a.Runs) != 1 {
			refused = fmt.Errorf("%s answered %d %s %s", r.URL, r.Code, r.Error, r.Body)
			return
		}
		got = append(got, answered{a.Runs[0], r.Latency})
	})
	if refused == nil && len(got) < len(all) {
		refused = fmt.Errorf("%d of %d deliveries were sent", len(got), len(all))
	}
	return got, refused
}

// awaitAll returns once nothing is kept any more.
func (s *issues) awaitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		if series, err := metrics.Read(ctx, s.admin); err == nil && series[metrics.Pending] == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("deliveries wait still: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}
