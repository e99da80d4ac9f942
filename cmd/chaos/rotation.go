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
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/metrics"
	"sentry-temporal/internal/sentry"
)

// rotation has the sender sign with a new Client Secret all of a sudden, and the
// file of the secret changed some time later, while strangers send what they
// have signed with a secret of their own. In the end every delivery of the sender
// has to have its run.
type rotation struct {
	rate, flood     int           // deliveries a second, of the sender and of strangers
	lasts           time.Duration // all of it
	rotated, placed time.Duration // from the beginning until the sender and the file change
	dir, binaries   string
	out             io.Writer

	*stack
}

func (r *rotation) run(ctx context.Context) error {
	var err error
	if r.stack, err = newStack(ctx, r.dir, r.binaries); err != nil {
		return err
	}
	defer r.stop()
	secret := func() string { return sentry.NewRequestID() + sentry.NewRequestID() }
	old, next := secret(), secret()
	file := filepath.Join(r.dir, "secret")
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
		return err
	}
	if err := r.begin(ctx, "SENTRY_CLIENT_SECRET=", "SENTRY_CLIENT_SECRET_FILE="+file); err != nil {
		return err
	}

	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	strangers := map[uint16]int{} // answers by status
	all.Go(func() {
		load.Load{Rate: r.flood, Duration: r.lasts, Connections: 32}.Run(ctx,
			r.signed(secret, func(body string) string { return strings.ReplaceAll(body, installation, sentry.NewRequestID()) }, nil),
			func(result *vegeta.Result) { strangers[result.Code]++ })
	})
	placing := make(chan error, 1)
	all.Go(func() { placing <- r.place(ctx, file, next+","+old, began) })
	noticed := make(chan time.Duration, 1)
	all.Go(func() { noticed <- r.notice(ctx, began) })

	var sent []string // workflow IDs
	answers := map[uint16]int{}
	var took []time.Duration // of those that were taken at once
	load.Load{Rate: r.rate, Duration: r.lasts, Connections: 32}.Run(ctx,
		r.signed(func() string {
			if time.Since(began) < r.rotated {
				return old
			}
			return next
		}, nil, func(requestID string) { sent = append(sent, "triage_sentry_issue:"+healthy+":"+requestID) }),
		func(result *vegeta.Result) {
			answers[result.Code]++
			if result.Code == http.StatusAccepted {
				took = append(took, result.Latency)
			}
		})
	if err := errors.Join(ctx.Err(), <-placing); err != nil {
		return err
	}
	late := <-noticed
	all.Wait()
	if answers[http.StatusAccepted] == 0 || answers[http.StatusUnauthorized] == 0 || strangers[http.StatusUnauthorized] == 0 {
		return fmt.Errorf("too little has been tried: answers %v, to strangers %v", answers, strangers)
	}
	slices.Sort(took)
	fmt.Fprintf(r.out, "%d deliveries at %d a second, beside %d a second of strangers: answers %v, to strangers %v; p99 of those taken at once %.0f ms\n",
		len(sent), r.rate, r.flood, answers, strangers, ms(took[len(took)*99/100]))
	fmt.Fprintf(r.out, "the secret is rotated after %s, which metrics tell %.1f s later; the file is changed after %s\n", r.rotated, late.Seconds(), r.placed)
	return r.verify(ctx, sent)
}

// installation is that of the samples.
const installation = "5d0c4b1e-7a52-4f0e-9c3b-2f6a8e9d1c47"

// signed makes new issues, whose bodies change may change, and has their
// Request-IDs noted. Both may be nil.
func (r *rotation) signed(secret func() string, change func(string) string, note func(requestID string)) vegeta.Targeter {
	var mu sync.Mutex
	return func(t *vegeta.Target) error {
		mu.Lock()
		defer mu.Unlock()
		sample, err := sentry.Sample("issue.created")
		if err != nil {
			return err
		}
		body := sentry.FreshIDs(sample)
		if change != nil {
			body = []byte(change(string(body)))
		}
		d := hook.Delivery{URL: r.public + "/webhooks/" + healthy, Secret: secret(), Resource: "issue", RequestID: sentry.NewRequestID(), Body: body}
		request, err := d.Request(context.Background())
		if err != nil {
			return err
		}
		if note != nil {
			note(d.RequestID)
		}
		*t = vegeta.Target{Method: http.MethodPost, URL: d.URL, Body: d.Body, Header: request.Header}
		return nil
	}
}

// place puts text into the place of what is in file, when it is time.
func (r *rotation) place(ctx context.Context, file, text string, began time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(began.Add(r.placed))):
	}
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// notice returns how long after the rotation metrics tell of it, or 0 if they never
// do.
func (r *rotation) notice(ctx context.Context, began time.Time) time.Duration {
	for ctx.Err() == nil && time.Since(began) < r.lasts {
		series, err := metrics.Read(ctx, r.admin)
		if err == nil && series[`sentry_temporal_known_installation_mismatches_total{integration="`+healthy+`"}`] > 0 {
			return time.Since(began.Add(r.rotated))
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return 0
}

// verify wants a run of each workflow ID, once, and nothing besides.
func (r *rotation) verify(ctx context.Context, sent []string) error {
	all := make([]acknowledged, len(sent))
	for i, id := range sent {
		all[i].workflowID = id
	}
	if err := r.awaitStarted(ctx, all); err != nil {
		return err
	}
	series, err := metrics.Read(ctx, r.admin)
	if err != nil {
		return err
	}
	value := func(name string) int { return int(series["sentry_temporal_"+name+`{integration="`+healthy+`"}`]) }
	fmt.Fprintf(r.out, "%d deliveries were held and taken, %d were dropped\n", value("held_taken_total"), value("held_dropped_total"))
	order, _ := r.proxy.inOrder()
	switch {
	case len(order) != len(sent):
		return fmt.Errorf("%d runs are started for %d deliveries", len(order), len(sent))
	case len(r.proxy.doubled) > 0:
		return errors.New(r.proxy.doubled[0])
	}
	fmt.Fprintf(r.out, "each of the %d has its run, once: 0 lost\n", len(sent))
	return nil
}
