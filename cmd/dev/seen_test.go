package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
	"sentry-temporal/worker"
	"sentry-temporal/workflows"
)

// parts is a stack whose parts come and go.
type parts struct {
	t            *testing.T // of the step under way
	whole        *testing.T // of all of them
	temporal     *devserver.Server
	integrations []config.Integration
	public       string
	admin        string
	worker       bool // runs
	stopWorker   func()
}

// seenWithin is how soon the page is to say what is wrong: ten seconds, and what a
// machine with other things to do takes besides.
const seenWithin = 20 * time.Second

// newParts runs Temporal and an ingress, and no worker. The namespace "later" is not
// there.
func newParts(t *testing.T, maxBytes int64) *parts {
	t.Helper()
	temporal, err := devserver.Start(t.Context(), devserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(temporal.Stop)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("first-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &parts{t: t, whole: t, temporal: temporal, stopWorker: func() {}, integrations: []config.Integration{
		{Name: "sentry", Secrets: []config.Secret{hook.DevelopmentSecret}, Namespace: client.DefaultNamespace, TaskQueue: "sentry"},
		{Name: "rotated", Secrets: []config.Secret{"first-secret"}, SecretFile: secret, Namespace: client.DefaultNamespace, TaskQueue: "sentry"},
		{Name: "later", Secrets: []config.Secret{"the secret of later"}, Namespace: "later", TaskQueue: "sentry"},
	}}
	public, admin := listening(t), listening(t)
	p.public, p.admin = "http://"+public.Addr().String(), "http://"+admin.Addr().String()
	runUntilTheEnd(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: p.common(), MaxBodyBytes: 8 << 20, JournalDir: t.TempDir(), JournalMaxBytes: maxBytes}
		return process.Ingress(ctx, cfg, public, admin, slog.New(slog.DiscardHandler))
	})
	return p
}

func (p *parts) common() config.Common {
	return config.Common{
		Integrations: p.integrations,
		Temporal:     config.Temporal{Client: client.Options{HostPort: p.temporal.Address}, UIURL: p.temporal.UIURL},
	}
}

// startWorker runs a worker for what is in the namespace that is there, unless one does.
func (p *parts) startWorker(t *testing.T) {
	t.Helper()
	if p.worker {
		return
	}
	p.worker = true
	listener := listening(t)
	stop := runUntilTheEnd(p.whole, func(ctx context.Context) error {
		cfg := config.Worker{Common: p.common()}
		cfg.Integrations = cfg.Integrations[:2]
		return worker.Serve(ctx, cfg, listener, slog.New(slog.DiscardHandler), workflows.All, activities.All...)
	})
	p.stopWorker = func() {
		p.worker = false
		stop()
	}
}

