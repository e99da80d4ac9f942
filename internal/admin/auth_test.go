package admin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
)

const adminToken = "the-admin-token-of-the-tests"

// guardedAdmin is the admin handler of an ingress that has a token, and its log.
func guardedAdmin(token config.Secret, items ...item) (handler *gin.Engine, j *kept, log *bytes.Buffer) {
	j, log = &kept{items: items}, &bytes.Buffer{}
	handler = admin.New(admin.Options{
		Ready:    func() error { return nil },
		Temporal: func() []admin.NamespaceState { return nil },
		Metrics:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		Journal:  j,
		Decode:   starter.DecodeWithin,
		UIURL:    "http://127.0.0.1:8233",
		Status: &admin.Status{
			Recent: admin.NewRecent(nil), Journal: j.stats, Secrets: func() []keyring.State { return nil }, Routes: func() routes.State { return routes.State{} },
			Look: func(string, string) (journal.Known, bool) { return journal.Known{State: journal.Parked, ID: 1}, true },
		},
		Token: token,
		Hosts: []string{"admin.example.com"},
		Log:   slog.New(slog.NewJSONHandler(log, nil)),
	}).(*gin.Engine)
	return handler, j, log
}

// serve returns the answer of a handler to a request as from another machine.
func serve(handler http.Handler, method, target, body string, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, "http://localhost:8081"+target, strings.NewReader(body))
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

func bearer(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }

func with(cookie *http.Cookie) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(cookie) }
}

// logIn sends the form of the login page as a browser does.
func logIn(handler http.Handler, token string, change ...func(*http.Request)) *http.Response {
	form := url.Values{"token": {token}}.Encode()
	return serve(handler, http.MethodPost, "/login", form, append([]func(*http.Request){
		browser, header("Content-Type", "application/x-www-form-urlencoded"), header("Origin", "http://localhost:8081"),
	}, change...)...)
}

// cookieOf is the cookie of who has logged in.
func cookieOf(t *testing.T, handler http.Handler, change ...func(*http.Request)) *http.Cookie {
	t.Helper()
	answer := logIn(handler, adminToken, change...)
	if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/" || len(answer.Cookies()) != 1 {
		t.Fatalf("answered %d, %v", answer.StatusCode, answer.Header)
	}
	return answer.Cookies()[0]
}

func textOf(t *testing.T, answer *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// lines are those of a log in JSON that have the message.
func lines(t *testing.T, log *bytes.Buffer, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(log.String()) {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}

func TestOnlyProbesMetricsAndTheLoginAreAnsweredWithoutTheToken(t *testing.T) {
	handler, _, _ := guardedAdmin(adminToken)
	open := []string{"GET /healthz", "GET /readyz", "GET /metrics", "GET /login", "POST /login", "OPTIONS /codec/decode"}
	given := map[string][]func(*http.Request){
		"nothing":               nil,
		"another token":         {bearer("another-admin-token-that-is-wrong")},
		"the token cut off":     {bearer(adminToken[:len(adminToken)-1])},
		"no token in the end":   {bearer("")},
		"the token as password": {func(r *http.Request) { r.SetBasicAuth("", adminToken) }},
		"the token as cookie":   {with(&http.Cookie{Name: "sentry_temporal_admin", Value: adminToken})},
		"a cookie made up":      {with(&http.Cookie{Name: "sentry_temporal_admin", Value: "9999999999.AAAA"})},
	}
	closed := 0
	for _, route := range handler.Routes() {
		target := strings.NewReplacer(":id", "1", ":integration", "mobile", ":key", requestID).Replace(route.Path)
		if strings.HasPrefix(target, "/journal/") && route.Method == http.MethodPost {
			target += "?all=true"
		}
		if slices.Contains(open, route.Method+" "+route.Path) {
			continue
		}
		closed++
		for name, change := range given {
			handler, j, _ := guardedAdmin(adminToken, some()...)
			answer := serve(handler, route.Method, target, "", change...)
			if text := textOf(t, answer); answer.StatusCode != http.StatusUnauthorized || answer.Header.Get("WWW-Authenticate") != `Bearer realm="sentry-temporal"` ||
				!strings.HasPrefix(text, `{"error":"`) || strings.Contains(text, adminToken) || len(j.asked) > 0 {
				t.Errorf("%s %s with %s: answered %d %s, done is %+v", route.Method, target, name, answer.StatusCode, text, j.asked)
			}
		}
		handler, _, _ := guardedAdmin(adminToken, some()...)
		body := ""
		if strings.HasPrefix(target, "/codec/") {
			body = "{}"
		}
		if answer := serve(handler, route.Method, target, body, bearer(adminToken)); answer.StatusCode != http.StatusOK {
			t.Errorf("%s %s with the token: answered %d", route.Method, target, answer.StatusCode)
		}
	}
	if closed < 8 {
		t.Errorf("only %d routes were asked", closed)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/login"} {
		if answer := serve(handler, http.MethodGet, path, ""); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: answered %d", path, answer.StatusCode)
		}
	}
}

func TestWithoutATokenAllAreAnsweredAndNeedNoLogin(t *testing.T) {
	handler, _, _ := guardedAdmin("")
	for _, path := range []string{"/", "/journal"} {
		if answer := serve(handler, http.MethodGet, path, "", browser); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: answered %d", path, answer.StatusCode)
		}
	}
	for _, answer := range []*http.Response{serve(handler, http.MethodGet, "/login", ""), logIn(handler, "")} {
		if answer.StatusCode != http.StatusSeeOther || len(answer.Cookies()) > 0 {
			t.Errorf("the login answered %d, %v", answer.StatusCode, answer.Header)
		}
	}
}

