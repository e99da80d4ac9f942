package ingress_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

const (
	secret    = "3b9f0c62d4a8e71f5c20b6d9a4e8f7315b0c92d6e4a8f7013c5b9d2e6f8a1c47"
	oldSecret = "an-older-secret"
	maxBody   = 64 << 10
	requestID = "0123456789abcdef0123456789abcdef"
	issueBody = `{"action":"created","installation":{"uuid":"u"},"data":{"issue":{"id":"4711"}},"actor":{"type":"application","id":"sentry","name":"Sentry"}}`
)

// starts is an Inbox that notes what it is given.
type starts struct {
	mu    sync.Mutex
	envs  []sentry.Envelope
	waits []time.Duration
	start func(context.Context, sentry.Envelope) ([]starter.Run, error) // nil: one started run
	skips []routes.Skip
}

func (s *starts) Deliver(ctx context.Context, env sentry.Envelope, _ sentry.Delivery, wait time.Duration) (starter.Taken, error) {
	s.mu.Lock()
	s.envs = append(s.envs, env)
	s.waits = append(s.waits, wait)
	s.mu.Unlock()
	if s.start != nil {
		runs, err := s.start(ctx, env)
		return starter.Taken{Key: env.IdempotencyKey, Runs: runs, Skipped: s.skips}, err
	}
	return starter.Taken{Key: env.IdempotencyKey, Runs: []starter.Run{{Workflow: "w", WorkflowID: "w:sentry:" + env.IdempotencyKey, RunID: "run", Status: starter.Started}}}, nil
}

func (s *starts) seen() []sentry.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.envs
}

// server is an ingress behind a real HTTP server.
type server struct {
	*httptest.Server
	starts *starts
	logs   *lockedBuffer
}

func newServer(t testing.TB, s *starts) *server {
	t.Helper()
	logs := &lockedBuffer{}
	handler := ingress.New(ingress.Options{
		Keyring: keys(
			config.Integration{Name: "sentry", Secrets: []config.Secret{secret, oldSecret}},
			config.Integration{Name: "mobile", Secrets: []config.Secret{"the-secret-of-mobile"}},
		),
		MaxBodyBytes: maxBody,
		Inbox:        s,
		Log:          telemetry.NewLogger(logs, true, slog.LevelDebug),
	})
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return &server{Server: srv, starts: s, logs: logs}
}

// keys has the secrets that integrations are given, and no files.
func keys(integrations ...config.Integration) *keyring.Keyring {
	return keyring.New(integrations, "", slog.New(slog.DiscardHandler))
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// signed returns a request as Sentry sends it.
func (s *server) signed(t testing.TB, integration, body string, change ...func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/webhooks/"+integration, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "sentry/26.11.0 (https://sentry.io)")
	r.Header.Set(sentry.HeaderRequestID, requestID)
	r.Header.Set(sentry.HeaderResource, "issue")
	r.Header.Set(sentry.HeaderTimestamp, "1733337600")
	r.Header.Set(sentry.HeaderSignature, sentry.Sign(secret, []byte(body)))
	for _, f := range change {
		f(r)
	}
	return r
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
			return
		}
		r.Header.Set(name, value)
	}
}

type answer struct {
	Status         string
	Event          string
	IdempotencyKey string `json:"idempotency_key"`
	Runs           []starter.Run
	Error          string
}

func do(t testing.TB, r *http.Request) (*http.Response, answer) {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("the answer %q is not JSON: %v", text, err)
	}
	return response, a
}