// register makes the namespace that is not there.
func (p *parts) register(namespace string) {
	p.t.Helper()
	c, err := client.NewNamespaceClient(client.Options{HostPort: p.temporal.Address})
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	err = c.Register(p.t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// deliver sends a sample, signed with the secret of an integration unless that is
// changed.
func (p *parts) deliver(integration, sample string, change ...func(*hook.Delivery)) hook.Answer {
	p.t.Helper()
	body, err := sentry.Sample(sample)
	if err != nil {
		p.t.Fatal(err)
	}
	resource, _, _ := strings.Cut(sample, ".")
	d := hook.Delivery{URL: p.public + "/webhooks/" + integration, Resource: resource, RequestID: sentry.NewRequestID(), Body: body}
	for _, i := range p.integrations {
		if i.Name == integration {
			d.Secret = i.Secrets[0].Reveal()
		}
	}
	for _, f := range change {
		f(&d)
	}
	answer, err := hook.Send(p.t.Context(), d)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// metric returns the sum of the series whose name and labels an expression matches.
func (p *parts) metric(series string) (sum float64) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.admin+"/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^(?:`+series+`) (\S+)$`).FindAllSubmatch(text, -1) {
		value, err := strconv.ParseFloat(string(match[1]), 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += value
	}
	return sum
}

func listening(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// runUntilTheEnd runs f until stop is called or the test ends.
func runUntilTheEnd(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// failing are workflows whose runs end badly, or do not end.
func failing(t *testing.T) {
	t.Helper()
	fails := triage.New("fails", func(workflow.Context, sentry.Envelope) (string, error) {
		return "", errors.New("the disk of the team is full")
	}, triage.On("sentry.installation.deleted"))
	waits := triage.New("waits_for_nobody", func(ctx workflow.Context, _ sentry.Envelope) (string, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		return "", workflow.ExecuteActivity(ctx, "NobodyHasThis").Get(ctx, nil)
	}, triage.On("sentry.installation.created"))
	panics := triage.New("panics", func(workflow.Context, sentry.Envelope) (string, error) {
		panic("the code of the team is wrong")
	}, triage.On("sentry.seer.coding_started"))
	before := workflows.All
	workflows.All = triage.List(append(append([]triage.Workflow{}, before...), fails, waits, panics)...)
	t.Cleanup(func() { workflows.All = before })
}

// page is the status page of parts in a browser.
type page struct {
	*tab
	parts *parts
}

// see waits until an expression is true on the page, and fails after seenWithin.
func (p page) see(what, expression string) {
	p.t.Helper()
	began := time.Now()
	question := "!!(" + expression + ")"
	for {
		yes, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](question))
		if err == nil && yes {
			p.t.Logf("%s: seen after %.1f s", what, time.Since(began).Seconds())
			return
		}
		if time.Since(began) > seenWithin {
			p.t.Fatalf("%s is not to be seen (%v); the page says\n%s", what, err, value(p.tab, chromedp.Evaluate[string]("document.body.innerText")))
		}
		<-time.After(50 * time.Millisecond)
	}
}

// tile is an expression: a tile with this label has this level and says this.
func tile(label, level, text string) string {
	return "Array.from(document.querySelectorAll('#state ." + level + "')).some(e => e.textContent.includes(" + quoted(label) + ") && e.textContent.toLowerCase().includes(" + quoted(strings.ToLower(text)) + "))"
}

// mended is an expression: the tile with this label is there, and not bad.
func mended(label string) string {
	return "(of => of.length > 0 && !of.some(e => e.matches('.bad')))(Array.from(document.querySelectorAll('#state .tile')).filter(e => e.textContent.includes(" + quoted(label) + ")))"
}

// rows is an expression: so many rows are shown, and each says this.
func rows(n int, text string) string {
	return fmt.Sprintf("(rows => rows.length === %d && rows.every(r => r.textContent.includes(%s)))(Array.from(document.querySelectorAll('#deliveries tr')))", n, quoted(text))
}

// find opens the page with a filter.
func (p page) find(query string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.parts.admin + "/?" + query))
}

func (p page) wantMetric(series string, least float64) {
	p.t.Helper()
	for began := time.Now(); p.parts.metric(series) < least; <-time.After(50 * time.Millisecond) {
		if time.Since(began) > seenWithin {
			p.t.Fatalf("%s is %v, want %v", series, p.parts.metric(series), least)
		}
	}
}

