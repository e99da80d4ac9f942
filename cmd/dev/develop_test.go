package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sentry-temporal/internal/config"
)

func TestASampleIsSentInABrowser(t *testing.T) {
	at := withoutTemporal(t, 0)
	b := openBrowser(t)
	for _, script := range []bool{true, false} {
		b.script(script)
		b.do(chromedp.Navigate(at.admin+"/"), chromedp.SetValue(chromedp.ID("sample"), "comment.created"))
		if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.ID("send-sample"))); err != nil {
			t.Fatal(err)
		}
		if here := value(b, chromedp.Location()); !strings.Contains(here, "/deliveries/sentry/") {
			t.Errorf("with script %v it leads to %s", script, here)
		}
		if shown := value(b, chromedp.Text(chromedp.CSS("main"))); !strings.Contains(shown, "accepted") || !strings.Contains(shown, "sentry.comment.created") {
			t.Errorf("with script %v the page shows %s", script, shown)
		}
	}
	b.quiet()
}

func TestAnIngressThatIsNotForDevelopmentSendsNothing(t *testing.T) {
	at := withoutTemporal(t, 0, func(cfg *config.Ingress) { cfg.Development = false })
	response, err := http.Post(fmt.Sprint(at.admin, "/development/send"), "application/x-www-form-urlencoded", strings.NewReader("integration=sentry&sample=issue.created"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("answered %d", response.StatusCode)
	}
}

func TestASampleThatIsNotTakenIsToldOf(t *testing.T) {
	at := withoutTemporal(t, 0, func(cfg *config.Ingress) { cfg.MaxBodyBytes = 1 })
	response, err := http.Post(fmt.Sprint(at.admin, "/development/send"), "application/x-www-form-urlencoded", strings.NewReader("integration=sentry&sample=issue.created"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadGateway {
		t.Errorf("answered %d at %s", response.StatusCode, response.Request.URL)
	}
}
