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
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/story"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
	"sentry-temporal/workflows/act"
)

const (
	demoTimeout = 2 * time.Minute
	// runPatience is what a run gets: there are those that live as long as their issue.
	runPatience = 30 * time.Second
)

// demo shows what deliveries lead to: runs, and what these do outside; that a retried
// delivery resolves to its run, and that a forged one is refused. Its error says what came
// out otherwise.
func demo(ctx context.Context, stdout io.Writer) error {
	all, err := isOn("ALL", "sends every sample", "tells a story")
	if err != nil {
		return err
	}
	keep, err := isOn("KEEP", "keeps up what the demo has started", "ends it")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sentry-temporal-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := quietStack(dir)
	systems, err := openOutside(s.ingress.Integrations)
	if err != nil {
		return err
	}
	defer systems.close()
	s.outside = systems.Outside
	systems.tell(stdout)
	fmt.Fprint(stdout, "Starting Temporal, worker and ingress on free ports ...\n\n")
	return s.run(ctx, func(ctx context.Context, at addresses) error {
		c, err := client.DialContext(ctx, client.Options{HostPort: at.temporal})
		if err != nil {
			return err
		}
		defer c.Close()
		kept := ctx
		ctx, cancel := context.WithTimeoutCause(ctx, demoTimeout, fmt.Errorf("the demo ends after %s", demoTimeout))
		defer cancel()
		// How long runs take is told: not how long a worker takes to start.
		if err := awaitPollers(ctx, c, s.ingress.Integrations[0].TaskQueue); err != nil {
			return err
		}
		d := demonstration{url: at.webhook("sentry"), temporal: c, outside: systems, out: stdout, patience: runPatience}
		// What is real may know the issue of the samples from the last time.
		seed := ""
		if systems.standins == nil {
			seed = sentry.NewRequestID()
		}
		deliveries := fatalStory(seed)
		if all {
			deliveries = everySample()
		}
		if err := d.play(ctx, deliveries); err != nil {
			return err
		}
		d.compare()
		fmt.Fprintf(stdout, "\n%d deliveries sent, %d not as they should be\n", d.sent, len(d.wrong))
		for _, id := range d.going {
			fmt.Fprintf(stdout, "still runs: %s\n", id)
		}
		if keep {
			wrong := errors.Join(d.wrong...)
			if wrong != nil {
				fmt.Fprintln(stdout, wrong)
			}
			fmt.Fprint(stdout, "\n")
			at.tell(stdout, "sentry")
			fmt.Fprint(stdout, "\nAll of it is up until Ctrl-C.\n")
			<-kept.Done()
			return wrong
		}
		fmt.Fprint(stdout, "\nAll of it ends here, and so do its pages. To look at them: KEEP=1 make demo\n")
		return errors.Join(d.wrong...)
	})
}

