package telemetry

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"sentry-temporal/internal/text"
)

// cleanExporter exports spans with clean texts: a collector refuses a batch whole
// for a single one that is not UTF-8.
type cleanExporter struct{ sdktrace.SpanExporter }

// ExportSpans implements [sdktrace.SpanExporter].
func (e cleanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, span := range spans {
		clean[i] = cleanSpan{span}
	}
	return e.SpanExporter.ExportSpans(ctx, clean)
}

// cleanSpan is a span all of whose texts are clean.
type cleanSpan struct{ sdktrace.ReadOnlySpan }

// Name implements [sdktrace.ReadOnlySpan].
func (s cleanSpan) Name() string { return text.Line(s.ReadOnlySpan.Name()) }

// Attributes implements [sdktrace.ReadOnlySpan].
func (s cleanSpan) Attributes() []attribute.KeyValue {
	return cleanAttributes(s.ReadOnlySpan.Attributes())
}

// Status implements [sdktrace.ReadOnlySpan].
func (s cleanSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = text.Clean(status.Description)
	return status
}

// Events implements [sdktrace.ReadOnlySpan].
func (s cleanSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Name = text.Line(events[i].Name)
		events[i].Attributes = cleanAttributes(events[i].Attributes)
	}
	return events
}

// Links implements [sdktrace.ReadOnlySpan].
func (s cleanSpan) Links() []sdktrace.Link {
	links := slices.Clone(s.ReadOnlySpan.Links())
	for i := range links {
		links[i].Attributes = cleanAttributes(links[i].Attributes)
	}
	return links
}

// cleanResource returns r with clean texts.
func cleanResource(r *resource.Resource) *resource.Resource {
	return resource.NewWithAttributes(r.SchemaURL(), cleanAttributes(r.Attributes())...)
}

// cleanAttributes returns a copy of attributes with clean texts.
func cleanAttributes(attributes []attribute.KeyValue) []attribute.KeyValue {
	clean := slices.Clone(attributes)
	for i, a := range clean {
		clean[i].Key = attribute.Key(text.Line(string(a.Key)))
		switch a.Value.Type() { //nolint:exhaustive // nobody here sets others that have texts in them
		case attribute.STRING:
			clean[i].Value = attribute.StringValue(text.Clean(a.Value.AsString()))
		case attribute.STRINGSLICE:
			all := a.Value.AsStringSlice()
			for j, s := range all {
				all[j] = text.Clean(s)
			}
			clean[i].Value = attribute.StringSliceValue(all)
		}
	}
	return clean
}
