// Command sendhook signs sample deliveries the way Sentry does and posts them.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strings"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/internal/sentry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sendhook:", err)
		os.Exit(1)
	}
}

const usage = `Usage: sendhook [flags] <resource.action>...

Signs a sample delivery for each name, as in issue.created, and posts it. Each
send has ids of its own, so two sends are two different issues.

With -duration it sends load: at -rate, whatever the receiver does, a mix of the
names. issue.created=3 is sent three times as often as the others.

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("sendhook", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		url       = flags.String("url", "http://127.0.0.1:8080/webhooks/sentry", "post to this address")
		secret    = flags.String("secret", "", "sign with this Client Secret (default: the newest in $SENTRY_CLIENT_SECRET, else the one of make dev)")
		requestID = flags.String("request-id", "", "send this Request-ID (default: a new one for each send)")
		count     = flags.Int("n", 1, "send each delivery this many times")
		bodyFile  = flags.String("body", "", "send this file, byte for byte, instead of a sample; a name then only sets the resource")
		wait      = flags.Int("wait", 5, "wait up to this many seconds for the runs to start; 0 does not, like Sentry")
		duration  = flags.Duration("duration", 0, "send load for this long")
		rate      = flags.Int("rate", 0, "load: deliveries a second; 0 sends as many as the connections carry")
		conns     = flags.Int("connections", 16, "load: at most this many connections")
		retried   = flags.Float64("retried", 0, "load: share of deliveries, 0 to 1, that repeat an earlier Request-ID and body")
		report    = flags.String("report", "", "load: write a report as JSON to this file, - for standard output")
		list      = flags.Bool("list", false, "list the samples and end")
	)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		for _, name := range sentry.SampleNames() {
			fmt.Fprintln(stdout, name)
		}
		return nil
	}
	if *secret == "" {
		newest, _, _ := strings.Cut(os.Getenv("SENTRY_CLIENT_SECRET"), ",")
		*secret = cmp.Or(newest, hook.DevelopmentSecret)
	}
	names := flags.Args()
	if *bodyFile != "" && len(names) == 0 {
		names = []string{""} // the ingress infers the resource
	}
	switch {
	case len(names) == 0:
		flags.Usage()
		return errors.New("nothing to send: name a sample, -list lists them")
	case *count < 1:
		return fmt.Errorf("-n %d: send at least once", *count)
	}
	if *duration > 0 {
		switch {
		case *rate < 0 || *conns < 1 || *conns > math.MaxUint16 || *retried < 0 || *retried > 1:
			return errors.New("-rate, -connections or -retried is out of range")
		case *bodyFile != "" || *count != 1 || *requestID != "":
			return errors.New("-body, -n and -request-id are not for load")
		}
		mix, err := load.ParseMix(names)
		if err != nil {
			return fmt.Errorf("%w: -list lists them", err)
		}
		next, err := load.Samples(*url, *secret, mix, *retried)
		if err != nil {
			return err
		}
		return sendLoad(ctx, load.Load{Rate: *rate, Duration: *duration, Connections: uint16(*conns)}, next, *report, stdout, stderr)
	}
	refused := 0
	for _, name := range names {
		for range *count {
			body, err := bodyOf(name, *bodyFile)
			if err != nil {
				return err
			}
			resource, _, _ := strings.Cut(name, ".")
			d := hook.Delivery{URL: *url, Secret: *secret, Resource: resource, RequestID: *requestID, Body: body, Wait: *wait}
			if d.RequestID == "" {
				d.RequestID = sentry.NewRequestID()
			}
			answer, err := hook.Send(ctx, d)
			if err != nil {
				return err
			}
			print(stdout, d.RequestID, answer)
			if !answer.OK() {
				refused++
			}
		}
	}
	if refused > 0 {
		return fmt.Errorf("%d not taken", refused)
	}
	return nil
}

func bodyOf(name, bodyFile string) ([]byte, error) {
	if bodyFile != "" {
		return os.ReadFile(bodyFile)
	}
	sample, err := sentry.Sample(name)
	if err != nil {
		return nil, fmt.Errorf("%w: -list lists them", err)
	}
	return sentry.FreshIDs(sample), nil
}

func print(w io.Writer, requestID string, a hook.Answer) {
	if !a.OK() {
		fmt.Fprintf(w, "%d %s (Request-ID %s)\n", a.Code, a.Error, requestID)
		return
	}
	fmt.Fprintf(w, "%d %s %s (Request-ID %s)\n", a.Code, a.Status, a.Event, requestID)
	for _, run := range a.Runs {
		fmt.Fprintf(w, "    %s %s\n", run.Status, run.WorkflowID)
		if run.URL != "" {
			fmt.Fprintf(w, "    %s\n", run.URL)
		}
	}
}
