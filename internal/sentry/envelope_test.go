package sentry_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sentry-temporal/internal/sentry"
)

const (
	requestID = "9f3c1a5be0d24c7786b1f4d5a2c0e913"
	smallBody = `{"action":"created"}`
	// As sha256sum prints it of smallBody.
	bodyDigest = "e1669e400bd83551ceca0afe503c93a4d07256314460cd927651f9797e829eda"
)

var received = time.Unix(1733337600, 999)

// delivery returns the headers that Sentry sends, with pairs of a name and a
// value set on top; an empty value takes the header away.
func delivery(pairs ...string) http.Header {
	h := http.Header{}
	set := func(name, value string) {
		h.Set(name, value)
		if value == "" {
			h.Del(name)
		}
	}
	set("Content-Type", "application/json")
	set("User-Agent", "sentry/26.7.0 (https://sentry.io)")
	set(sentry.HeaderRequestID, requestID)
	set(sentry.HeaderResource, "issue")
	set(sentry.HeaderTimestamp, "1700000000")
	set(sentry.HeaderSignature, sentry.Sign("secret", []byte(smallBody)))
	for i := 0; i < len(pairs); i += 2 {
		set(pairs[i], pairs[i+1])
	}
	return h
}

func TestNewEnvelope(t *testing.T) {
	header := delivery("Cookie", "id=1", "Authorization", "Bearer 1", "X-Forwarded-For", "192.0.2.1")
	got := sentry.NewEnvelope("backend", "sentry.issue.created", header, []byte(smallBody), received)
	want := sentry.Envelope{
		Webhook:        true,
		Source:         "sentry",
		IntegrationID:  "backend",
		EventType:      "sentry.issue.created",
		IdempotencyKey: requestID,
		Timestamp:      1700000000,
		Headers: map[string]string{
			"sentry-hook-resource":  "issue",
			"sentry-hook-timestamp": "1700000000",
			"request-id":            requestID,
			"user-agent":            "sentry/26.7.0 (https://sentry.io)",
		},
		Body: smallBody,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("NewEnvelope =\n%+v, want\n%+v", got, want)
	}
}

func TestTheKeyOfSentrysAttemptsIsKeptBesideThatOfTheDelivery(t *testing.T) {
	const attempts = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	for name, header := range map[string]http.Header{
		"beside a Request-ID": delivery(sentry.HeaderIdempotencyKey, attempts),
		"without one":         delivery(sentry.HeaderIdempotencyKey, attempts, sentry.HeaderRequestID, ""),
	} {
		t.Run(name, func(t *testing.T) {
			got := sentry.NewEnvelope("backend", "sentry.issue.created", header, []byte(smallBody), received)
			if want := sentry.IdempotencyKey(header.Get(sentry.HeaderRequestID), []byte(smallBody)); got.IdempotencyKey != want {
				t.Errorf("the key of the delivery is %s, want %s", got.IdempotencyKey, want)
			}
			if got.Headers["idempotency-key"] != attempts {
				t.Errorf("the headers are %v", got.Headers)
			}
		})
	}
}

func TestNewEnvelopeLeavesOutAbsentHeaders(t *testing.T) {
	got := sentry.NewEnvelope("backend", "sentry.issue.created", http.Header{}, []byte(smallBody), received)
	if got.Headers == nil || len(got.Headers) != 0 {
		t.Errorf("headers = %#v, want an empty map", got.Headers)
	}
	if got.IdempotencyKey != "sha256-"+bodyDigest {
		t.Errorf("idempotency key = %s", got.IdempotencyKey)
	}
}

