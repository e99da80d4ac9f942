package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.temporal.io/sdk/client"
	temporalotel "go.temporal.io/sdk/contrib/opentelemetry"
	"golang.org/x/time/rate"

	"sentry-temporal/internal/build"
)

// scope is the name under which instruments and spans are made.
const scope = "sentry-temporal"

// shutdownTimeout is what a collector gets to take the last spans: deliveries wait
// for the next process meanwhile.
const shutdownTimeout = 500 * time.Millisecond

// errorInterval is how often an error of exporting is in the log at most.
const errorInterval = time.Minute

// Telemetry is the metrics and traces of one program.
type Telemetry struct {
	registry *prometheus.Registry
	metrics  *sdkmetric.MeterProvider
	traces   *sdktrace.TracerProvider // nil without tracing
	log      *slog.Logger
}

// Start prepares metrics, which are there to be asked for, and traces, which
// are sent where the standard OTEL_* variables say, or nowhere at no cost.
// service is the name in them unless OTEL_SERVICE_NAME is set.
//
// A collector that does not answer holds nothing up: spans that it does not
// take are dropped, and that is in the log at most once a minute.
func Start(ctx context.Context, service string, log *slog.Logger) (*Telemetry, error) {
	seldom := rate.Sometimes{Interval: errorInterval}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		seldom.Do(func() { log.WarnContext(ctx, "telemetry", KeyError, err.Error()) })
	}))
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))

	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", service)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv()) // the last one wins
	if errors.Is(err, resource.ErrPartialResource) {
		log.WarnContext(ctx, "OTEL_RESOURCE_ATTRIBUTES is not understood whole", KeyError, err.Error())
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe the program for telemetry: %w", err)
	}
	described = cleanResource(described)
	t := &Telemetry{registry: prometheus.NewRegistry(), log: log}
	t.registry.MustRegister( // a new registry has none of them
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		buildInfo())
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(t.registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("prepare metrics: %w", err)
	}
	t.metrics = sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(exporter),
		sdkmetric.WithResource(described),
		sdkmetric.WithView(temporalLatencies))
	if t.traces, err = tracerProvider(ctx, described); err != nil {
		return nil, fmt.Errorf("prepare traces: %w", err)
	}
	return t, nil
}

// buildInfo is always 1, and has what the program was built from.
func buildInfo() prometheus.Collector {
	built := build.Read()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "sentry_temporal_build_info",
		Help:        "What the program was built from, by its labels; always 1.",
		ConstLabels: prometheus.Labels{"version": built.Version, "revision": built.Revision, "go": built.Go},
	})
	gauge.Set(1)
	return gauge
}

// temporalLatencies are the buckets of the Temporal SDK's histograms, all in
// seconds, from a quick call to a run that waited for an outage to end.
var temporalLatencies = sdkmetric.NewView(
	sdkmetric.Instrument{Name: "temporal_*", Kind: sdkmetric.InstrumentKindHistogram},
	sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{
		Boundaries: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600},
	}},
)

// Meter makes instruments, whose measurements [Telemetry.Metrics] answers.
func (t *Telemetry) Meter() metric.Meter { return t.metrics.Meter(scope) }

// Metrics answers with all metrics in the format of Prometheus.
func (t *Telemetry) Metrics() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(t.log.Handler(), slog.LevelError),
	})
}

// Instrument has a client measured, and traced, and so the workers that are
// made of it.
func (t *Telemetry) Instrument(o *client.Options) error {
	o.MetricsHandler = temporalotel.NewMetricsHandler(temporalotel.MetricsHandlerOptions{
		Meter:                t.Meter(),
		OnError:              otel.Handle,
		UseMonotonicCounters: true,
	})
	if t.traces == nil {
		return nil
	}
	interceptor, err := temporalTraces(t.traces.Tracer(scope))
	if err != nil {
		return fmt.Errorf("trace Temporal: %w", err)
	}
	o.Interceptors = append(o.Interceptors, interceptor)
	return nil
}

// Shutdown sends what is left of the traces, for half a second at most, whatever ctx says.
func (t *Telemetry) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := t.metrics.Shutdown(ctx)
	if t.traces != nil {
		err = errors.Join(err, t.traces.Shutdown(ctx))
	}
	if err != nil {
		t.log.WarnContext(ctx, "the last traces are lost", KeyError, err.Error())
	}
}
