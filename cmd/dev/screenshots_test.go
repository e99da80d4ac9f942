package main

import (
	"flag"
	"net/url"
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
	at := startStack(t)
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
	runs := at.ui + "/namespaces/default/workflows?query=" + url.QueryEscape(`SentryIntegration="sentry" AND SentryLevel="error"`)
	b := openBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		for name, picture := range map[string]struct{ url, shown string }{
			"status": {at.admin + "/", rowCount + " > 10"},
			"runs":   {runs, has(run.WorkflowID)},
			"run":    {run.URL, has("created: ")},
		} {
			b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(picture.url))
			b.await(picture.shown)
			b.await("document.fonts.status === 'loaded' && document.getAnimations().every(a => a.playState !== 'running' || a.effect.getTiming().iterations === Infinity)")
			png := value(b, chromedp.CaptureScreenshot())
			file := filepath.Join("..", "..", "docs", name+"-"+scheme+".png")
			if err := os.WriteFile(file, png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