func TestAnswers(t *testing.T) {
	signature := sentry.Sign(secret, []byte(issueBody))
	tests := map[string]struct {
		integration string // "" for sentry
		body        string // "" for issueBody
		change      []func(*http.Request)
		start       func(context.Context, sentry.Envelope) ([]starter.Run, error)
		status      int
		says        string // the status of a 202
	}{
		"verified and wanted": {status: 202, says: "started"},
		"resolves to the existing run": {
			start: func(context.Context, sentry.Envelope) ([]starter.Run, error) {
				return []starter.Run{{Status: starter.Started}, {Status: starter.Existing}}, nil
			},
			status: 202, says: "existing",
		},
		"no workflow wants the event": {
			start:  func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, nil },
			status: 202, says: "ignored",
		},
		"signed with the older secret": {
			change: []func(*http.Request){header(sentry.HeaderSignature, sentry.Sign(oldSecret, []byte(issueBody)))},
			status: 202, says: "started",
		},
		"unknown integration":           {integration: "nobody", status: 404},
		"no integration":                {integration: "", change: []func(*http.Request){path("/webhooks/")}, status: 404},
		"path with a slash at the end":  {change: []func(*http.Request){path("/webhooks/sentry/")}, status: 404},
		"another path":                  {change: []func(*http.Request){path("/")}, status: 404},
		"not POST":                      {change: []func(*http.Request){method(http.MethodGet)}, status: 405},
		"PUT":                           {change: []func(*http.Request){method(http.MethodPut)}, status: 405},
		"signature missing":             {change: []func(*http.Request){header(sentry.HeaderSignature, "")}, status: 401},
		"signature wrong":               {change: []func(*http.Request){header(sentry.HeaderSignature, sentry.Sign("another", []byte(issueBody)))}, status: 401},
		"signature of wrong length":     {change: []func(*http.Request){header(sentry.HeaderSignature, signature[:62])}, status: 401},
		"signature not hex":             {change: []func(*http.Request){header(sentry.HeaderSignature, "zz"+signature[2:])}, status: 401},
		"signature with sha256= before": {change: []func(*http.Request){header(sentry.HeaderSignature, "sha256="+signature)}, status: 401},
		"signature in another header": {
			change: []func(*http.Request){header(sentry.HeaderSignature, ""), header("Sentry-App-Signature", signature)},
			status: 401,
		},
		"signed for another integration":   {integration: "mobile", status: 401},
		"signature of another body":        {body: issueBody + " ", change: []func(*http.Request){header(sentry.HeaderSignature, signature)}, status: 401},
		"body over the cap":                {body: issueBody + strings.Repeat(" ", maxBody), status: 413},
		"body of exactly the cap":          {body: issueBody + strings.Repeat(" ", maxBody-len(issueBody)), status: 202, says: "started"},
		"body over the cap, length untold": {body: issueBody + strings.Repeat(" ", maxBody), change: []func(*http.Request){chunked}, status: 413},
		"not JSON":                         {body: `{"action":`, status: 400},
		"empty body":                       {change: []func(*http.Request){empty}, status: 400},
		"JSON but no object":               {body: `[{"action":"created"}]`, status: 400},
		"not UTF-8":                        {body: "{\"action\":\"created\",\"x\":\"\xff\"}", status: 400},
		"nested beyond reason":             {body: `{"action":"created","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, status: 400},
		"no action":                        {body: `{"data":{"issue":{}}}`, status: 400},
		"action not a string":              {body: `{"action":1,"data":{"issue":{}}}`, status: 400},
		"action not a name":                {body: `{"action":"not a name","data":{"issue":{}}}`, status: 400},
		"resource contradicts the body":    {change: []func(*http.Request){header(sentry.HeaderResource, "comment")}, status: 400},
		"resource absent but inferable":    {change: []func(*http.Request){header(sentry.HeaderResource, "")}, status: 202, says: "started"},
		"resource absent, not inferable":   {body: `{"action":"created","data":{}}`, change: []func(*http.Request){header(sentry.HeaderResource, "")}, status: 400},
		"resource not a name":              {change: []func(*http.Request){header(sentry.HeaderResource, "is/sue")}, status: 400},
		"resource nobody has heard of":     {body: `{"action":"made","data":{}}`, change: []func(*http.Request){header(sentry.HeaderResource, "release")}, status: 202, says: "started"},
		"Temporal does not store the start": {
			start:  func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, errors.New("down") },
			status: 500,
		},
		"a bug": {
			start:  func(context.Context, sentry.Envelope) ([]starter.Run, error) { panic("a bug") },
			status: 500,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, &starts{start: test.start})
			integration, body := test.integration, test.body
			if integration == "" {
				integration = "sentry"
			}
			if body == "" {
				body = issueBody
			}
			r := s.signed(t, integration, body, test.change...)
			response, got := do(t, r)
			if response.StatusCode != test.status || got.Status != test.says {
				t.Errorf("answered %d %+v, want %d %q", response.StatusCode, got, test.status, test.says)
			}
			if test.status == 202 && (got.Runs == nil || got.IdempotencyKey != requestID || !strings.HasPrefix(got.Event, "sentry.")) {
				t.Errorf("the answer lacks something: %+v", got)
			}
			if test.status != 202 && got.Error == "" {
				t.Error("the answer does not say what is wrong")
			}
			if test.status == 405 && response.Header.Get("Allow") != http.MethodPost {
				t.Errorf("Allow is %q", response.Header.Get("Allow"))
			}
			if test.status >= 400 && test.status < 500 && len(s.starts.seen()) > 0 {
				t.Error("a refused delivery was started")
			}
			for what, hidden := range map[string]string{"the secret": secret, "the signature": sentry.Sign(secret, []byte(body)), "the body": body} {
				if said := got.Error + s.logs.String(); strings.Contains(said, hidden) {
					t.Errorf("%s is in the answer or in the log: %s", what, said)
				}
			}
		})
	}
}

func path(p string) func(*http.Request)   { return func(r *http.Request) { r.URL.Path = p } }
func method(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
func chunked(r *http.Request)             { r.ContentLength = -1 }

func empty(r *http.Request) {
	r.Body, r.ContentLength = http.NoBody, 0
	r.Header.Set(sentry.HeaderSignature, sentry.Sign(secret, nil))
}

func TestABugIsNotExplainedToTheSender(t *testing.T) {
	s := newServer(t, &starts{start: func(context.Context, sentry.Envelope) ([]starter.Run, error) { panic("the inside") }})
	_, got := do(t, s.signed(t, "sentry", issueBody))
	if strings.Contains(got.Error, "the inside") {
		t.Errorf("the sender is told %q", got.Error)
	}
	if logged := s.logs.String(); !strings.Contains(logged, "the inside") || !strings.Contains(logged, "stack") {
		t.Errorf("the log does not say what happened: %s", logged)
	}
}

func TestBodyReachesTheWorkflowUnchanged(t *testing.T) {
	for name, text := range map[string]string{
		"escapes":          `\u20ac \ud83e\uddfe \u0000 \ud800 \/`,
		"literal UTF-8":    "€ 🧾 é",
		"markup":           `<b>&amp;</b>`,
		"line separators":  "\u2028\u2029",
		"odd white space":  "tab\\tand  spaces",
		"nineteen digits":  `","n":9007199254740993123,"f":100.0,"e":1E400,"s":"`,
		"duplicate fields": `","action":"created","s":"`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, &starts{})
			body := " \n" + `{"action" : "created","data":{"issue":{"title":"` + text + `"}}}` + "\r\n"
			if response, got := do(t, s.signed(t, "sentry", body)); response.StatusCode != 202 {
				t.Fatalf("answered %d %s", response.StatusCode, got.Error)
			}
			if got := string(s.starts.seen()[0].Body); got != body {
				t.Errorf("the body became %q", got)
			}
		})
	}
}

func TestEnvelopeOfADelivery(t *testing.T) {
	s := newServer(t, &starts{})
	do(t, s.signed(t, "sentry", issueBody))
	got, err := json.Marshal(s.starts.seen()[0])
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(issueBody)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"_webhook":true,"source":"sentry","integration_id":"sentry","event_type":"sentry.issue.created",` +
		`"idempotency_key":"` + requestID + `","timestamp":1733337600,"headers":{"request-id":"` + requestID + `",` +
		`"sentry-hook-resource":"issue","sentry-hook-timestamp":"1733337600","user-agent":"sentry/26.11.0 (https://sentry.io)"},"body":` + string(body) + `}`
	if string(got) != want {
		t.Errorf("the envelope is\n%s, want\n%s", got, want)
	}
}

func TestADeliveryWithoutFitRequestIDIsKeyedByItsBody(t *testing.T) {
	for name, id := range map[string]string{"missing": "", "too long": strings.Repeat("a", 129), "odd characters": "a:b"} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, &starts{})
			response, got := do(t, s.signed(t, "sentry", issueBody, header(sentry.HeaderRequestID, id)))
			if response.StatusCode != 202 || !strings.HasPrefix(got.IdempotencyKey, "sha256-") {
				t.Errorf("answered %d %+v", response.StatusCode, got)
			}
		})
	}
}

