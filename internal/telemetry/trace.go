package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/api/serviceerror"
	temporalotel "go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
)

// tracerProvider returns nil unless the environment asks for traces. The SDK
// itself reads the rest of the variables: where to, how often, which of them.
func tracerProvider(ctx context.Context, described *resource.Resource) (*sdktrace.TracerProvider, error) {
	exporter := os.Getenv("OTEL_TRACES_EXPORTER")
	wanted := exporter + os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") + os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	switch {
	case wanted == "", exporter == "none", strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true"):
		return nil, nil
	case exporter != "" && exporter != "otlp":
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: %q is neither otlp nor none", exporter)
	}
	variable := "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	if os.Getenv(variable) == "" {
		variable = "OTEL_EXPORTER_OTLP_PROTOCOL"
	}
	var out sdktrace.SpanExporter
	var err error
	switch protocol := os.Getenv(variable); protocol {
	case "", "http/protobuf":
		out, err = otlptracehttp.New(ctx)
	case "grpc":
		out, err = otlptracegrpc.New(ctx)
	default:
		err = fmt.Errorf("%s: %q is neither http/protobuf nor grpc", variable, protocol)
	}
	if err != nil {
		return nil, err
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(cleanExporter{out}), sdktrace.WithResource(described)), nil
}

// TraceRequests returns next, with a trace for each request that is wanted, and
// a span called name around it. A request always begins a trace: what its
// headers say of one is not believed, since anybody could send them.
func (t *Telemetry) TraceRequests(next http.Handler, name string, wanted func(*http.Request) bool) http.Handler {
	if t.traces == nil {
		return next
	}
	tracer := t.traces.Tracer(scope)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !wanted(r) {
			next.ServeHTTP(w, r)
			return
		}
		ctx, span := tracer.Start(r.Context(), name, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

var traceContext propagation.TraceContext

const traceparent = "traceparent"

// TraceParent returns the trace that ctx belongs to and the span in it, as the
// W3C header traceparent has them, or "" for none.
func TraceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	traceContext.Inject(ctx, carrier)
	return carrier[traceparent]
}

// WithTraceParent returns a context that belongs to the trace that parent, of
// [TraceParent], says: to none if that is not one.
func WithTraceParent(ctx context.Context, parent string) context.Context {
	return traceContext.Extract(ctx, propagation.MapCarrier{traceparent: parent})
}

// temporalTraces continues the trace of a start in the run and its activities.
func temporalTraces(tracer trace.Tracer) (interceptor.Interceptor, error) {
	return temporalotel.NewTracingInterceptor(temporalotel.TracerOptions{
		Tracer:                  tracer,
		TextMapPropagator:       traceContext,
		DisableBaggage:          true,
		AllowInvalidParentSpans: true, // a run is worth more than its trace
		SpanStarter: func(ctx context.Context, tracer trace.Tracer, name string, o ...trace.SpanStartOption) trace.Span {
			_, span := tracer.Start(ctx, name, o...)
			return &temporalSpan{Span: span}
		},
	})
}

// temporalSpan is a span for which it is no error that a run is there already.
type temporalSpan struct {
	trace.Span
	existing bool
}

// RecordError implements [trace.Span].
func (s *temporalSpan) RecordError(err error, o ...trace.EventOption) {
	if _, s.existing = errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); s.existing {
		s.AddEvent("the run exists")
		return
	}
	s.Span.RecordError(err, o...)
}

// SetStatus implements [trace.Span].
func (s *temporalSpan) SetStatus(code codes.Code, description string) {
	if !s.existing {
		s.Span.SetStatus(code, description)
	}
}