// What is wrong is seen on the page by what it is, found with the filter, and in the
// metrics, and is green again once it is mended.
func TestWhatIsWrongIsSeen(t *testing.T) {
	failing(t)
	stack := newParts(t, 0)
	b := openBrowser(t)
	on := func(t *testing.T, query string) page {
		t.Helper()
		before, parent := b.t, stack.t
		b.t, stack.t = t, t
		t.Cleanup(func() { b.t, stack.t = before, parent })
		p := page{b, stack}
		p.find(query)
		return p
	}

	t.Run("no worker", func(t *testing.T) {
		p := on(t, "")
		p.see("that nobody polls", tile("Workers", "busy", "No worker polls"))
		stack.deliver("sentry", "issue.created")
		p.see("a run that waits", tile("Workers", "bad", "1 run waits and no worker polls"))
		p.wantMetric(`sentry_temporal_task_queue_backlog\{[^}]*kind="workflow"[^}]*\}`, 1)
		p.find("run=untaken")
		p.see("its row", rows(1, "untaken"))
		stack.startWorker(t)
		p.find("run=completed&event=sentry.issue.created")
		p.see("the end of the run", rows(1, "completed"))
		p.see("workers that poll", mended("Workers"))
	})

	t.Run("a worker that is gone", func(t *testing.T) {
		p := on(t, "")
		stack.startWorker(t)
		stack.deliver("sentry", "error.created")
		p.find("")
		p.see("workers that poll", mended("Workers"))
		stack.stopWorker()
		stack.deliver("sentry", "comment.created")
		p.see("a run that waits", tile("Workers", "bad", "1 run waits and no worker takes any"))
		p.wantMetric(`sentry_temporal_task_queue_backlog_age_seconds\{[^}]*kind="workflow"[^}]*\}`, 1)
		stack.startWorker(t)
		p.see("workers that take it", mended("Workers"))
	})

	t.Run("a run that fails", func(t *testing.T) {
		stack.startWorker(t)
		p := on(t, "run=failed")
		stack.deliver("sentry", "installation.deleted")
		p.see("the failure", rows(1, "the disk of the team is full"))
		p.wantMetric(`sentry_temporal_starts_total\{[^}]*outcome="started"[^}]*\}`, 1)
	})

	t.Run("an activity that nobody has registered", func(t *testing.T) {
		stack.startWorker(t)
		p := on(t, "run=failed&event=sentry.installation.created")
		stack.deliver("sentry", "installation.created")
		p.see("what the run waited for", rows(1, "NobodyHasThis is not registered"))
	})

	t.Run("a run whose code fails", func(t *testing.T) {
		stack.startWorker(t)
		p := on(t, "run=stuck")
		stack.deliver("sentry", "seer.coding_started")
		p.see("that it gets no further", rows(1, "the code of the team is wrong"))
	})

	t.Run("parked", func(t *testing.T) {
		p := on(t, "outcome=parked")
		stack.deliver("sentry", "issue.created", func(d *hook.Delivery) { d.Body = incompressible(d.Body, 5<<20) })
		p.see("the row", rows(1, "parked"))
		p.see("the tile", tile("Parked", "bad", "1"))
		p.wantMetric(`sentry_temporal_journal_parked`, 1)
		p.wantMetric(`sentry_temporal_starts_total\{[^}]*outcome="parked"[^}]*\}`, 1)
		stack.change("discard")
		p.see("nothing parked", tile("Parked", "good", ""))
		p.find("outcome=discarded")
		p.see("what became of it", rows(1, "discarded"))
	})

	t.Run("the lane of one namespace", func(t *testing.T) {
		p := on(t, "integration=later&outcome=accepted")
		stack.deliver("later", "issue.created")
		p.see("the row", rows(1, "accepted"))
		p.see("the namespace", tile("Temporal", "bad", "later"))
		p.see("what waits", tile("Temporal", "bad", "1 delivery waits"))
		p.wantMetric(`sentry_temporal_lane_failing\{[^}]*namespace="later"[^}]*\}`, 1)
		stack.register("later")
		p.find("integration=later&outcome=started")
		p.see("the run", rows(1, "started"))
		p.see("all namespaces", mended("Temporal"))
	})

	t.Run("signatures of an installation that is known", func(t *testing.T) {
		p := on(t, "integration=rotated")
		stack.deliver("rotated", "issue.created")
		p.see("the row", rows(1, "started"))
		if answer := stack.deliver("rotated", "issue.resolved", func(d *hook.Delivery) { d.Secret = "second-secret" }); answer.Code != http.StatusUnauthorized {
			t.Fatalf("answered %+v", answer)
		}
		p.see("the secret", tile("Client Secret of rotated", "bad", "Does not match any more"))
		p.wantMetric(`sentry_temporal_known_installation_mismatches_total\{[^}]*integration="rotated"[^}]*\}`, 1)
		if err := os.WriteFile(stack.integrations[1].SecretFile, []byte("second-secret,first-secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		p.see("a secret that matches", "!("+tile("Client Secret of rotated", "bad", "")+")")
		p.see("what was held", rows(2, ""))
	})

	t.Run("signatures of nobody that is known", func(t *testing.T) {
		p := on(t, "integration=later")
		stack.deliver("later", "comment.created", func(d *hook.Delivery) { d.Secret = "of a stranger"; d.Body = []byte(`{"action":"created"}`) })
		p.see("the request", "document.getElementById('unverified').textContent.includes('later')")
		p.wantMetric(`sentry_temporal_unverified_total\{[^}]*integration="later"[^}]*reason="mismatch"[^}]*\}`, 1)
	})
	b.quiet()
}

func TestAFullJournalIsSeen(t *testing.T) {
	stack := newParts(t, 1<<20)
	p := page{openBrowser(t), stack}
	p.find("outcome=failed")
	large := func(d *hook.Delivery) { d.Body = incompressible(d.Body, 40<<10) }
	for stack.deliver("later", "issue.created", large).Code == http.StatusAccepted {
	}
	p.see("the row", rows(1, "could not be kept"))
	p.see("the tile", tile("Journal", "bad", "Full"))
	p.wantMetric(`sentry_temporal_deliveries_total\{[^}]*outcome="failed"[^}]*\}`, 1)
	p.wantMetric(`sentry_temporal_journal_pending_bytes`, 0.7*stack.metric(`sentry_temporal_journal_max_bytes`))
	stack.register("later")
	p.see("room", tile("Journal", "good", ""))
	p.quiet()
}

// change does something to all that is parked.
func (p *parts) change(verb string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.admin+"/journal/"+verb+"?all=true", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		p.t.Fatalf("%s was answered %s", verb, answer.Status)
	}
}

// incompressible returns a body with so many bytes more that no compression makes less.
func incompressible(body []byte, size int) []byte {
	random := make([]byte, size/2)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // never fails
	return fmt.Appendf(bytes.TrimSuffix(bytes.TrimSpace(body), []byte("}")), `,"more":"%x"}`, random)
}