func TestPeopleAreAskedForTheTokenAndThenHaveACookie(t *testing.T) {
	handler, _, _ := guardedAdmin(adminToken)
	asks := serve(handler, http.MethodGet, "/", "", browser)
	if text := textOf(t, asks); asks.StatusCode != http.StatusUnauthorized || !strings.Contains(text, `<form class="card login" method="post" action="/login">`) || strings.Contains(text, "<script") {
		t.Errorf("answered %d %s", asks.StatusCode, text)
	}
	cookie := cookieOf(t, handler)
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" || cookie.Secure ||
		cookie.MaxAge != 30*24*3600 || strings.Contains(cookie.Value, adminToken) {
		t.Errorf("the cookie is %+v", cookie)
	}
	if secure := cookieOf(t, handler, header("Origin", "https://admin.example.com")); !secure.Secure {
		t.Errorf("over TLS the cookie is %+v", secure)
	}
	for _, path := range []string{"/", "/api/deliveries", "/api/state", "/journal"} {
		if answer := serve(handler, http.MethodGet, path, "", browser, with(cookie)); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: answered %d", path, answer.StatusCode)
		}
	}
	if answer := serve(handler, http.MethodGet, "/login", "", browser, with(cookie)); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("the login answered %d", answer.StatusCode)
	}
}

func TestAWrongLoginSaysSoAndGivesNoCookie(t *testing.T) {
	for name, token := range map[string]string{"wrong": "another-admin-token-that-is-wrong", "empty": "", "too much": adminToken + strings.Repeat("x", 1<<20)} {
		handler, _, log := guardedAdmin(adminToken)
		answer := logIn(handler, token)
		text := textOf(t, answer)
		if answer.StatusCode != http.StatusUnauthorized || len(answer.Cookies()) > 0 || !strings.Contains(text, `role="alert"`) {
			t.Errorf("%s: answered %d %v %s", name, answer.StatusCode, answer.Header, text)
		}
		if all := text + log.String(); token != "" && strings.Contains(all, token[:20]) {
			t.Errorf("%s: what was sent is in %s", name, all)
		}
	}
	handler, _, _ := guardedAdmin(adminToken)
	if answer := logIn(handler, adminToken, header("Origin", "https://evil.example")); answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) > 0 {
		t.Errorf("from another site: answered %d", answer.StatusCode)
	}
}

func TestACookieOutlivesARestartAndNotItsTimeOrItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, _, _ := guardedAdmin(adminToken)
		cookie := cookieOf(t, handler)
		status := func(token config.Secret, value string) int {
			again, _, _ := guardedAdmin(token)
			return serve(again, http.MethodGet, "/journal", "", with(&http.Cookie{Name: cookie.Name, Value: value})).StatusCode
		}
		if got := status(adminToken, cookie.Value); got != http.StatusOK {
			t.Errorf("after a restart: answered %d", got)
		}
		if got := status("another-token-since-yesterday", cookie.Value); got != http.StatusUnauthorized {
			t.Errorf("with another token: answered %d", got)
		}
		expires, mac, _ := strings.Cut(cookie.Value, ".")
		for _, value := range []string{expires + "0." + mac, "+" + cookie.Value, expires + ".", expires, "." + mac, cookie.Value + "x", ""} {
			if got := status(adminToken, value); got != http.StatusUnauthorized {
				t.Errorf("changed to %q: answered %d", value, got)
			}
		}
		<-time.After(30*24*time.Hour - time.Second)
		if got := status(adminToken, cookie.Value); got != http.StatusOK {
			t.Errorf("at the end of its time: answered %d", got)
		}
		<-time.After(time.Second)
		if got := status(adminToken, cookie.Value); got != http.StatusUnauthorized {
			t.Errorf("after its time: answered %d", got)
		}
	})
}

func TestGuessingIsToldToStopAndKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, guess := range map[string]func(http.Handler, string) int{
			"as a tool": func(h http.Handler, token string) int {
				return serve(h, http.MethodGet, "/journal", "", bearer(token)).StatusCode
			},
			"in the form": func(h http.Handler, token string) int { return logIn(h, token).StatusCode },
		} {
			handler, _, log := guardedAdmin(adminToken)
			cookie := cookieOf(t, handler)
			right := guess(handler, adminToken)
			got := map[int]int{}
			for i := range 1000 {
				got[guess(handler, fmt.Sprint("guess-", i))]++
			}
			if want := map[int]int{http.StatusUnauthorized: 20, http.StatusTooManyRequests: 980}; !maps.Equal(got, want) {
				t.Errorf("%s: a thousand guesses are answered %v", name, got)
			}
			if got := guess(handler, adminToken); got != right {
				t.Errorf("%s: the right one among them is answered %d", name, got)
			}
			if answer := serve(handler, http.MethodGet, "/journal", "", with(cookie)); answer.StatusCode != http.StatusOK {
				t.Errorf("%s: who has logged in is answered %d", name, answer.StatusCode)
			}
			told := lines(t, log, "admin request not authenticated")
			if len(told) != 20 {
				t.Errorf("%s: %d lines", name, len(told))
			}
			<-time.After(time.Second)
			if got := guess(handler, adminToken); got != right {
				t.Errorf("%s: after a second the right one is answered %d", name, got)
			}
			guess(handler, "another-guess")
			told = lines(t, log, "admin request not authenticated")
			if skipped := told[len(told)-1]["left_out"]; skipped != float64(980) {
				t.Errorf("%s: %v lines were left out", name, skipped)
			}
		}
	})
}

