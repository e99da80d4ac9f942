package sentrytemporal_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"sentry-temporal/internal/sentry"
)

var update = flag.Bool("update", false, "write docs/envelope.schema.json anew")

const schemaFile = "docs/envelope.schema.json"

// What is generated has the words of the code: `go test -run Schema . -update`.
func TestEnvelopeSchemaIsOfTheEnvelopeThatThereIs(t *testing.T) {
	want, err := json.MarshalIndent(envelopeSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, schemaFile); got != string(want) {
		t.Errorf("%s is out of date: `go test -run Schema . -update` writes it anew", schemaFile)
	}
}

func envelopeSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	r := jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, DoNotReference: true}
	if err := r.AddGoComments(module, "internal/sentry", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	schema := r.ReflectFromType(reflect.TypeFor[sentry.Envelope]())
	schema.Title = "Envelope"
	schema.Description = sentence(schema.Description)
	for pair := schema.Properties.Oldest(); pair != nil; pair = pair.Next() {
		pair.Value.Description = sentence(pair.Value.Description)
		if pair.Value.Description == "" {
			t.Errorf("%s is not described", pair.Key)
		}
	}
	schema.Properties.Value("_webhook").Const = true
	schema.Properties.Value("source").Const = "sentry"
	return schema
}

// sentence makes a doc comment of Go, "X is a y.", read as a description, "A y.".
func sentence(comment string) string {
	comment = strings.ReplaceAll(comment, "\n", " ")
	for _, verb := range []string{" is ", " holds "} {
		if name, rest, found := strings.Cut(comment, verb); found && !strings.Contains(name, " ") {
			comment = rest
		}
	}
	first := []rune(comment)
	if len(first) > 0 {
		first[0] = unicode.ToUpper(first[0])
	}
	return string(first)
}

func compiledSchema(t *testing.T) *validator.Schema {
	t.Helper()
	schema, err := validator.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestEnvelopeSchemaTakesEveryEnvelope(t *testing.T) {
	schema := compiledSchema(t)
	for _, name := range sentry.SampleNames() {
		for withHeaders, header := range map[string]http.Header{
			"no headers": {},
			"headers":    {sentry.HeaderRequestID: {"9f3c"}, sentry.HeaderTimestamp: {"1733337600"}, "User-Agent": {"sentry/26.3"}},
		} {
			t.Run(name+" with "+withHeaders, func(t *testing.T) {
				if err := schema.Validate(decoded(t, envelopeOf(t, name, header))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := schema.Validate(decoded(t, []byte(jsonBlock(t, "docs/deliveries.md", "_webhook")))); err != nil {
		t.Errorf("the envelope in docs/deliveries.md: %v", err)
	}
}

// envelopeOf is a sample as it arrives in Temporal.
func envelopeOf(t *testing.T, sample string, header http.Header) []byte {
	t.Helper()
	body, err := sentry.Sample(sample)
	if err != nil {
		t.Fatal(err)
	}
	resource, _, _ := strings.Cut(sample, ".")
	event, err := sentry.EventName(resource, body)
	if err != nil {
		t.Fatal(err)
	}
	env, err := json.Marshal(sentry.NewEnvelope("sentry", event, header, body, time.Unix(1733337600, 0)))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func decoded(t *testing.T, text []byte) any {
	t.Helper()
	value, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestEnvelopeSchemaRefusesWhatIsNone(t *testing.T) {
	schema := compiledSchema(t)
	for name, change := range map[string]func(env map[string]any){
		"a field more":                   func(env map[string]any) { env["signature"] = "s" },
		"another source":                 func(env map[string]any) { env["source"] = "github" },
		"_webhook is false":              func(env map[string]any) { env["_webhook"] = false },
		"a body that is an object":       func(env map[string]any) { env["body"] = map[string]any{} },
		"a timestamp that is a text":     func(env map[string]any) { env["timestamp"] = "1733337600" },
		"a timestamp with a fraction":    func(env map[string]any) { env["timestamp"] = json.Number("1733337600.5") },
		"a header that is a list":        func(env map[string]any) { env["headers"] = map[string]any{"request-id": []any{"a"}} },
		"an event type that is a number": func(env map[string]any) { env["event_type"] = json.Number("1") },
	} {
		t.Run(name, func(t *testing.T) { refused(t, schema, change) })
	}
	for _, field := range jsonNames(reflect.TypeFor[sentry.Envelope]()) {
		t.Run("no "+field, func(t *testing.T) {
			refused(t, schema, func(env map[string]any) { delete(env, field) })
		})
	}
}

func refused(t *testing.T, schema *validator.Schema, change func(env map[string]any)) {
	t.Helper()
	env, _ := decoded(t, envelopeOf(t, "issue.created", http.Header{})).(map[string]any)
	change(env)
	if err := schema.Validate(env); err == nil {
		t.Error("it is taken")
	}
}