func TestPreferWait(t *testing.T) {
	for name, test := range map[string]struct {
		prefer  []string
		waits   time.Duration
		applied string
	}{
		"no preference":       {},
		"seconds":             {prefer: []string{"wait=3"}, waits: 3 * time.Second, applied: "wait=3"},
		"at most ten seconds": {prefer: []string{"wait=86400"}, waits: 10 * time.Second, applied: "wait=10"},
		"among others":        {prefer: []string{`respond-async; x=1, Wait = "2";y`}, waits: 2 * time.Second, applied: "wait=2"},
		"in a second header":  {prefer: []string{"return=minimal", "wait=1"}, waits: time.Second, applied: "wait=1"},
		"not a number":        {prefer: []string{"wait=soon"}},
		"negative":            {prefer: []string{"wait=-1"}},
		"beyond all bounds":   {prefer: []string{"wait=99999999999999999999"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, &starts{})
			r := s.signed(t, "sentry", issueBody)
			r.Header["Prefer"] = test.prefer
			response, _ := do(t, r)
			if got := response.Header.Get("Preference-Applied"); got != test.applied || s.starts.waits[0] != test.waits {
				t.Errorf("waited %s, answered %q", s.starts.waits[0], got)
			}
		})
	}
}

func TestOneLogLineForEachDelivery(t *testing.T) {
	tests := map[string]struct {
		change []func(*http.Request)
		starts func(context.Context, sentry.Envelope) ([]starter.Run, error)
		want   map[string]any
	}{
		"not kept": {
			starts: func(context.Context, sentry.Envelope) ([]starter.Run, error) {
				return nil, errors.New("the disk is full")
			},
			want: map[string]any{"level": "ERROR", "request_id": requestID, "integration": "sentry", "outcome": "failed", "status": 500.0},
		},
		"taken": {want: map[string]any{
			"level": "INFO", "request_id": requestID, "integration": "sentry", "event": "sentry.issue.created",
			"outcome": "started", "workflow_ids": []any{"w:sentry:" + requestID}, "status": 202.0,
		}},
		"refused": {
			change: []func(*http.Request){header(sentry.HeaderSignature, "")},
			want:   map[string]any{"level": "WARN", "request_id": requestID, "integration": "sentry", "outcome": "refused", "status": 401.0},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, &starts{start: test.starts})
			do(t, s.signed(t, "sentry", issueBody, test.change...))
			s.Close() // the handler has returned
			lines := strings.Split(strings.TrimSpace(s.logs.String()), "\n")
			if len(lines) != 1 {
				t.Fatalf("%d log lines: %q", len(lines), lines)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
				t.Fatal(err)
			}
			for key, want := range test.want {
				a, _ := json.Marshal(got[key])
				b, _ := json.Marshal(want)
				if !bytes.Equal(a, b) {
					t.Errorf("%s is %s, want %s", key, a, b)
				}
			}
			if _, ok := got["duration_ms"].(float64); !ok {
				t.Errorf("no duration in %s", lines[0])
			}
		})
	}
}

func TestTheLogHasTheDurationInMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &lockedBuffer{}
		handler := ingress.New(ingress.Options{
			Keyring:      keys(config.Integration{Name: "sentry", Secrets: []config.Secret{secret}}),
			MaxBodyBytes: maxBody,
			Inbox: &starts{start: func(context.Context, sentry.Envelope) ([]starter.Run, error) {
				<-time.After(1500 * time.Microsecond)
				return nil, nil
			}},
			Log: telemetry.NewLogger(logs, true, slog.LevelDebug),
		})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/sentry", strings.NewReader(issueBody))
		r.Header.Set(sentry.HeaderResource, "issue")
		r.Header.Set(sentry.HeaderSignature, sentry.Sign(secret, []byte(issueBody)))
		handler.ServeHTTP(httptest.NewRecorder(), r)
		if text := logs.String(); !strings.Contains(text, `"duration_ms":1.5`) || strings.Contains(text, "workflow_ids") {
			t.Errorf("logged was %s", text)
		}
	})
}

// An event that a workflow wants and does not run for is not one that nobody wants.
func TestAnswerAndLogTellAConditionFromNoWorkflow(t *testing.T) {
	none := func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, nil }
	for name, tt := range map[string]struct {
		skips []routes.Skip
		says  string
	}{
		"no workflow": {nil, ""},
		"a condition": {[]routes.Skip{{Workflow: "page_on_fatal", Why: routes.WhyCondition}}, `[{"workflow":"page_on_fatal","reason":"condition"}]`},
		"a route": {
			[]routes.Skip{{Workflow: "PayTriage", Why: routes.WhyRoute, Field: routes.NoProjects}},
			`[{"workflow":"PayTriage","reason":"route","field":"projects"}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, &starts{start: none, skips: tt.skips})
			response, err := http.DefaultClient.Do(s.signed(t, "sentry", issueBody))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusAccepted || !strings.Contains(string(body), `"status":"ignored"`) {
				t.Errorf("answered %d %s", response.StatusCode, body)
			}
			for where, text := range map[string]string{"answer": string(body), "log": s.logs.String()} {
				_, skipped, found := strings.Cut(text, `"skipped":`)
				if found != (tt.says != "") || !strings.HasPrefix(skipped, tt.says) {
					t.Errorf("the %s says %s", where, text)
				}
			}
		})
	}
}

func TestWhatAnUnverifiedSenderSaysIsCutInTheLog(t *testing.T) {
	s := newServer(t, &starts{})
	long := strings.Repeat("x", 4000)
	do(t, s.signed(t, long, issueBody, header(sentry.HeaderRequestID, long)))
	s.Close()
	if logged := s.logs.String(); strings.Contains(logged, strings.Repeat("x", 200)) {
		t.Errorf("logged %d bytes", len(logged))
	}
}

func TestTheLogNamesTheIssueByItsIDAndItsShortIDAndCutsBoth(t *testing.T) {
	s := newServer(t, &starts{})
	long := `"id":"` + strings.Repeat("7", 4000) + `","shortId":"` + strings.Repeat("S", 4000) + `"`
	do(t, s.signed(t, "sentry", strings.Replace(issueBody, `"id":"4711"`, long, 1)))
	s.Close()
	logged := s.logs.String()
	if !strings.Contains(logged, `"issue":"777`) || strings.Contains(logged, strings.Repeat("7", 200)) ||
		!strings.Contains(logged, `"short_id":"SSS`) || strings.Contains(logged, strings.Repeat("S", 200)) {
		t.Errorf("logged is %.1000s", logged)
	}
}

// A body over the cap is answered without reading on: the sender offers far
// more than anyone would buffer, and would block if it were not read.
func TestABodyOverTheCapIsReadNoFurther(t *testing.T) {
	s := newServer(t, &starts{})
	endless := &countingReader{}
	r := s.signed(t, "sentry", issueBody)
	r.Body, r.ContentLength = io.NopCloser(endless), -1
	response, err := http.DefaultClient.Do(r)
	if err == nil { // else the connection was closed before the answer was read, which is as good
		defer response.Body.Close()
		if response.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("answered %d", response.StatusCode)
		}
	}
	s.Close()
	if sent := endless.total(); sent > 32<<20 {
		t.Errorf("%d bytes were taken from the sender", sent)
	}
}

