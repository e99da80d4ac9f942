package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
	"sentry-temporal/workflows"
)

// startStack runs a stack on free ports until the test ends.
func startStack(t *testing.T) addresses {
	t.Helper()
	return start(t, quietStack(t.TempDir()))
}

func start(t *testing.T, s stack) addresses {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	up, ended := make(chan addresses, 1), make(chan error, 1)
	go func() {
		ended <- s.run(ctx, func(ctx context.Context, at addresses) error {
			up <- at
			<-ctx.Done()
			return nil
		})
	}()
	select {
	case at := <-up:
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return at
	case err := <-ended:
		stop()
		t.Fatal(err)
		return addresses{}
	}
}

// sampleOf returns a delivery of a sample, as one for which its runs are
// waited for.
func sampleOf(t *testing.T, at addresses, name string) hook.Delivery {
	t.Helper()
	body, err := sentry.Sample(name)
	if err != nil {
		t.Fatal(err)
	}
	resource, _, _ := strings.Cut(name, ".")
	return hook.Delivery{
		URL: at.webhook("sentry"), Secret: hook.DevelopmentSecret, Resource: resource,
		RequestID: sentry.NewRequestID(), Body: sentry.FreshIDs(body), Wait: 10,
	}
}

func send(t *testing.T, delivery hook.Delivery) hook.Answer {
	t.Helper()
	answer, err := hook.Send(t.Context(), delivery)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// sendOneOfEach sends a delivery that starts a run, the same again, one that is
// ignored, and one that is refused. It returns the run.
func sendOneOfEach(t *testing.T, at addresses) starter.Run {
	t.Helper()
	started := sampleOf(t, at, "issue.created")
	answer := send(t, started)
	if answer.Status != starter.Started || len(answer.Runs) != 1 {
		t.Fatalf("answered %+v", answer)
	}
	if again := send(t, started); again.Status != starter.Existing {
		t.Fatalf("answered %+v", again)
	}
	if ignored := send(t, sampleOf(t, at, "issue.assigned")); ignored.Status != starter.Ignored {
		t.Fatalf("answered %+v", ignored)
	}
	refused := sampleOf(t, at, "comment.created")
	refused.Secret = "the secret of another integration"
	if answer := send(t, refused); answer.Code != http.StatusUnauthorized {
		t.Fatalf("answered %+v", answer)
	}
	return answer.Runs[0]
}

// tab is a tab of a real browser.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it

	mu       sync.Mutex
	problems []string // that the console tells
}

// openBrowser starts Chromium and returns its first tab.
func openBrowser(t *testing.T) *tab {
	t.Helper()
	binary, err := findBrowser()
	if err != nil {
		t.Fatalf("%v: install the Debian package chromium", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en-GB"), chromedp.Env("TZ=UTC"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(allocator)
	b := &tab{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	b.do(chromedp.Steps())
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning {
				b.mu.Lock()
				b.problems = append(b.problems, m.String())
				b.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
		closeTab()
	})
	return b
}

// findBrowser returns the path of Chromium, or of what is made of it.
func findBrowser() (string, error) {
	var missing error
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"} {
		path, err := exec.LookPath(name)
		if err == nil {
			return path, nil
		}
		missing = errors.Join(missing, err)
	}
	return "", missing
}

// stepTimeout bounds one step in the browser.
const stepTimeout = 30 * time.Second

func value[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx := b.ctx
	if chromedp.FromContext(ctx).Target != nil { // the first step starts the browser, which must outlive it
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, stepTimeout)
		defer cancel()
	}
	got, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	value(b, chromedp.Steps(steps...))
}

// await waits until a JavaScript expression is true, over navigations.
func (b *tab) await(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	// An error is that of a page that is being left.
	question := "new Promise(then => requestAnimationFrame(() => then(!!(" + expression + "))))"
	for {
		if yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](question, chromedp.EvalAwaitPromise)); err == nil && yes {
			return
		}
		if ctx.Err() != nil {
			b.t.Fatalf("%s did not come true; the page at %s says\n%s", expression, value(b, chromedp.Location()),
				value(b, chromedp.Evaluate[string]("document.body.innerText")))
		}
	}
}

