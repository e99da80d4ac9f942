package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
)

const demoTimeout = 2 * time.Minute

// demo shows that deliveries become runs, that a retried one resolves to its
// run, and that a forged one is refused. Its error says what came out otherwise.
func demo(ctx context.Context, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "sentry-temporal-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := quietStack(dir)
	fmt.Fprintln(stdout, "Starting Temporal, worker and ingress on free ports ...")
	return s.run(ctx, func(ctx context.Context, at addresses) error {
		c, err := client.DialContext(ctx, client.Options{HostPort: at.temporal})
		if err != nil {
			return err
		}
		defer c.Close()
		var table bytes.Buffer
		d := demonstration{url: at.webhook("sentry"), temporal: c, table: tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)}
		if err := d.play(ctx); err != nil {
			return err
		}
		if err := d.table.Flush(); err != nil {
			return err
		}
		fmt.Fprint(stdout, "\n")
		for line := range strings.Lines(table.String()) {
			fmt.Fprintln(stdout, strings.TrimRight(line, " \n"))
		}
		fmt.Fprintf(stdout, "\n%d deliveries sent, %d not as they should be\n", d.sent, len(d.wrong))
		return errors.Join(d.wrong...)
	})
}

type demonstration struct {
	url      string
	temporal client.Client
	table    *tabwriter.Writer
	sent     int
	wrong    []error
}

// play sends every sample, the first one that started a run once more, and a
// tampered one.
func (d *demonstration) play(ctx context.Context) error {
	fmt.Fprintln(d.table, "EVENT\tANSWER\tWORKFLOW ID\tRUN\tRESULT\tTEMPORAL UI")
	var again hook.Delivery
	var first starter.Run
	for _, name := range sentry.SampleNames() {
		body, err := sentry.Sample(name)
		if err != nil {
			return err
		}
		resource, _, _ := strings.Cut(name, ".")
		delivery := hook.Delivery{
			URL:       d.url,
			Secret:    hook.DevelopmentSecret,
			Resource:  resource,
			RequestID: sentry.NewRequestID(),
			Body:      sentry.FreshIDs(body),
			Wait:      10,
		}
		event, err := sentry.EventName(resource, body)
		if err != nil {
			return err
		}
		want := starter.Ignored
		if slices.ContainsFunc(workflows.All, func(w triage.Workflow) bool { return w.Wants(event) }) {
			want = starter.Started
		}
		answer, err := d.send(ctx, event, delivery, want)
		if err != nil {
			return err
		}
		if again.URL == "" && len(answer.Runs) > 0 {
			again, first = delivery, answer.Runs[0]
		}
	}
	answer, err := d.send(ctx, "(the same again)", again, starter.Existing)
	if err != nil {
		return err
	}
	if len(answer.Runs) == 0 || answer.Runs[0].RunID != first.RunID {
		d.wrong = append(d.wrong, fmt.Errorf("the retried delivery has not resolved to run %s", first.RunID))
	}
	return d.sendTampered(ctx, again)
}

// send sends one delivery, waits for its runs and writes a row for each.
func (d *demonstration) send(ctx context.Context, label string, delivery hook.Delivery, want starter.Status) (hook.Answer, error) {
	answer, err := hook.Send(ctx, delivery)
	if err != nil {
		return answer, err
	}
	d.sent++
	if answer.Code != http.StatusAccepted || answer.Status != want {
		d.wrong = append(d.wrong, fmt.Errorf("%s: answered %d %s %s, not 202 %s", label, answer.Code, answer.Status, answer.Error, want))
	}
	said := fmt.Sprintf("%d %s%s", answer.Code, answer.Status, answer.Error)
	if len(answer.Runs) == 0 {
		fmt.Fprintf(d.table, "%s\t%s\t\t\t\t\n", label, said)
	}
	for _, run := range answer.Runs {
		status, result := "Completed", ""
		var output json.RawMessage
		var failed *temporal.WorkflowExecutionError
		err := d.temporal.GetWorkflow(ctx, run.WorkflowID, run.RunID).Get(ctx, &output)
		switch {
		case err == nil:
			result = shorten(string(output), 72)
		case errors.As(err, &failed):
			status = "Failed"
			d.wrong = append(d.wrong, fmt.Errorf("%s: %w", label, err))
		default:
			return answer, fmt.Errorf("wait for %s: %w", run.WorkflowID, err)
		}
		fmt.Fprintf(d.table, "%s\t%s\t%s\t%s\t%s\t%s\n", label, said, run.WorkflowID, status, result, run.URL)
	}
	return answer, nil
}

// sendTampered sends delivery with another action than the one that was signed.
func (d *demonstration) sendTampered(ctx context.Context, delivery hook.Delivery) error {
	delivery.RequestID = sentry.NewRequestID()
	r, err := delivery.Request(ctx)
	if err != nil {
		return err
	}
	tampered := bytes.Replace(delivery.Body, []byte("created"), []byte("updated"), 1)
	r.Body = io.NopCloser(bytes.NewReader(tampered))
	r.ContentLength = int64(len(tampered))
	answer, err := hook.Do(r)
	if err != nil {
		return err
	}
	d.sent++
	if answer.Code != http.StatusUnauthorized {
		d.wrong = append(d.wrong, fmt.Errorf("the tampered delivery was answered %d, not 401", answer.Code))
	}
	fmt.Fprintf(d.table, "(tampered)\t%d %s\t\t\t\t\n", answer.Code, answer.Error)
	return nil
}

func shorten(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
