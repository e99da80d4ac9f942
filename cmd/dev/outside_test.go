package main

import (
	"fmt"
	"io"
	"maps"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/tidwall/gjson"
	"go.temporal.io/sdk/client"

	"sentry-temporal/activities"
	"sentry-temporal/internal/standin"
	"sentry-temporal/internal/starter"
)

// From a delivery to what people see: each effect is there once, and the same delivery
// again adds nothing.
func TestAFatalIssueIsPagedPostedTicketedToldAndLinkedOnce(t *testing.T) {
	s := quietStack(t.TempDir())
	systems := standIns(t, "sentry")
	s.outside = systems.Outside
	at := start(t, s)
	issue := fatalStory("")[0]
	if err := systems.seed(issue); err != nil {
		t.Fatal(err)
	}
	delivery := sampleOf(t, at, issue.Name)
	delivery.Body = issue.Body
	want := map[string]int{
		activities.EffectPage: 1, activities.EffectSlack: 1, activities.EffectTicket: 1, activities.EffectLink: 1, activities.EffectWebhook: 1,
	}
	for _, status := range []starter.Status{starter.Started, starter.Existing} {
		answer := send(t, delivery)
		if answer.Status != status || len(answer.Runs) != 1 {
			t.Fatalf("answered %+v", answer)
		}
		awaitRun(t, at, answer.Runs[0])
		if got := systems.present(); !maps.Equal(got, want) {
			t.Errorf("%s: there are %v, not %v", status, got, want)
		}
	}
}

// What Sentry says of the issue of a sample is what the sample says.
func TestTheStandInForSentryKnowsTheIssuesOfSamples(t *testing.T) {
	s := quietStack(t.TempDir())
	systems := standIns(t, "sentry")
	s.outside = systems.Outside
	at := start(t, s)
	delivery := sampleOf(t, at, "issue.created")
	awaitRun(t, at, send(t, delivery).Runs[0])
	issues := systems.standins.Sentry.Issues()
	if len(issues) != 1 {
		t.Fatalf("it knows of %+v", issues)
	}
	for path, got := range map[string]string{"id": issues[0].ID, "shortId": issues[0].ShortID, "title": issues[0].Title, "level": issues[0].Level} {
		if want := gjson.GetBytes(delivery.Body, "data.issue."+path).Str; got != want {
			t.Errorf("its %s is %q, not %q", path, got, want)
		}
	}
	if len(issues[0].Links) != 1 {
		t.Errorf("it has the links %v", issues[0].Links)
	}
}

// awaitRun waits for a run to complete.
func awaitRun(t *testing.T, at addresses, run starter.Run) {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: at.temporal})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.GetWorkflow(t.Context(), run.WorkflowID, run.RunID).Get(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// played has the stand-ins what the demo's story leads to, but for its end: no page is open then.
func played(t *testing.T) (addresses, *standin.All) {
	t.Helper()
	s := quietStack(t.TempDir())
	systems := standIns(t, "sentry")
	s.outside = systems.Outside
	at := start(t, s)
	c, err := client.DialContext(t.Context(), client.Options{HostPort: at.temporal})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := demonstration{url: at.webhook("sentry"), temporal: c, outside: systems, out: io.Discard}
	deliveries := fatalStory("")
	if err := d.play(t.Context(), deliveries[:len(deliveries)-1]); err != nil {
		t.Fatal(err)
	}
	return at, systems.standins
}

func TestPagesOfStandInsInABrowser(t *testing.T) {
	_, standins := played(t)
	b := openBrowser(t)
	for name, page := range map[string]struct{ url, has string }{
		"all":       {standins.URL, "PagerDuty"},
		"Slack":     {standins.Slack.URL, "CartTotalMismatch"},
		"PagerDuty": {standins.PagerDuty.URL, "CartTotalMismatch"},
		"GitHub":    {standins.GitHub.URL, "CartTotalMismatch"},
		"Webhook":   {standins.Webhook.URL, "CartTotalMismatch"},
		"Sentry":    {standins.Sentry.URL, "BACKEND-1A"},
	} {
		for _, width := range []int64{1280, 390} {
			t.Run(fmt.Sprintf("%s, %d pixels wide", name, width), func(t *testing.T) {
				before := b.t
				b.t = t
				t.Cleanup(func() { b.t = before })
				b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(page.url+"/"))
				b.await(has(page.has))
				if wide := value(b, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > width {
					t.Errorf("the page is %d pixels wide", wide)
				}
				checkAccessibility(b)
				b.quiet()
			})
		}
	}
}
