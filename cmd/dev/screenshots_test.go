package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

var takeScreenshots = flag.Bool("screenshots", false, "take the pictures in docs/ anew")

func TestScreenshots(t *testing.T) {
	if !*takeScreenshots {
		t.Skip("`make screenshots` takes them")
	}
	s := quietStack(t.TempDir())
	s.outside = standIns(t, "sentry").Outside
	at := start(t, s)
	names := []string{"comment.created", "issue.created", "metric_alert.critical", "comment.created", "issue.created", "seer.root_cause_completed"}
	for _, name := range names {
		send(t, sampleOf(t, at, name))
	}
	for _, name := range names {
		delivery := sampleOf(t, at, name)
		delivery.Wait = 0 // as Sentry sends it
		send(t, delivery)
	}
	run := sendOneOfEach(t, at)
	send(t, sampleOf(t, at, "comment.created"))
	b := openBrowser(t)
	b.scheme("light")
	for name, picture := range map[string]struct{ url, shown string }{
		"status": {at.admin + "/", rowCount + " > 10 && !document.querySelector('#deliveries .run-unknown')"},
		"run":    {run.URL, has("created: ")},
	} {
		b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(picture.url))
		b.await(picture.shown)
		b.await("document.fonts.status === 'loaded' && document.getAnimations().every(a => a.playState !== 'running' || a.effect.getTiming().iterations === Infinity)")
		keep(t, name, value(b, chromedp.CaptureScreenshot()))
	}
}

// What people see of the story that the demo tells, as the stand-ins show it.
func TestScreenshotsOfMessages(t *testing.T) {
	if !*takeScreenshots {
		t.Skip("`make screenshots` takes them")
	}
	at, standins := played(t)
	b := openBrowser(t)
	for _, picture := range []struct {
		name, url, of string
		width         int64
	}{
		{"slack-card", standins.Slack.URL, ".message", 760},
		{"slack", standins.Slack.URL, ".channel", 760},
		{"pagerduty", standins.PagerDuty.URL, "article:last-of-type", 760},
		{"github", standins.GitHub.URL, "article", 760},
		{"sentry", standins.Sentry.URL, "article", 760},
		{"worker", at.worker, "main", 1280},
	} {
		b.do(chromedp.EmulateViewport(picture.width, 900), chromedp.Navigate(picture.url+"/"))
		b.await("document.fonts.status === 'loaded'")
		keep(t, picture.name, value(b, chromedp.ScreenshotScale(chromedp.CSS(picture.of), 1.5)))
	}
}

// keep keeps a picture in docs/.
func keep(t *testing.T, name string, png []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("..", "..", "docs", name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
