package ingress_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/forwarder"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/workflows"
)

// routesOf is a file of n routes, each for the new issues of a project of its own.
// Only the last is for the project of the sample.
func routesOf(n int) string {
	var b strings.Builder
	b.WriteString("routes:\n")
	for i := range n {
		project := fmt.Sprintf("project-%d", i)
		if i == n-1 {
			project = "backend"
		}
		fmt.Fprintf(&b, "  - {workflow: Triage%d, events: [sentry.issue.created], projects: [%s], levels: [fatal, error]}\n", i, project)
	}
	return b.String()
}

// kept is the ingress as it is, with its journal, that plans by a table. Temporal is
// away.
func kept(b *testing.B, table *routes.Table, integrations []config.Integration) http.Handler {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	j, err := journal.Open(b.TempDir(), journal.Options{Log: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close() })
	connections, err := starter.Connect(config.Temporal{Client: client.Options{HostPort: "127.0.0.1:1"}}, integrations, log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(connections.Close)
	starts := starter.New(connections, log)
	lanes := forwarder.New(j, starts.Prepare, forwarder.Options{Log: log})
	inbox := forwarder.NewInbox(lanes, starts, func(d sentry.Delivery) routes.Plan { return table.Plan(d, func(string, error) {}) })
	return ingress.New(ingress.Options{
		Keyring: keys(integrations...), MaxBodyBytes: maxBody, Inbox: inbox, Log: telemetry.NewLogger(io.Discard, true, slog.LevelInfo),
	})
}

// BenchmarkRoutes is a whole acknowledgement, on disk, with 200 routes and without
// a file, one after the other. A delivery has one run in both.
func BenchmarkRoutes(b *testing.B) {
	integrations := []config.Integration{{Name: "sentry", Secrets: []config.Secret{secret}, Namespace: "default", TaskQueue: "sentry"}}
	many, err := routes.Parse([]byte(routesOf(200)), workflows.All, integrations)
	if err != nil {
		b.Fatal(err)
	}
	handlers := []http.Handler{kept(b, routes.CompiledIn(workflows.All, integrations), integrations), kept(b, many, integrations)}
	body := benchBody(b)
	request := (&server{Server: &httptest.Server{}}).signed(b, "sentry", body)
	var took [2][]time.Duration
	for turn := 0; b.Loop(); turn++ {
		for i := range handlers {
			i = (i + turn) % len(handlers)
			r := request.Clone(b.Context())
			r.Header.Set(sentry.HeaderRequestID, sentry.NewRequestID())
			r.Body = io.NopCloser(strings.NewReader(body))
			w := httptest.NewRecorder()
			began := time.Now()
			handlers[i].ServeHTTP(w, r)
			took[i] = append(took[i], time.Since(began))
			if w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), `"status":"accepted"`) {
				b.Fatalf("answered %d %s", w.Code, w.Body)
			}
		}
	}
	median := func(all []time.Duration) float64 {
		slices.Sort(all)
		return float64(all[len(all)/2].Microseconds())
	}
	none, some := median(took[0]), median(took[1])
	b.ReportMetric(none, "µs-none/ack")
	b.ReportMetric(some, "µs-200/ack")
	b.ReportMetric(some/none, "ratio")
}

// BenchmarkPlan is what of that is the table's.
func BenchmarkPlan(b *testing.B) {
	integrations := []config.Integration{{Name: "sentry", Namespace: "default", TaskQueue: "sentry"}}
	many, err := routes.Parse([]byte(routesOf(200)), workflows.All, integrations)
	if err != nil {
		b.Fatal(err)
	}
	d := sentry.DeliveryOf(sentry.Envelope{EventType: "sentry.issue.created", IntegrationID: "sentry", Body: sentry.Body(benchBody(b))})
	for name, table := range map[string]*routes.Table{"none": routes.CompiledIn(workflows.All, integrations), "200": many} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if plan := table.Plan(d, nil); len(plan.Operations) != 1 {
					b.Fatalf("planned %+v", plan)
				}
			}
		})
	}
}
