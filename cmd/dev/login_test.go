package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"google.golang.org/protobuf/encoding/protojson"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
)

const adminToken = "the-admin-token-of-the-tests"

// guardedPage is the status page of an ingress that has a token and knows where
// the Temporal UI is.
func guardedPage(t *testing.T, ui string) (address string) {
	t.Helper()
	integrations := []config.Integration{{Name: "sentry", Namespace: "default", TaskQueue: "sentry"}}
	server := httptest.NewServer(admin.New(admin.Options{
		Ready:    func() error { return nil },
		Temporal: func() []admin.NamespaceState { return nil },
		Decode:   starter.DecodeWithin,
		UIURL:    ui,
		Token:    adminToken,
		Log:      slog.New(slog.DiscardHandler),
		Status: &admin.Status{
			Integrations: integrations, Recent: admin.NewRecent(integrations),
			Routes:  func() routes.State { return routes.State{} },
			Journal: func() journal.Stats { return journal.Stats{} },
			Secrets: keyring.New(integrations, "", slog.New(slog.DiscardHandler)).States,
		},
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// otherPage is a page that is not ours, with a link. Its policy lets it ask
// everybody.
func otherPage(t *testing.T) (address string, link *string) {
	t.Helper()
	link = new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>other</title><link rel="icon" href="data:,"><a id="link" href="%s">there</a>`, *link)
	}))
	t.Cleanup(server.Close)
	return server.URL, link
}

// named is an address under another name of this machine: another site.
func named(address string) string { return strings.Replace(address, "127.0.0.1", "localhost", 1) }

const (
	loginShown = "document.querySelector('form.login') !== null"
	pageShown  = "document.getElementById('deliveries') !== null"
)

func (b *tab) logIn(token string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.ID("token"), token), chromedp.Click(chromedp.ID("login")))
}

func (b *tab) forgetCookies() {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.ClearBrowserCookies, cdp.Empty{})
		return err
	}))
}

func (b *tab) script(on bool) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
		return err
	}))
}

func TestLoginInABrowser(t *testing.T) {
	page := guardedPage(t, "")
	b := openBrowser(t)
	in := func(t *testing.T) *tab { // the tab as t's, logged out
		t.Helper()
		before := b.t
		b.t = t
		t.Cleanup(func() { b.t = before })
		b.forgetCookies()
		b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(page))
		b.await(loginShown)
		return b
	}

	t.Run("asks for the token and shows the page", func(t *testing.T) {
		b := in(t)
		b.await("document.activeElement.id === 'token'")
		b.logIn("another token than the right one")
		b.await("document.querySelector('[role=alert]') !== null && " + loginShown)
		b.logIn(adminToken)
		b.await(pageShown + " && location.pathname === '/'")
		if cookie := value(b, chromedp.Evaluate[string]("document.cookie")); cookie != "" {
			t.Errorf("scripts see the cookie %s", cookie)
		}
		b.do(chromedp.Navigate(page))
		b.await(pageShown)
		asOf := value(b, chromedp.Evaluate[string]("document.querySelector('#as-of time').dateTime"))
		b.await("document.querySelector('#as-of time').dateTime !== " + quoted(asOf)) // it was loaded anew
	})

	t.Run("without script", func(t *testing.T) {
		b := in(t)
		b.script(false)
		t.Cleanup(func() { b.script(true) })
		b.do(chromedp.Navigate(page), chromedp.SendKeys(chromedp.ID("token"), adminToken))
		if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.ID("login"))); err != nil {
			t.Fatal(err)
		}
		if shown := value(b, chromedp.Text(chromedp.ID("h-deliveries"))); shown != "Deliveries" {
			t.Errorf("the page shows %q", shown)
		}
	})

	t.Run("asks again when the cookie is not valid any more", func(t *testing.T) {
		b := in(t)
		b.logIn(adminToken)
		b.await(pageShown)
		b.forgetCookies()
		b.await(loginShown) // by itself
	})

	t.Run("does not ask who comes by a link of another site", func(t *testing.T) {
		b := in(t)
		b.logIn(adminToken)
		b.await(pageShown)
		other, link := otherPage(t)
		*link = page + "/?outcome=refused"
		b.do(chromedp.Navigate(named(other)), chromedp.Click(chromedp.ID("link")))
		b.await(pageShown + " && location.search === '?outcome=refused'")
	})

	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390} {
			t.Run(fmt.Sprintf("is accessible, %s, %d pixels wide", scheme, width), func(t *testing.T) {
				b := in(t)
				b.scheme(scheme)
				b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(page))
				b.await(loginShown)
				checkAccessibility(b)
				b.logIn("another token than the right one")
				b.await("document.querySelector('[role=alert]') !== null")
				if wide := value(b, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > width {
					t.Errorf("the page is %d pixels wide", wide)
				}
				checkAccessibility(b)
			})
		}
	}
}

// The codec is asked by a page of the Temporal UI in the browser of who is
// logged in.
func TestTheTemporalUIDecodesInABrowser(t *testing.T) {
	ui, _ := otherPage(t)
	stranger, _ := otherPage(t)
	page := guardedPage(t, ui)
	payloads, err := starter.DataConverter().ToPayloads(strings.Repeat("large ", 100_000))
	if err != nil {
		t.Fatal(err)
	}
	body, err := protojson.Marshal(payloads)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t)
	// decode returns the status of the answer, or 0 if the browser keeps it from
	// the page.
	decode := func(from, at, credentials string) int64 {
		b.do(chromedp.Navigate(from))
		return value(b, chromedp.Evaluate[int64](`fetch(`+quoted(at+"/codec/decode")+`, {
			method: 'POST', credentials: `+quoted(credentials)+`, body: JSON.stringify(`+compact.String()+`),
			headers: {'Content-Type': 'application/json', 'X-Namespace': 'default'},
		}).then(async (answer) => answer.ok && !(await answer.text()).includes('anNvbi9wbGFpbg') ? -1 : answer.status, () => 0)`, chromedp.EvalAwaitPromise))
	}
	if got := decode(ui, page, "include"); got != http.StatusUnauthorized {
		t.Errorf("who is not logged in is answered %d", got)
	}
	for _, host := range []string{page, named(page)} {
		b.do(chromedp.Navigate(host + "/login"))
		b.logIn(adminToken)
		b.await(pageShown)
	}
	for name, test := range map[string]struct {
		from, at, credentials string
		want                  int64
	}{
		"the UI":                           {ui, page, "include", http.StatusOK},
		"the UI under its other name":      {named(ui), named(page), "include", http.StatusOK},
		"the UI without the cookie":        {ui, page, "omit", http.StatusUnauthorized},
		"the UI on another site":           {named(ui), page, "include", http.StatusUnauthorized},
		"another port of the same machine": {stranger, page, "include", 0},
	} {
		if got := decode(test.from, test.at, test.credentials); got != test.want {
			t.Errorf("%s is answered %d", name, got)
		}
	}
}

// What the Temporal UI itself makes of it. The dev server's has no option for the
// cookie, so it is set as people set it in the UI.
func TestTheTemporalUIShowsALargeEnvelopeToWhoIsLoggedIn(t *testing.T) {
	s := quietStack(t.TempDir())
	s.ingress.AdminToken = adminToken
	at := start(t, s)
	large := sampleOf(t, at, "issue.created")
	large.Body = bytes.Replace(large.Body, []byte(`"data":`), []byte(`"padding":"`+strings.Repeat("seen-by-engineers ", 20_000)+`","data":`), 1)
	run := send(t, large).Runs[0]
	b := openBrowser(t)
	b.do(chromedp.Navigate(at.ui))
	b.do(chromedp.Evaluate[chromedp.Void](`for (const [name, value] of Object.entries({
		endpoint: ` + quoted(at.admin+"/codec") + `, includeCredentials: true, overrideRemoteCodecConfiguration: true,
	})) localStorage.setItem(name, JSON.stringify(value))`))
	b.do(chromedp.Navigate(at.admin))
	b.logIn(adminToken)
	b.await(pageShown)
	b.do(chromedp.Navigate(run.URL))
	b.await(has("seen-by-engineers"))
}