func TestTheLogTellsWhoDidWhat(t *testing.T) {
	handler, _, log := guardedAdmin(adminToken, some()...)
	cookie := cookieOf(t, handler)
	from := header("User-Agent", "curl/8\u202e\u0007 \xff"+strings.Repeat("x", 1000))
	serve(handler, http.MethodGet, "/journal/2", "", bearer(adminToken), from)
	serve(handler, http.MethodGet, "/journal/999", "", bearer(adminToken), from)
	serve(handler, http.MethodGet, "/journal/export?project=app", "", bearer(adminToken), from)
	serve(handler, http.MethodPost, "/journal/retry?id=2&id=3", "", with(cookie), from, header("X-Forwarded-For", "203.0.113.9"))
	serve(handler, http.MethodPost, "/journal/discard?all=true", "", from)
	serve(handler, http.MethodGet, "/journal/1", "", bearer("another-admin-token-that-is-wrong"), from)
	serve(handler, http.MethodPost, "/journal/discard?id="+strings.Repeat("1", 10)+strings.Repeat("&id=1", 1000), "", bearer(adminToken), from)
	for _, want := range []map[string]any{
		{"msg": "logged in to the admin address", "credential": "token"},
		{"msg": "envelope read", "credential": "token", "delivery_id": float64(2)},
		{"msg": "envelopes read", "credential": "token", "deliveries": float64(2), "parameters": "project=app"},
		{"msg": "journal changed as asked", "credential": "cookie", "change": "retried", "deliveries": float64(2), "parameters": "id=2&id=3&state=parked", "forwarded_for": "203.0.113.9"},
		{"msg": "admin request not authenticated", "reason": "no token", "url_path": "/journal/discard"},
		{"msg": "admin request not authenticated", "reason": "the token is not the right one", "url_path": "/journal/:id", "level": "WARN"},
	} {
		found := slices.ContainsFunc(lines(t, log, want["msg"].(string)), func(line map[string]any) bool {
			for name, value := range want {
				if line[name] != value {
					return false
				}
			}
			return line["remote"] == "192.0.2.1:1234"
		})
		if !found {
			t.Errorf("no line has %v in\n%s", want, log)
		}
	}
	if len(lines(t, log, "envelope read")) != 1 {
		t.Errorf("what is not there was read:\n%s", log)
	}
	for _, bad := range []string{"\u202e", `\u202e`, `\u0007`, `\ufffd\ufffd\ufffd`, adminToken, "another-admin-token", cookie.Value, strings.Repeat("x", 300), strings.Repeat("%26id", 1000)} {
		if strings.Contains(log.String(), bad) {
			t.Errorf("%q is in the log", bad)
		}
	}
	for line := range strings.Lines(log.String()) {
		if len(line) > 4<<10 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
}

func TestNamesOfItsOwnAreAnsweredTo(t *testing.T) {
	handler, _, _ := guardedAdmin("", item{ID: 1, State: journal.Parked})
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for _, name := range []string{"admin.example.com", "ADMIN.example.com:8081"} {
		for _, path := range []string{"/journal", "/"} {
			if answer := serve(handler, http.MethodGet, path, "", host(name)); answer.StatusCode != http.StatusOK {
				t.Errorf("%s under %s: answered %d", path, name, answer.StatusCode)
			}
		}
		if answer := serve(handler, http.MethodPost, "/codec/decode", "{}", host(name)); answer.StatusCode != http.StatusOK {
			t.Errorf("the codec under %s: answered %d", name, answer.StatusCode)
		}
	}
	for _, name := range []string{"other.example.com", "x.admin.example.com", "admin.example.com.evil.example", "example.com"} {
		if answer := serve(handler, http.MethodGet, "/journal", "", host(name)); answer.StatusCode != http.StatusForbidden {
			t.Errorf("under %s: answered %d", name, answer.StatusCode)
		}
	}
	// A proxy that asks under another name than the page has.
	for origin, want := range map[string]int{
		"https://admin.example.com": http.StatusOK, "https://other.example.com": http.StatusForbidden, "http://admin.example.com": http.StatusForbidden,
	} {
		if answer := serve(handler, http.MethodPost, "/journal/park?project=none", "", header("Origin", origin), host("10.0.0.7:8081")); answer.StatusCode != want {
			t.Errorf("a page of %s is answered %d", origin, answer.StatusCode)
		}
	}
}

func TestTheTemporalUIReadsWithTheCookieAndNotWithATokenOfItsOwn(t *testing.T) {
	handler, _, log := guardedAdmin(adminToken)
	cookie := cookieOf(t, handler)
	ui := header("Origin", "http://localhost:8233")
	preflight := serve(handler, http.MethodOptions, "/codec/decode", "", ui, header("Access-Control-Request-Method", "POST"))
	if preflight.StatusCode != http.StatusNoContent || preflight.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("the preflight was answered %d %v", preflight.StatusCode, preflight.Header)
	}
	for name, test := range map[string]struct {
		change []func(*http.Request)
		status int
	}{
		"the cookie":                         {[]func(*http.Request){with(cookie)}, http.StatusOK},
		"the cookie and a token of the UI":   {[]func(*http.Request){with(cookie), bearer("eyJ.of.the-ui")}, http.StatusOK},
		"nothing":                            {nil, http.StatusUnauthorized},
		"a token of the UI":                  {[]func(*http.Request){bearer("eyJ.of.the-ui")}, http.StatusUnauthorized},
		"the cookie, from another site":      {[]func(*http.Request){with(cookie), header("Origin", "http://localhost:8234")}, http.StatusForbidden},
		"the token, from no page but a tool": {[]func(*http.Request){bearer(adminToken), func(r *http.Request) { r.Header.Del("Origin") }}, http.StatusOK},
	} {
		answer := serve(handler, http.MethodPost, "/codec/decode", "{}", append([]func(*http.Request){ui}, test.change...)...)
		origin := answer.Header.Get("Access-Control-Allow-Origin")
		if answer.StatusCode != test.status || origin == "*" || strings.Contains(name, "site") && origin != "" {
			t.Errorf("%s: answered %d %v", name, answer.StatusCode, answer.Header)
		}
	}
	if wrong := lines(t, log, "admin request not authenticated"); slices.ContainsFunc(wrong, func(l map[string]any) bool { return l["level"] == "WARN" }) {
		t.Errorf("the UI's token is taken for a guess: %v", wrong)
	}
}

func TestEveryAnswerHasTheHeadersOfThePage(t *testing.T) {
	handler, _, _ := guardedAdmin(adminToken)
	for _, request := range []string{
		"GET /healthz", "GET /readyz", "GET /metrics", "GET /", "GET /login", "GET /journal", "GET /nothing", "POST /healthz", "POST /login", "OPTIONS /codec/decode",
	} {
		method, path, _ := strings.Cut(request, " ")
		answer := serve(handler, method, path, "")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", request, name, got)
			}
		}
		if !strings.HasPrefix(answer.Header.Get("Content-Security-Policy"), "default-src 'none'; ") {
			t.Errorf("%s has no policy", request)
		}
	}
}