type countingReader struct {
	mu sync.Mutex
	n  int
}

func (r *countingReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n += len(p)
	return len(p), nil
}

func (r *countingReader) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

func TestAStartThatHangsIsAnsweredWithinSentrysSecond(t *testing.T) {
	hung := func(ctx context.Context, _ sentry.Envelope) ([]starter.Run, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s := newServer(t, &starts{start: hung})
	began := time.Now()
	response, _ := do(t, s.signed(t, "sentry", issueBody))
	if took := time.Since(began); response.StatusCode != 500 || took > time.Second {
		t.Errorf("answered %d after %s", response.StatusCode, took)
	}
}

// slowBody is a body that arrives after so long.
type slowBody struct {
	io.Reader
	after time.Duration
}

func (b slowBody) Read(p []byte) (int, error) {
	<-time.After(b.after)
	return b.Reader.Read(p)
}

func (slowBody) Close() error { return nil }

func TestADeliveryIsKeptUntilShortOfSentrysSecond(t *testing.T) {
	for name, test := range map[string]struct{ body, wait, deadline time.Duration }{
		"at once":                       {deadline: 800 * time.Millisecond},
		"with a body that takes a time": {body: 100 * time.Millisecond, deadline: 600 * time.Millisecond}, // two reads
		"with one that takes too long":  {body: time.Second, deadline: 300 * time.Millisecond},
		"while the sender waits":        {wait: 5 * time.Second, deadline: 5800 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var left time.Duration
				handler := ingress.New(ingress.Options{
					Keyring:      keys(config.Integration{Name: "sentry", Secrets: []config.Secret{secret}}),
					MaxBodyBytes: maxBody,
					Log:          slog.New(slog.DiscardHandler),
					Inbox: &starts{start: func(ctx context.Context, _ sentry.Envelope) ([]starter.Run, error) {
						deadline, _ := ctx.Deadline()
						left = time.Until(deadline)
						return nil, nil
					}},
				})
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/sentry", nil)
				r.Body = slowBody{strings.NewReader(issueBody), test.body}
				r.Header.Set(sentry.HeaderResource, "issue")
				r.Header.Set(sentry.HeaderSignature, sentry.Sign(secret, []byte(issueBody)))
				r.Header.Set("Prefer", fmt.Sprintf("wait=%d", test.wait/time.Second))
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != http.StatusAccepted || left != test.deadline {
					t.Errorf("answered %d, and had %s to keep it", w.Code, left)
				}
			})
		})
	}
}

