package admin_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/encoding/protojson"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/starter"
)

func ask(t *testing.T, method, url string, body io.Reader, change ...func(*http.Request)) (status int, text []byte, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(r)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, text, response.Header
}

// Pages of other sites, which an engineer may have open, can neither act nor
// read here.
func TestPagesOfOtherSitesAreNotAnswered(t *testing.T) {
	url, kept := adminServer(t, item{ID: 1, State: journal.Parked})
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for name, test := range map[string]struct {
		method, path string
		change       func(*http.Request)
	}{
		"a form of another site":       {http.MethodPost, "/journal/retry?all=true", header("Origin", "https://evil.example")},
		"a fetch of another site":      {http.MethodPost, "/journal/discard?id=1", header("Sec-Fetch-Site", "cross-site")},
		"a name pointed here":          {http.MethodGet, "/journal", host("rebound.evil.example:8081")},
		"a name pointed here, acting":  {http.MethodPost, "/journal/retry?all=true", host("rebound.evil.example")},
		"the codec for another site":   {http.MethodPost, "/codec/decode", header("Origin", "https://evil.example")},
		"a preflight of another site":  {http.MethodOptions, "/codec/decode", header("Origin", "https://evil.example")},
		"the codec under another name": {http.MethodPost, "/codec/decode", host("rebound.evil.example")},
	} {
		t.Run(name, func(t *testing.T) {
			status, text, header := ask(t, test.method, url+test.path, nil, test.change)
			if status != http.StatusForbidden || header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("answered %d %s", status, text)
			}
		})
	}
	if kept.count(journal.Parked) != 1 {
		t.Errorf("something was done: %+v", kept.items)
	}
	for _, name := range []string{"localhost:8081", "127.0.0.1:8081", "[::1]:8081", "ingress:8081", "10.0.0.7"} {
		if status, text, _ := ask(t, http.MethodGet, url+"/journal", nil, host(name)); status != http.StatusOK {
			t.Errorf("under the name %s: answered %d %s", name, status, text)
		}
	}
}

func TestTheTemporalUIReadsCompressedPayloads(t *testing.T) {
	url, _ := adminServer(t)
	plain, err := starter.DataConverter().ToPayloads(strings.Repeat("large ", 100_000))
	if err != nil {
		t.Fatal(err)
	}
	if encoding := string(plain.Payloads[0].Metadata[converter.MetadataEncoding]); encoding != "binary/zlib" {
		t.Fatalf("the payload is %s", encoding)
	}
	body, err := protojson.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{"http://127.0.0.1:8233", "http://localhost:8233"} {
		status, _, headers := ask(t, http.MethodOptions, url+"/codec/decode", nil, header("Origin", origin),
			header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "content-type,x-namespace"))
		if status != http.StatusNoContent || headers.Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("the preflight of %s was answered %d, %v", origin, status, headers)
		}
		status, text, headers := ask(t, http.MethodPost, url+"/codec/decode", bytes.NewReader(body), header("Origin", origin))
		if status != http.StatusOK || headers.Get("Access-Control-Allow-Origin") != origin || !strings.Contains(string(text), "anNvbi9wbGFpbg") { // json/plain
			t.Errorf("answered %d %.200s", status, text)
		}
	}
	if status, _, _ := ask(t, http.MethodPost, url+"/codec/encode", bytes.NewReader(body)); status != http.StatusNotFound {
		t.Errorf("encode answered %d: nobody needs it", status)
	}
}

func TestProbes(t *testing.T) {
	full := errors.New("journal is full")
	stuck := errors.New("has not turned for 31s")
	turns := admin.Check{Name: "journal", Turn: func() error { return nil }}
	away := []admin.NamespaceState{{Namespace: "default", Status: admin.StatusUnreachable, Problem: "connection refused"}}
	for name, test := range map[string]struct {
		path     string
		alive    []admin.Check
		ready    error
		temporal []admin.NamespaceState
		status   int
		says     string
	}{
		"the process is up":                  {path: "/healthz", status: 200, says: `{"status":"up"}`},
		"and its loops turn":                 {path: "/healthz", alive: []admin.Check{turns}, status: 200, says: `{"status":"up"}`},
		"the process is up without Temporal": {path: "/healthz", ready: full, temporal: away, status: 200, says: `{"status":"up"}`},
		"not up while a loop does not turn": {
			path: "/healthz", alive: []admin.Check{turns, {Name: "forwarder", Turn: func() error { return stuck }}},
			status: 503, says: `{"status":"not up","reason":"forwarder: has not turned for 31s"}`,
		},
		"ready while it can do its job": {path: "/readyz", status: 200, says: `{"status":"ready","temporal":[]}`},
		"ready while a loop does not turn, which is for healthz": {
			path: "/readyz", alive: []admin.Check{{Name: "forwarder", Turn: func() error { return stuck }}},
			status: 200, says: `{"status":"ready","temporal":[]}`,
		},
		"ready while Temporal is away": {
			path: "/readyz", temporal: away, status: 200,
			says: `{"status":"ready","temporal":[{"connection":"","namespace":"default","status":"unreachable","problem":"connection refused"}]}`,
		},
		"not ready while it cannot":              {path: "/readyz", ready: full, status: 503, says: `{"status":"not ready","reason":"journal is full","temporal":[]}`},
		"webhooks are not for the admin address": {path: "/webhooks/sentry", status: 404, says: `{"error":"nothing is here"}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(admin.New(admin.Options{
				Alive:    test.alive,
				Ready:    func() error { return test.ready },
				Temporal: func() []admin.NamespaceState { return test.temporal },
				Log:      slog.New(slog.DiscardHandler),
			}))
			defer s.Close()
			if status, text, _ := ask(t, http.MethodGet, s.URL+test.path, nil); status != test.status || strings.TrimSpace(string(text)) != test.says {
				t.Errorf("answered %d %s", status, text)
			}
		})
	}
}

func TestMetricsAnswerUnderAnyName(t *testing.T) {
	s := httptest.NewServer(admin.New(admin.Options{
		Ready:    func() error { return nil },
		Temporal: func() []admin.NamespaceState { return nil },
		Metrics:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		Log:      slog.New(slog.DiscardHandler),
	}))
	defer s.Close()
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		status, _, _ := ask(t, http.MethodGet, s.URL+path, nil, func(r *http.Request) { r.Host = "ingress.monitoring.svc.cluster.local" })
		if status != http.StatusOK {
			t.Errorf("%s answered %d", path, status)
		}
	}
}