func TestTimestampIsSentrysOrElseOfReceipt(t *testing.T) {
	tests := map[string]struct {
		header string
		want   int64
	}{
		"unix seconds":        {"1700000000", 1700000000},
		"absent":              {"", received.Unix()},
		"not a number":        {"soon", received.Unix()},
		"a date":              {"2026-03-17T09:42:10Z", received.Unix()},
		"a fraction":          {"1700000000.5", received.Unix()},
		"negative":            {"-1700000000", received.Unix()},
		"zero":                {"0", received.Unix()},
		"more than 64 bits":   {"99999999999999999999", received.Unix()},
		"something behind it": {"1700000000s", received.Unix()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			header := delivery(sentry.HeaderTimestamp, tt.header)
			if got := sentry.NewEnvelope("i", "e", header, []byte(smallBody), received).Timestamp; got != tt.want {
				t.Errorf("timestamp = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestLongHeaderIsClippedToValidUTF8(t *testing.T) {
	const limit = 256 // bytes
	for name, value := range map[string]string{
		"ASCII":                    strings.Repeat("a", 10*limit),
		"a character at the limit": strings.Repeat("a", limit-1) + "üb",
		"not UTF-8":                "sentry\xff/1" + strings.Repeat("a", limit),
		"nothing else":             strings.Repeat("a\xff", limit),
	} {
		t.Run(name, func(t *testing.T) {
			got := sentry.NewEnvelope("i", "e", delivery("User-Agent", value), []byte(smallBody), received).Headers["user-agent"]
			if len(got) < limit-2 || len(got) > limit || !utf8.ValidString(got) {
				t.Errorf("%d bytes kept, valid UTF-8: %t", len(got), utf8.ValidString(got))
			}
			if !strings.HasPrefix(strings.ToValidUTF8(value, "\ufffd"), got) {
				t.Errorf("%q is no beginning of %q", got, value)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	tests := map[string]struct{ requestID, want string }{
		"a retried delivery keeps its key": {requestID, requestID},
		"every character that is allowed":  {"AZaz09._-", "AZaz09._-"},
		"one character":                    {"1", "1"},
		"128 bytes":                        {strings.Repeat("k", 128), strings.Repeat("k", 128)},
		"129 bytes":                        {strings.Repeat("k", 129), "sha256-" + bodyDigest},
		"missing":                          {"", "sha256-" + bodyDigest},
		"with a space":                     {"a b", "sha256-" + bodyDigest},
		"with a colon":                     {"a:b", "sha256-" + bodyDigest},
		"with a slash":                     {"../a", "sha256-" + bodyDigest},
		"with a line feed":                 {"a\n", "sha256-" + bodyDigest},
		"with a NUL":                       {"a\x00", "sha256-" + bodyDigest},
		"not ASCII":                        {"ä", "sha256-" + bodyDigest},
		"not UTF-8":                        {"\xff", "sha256-" + bodyDigest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sentry.IdempotencyKey(tt.requestID, []byte(smallBody)); got != tt.want {
				t.Errorf("IdempotencyKey = %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("another body has another key", func(t *testing.T) {
		if sentry.IdempotencyKey("", []byte(smallBody)) == sentry.IdempotencyKey("", []byte(smallBody+" ")) {
			t.Error("the keys are equal")
		}
	})
}

func TestEnvelopeHasExactlyItsFields(t *testing.T) {
	text, err := json.Marshal(sentry.NewEnvelope("i", "e", delivery(), []byte(smallBody), received))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	want := []string{"_webhook", "body", "event_type", "headers", "idempotency_key", "integration_id", "source", "timestamp"}
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
		t.Errorf("fields = %q, want %q", got, want)
	}
	if _, ok := fields["body"].(string); !ok {
		t.Errorf("body is a %T, want a string", fields["body"])
	}
}

// tricky bodies are ones that a JSON library changes when it reads and writes
// them.
var tricky = map[string]string{
	"escapes":              `{"t":"Z\u00fcrich \ud83e\uddfe \/ \u003c"}`,
	"a lone surrogate":     `{"t":"\ud83e"}`,
	"an escaped NUL":       `{"t":"a\u0000b"}`,
	"literal UTF-8":        `{"t":"Zürich 🧾"}`,
	"a replacement mark":   `{"t":"` + "\ufffd" + `"}`,
	"<, > and &":           `{"t":"<a href='x'>&</a>"}`,
	"19 digits":            `{"id":5284610937452286017}`,
	"a float":              `{"n":100.0,"m":1e400,"z":-0}`,
	"line separators":      "{\"t\":\"a\u2028b\u2029c\"}",
	"white space":          "\r\n{ \"t\" :\t1 }\n",
	"keys twice, unsorted": `{"b":1,"a":2,"b":3}`,
}

func TestBodyKeepsEveryByte(t *testing.T) {
	check := func(t *testing.T, body string) {
		t.Helper()
		text, err := json.Marshal(sentry.NewEnvelope("i", "e", delivery(), []byte(body), received))
		if err != nil {
			t.Fatal(err)
		}
		var got sentry.Envelope
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if string(got.Body) != body {
			t.Errorf("body = %.200q, want %.200q", got.Body, body)
		}
	}
	for name, body := range tricky {
		t.Run(name, func(t *testing.T) { check(t, body) })
	}
	eachSample(t, func(name string, body []byte) {
		t.Run(name, func(t *testing.T) { check(t, string(body)) })
	})
}

func TestBodyReadsFromWhatAnEngineerTypes(t *testing.T) {
	tests := map[string]struct {
		json string
		want sentry.Body
		ok   bool // whether it has fields
	}{
		"a string":          {`"{\"t\":\"\\u00fc\"}"`, `{"t":"\u00fc"}`, true},
		"an object":         {`{ "t" : "\u00fc\ud83e" , "n":5284610937452286017, "m":100.0 }`, `{ "t" : "\u00fc\ud83e" , "n":5284610937452286017, "m":100.0 }`, true},
		"an object, padded": {"\n {\"t\": {}}\n ", `{"t": {}}`, true},
		"null":              {`null`, "", false},
		"a number":          {`1`, "1", false},
		"true":              {`true`, "true", false},
		"an array":          {`[ {"issue":{"id":1}} ]`, `[ {"issue":{"id":1}} ]`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got sentry.Envelope
			err := json.Unmarshal([]byte(`{"event_type":"e","body":`+tt.json+`}`), &got)
			if err != nil || got.Body != tt.want {
				t.Errorf("body = %q, %v; want %q", got.Body, err, tt.want)
			}
			if fields, ok := got.Body.Fields(); ok != tt.ok || !ok && fields.ID("issue.id", "0.issue.id", "#.issue.id") != "" {
				t.Errorf("it has fields: %t, %+v", ok, fields)
			}
		})
	}
}

func FuzzEnvelopeJSON(f *testing.F) {
	for _, body := range tricky {
		f.Add([]byte(body))
		f.Add([]byte(`{"headers":{"a":"b"},"timestamp":1,"body":` + body + `}`))
	}
	for _, body := range []string{``, `null`, `{"body":null}`, `{"body":"\ud83e"}`, `{"body":[]}`, `{"body":{}`, `[]`, "\xff"} {
		f.Add([]byte(body))
	}
	eachSample(f, func(_ string, body []byte) { f.Add(body) })

	f.Fuzz(func(t *testing.T, input []byte) {
		var read sentry.Envelope
		_ = json.Unmarshal(input, &read) // does not panic, whatever it is given
		if !utf8.Valid(input) {
			return
		}
		env := sentry.NewEnvelope("i", "e", delivery(), input, received)
		text, err := json.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		var got sentry.Envelope
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, env) {
			t.Errorf("read back as %+v, want %+v", got, env)
		}
	})
}