// awaitPollers waits until a worker polls a task queue.
func awaitPollers(ctx context.Context, c client.Client, queue string) error {
	for {
		described, err := c.DescribeTaskQueue(ctx, queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		if err == nil && len(described.GetPollers()) > 0 {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("no worker polls: %w", context.Cause(ctx))
		}
	}
}

// told is a fatal issue, which is new: an alert about it, what a person says of it, and
// that somebody resolves it; and an alert of another kind that ends by itself.
var told = []string{"issue.created", "event_alert.triggered", "comment.created", "metric_alert.critical", "metric_alert.resolved", "issue.resolved"}

// fatalStory returns it; without a seed, its issue is that of the samples.
func fatalStory(seed string) []story.Part {
	parts := story.Of(seed, told...)
	for i := range parts {
		parts[i].Body = bytes.ReplaceAll(parts[i].Body, []byte(`"level":"error"`), []byte(`"level":"fatal"`))
	}
	return parts
}

// everySample is a delivery of each event that there is a sample of.
func everySample() []story.Part {
	var deliveries []story.Part
	for _, name := range sentry.SampleNames() {
		body, err := sentry.Sample(name)
		if err != nil {
			panic(err) // it is compiled in
		}
		deliveries = append(deliveries, story.Part{Name: name, Body: sentry.FreshIDs(body)})
	}
	return deliveries
}

type demonstration struct {
	url      string
	temporal client.Client
	outside  outside
	out      io.Writer
	patience time.Duration // what a run gets
	sent     int
	had      map[string]int // effects that runs say they had
	going    []string       // workflow IDs of the runs that had not ended in time
	wrong    []error
}

// play sends the deliveries, the first that started a run once more, and that one
// tampered with.
func (d *demonstration) play(ctx context.Context, deliveries []story.Part) error {
	d.had = map[string]int{}
	d.row("DELIVERY", "ANSWER", "RUN", "TOOK")
	var again hook.Delivery
	var first starter.Run
	for _, part := range deliveries {
		delivery := hook.Delivery{
			URL: d.url, Secret: hook.DevelopmentSecret, Resource: part.Resource(), RequestID: sentry.NewRequestID(), Body: part.Body, Wait: 10,
		}
		want, event, err := expected(delivery)
		if err != nil {
			return err
		}
		if err := d.outside.seed(part); err != nil {
			return err
		}
		answer, err := d.send(ctx, event, delivery, want)
		if err != nil {
			return err
		}
		if again.URL == "" && len(answer.Runs) > 0 {
			again, first = delivery, answer.Runs[0]
		}
	}
	answer, err := d.send(ctx, "(the first again)", again, starter.Existing)
	if err != nil {
		return err
	}
	if len(answer.Runs) == 0 || answer.Runs[0].RunID != first.RunID {
		d.wrong = append(d.wrong, fmt.Errorf("the retried delivery has not resolved to run %s", first.RunID))
	}
	return d.sendTampered(ctx, again)
}

// expected returns how a delivery has to be answered, and the name of its event.
func expected(delivery hook.Delivery) (want starter.Status, event string, err error) {
	event, err = sentry.EventName(delivery.Resource, delivery.Body)
	if err != nil {
		return "", "", err
	}
	view := triage.DeliveryOf(sentry.NewEnvelope("sentry", event, http.Header{}, delivery.Body, time.Now()))
	for _, w := range workflows.All {
		if accepts, _ := w.Accepts(view); accepts && w.Wants(event) {
			return starter.Started, event, nil
		}
	}
	return starter.Ignored, event, nil
}

// send sends one delivery, waits for its runs and writes what they did.
func (d *demonstration) send(ctx context.Context, label string, delivery hook.Delivery, want starter.Status) (hook.Answer, error) {
	sent := time.Now()
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
		d.row(label, said, "", "")
	}
	for _, run := range answer.Runs {
		var output json.RawMessage
		var failed *temporal.WorkflowExecutionError
		waiting, cancel := context.WithTimeout(ctx, d.patience)
		err := d.temporal.GetWorkflow(waiting, run.WorkflowID, run.RunID).Get(waiting, &output)
		cancel()
		took := fmt.Sprintf("%.2f s", time.Since(sent).Seconds())
		switch {
		case err == nil && answer.Status == starter.Existing:
			d.row(label, said, run.WorkflowID, "")
		case err == nil:
			d.row(label, said, run.WorkflowID, took)
			d.tellResult(output)
		case errors.As(err, &failed):
			d.row(label, said, run.WorkflowID, "failed")
			d.wrong = append(d.wrong, fmt.Errorf("%s: %w", label, err))
		case waiting.Err() != nil:
			d.row(label, said, run.WorkflowID, "still runs")
			if !slices.Contains(d.going, run.WorkflowID) {
				d.going = append(d.going, run.WorkflowID)
			}
			if ctx.Err() != nil {
				return answer, fmt.Errorf("%s still runs: %w", strings.Join(d.going, ", "), context.Cause(ctx))
			}
		default:
			return answer, fmt.Errorf("wait for %s: %w", run.WorkflowID, err)
		}
		label, said = "", ""
	}
	return answer, nil
}

// tellResult writes a line for each effect in the result of a run, or what else it says.
func (d *demonstration) tellResult(output json.RawMessage) {
	var result struct {
		Effects []act.Effect `json:"effects"`
	}
	if err := json.Unmarshal(output, &result); err != nil || len(result.Effects) == 0 {
		d.line(string(output))
		return
	}
	for _, e := range result.Effects {
		what, ok := d.outside.find(e)
		switch {
		case e.Is == act.Skipped:
			d.line("not " + verbs[e.Effect] + ": " + e.Why)
			continue
		case e.Is == act.Failed:
			d.wrong = append(d.wrong, fmt.Errorf("not %s: %s", verbs[e.Effect], e.Why))
		case !ok:
			d.wrong = append(d.wrong, fmt.Errorf("a run says that it %s %s, and nothing is there", verbs[e.Effect], e.To))
		}
		d.had[e.Effect]++
		d.line(fmt.Sprintf("%-8s  %s", verbs[e.Effect], what))
	}
}

// verbs are what a run has done for an effect.
var verbs = map[string]string{
	activities.EffectPage:      "paged",
	activities.EffectResolve:   "resolved",
	activities.EffectSlack:     "posted",
	activities.EffectSlackHook: "posted",
	activities.EffectWebhook:   "told",
	activities.EffectTicket:    "ticketed",
	activities.EffectLink:      "linked",
}

// compare sees whether the stand-ins have what the runs say, and no more. A run that still
// goes on has said nothing yet.
func (d *demonstration) compare() {
	if len(d.going) > 0 {
		return
	}
	for effect, n := range d.outside.present() {
		if d.had[effect] != n {
			d.wrong = append(d.wrong, fmt.Errorf("the runs %s %d times, and the stand-ins know of %d", verbs[effect], d.had[effect], n))
		}
	}
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
	d.row("(tampered)", fmt.Sprintf("%d %s", answer.Code, answer.Error), "", "")
	return nil
}

// The widths of what the demo tells, in characters. A workflow ID of the longest name here
// has 59.
const (
	widthDelivery = 28
	widthAnswer   = 12
	widthRun      = 59
	widthAll      = 119
)

func (d *demonstration) row(delivery, answer, run, took string) {
	line := fmt.Sprintf("%-*s  %-*s  %-*s  %s", widthDelivery, delivery, widthAnswer, answer, widthRun, run, took)
	fmt.Fprintln(d.out, shorten(strings.TrimRight(line, " "), widthAll))
}

// line writes a line below the run of a row.
func (d *demonstration) line(text string) {
	const indent = widthDelivery + 2
	fmt.Fprintln(d.out, strings.Repeat(" ", indent)+shorten(text, widthAll-indent))
}

func shorten(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