// scheme is light or dark.
func (b *tab) scheme(name string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	}))
}

// quiet fails the test if the console has told of anything.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		b.t.Errorf("the console says %s", problem)
	}
	b.problems = nil
}

func has(text string) string {
	return "document.body.innerText.includes(" + quoted(text) + ")"
}

func quoted(text string) string {
	encoded, _ := json.Marshal(text) // a string always is
	return string(encoded)
}

const rowCount = "document.querySelectorAll('#deliveries tr').length"

func TestStatusPageInABrowser(t *testing.T) {
	at := startStack(t)
	run := sendOneOfEach(t, at)
	b := openBrowser(t)
	page := at.admin + "/"
	in := func(t *testing.T) *tab { // the tab as t's
		t.Helper()
		before := b.t
		b.t = t
		t.Cleanup(func() { b.t = before })
		b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(page))
		return b
	}

	t.Run("shows what became of each delivery", func(t *testing.T) {
		b := in(t)
		b.await(rowCount + " === 3")
		for _, text := range []string{"started", "existing", "ignored", "refused", "Not verified", "Answers", at.webhook("sentry")} {
			b.await(has(text))
		}
		b.quiet()
	})

	t.Run("shows a new delivery without being loaded again", func(t *testing.T) {
		b := in(t)
		b.do(chromedp.Evaluate[chromedp.Void]("window.same = true; document.querySelector('#deliveries a').focus(); scrollTo(0, 50)"))
		b.await("scrollY > 0 || document.body.scrollHeight <= innerHeight")
		send(t, sampleOf(t, at, "comment.created"))
		b.await(rowCount + " === 4")
		b.await("window.same && document.activeElement.matches('#deliveries a')")
		b.quiet()
	})

	t.Run("filters without being loaded again", func(t *testing.T) {
		b := in(t)
		b.do(chromedp.Evaluate[chromedp.Void]("window.same = true"), chromedp.Click(chromedp.CSS(`input[value="existing"]`)))
		b.await(rowCount + " === 1 && location.search === '?outcome=existing'")
		b.do(chromedp.Click(chromedp.CSS(`input[name="outcome"][value=""]`)), chromedp.SetValue(chromedp.ID("event"), "sentry.issue.assigned"),
			chromedp.Evaluate[chromedp.Void]("document.getElementById('event').dispatchEvent(new Event('change', {bubbles: true}))"))
		b.await(rowCount + " === 1 && location.search === '?event=sentry.issue.assigned' && window.same")
		b.quiet()
	})

	t.Run("finds while one types", func(t *testing.T) {
		b := in(t)
		b.do(chromedp.Evaluate[chromedp.Void]("window.same = true; scrollTo(0, 40)"), chromedp.SendKeys(chromedp.ID("q"), strings.ToUpper(run.WorkflowID)))
		b.await(rowCount + " === 2 && location.search.startsWith('?q=') && document.activeElement.id === 'q' && window.same")
		b.do(chromedp.Click(chromedp.ID("clear")))
		b.await(rowCount + " > 2 && location.search === '' && document.getElementById('q').value === '' && window.same")
		b.quiet()
	})

	t.Run("begins with the deliveries on a phone", func(t *testing.T) {
		b := in(t)
		b.do(chromedp.EmulateViewport(390, 844), chromedp.Navigate(page))
		b.await(rowCount + " > 0")
		if top := value(b, chromedp.Evaluate[float64]("document.querySelector('#deliveries tr').getBoundingClientRect().top")); top > 640 {
			t.Errorf("the first one is %v pixels down", top)
		}
	})

	t.Run("filters without script", func(t *testing.T) {
		b := in(t)
		b.script(false)
		t.Cleanup(func() { b.script(true) })
		b.do(chromedp.Navigate(page), chromedp.Click(chromedp.CSS(`input[value="ignored"]`)))
		_, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.ID("apply")))
		if err != nil {
			t.Fatal(err)
		}
		if rows := value(b, chromedp.AttributesAll(chromedp.CSSAll("#deliveries tr"))); len(rows) != 1 {
			t.Errorf("%d rows", len(rows))
		}
	})

	t.Run("shows the same without script", func(t *testing.T) {
		b := in(t)
		b.await("document.querySelector('#deliveries .run-completed') !== null && document.querySelector('#deliveries .run-unknown') === null")
		b.do(chromedp.Click(chromedp.ID("pause")))
		facts := func() map[string]string {
			all := map[string]string{}
			for _, part := range []string{"state", "deliveries", "unverified", "routes"} {
				all[part] = withoutTimes(value(b, chromedp.Text(chromedp.ID(part))))
			}
			return all
		}
		with := facts()
		b.script(false)
		t.Cleanup(func() { b.script(true) })
		b.do(chromedp.Navigate(page))
		for part, without := range facts() {
			if without != with[part] || without == "" {
				t.Errorf("%s: without script\n%s\nwith it\n%s", part, without, with[part])
			}
		}
	})

	t.Run("is used with the keyboard alone", func(t *testing.T) {
		b := in(t)
		b.await(rowCount + " > 0")
		b.do(chromedp.Evaluate[chromedp.Void]("document.getElementById('pause').click()")) // which moves no focus
		const reached = `(() => {
			const at = document.activeElement;
			if (at === document.body) return 'nothing';
			at.dataset.reached = 'yes';
			const shown = at.matches('.chip input') ? at.nextElementSibling : at;
			return getComputedStyle(shown).outlineStyle === 'none' ? at.outerHTML : '';
		})()`
		const missed = `Array.from(document.querySelectorAll('a[href], button, input, select, summary'))
			.filter((e) => e.checkVisibility() && e.type !== 'radio' && !e.dataset.reached).map((e) => e.outerHTML).join('\n')`
		for range 200 {
			b.do(chromedp.KeyEvent(kb.Tab))
			at := value(b, chromedp.Evaluate[string](reached))
			if at == "nothing" {
				break
			}
			if at != "" {
				t.Errorf("the focus is not to be seen on %s", at)
			}
		}
		if left := value(b, chromedp.Evaluate[string](missed)); left != "" {
			t.Errorf("the keyboard does not reach\n%s", left)
		}
		b.quiet()
	})

	t.Run("copies the webhook URL", func(t *testing.T) {
		b := in(t)
		for _, name := range []string{"clipboard-read", "clipboard-write"} {
			_, err := chromedp.CallBrowser(b.ctx, browser.SetPermission, browser.SetPermissionParams{
				Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted, Origin: at.admin,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		b.do(chromedp.Click(chromedp.CSS(".copy")))
		b.await("document.querySelector('.copy').textContent === 'Copied'")
		copied := value(b, chromedp.Evaluate[string]("navigator.clipboard.readText()", chromedp.EvalAwaitPromise))
		if copied != at.webhook("sentry") {
			t.Errorf("%q was copied", copied)
		}
		b.quiet()
	})

	t.Run("leads to the run in the Temporal UI", func(t *testing.T) {
		b := in(t)
		b.do(chromedp.Click(chromedp.CSS(`#deliveries a[title=` + quoted(run.WorkflowID) + `]`)))
		b.await("location.href.includes(" + quoted(run.RunID) + ")")
		b.await(has(run.WorkflowID))
		b.await(has("WorkflowExecutionCompleted") + " || " + has("Workflow Execution Completed"))
		b.await(has("created: ")) // of the summary
	})

	t.Run("leads to the run of a delivery that was only accepted", func(t *testing.T) {
		accepted := sampleOf(t, at, "issue.created")
		accepted.Wait = 0
		answer := send(t, accepted)
		if answer.Status != starter.Accepted || answer.Runs[0].RunID != "" {
			t.Fatalf("answered %+v", answer)
		}
		b := in(t)
		started := `#deliveries tr:has(.started) a[title=` + quoted(answer.Runs[0].WorkflowID) + `]`
		b.await(`document.querySelector(` + quoted(started) + `) !== null`) // by itself
		b.do(chromedp.Click(chromedp.CSS(started)))
		b.await(has(answer.Runs[0].WorkflowID))
		b.await(has("WorkflowExecutionCompleted") + " || " + has("Workflow Execution Completed"))
	})

	t.Run("leads to the page of a delivery, which shows its body", func(t *testing.T) {
		b := in(t)
		b.do(chromedp.Click(chromedp.CSS(`#deliveries tr:has(.started) a[href$=` + quoted(keyOf(run)) + `]`)))
		b.await(`document.querySelector('#runs .run-completed') !== null`)
		b.await(has(run.RunID) + " && " + has("sentry-hook-resource: ") + " && " + has("Result"))
		b.do(chromedp.Click(chromedp.CSS("#body summary")))
		b.await(`document.getElementById('body-text').textContent.includes('"action": "created"')`)
		asOf := value(b, chromedp.Evaluate[string]("document.querySelector('#as-of time').dateTime"))
		b.await("document.querySelector('#as-of time').dateTime !== " + quoted(asOf)) // it was loaded anew
		b.await(`document.getElementById('body').open && document.getElementById('body-text').textContent.includes('"action": "created"')`)
		b.quiet()
	})

	wrong := troubled(t)
	t.Run("keeps a question open that is being answered", func(t *testing.T) {
		b := in(t)
		b.do(chromedp.Navigate(wrong), chromedp.Click(chromedp.CSS("#ask-7")))
		b.await("document.getElementById('discard-7').open")
		asOf := value(b, chromedp.Evaluate[string]("document.querySelector('#as-of time').dateTime"))
		b.await("document.querySelector('#as-of time').dateTime !== " + quoted(asOf)) // it was loaded anew
		b.await("document.getElementById('discard-7').open && document.activeElement.id === 'ask-7' && !document.getElementById('discard-9').open")
		b.quiet()
	})

	for name, page := range map[string]string{
		"is accessible": page, "is accessible when all is wrong": wrong,
		"of a delivery is accessible":                   at.admin + "/deliveries/sentry/" + keyOf(run),
		"of a delivery is accessible when all is wrong": wrong + "/deliveries/backend/" + strings.Repeat("f", 128),
	} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				t.Run(fmt.Sprintf("%s, %s, %d pixels wide", name, scheme, width), func(t *testing.T) {
					b := in(t)
					b.scheme(scheme)
					b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(page))
					b.await("document.querySelector('#deliveries tr, #h-delivery') !== null")
					b.do(chromedp.Evaluate[chromedp.Void]("document.querySelectorAll('#legend, #body').forEach((closed) => { closed.open = true; })"))
					if wide := value(b, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > width {
						t.Errorf("the page is %d pixels wide", wide)
					}
					checkAccessibility(b)
					b.quiet()
				})
			}
		}
	}
}

