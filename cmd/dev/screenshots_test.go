package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"sentry-temporal/internal/starter"
)

var takeScreenshots = flag.Bool("screenshots", false, "take the pictures in docs/ anew")

func TestScreenshots(t *testing.T) {
	if !*takeScreenshots {
		t.Skip("`make screenshots` takes them")
	}
	at := startStack(t)
	for _, name := range []string{"issue.created", "comment.created", "error.created", "issue.created", "seer.root_cause_completed", "comment.created", "issue.resolved", "metric_alert.critical"} {
		send(t, sampleOf(t, at, name))
	}
	var run starter.Run
	for range 2 {
		run = sendOneOfEach(t, at)
	}
	runs := at.ui + "/namespaces/default/workflows"
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
