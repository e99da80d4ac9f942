package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/encoding/protojson"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// adminServer is an admin handler with a real journal, in which n deliveries
// are parked.
func adminServer(t *testing.T, n int) (url string, kept *journal.Journal) {
	t.Helper()
	kept, err := journal.Open(t.TempDir(), journal.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		header := http.Header{}
		header.Set(sentry.HeaderRequestID, sentry.NewRequestID())
		env := sentry.NewEnvelope("sentry", "sentry.issue.created", header, []byte(issueBody), time.Unix(1733337600, 0))
		if err := kept.Append(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	park(t, kept, n)
	s := httptest.NewServer(admin.New(admin.Options{
		Ready:    func() error { return nil },
		Temporal: func() []admin.NamespaceState { return nil },
		Parking:  kept,
		Codec:    starter.Codec(),
		UIURL:    "http://127.0.0.1:8233",
		Log:      slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(func() {
		s.Close()
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.URL, kept
}

// park has a forwarder park the n pending deliveries.
func park(t *testing.T, kept *journal.Journal, n int) {
	t.Helper()
	failed := errors.New("Temporal does not take it")
	ctx, stop := context.WithCancel(t.Context())
	f := journal.NewForwarder(kept, func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, failed },
		journal.ForwarderOptions{Permanent: func(err error) bool { return errors.Is(err, failed) }, Log: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	for kept.Stats().Parked < n {
		if t.Context().Err() != nil {
			t.Fatal("they were not parked")
		}
	}
	stop()
	<-done
}

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

func parkedURL(url string, id uint64) string { return url + "/parked/" + strconv.FormatUint(id, 10) }

type parkedList struct {
	Parked []struct {
		ID     uint64 `json:"id"`
		Event  string `json:"event"`
		Reason string `json:"reason"`
		Size   int    `json:"size"`
	} `json:"parked"`
}

func listParked(t *testing.T, url string) parkedList {
	t.Helper()
	status, text, _ := ask(t, http.MethodGet, url+"/parked", nil)
	var list parkedList
	if err := json.Unmarshal(text, &list); err != nil || status != http.StatusOK {
		t.Fatalf("answered %d %s: %v", status, text, err)
	}
	return list
}

func TestParkedDeliveriesAreListedWithTheirReasonAndWithoutTheirBody(t *testing.T) {
	url, _ := adminServer(t, 2)
	list := listParked(t, url)
	if len(list.Parked) != 2 {
		t.Fatalf("listed are %+v", list)
	}
	for _, p := range list.Parked {
		if p.ID == 0 || p.Event != "sentry.issue.created" || p.Reason != "Temporal does not take it" || p.Size != len(issueBody) {
			t.Errorf("listed is %+v", p)
		}
	}
	if _, text, _ := ask(t, http.MethodGet, url+"/parked", nil); strings.Contains(string(text), "4711") {
		t.Errorf("the body is in the list: %s", text)
	}
}

func TestAParkedDeliveryIsExported(t *testing.T) {
	url, _ := adminServer(t, 1)
	id := listParked(t, url).Parked[0].ID
	status, text, _ := ask(t, http.MethodGet, parkedURL(url, id), nil)
	var env sentry.Envelope
	if err := json.Unmarshal(text, &env); err != nil || status != http.StatusOK || string(env.Body) != issueBody {
		t.Errorf("answered %d %s", status, text)
	}
}

func TestParkedDeliveriesArePutBackOrDiscarded(t *testing.T) {
	url, kept := adminServer(t, 4)
	list := listParked(t, url).Parked
	if status, text, _ := ask(t, http.MethodPost, parkedURL(url, list[0].ID)+"/retry", nil); status != http.StatusOK {
		t.Errorf("retry answered %d %s", status, text)
	}
	if status, text, _ := ask(t, http.MethodDelete, parkedURL(url, list[1].ID), nil); status != http.StatusOK {
		t.Errorf("discard answered %d %s", status, text)
	}
	if stats := kept.Stats(); stats.Pending != 1 || stats.Parked != 2 {
		t.Errorf("one back, one gone: %+v", stats)
	}
	if status, text, _ := ask(t, http.MethodPost, url+"/parked/retry", nil); status != http.StatusOK || !strings.Contains(string(text), "2") {
		t.Errorf("retry all answered %d %s", status, text)
	}
	if stats := kept.Stats(); stats.Pending != 3 || stats.Parked != 0 {
		t.Errorf("all back: %+v", stats)
	}
	for _, id := range []string{"0", "999", "x", "-1"} {
		if status, _, _ := ask(t, http.MethodDelete, url+"/parked/"+id, nil); status != http.StatusNotFound {
			t.Errorf("id %s answered %d", id, status)
		}
	}
}

// Pages of other sites, which an engineer may have open, can neither act nor
// read here.
func TestPagesOfOtherSitesAreNotAnswered(t *testing.T) {
	url, kept := adminServer(t, 1)
	id := listParked(t, url).Parked[0].ID
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for name, test := range map[string]struct {
		method, path string
		change       func(*http.Request)
	}{
		"a form of another site":       {http.MethodPost, "/parked/retry", header("Origin", "https://evil.example")},
		"a fetch of another site":      {http.MethodDelete, parkedURL("", id), header("Sec-Fetch-Site", "cross-site")},
		"a name pointed here":          {http.MethodGet, "/parked", host("rebound.evil.example:8081")},
		"a name pointed here, acting":  {http.MethodPost, "/parked/retry", host("rebound.evil.example")},
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
	if stats := kept.Stats(); stats.Parked != 1 {
		t.Errorf("something was done: %+v", stats)
	}
	for _, name := range []string{"localhost:8081", "127.0.0.1:8081", "[::1]:8081", "ingress:8081", "10.0.0.7"} {
		if status, text, _ := ask(t, http.MethodGet, url+"/parked", nil, host(name)); status != http.StatusOK {
			t.Errorf("under the name %s: answered %d %s", name, status, text)
		}
	}
}

func TestTheTemporalUIReadsCompressedPayloads(t *testing.T) {
	url, _ := adminServer(t, 0)
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