// withoutTimes leaves out of a text of the page what is another one a moment later,
// and how times are written.
func withoutTimes(text string) string {
	for _, times := range []string{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`, `(\d+ \w+ )?\d\d:\d\d:\d\d`, `\d+ (s|min) ago`} {
		text = regexp.MustCompile(times).ReplaceAllString(text, "(time)")
	}
	return strings.Join(strings.Fields(text), " ")
}

// keyOf is the key that a workflow ID ends in.
func keyOf(run starter.Run) string {
	return run.WorkflowID[strings.LastIndex(run.WorkflowID, ":")+1:]
}

// troubled is a page on which everything is that there can be, most of it wrong.
func troubled(t *testing.T) (address string) {
	t.Helper()
	integrations := []config.Integration{
		{Name: "backend", Secrets: []config.Secret{"a", "b"}, Namespace: "backend-team", TaskQueue: "sentry"},
		{Name: "mobile_applications", Secrets: []config.Secret{"c"}, Namespace: client.DefaultNamespace, TaskQueue: "urgent"},
	}
	recent := admin.NewRecent(integrations)
	run := starter.Run{Workflow: "a_workflow_with_a_long_name_as_long_as_a_name_of_a_workflow_may_be", WorkflowID: "w", URL: "http://127.0.0.1:1/"}
	runs := []starter.Run{run}
	for _, state := range admin.RunStates {
		run.RunID, run.WorkflowID = state.Name, state.Name
		runs = append(runs, run)
	}
	for _, outcome := range admin.Outcomes {
		recent.Observe(t.Context(), web.Delivery{
			Time: time.Now(), Verified: true, Duration: 3 * time.Millisecond, RequestID: strings.Repeat("f", 128), Integration: "backend",
			Event:   "sentry.preprod_artifact.build_distribution_completed",
			Subject: sentry.Subject{ShortID: "BACKEND-1A", Title: strings.Repeat("LongTitle", 30), URL: "https://sentry.example/issues/1/"},
			Key:     strings.Repeat("f", 128), Outcome: outcome.Name, Status: 500, Reason: "a reason", Hint: "a hint", Runs: runs,
		})
	}
	recent.Observe(t.Context(), web.Delivery{
		Time: time.Now(), RequestID: strings.Repeat("f", 128), Integration: "/" + strings.Repeat("x", 127), Outcome: web.Refused, Status: 404, Reason: "a reason", Hint: "a hint",
	})
	server := httptest.NewServer(admin.New(admin.Options{
		Ready: func() error { return nil },
		Temporal: func() []admin.NamespaceState {
			return []admin.NamespaceState{
				{Namespace: "default", Status: admin.StatusOK, Asked: time.Now()},
				{Connection: "europe", Namespace: "backend-team", Asked: time.Now(), Status: admin.StatusUnreachable, Problem: "ask Temporal at temporal.internal:7233: connection refused"},
			}
		},
		Journal: parking{},
		UIURL:   "http://127.0.0.1:1",
		Log:     slog.New(slog.DiscardHandler),
		Status: &admin.Status{
			Integrations: integrations, Recent: recent, Guessed: true,
			Routes: func() routes.State {
				state := routes.NewPlanner(workflows.All, integrations, slog.New(slog.DiscardHandler)).State()
				state.Routes = append(state.Routes, routes.Route{
					Workflow: strings.Repeat("W", 64), Events: []string{"sentry.preprod_artifact.build_distribution_completed", "sentry.*"},
					Integrations: []string{"backend", "mobile_applications"}, Projects: []string{strings.Repeat("p", 100) + "*"}, Levels: []string{"fatal"},
					Namespace: strings.Repeat("n", 200), TaskQueue: strings.Repeat("q", 200), PerIssue: time.Hour, Uncompressed: true,
				})
				state.File, state.Unlisted = "/etc/"+strings.Repeat("r", 200)+".yaml", []string{"log_sentry_comment"}
				state.Problem = "3:5: " + strings.Repeat("w", 200) + strings.Repeat("\n4:1: wrong, too", 20)
				return state
			},
			Warnings:   []config.Problem{{Variable: "MOBILE_APPLICATIONS_CLIENT_SECRET_FILE", Text: "is not 64 hex digits, as what Sentry shows is"}},
			WebhookURL: "https://" + strings.Repeat("hooks.", 20) + "example.com",
			Journal: func() journal.Stats {
				return journal.Stats{Pending: 42, PendingBytes: 3 << 20, OldestAge: time.Minute, Parked: 3, ParkedBytes: 1 << 20}
			},
			Instance: "ingress-" + strings.Repeat("0123456789", 5) + ":8080",
			Queues: func() []admin.QueueState {
				kind := admin.KindState{Counted: true, Backlog: 12, BacklogAgeSeconds: 90, Since: time.Now()}
				return []admin.QueueState{
					{Namespace: "backend-team", TaskQueue: strings.Repeat("q", 200), Asked: time.Now(), Workflow: kind, Activity: kind},
					{Namespace: client.DefaultNamespace, TaskQueue: "urgent", Problem: "no answer within 2s"},
				}
			},
			Look: func(string, string) (journal.Known, bool) { return journal.Known{State: journal.Parked, ID: 7}, true },
			Describe: func(_ context.Context, of admin.RunOf) (admin.RunDetail, error) {
				return admin.RunDetail{
					RunState: admin.RunState{Status: of.RunID, Reason: "reason", Asked: time.Now()}, TaskQueue: strings.Repeat("q", 200),
					Result: strings.Repeat("r", 2000), Failure: strings.Repeat("f", 2000), Started: time.Now(), Closed: time.Now(), Events: 1 << 40,
					Pending: []admin.PendingActivity{{Activity: strings.Repeat("A", 200), Attempt: 1 << 30, LastFailure: strings.Repeat("f", 500), Next: time.Now()}},
				}, nil
			},
			Runs: func(of []admin.RunOf) map[admin.RunOf]admin.RunState {
				states := map[admin.RunOf]admin.RunState{}
				for _, run := range of {
					states[run] = admin.RunState{Status: run.RunID, Reason: strings.Repeat("Reason ", 40), Asked: time.Now().Add(-time.Hour)}
				}
				return states
			},
			Secrets: func() []keyring.State {
				states := keyring.New(integrations, "", slog.New(slog.DiscardHandler)).States()
				states[0].Held, states[0].FromFile, states[0].Mismatched, states[0].Problem = 12, true, time.Now(), "open the file: permission denied"
				return states
			},
		},
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// parking holds a delivery, one of which all is long, and a damaged record.
type parking struct{ admin.Journal }

func (parking) List(journal.Filter, uint64, int) ([]journal.Item, error) {
	return []journal.Item{
		{
			ID: 7, State: journal.Parked, Received: time.Now(), ParkedAt: time.Now(), Reason: starter.ErrTooLarge.Error(), ReasonCode: "too_large",
			Integration: "backend", Event: "sentry.error.created", Project: "checkout", IssueID: "6702149985", ShortID: "CHECKOUT-1A",
			Title: "TypeError: x is undefined", RequestID: sentry.NewRequestID(), Size: 3 << 20,
		},
		{
			ID: 18446744073709551615, State: journal.Parked, Received: time.Now(), ParkedAt: time.Now(), Reason: strings.Repeat("reason ", 30), ReasonCode: "not_configured",
			Integration: "mobile_applications", Event: "sentry.preprod_artifact.build_distribution_completed", Project: strings.Repeat("project", 9),
			IssueID: strings.Repeat("6", 64), Title: strings.Repeat("LongTitle", 30), RequestID: strings.Repeat("f", 128), Size: 1,
		},
		{ID: 9, State: journal.Parked, ParkedAt: time.Now(), Reason: "the record is damaged", ReasonCode: "damaged"},
	}, nil
}

func (parking) Export(uint64) (sentry.Envelope, error) {
	return sentry.Envelope{Body: sentry.Body(strings.Repeat("no JSON", 100))}, nil
}

// checkAccessibility runs the rules of axe-core on the page that b shows.
func checkAccessibility(b *tab) {
	b.t.Helper()
	axe, err := os.ReadFile(filepath.Join("..", "..", "bin", "axe.min.js"))
	if err != nil {
		b.t.Fatalf("%v: `make bin/axe.min.js` fetches it", err)
	}
	b.do(chromedp.Evaluate[chromedp.Void](string(axe)))
	type violation struct {
		ID     string
		Impact string
		Help   string
		Nodes  []struct{ HTML, FailureSummary string }
	}
	result := value(b, chromedp.Evaluate[struct {
		Violations []violation
		Passes     int
	}]("axe.run().then(r => ({violations: r.violations, passes: r.passes.length}))", chromedp.EvalAwaitPromise))
	if result.Passes == 0 {
		b.t.Error("no rule was checked")
	}
	for _, v := range result.Violations {
		b.t.Errorf("%s (%s): %s: %+v", v.ID, v.Impact, v.Help, v.Nodes)
	}
}
