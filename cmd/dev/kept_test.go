package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
)

// withoutTemporal is an ingress whose Temporal is away, with so many deliveries that
// wait for it.
func withoutTemporal(t *testing.T, waiting int, change ...func(*config.Ingress)) addresses {
	t.Helper()
	cfg := quietStack(t.TempDir()).ingress
	cfg.Temporal = config.Temporal{Client: client.Options{HostPort: "127.0.0.1:1"}}
	for _, f := range change {
		f(&cfg)
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	public, private := listen(), listen()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- process.Ingress(ctx, cfg, public, private, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	at := addresses{public: "http://" + public.Addr().String(), admin: "http://" + private.Addr().String()}
	for i := range waiting {
		d := sampleOf(t, at, []string{"issue.created", "comment.created"}[i%2])
		d.Wait = 0
		if answer := send(t, d); answer.Status != starter.Accepted {
			t.Fatalf("answered %+v", answer)
		}
	}
	return at
}

// What is kept is parked, put back, exported and discarded by people, with script
// and without.
func TestWhatIsKeptIsActedOnInABrowser(t *testing.T) {
	for _, script := range []bool{true, false} {
		t.Run(fmt.Sprintf("script is %v", script), func(t *testing.T) {
			at := withoutTemporal(t, 4)
			b := openBrowser(t)
			click := func(id string) {
				t.Helper()
				b.do(chromedp.Click(chromedp.ID(id)))
			}
			leads := func(id string) { // to another page
				t.Helper()
				if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.ID(id))); err != nil {
					t.Fatal(err)
				}
			}
			tells := func(want string) {
				t.Helper()
				if got := value(b, chromedp.Text(chromedp.ID("told"))); got != want {
					t.Errorf("it tells %q, not %q", got, want)
				}
			}
			rows := func(want int) {
				t.Helper()
				if got := len(value(b, chromedp.AttributesAll(chromedp.CSSAll("#items tr")))); got != want {
					t.Errorf("%d rows, not %d", got, want)
				}
			}
			b.script(script)
			b.do(chromedp.Navigate(at.admin + "/"))
			click("ask-waiting")
			leads("more-pending")
			rows(4)
			b.do(chromedp.SendKeys(chromedp.ID("event"), "sentry.issue.created"))
			leads("apply")
			rows(2)
			click("ask-park")
			leads("sure-park")
			tells("2 parked.")
			if here := value(b, chromedp.Location()); !strings.Contains(here, "/kept?") || !strings.Contains(here, "event=sentry.issue.created") {
				t.Errorf("it leads to %s", here)
			}

			b.do(chromedp.Navigate(at.admin + "/"))
			leads("more-parked")
			rows(2)
			first := value(b, chromedp.AttributesAll(chromedp.CSSAll("#items .when a")))[0]["href"]
			id := strings.TrimPrefix(first, "/journal/")
			click("ask-" + id)
			leads("sure-" + id)
			tells("1 discarded for good.")
			rows(1)
			click("ask-retry")
			leads("sure-retry")
			if told := value(b, chromedp.Text(chromedp.ID("told"))); !strings.HasPrefix(told, "1 put back") {
				t.Errorf("it tells %q", told)
			}
			b.do(chromedp.Navigate(at.admin + "/kept?state=pending"))
			rows(3)
			exported := value(b, chromedp.AttributesAll(chromedp.CSSAll("#export")))[0]["href"]
			response, err := http.Get(at.admin + exported)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-ndjson" {
				t.Errorf("the export is answered %d, %v", response.StatusCode, response.Header)
			}
			b.do(chromedp.Navigate(at.admin + "/"))
			click("ask-waiting")
			for _, row := range value(b, chromedp.AttributesAll(chromedp.CSSAll("#pending .when a")))[:1] {
				id := strings.TrimPrefix(row["href"], "/journal/")
				leads("park-" + id)
				tells("1 parked.")
				leads("retry-" + id)
			}
			b.quiet()
		})
	}
}

// The list of those that are pending stays open while the page renews itself.
func TestThePageOfWhatIsKeptIsAccessibleInABrowser(t *testing.T) {
	at := withoutTemporal(t, 3)
	b := openBrowser(t)
	b.do(chromedp.Navigate(at.admin + "/"))
	b.do(chromedp.Click(chromedp.ID("ask-waiting")))
	asOf := value(b, chromedp.Evaluate[string]("document.querySelector('#as-of time').dateTime"))
	b.await("document.querySelector('#as-of time').dateTime !== " + quoted(asOf))
	b.await("document.getElementById('waiting').open && document.activeElement.id === 'ask-waiting'")
	told := fmt.Sprintf("/kept?state=pending&done=parked&n=1&at=%d", time.Now().Unix())
	for _, path := range []string{told, "/kept?older_than=7d", "/kept"} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				b.scheme(scheme)
				b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(at.admin+path))
				if wide := value(b, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > width {
					t.Errorf("%s is %d pixels wide", path, wide)
				}
				checkAccessibility(b)
			}
		}
	}
}
