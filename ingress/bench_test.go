package ingress_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
)

// benchBody is an issue delivery of 2 KiB.
func benchBody(b *testing.B) string {
	b.Helper()
	sample, err := sentry.Sample("issue.created")
	if err != nil {
		b.Fatal(err)
	}
	padding := strings.Repeat("x", 2048-len(sample)-len(`,"text":""`))
	return strings.TrimSuffix(string(sample), "}") + `,"text":"` + padding + `"}`
}

// BenchmarkHMAC is what verifying cannot cost less than.
func BenchmarkHMAC(b *testing.B) {
	body := []byte(benchBody(b))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		mac.Sum(nil)
	}
}

// BenchmarkVerifyNameWrap is what this project does with a body in memory.
func BenchmarkVerifyNameWrap(b *testing.B) {
	body := []byte(benchBody(b))
	header := http.Header{}
	header.Set(sentry.HeaderResource, "issue")
	header.Set(sentry.HeaderRequestID, requestID)
	header.Set(sentry.HeaderTimestamp, "1733337600")
	signature := sentry.Sign(secret, body)
	secrets := []string{secret}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := sentry.Verify(secrets, body, signature); err != nil {
			b.Fatal(err)
		}
		event, err := sentry.EventName("issue", body)
		if err != nil {
			b.Fatal(err)
		}
		sentry.NewEnvelope("sentry", event, header, body, time.Time{})
	}
}

// BenchmarkExchange posts the body to a real server on loopback: one that only
// reads it, and the ingress with a starter that does nothing.
func BenchmarkExchange(b *testing.B) {
	handlers := map[string]http.Handler{
		"bare": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusAccepted)
		}),
	}
	maps.Copy(handlers, observed(b))
	for _, name := range []string{"bare", "ingress", "measured", "traced"} {
		b.Run(name, func(b *testing.B) {
			s := &server{Server: httptest.NewServer(handlers[name])}
			defer s.Close()
			body := benchBody(b)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				response, err := http.DefaultClient.Do(s.signed(b, "sentry", body))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != http.StatusAccepted {
					b.Fatal(response.Status)
				}
			}
		})
	}
}

// BenchmarkHandler is the ingress of [BenchmarkExchange] without the network,
// to tell what metrics and traces cost.
func BenchmarkHandler(b *testing.B) {
	handlers := observed(b)
	for _, name := range []string{"ingress", "measured", "traced"} {
		b.Run(name, func(b *testing.B) {
			body := benchBody(b)
			request := (&server{Server: &httptest.Server{}}).signed(b, "sentry", body)
			b.ReportAllocs()
			for b.Loop() {
				r := request.Clone(b.Context())
				r.Body = io.NopCloser(strings.NewReader(body))
				w := httptest.NewRecorder()
				handlers[name].ServeHTTP(w, r)
				if w.Code != http.StatusAccepted {
					b.Fatal(w.Code)
				}
			}
		})
	}
}

// observed returns the ingress as it is, with metrics, and with traces, too,
// which are taken by a collector that does nothing.
func observed(b *testing.B) map[string]http.Handler {
	b.Helper()
	integrations := []config.Integration{{Name: "sentry", Secrets: []config.Secret{secret}}}
	options := ingress.Options{
		Keyring:      keys(integrations...),
		MaxBodyBytes: maxBody,
		Inbox: &inboxFunc{func(context.Context, sentry.Envelope) ([]starter.Run, error) {
			return []starter.Run{{Workflow: "w", WorkflowID: "w:sentry:x", RunID: "run", Status: starter.Started}}, nil
		}},
		Log: telemetry.NewLogger(io.Discard, true, slog.LevelInfo),
	}
	handlers := map[string]http.Handler{"ingress": ingress.New(options)}
	count, err := ingress.Count(start(b).Meter(), integrations, []string{"sentry.issue.created"})
	if err != nil {
		b.Fatal(err)
	}
	options.Observers = []func(context.Context, web.Delivery){count, ingress.Describe}
	handlers["measured"] = ingress.New(options)
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.Cleanup(collector.Close)
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	handlers["traced"] = start(b).TraceRequests(handlers["measured"], "POST", func(*http.Request) bool { return true })
	return handlers
}

type inboxFunc struct {
	start func(context.Context, sentry.Envelope) ([]starter.Run, error)
}

func (f *inboxFunc) Deliver(ctx context.Context, env sentry.Envelope, _ sentry.Delivery, _ time.Duration) (starter.Taken, error) {
	runs, err := f.start(ctx, env)
	return starter.Taken{Key: env.IdempotencyKey, Runs: runs}, err
}