func TestWorkGoesOnWhenSentryHangsUp(t *testing.T) {
	requests, result := make(chan context.Context, 1), make(chan error, 1)
	ctx, hangUp := context.WithCancel(t.Context())
	s := newServer(t, &starts{start: func(ctx context.Context, _ sentry.Envelope) ([]starter.Run, error) {
		hangUp()
		<-(<-requests).Done() // the server has noticed
		result <- ctx.Err()
		return nil, nil
	}})
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Context()
		inner.ServeHTTP(w, r)
	})
	if response, err := http.DefaultClient.Do(s.signed(t, "sentry", issueBody).WithContext(ctx)); err == nil {
		response.Body.Close()
		t.Fatal("the sender has not hung up")
	}
	if err := <-result; err != nil {
		t.Errorf("the start was stopped: %v", err)
	}
}

// A body that is too long by its own account is not even waited for.
func TestABodyThatSaysItIsTooLongIsAnsweredAtOnce(t *testing.T) {
	s := newServer(t, &starts{})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /webhooks/sentry HTTP/1.1\r\nHost: x\r\nSentry-Hook-Signature: %s\r\nContent-Length: %d\r\n\r\n", sentry.Sign("any", nil), maxBody+1); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge || !response.Close {
		t.Errorf("answered %s, closing: %t", response.Status, response.Close)
	}
}

func FuzzDelivery(f *testing.F) {
	for _, name := range sentry.SampleNames() {
		body, err := sentry.Sample(name)
		if err != nil {
			f.Fatal(err)
		}
		resource, _, _ := strings.Cut(name, ".")
		f.Add(resource, requestID, body)
	}
	f.Add("", "", []byte(`{"action":"created"}`))
	s := &starts{}
	handler := ingress.New(ingress.Options{
		Keyring:      keys(config.Integration{Name: "sentry", Secrets: []config.Secret{secret}}),
		MaxBodyBytes: 1 << 20,
		Inbox:        s,
		Log:          slog.New(slog.DiscardHandler),
	})
	f.Fuzz(func(t *testing.T, resource, requestID string, body []byte) {
		s.envs = nil
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/sentry", bytes.NewReader(body))
		r.Header.Set(sentry.HeaderResource, resource)
		r.Header.Set(sentry.HeaderRequestID, requestID)
		r.Header.Set(sentry.HeaderSignature, sentry.Sign(secret, body))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusBadRequest:
			if len(s.envs) != 0 {
				t.Error("refused and started")
			}
		case http.StatusAccepted:
			env := s.envs[0]
			if string(env.Body) != string(body) {
				t.Errorf("the body %q became %q", body, env.Body)
			}
			if id := "triage_sentry_issue:sentry:" + env.IdempotencyKey; len(id) > 255 || strings.ContainsAny(env.IdempotencyKey, ": \n") {
				t.Errorf("the workflow ID would be %q", id)
			}
		default:
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	})
}

func TestHealthIsNotOnThePublicAddress(t *testing.T) {
	s := newServer(t, &starts{})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		response, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s answered %d", path, response.StatusCode)
		}
	}
}
