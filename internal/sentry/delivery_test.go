package sentry_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sentry-temporal/internal/sentry"
)

// deliver returns the view of a body.
func deliver(body string) sentry.Delivery {
	return sentry.DeliveryOf(sentry.Envelope{EventType: "sentry.issue.created", IntegrationID: "backend", Body: sentry.Body(body)})
}

// fields returns all texts of d but who acted.
func fields(d sentry.Delivery) []string {
	return []string{d.IssueID, d.ShortID, d.Project, d.Level, d.Title, d.Culprit, d.FirstSeen, d.URL, d.Priority}
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	if text == "" {
		return time.Time{}
	}
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestDeliveryOfAnIssueHasEveryField(t *testing.T) {
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	got := deliver(string(body))
	want := sentry.Subject{
		IssueID: "6702149985", ShortID: "BACKEND-1A", Project: "backend", Level: "error",
		Title:     "CartTotalMismatch: cart total <119.90 €> & payment total <100.00 €> differ — order from Café Zürich 🧾",
		Culprit:   "checkout.views.PlaceOrderView.post",
		FirstSeen: "2026-03-17T09:42:10.418000+00:00", URL: "https://acme.sentry.io/issues/6702149985/",
	}
	if got.Event != "sentry.issue.created" || got.Integration != "backend" || got.Priority != "high" || got.Actor != sentry.ActorSentry ||
		got.Subject != want || !got.Time.Equal(at(t, "2026-03-17T09:42:10.418Z")) || got.Time.Location() != time.UTC {
		t.Errorf("got %+v", got)
	}
}

// Of a delivery of each kind: when, and who acted.
func TestDeliveryOfEverySampleTellsWhenAndWho(t *testing.T) {
	const created, commented = "2026-03-17T09:42:10.418Z", "2026-03-17T10:03:51.274519Z"
	type when struct {
		time  string
		actor sentry.Actor
	}
	known := map[string]when{
		"activity_alert.triggered":     {"2026-03-17T10:13:55.731Z", sentry.ActorSentry},
		"comment.created":              {commented, sentry.ActorPerson},
		"comment.deleted":              {commented, sentry.ActorPerson},
		"comment.updated":              {commented, sentry.ActorPerson},
		"error.created":                {"2026-03-17T09:42:10.793Z", sentry.ActorSentry}, // received
		"event_alert.triggered":        {"2026-03-17T09:42:10.793Z", sentry.ActorSentry},
		"installation.created":         {"", sentry.ActorPerson},
		"installation.deleted":         {"", sentry.ActorPerson},
		"issue.archived":               {"2026-03-20T12:44:09.118Z", sentry.ActorIntegration},
		"issue.assigned":               {"2026-03-17T09:57:33.902Z", sentry.ActorPerson},
		"issue.created":                {created, sentry.ActorSentry},
		"issue.external_issue_created": {"2026-03-17T09:57:33.902Z", sentry.ActorIntegration},
		"issue.external_issue_linked":  {"2026-03-17T09:57:33.902Z", sentry.ActorPerson},
		"issue.ignored":                {"2026-03-20T12:44:09.118Z", sentry.ActorPerson},
		"issue.resolved":               {"2026-03-17T11:26:48.007Z", sentry.ActorPerson},
		"issue.unresolved":             {"2026-03-19T07:15:22.64Z", sentry.ActorSentry},
	}
	for _, name := range sentry.SampleNames() {
		t.Run(name, func(t *testing.T) {
			body, err := sentry.Sample(name)
			if err != nil {
				t.Fatal(err)
			}
			want, ok := known[name]
			if !ok { // metric alerts, Seer, preprod artifacts
				want = when{"", sentry.ActorSentry}
			}
			got := deliver(string(body))
			if got.Actor != want.actor || got.Time.Sub(at(t, want.time)).Abs() > time.Microsecond {
				t.Errorf("it was at %s by %q, want %s by %q", got.Time, got.Actor, want.time, want.actor)
			}
		})
	}
}

func TestTheTimeOfADeliveryIsTheFirstThatIsOne(t *testing.T) {
	const sixth = "2026-11-06T12:00:00Z"
	for name, tt := range map[string]struct{ body, want string }{
		"received, in seconds":              {`{"data":{"error":{"received":1793966400.25,"datetime":"2026-01-01T00:00:00Z"}}}`, "2026-11-06T12:00:00.25Z"},
		"datetime, with no received":        {`{"data":{"error":{"datetime":"2026-11-06T12:00:00Z"}}}`, sixth},
		"datetime, with a received of none": {`{"data":{"event":{"received":null,"datetime":"2026-11-06T12:00:00Z"}}}`, sixth},
		"received before lastSeen":          {`{"data":{"error":{"received":1793966400},"issue":{"lastSeen":"2026-01-01T00:00:00Z"}}}`, sixth},
		"lastSeen":                          {`{"data":{"issue":{"lastSeen":"2026-11-06T12:00:00Z"},"timestamp":"2026-01-01T00:00:00Z"}}`, sixth},
		"lastSeen in another zone":          {`{"data":{"issue":{"lastSeen":"2026-11-06T14:00:00+02:00"}}}`, sixth},
		"lastSeen without a zone":           {`{"data":{"issue":{"lastSeen":"2026-11-06T12:00:00"}}}`, sixth},
		"of a comment":                      {`{"data":{"timestamp":"2026-11-06T12:00:00Z","comment":"text"}}`, sixth},
		"of a nested comment":               {`{"data":{"comment":{"timestamp":"2026-11-06T12:00:00Z"}}}`, sixth},
		"of a comment beside data":          {`{"comment":{"timestamp":"2026-11-06T12:00:00Z"}}`, sixth},
		"none":                              {`{"data":{"issue":{"id":"1"}}}`, ""},
		"a word":                            {`{"data":{"issue":{"lastSeen":"yesterday"}}}`, ""},
		"a date":                            {`{"data":{"issue":{"lastSeen":"2026-11-06"}}}`, ""},
		"seconds as a text":                 {`{"data":{"issue":{"lastSeen":"1793966400"}}}`, ""},
		"zero":                              {`{"data":{"error":{"received":0}}}`, ""},
		"less than that":                    {`{"data":{"error":{"received":-5}}}`, ""},
		"milliseconds":                      {`{"data":{"error":{"received":1793966400000}}}`, ""},
		"the last second":                   {`{"data":{"error":{"received":8589934591}}}`, "2242-03-16T12:56:31Z"},
		"one too late":                      {`{"data":{"error":{"received":8589934592}}}`, ""},
		"the first second":                  {`{"data":{"issue":{"lastSeen":"1970-01-01T00:00:01Z"}}}`, "1970-01-01T00:00:01Z"},
		"before the first":                  {`{"data":{"issue":{"lastSeen":"1970-01-01T00:00:00Z"}}}`, ""},
		"more than a number can be":         {`{"data":{"error":{"received":1e999}}}`, ""},
		"before there were computers":       {`{"data":{"issue":{"lastSeen":"1969-12-31T23:59:59Z"}}}`, ""},
		"an object":                         {`{"data":{"issue":{"lastSeen":{"lastSeen":"2026-11-06T12:00:00Z"}}}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := deliver(tt.body).Time
			if want := at(t, tt.want); !got.Equal(want) || got.Location() != time.UTC {
				t.Errorf("the time is %s, want %s", got, want)
			}
		})
	}
}

// No header and no clock has part in it: a repetition has the same time.
func TestTheTimeOfADeliveryIsOfItsBodyAlone(t *testing.T) {
	env := sentry.Envelope{Body: `{"data":{"issue":{"id":"1"}}}`, Timestamp: 1793966400, Headers: map[string]string{"sentry-hook-timestamp": "1793966400"}}
	if got := sentry.DeliveryOf(env).Time; !got.IsZero() {
		t.Errorf("the time is %s", got)
	}
}

func TestWhoActedIsToldByTypeAndID(t *testing.T) {
	for actor, want := range map[string]sentry.Actor{
		`{"type":"user","id":1,"name":"sentry"}`:       sentry.ActorPerson,
		`{"type":"user","id":"sentry"}`:                sentry.ActorPerson,
		`{"type":"application","id":"sentry"}`:         sentry.ActorSentry,
		`{"type":"application","id":"c81f","name":""}`: sentry.ActorIntegration,
		`{"type":"application","name":"Sentry"}`:       sentry.ActorIntegration,
		`{"type":"application","id":"Sentry"}`:         sentry.ActorIntegration,
		`{"type":"team","id":"sentry"}`:                "",
		`{"id":"sentry"}`:                              "",
		`"user"`:                                       "",
		`null`:                                         "",
	} {
		if got := deliver(`{"actor":` + actor + `}`).Actor; got != want {
			t.Errorf("%s is %q, want %q", actor, got, want)
		}
	}
	if got := deliver(`{"data":{"actor":{"type":"user"}}}`).Actor; got != "" {
		t.Errorf("an actor in another place is %q", got)
	}
}

func TestFieldReadsTheRestOfTheBody(t *testing.T) {
	d := deliver(`{"data":{"issue":{"userCount":120,"count":"7","isPublic":false,"title":"a\u0000b` + strings.Repeat("x", sentry.MaxField) + `",
		"big":90071992547409931234,"project":{"slug":"a"},"list":["one"],"none":null},"tags":[["environment","production"],["level","error"]]}}`)
	for path, want := range map[string]string{
		"data.issue.userCount":       "120",
		"data.issue.count":           "7",
		"data.issue.isPublic":        "false",
		"data.issue.big":             "90071992547409931234",
		"data.issue.project.slug":    "a",
		"data.issue.list.0":          "one",
		"data.tags.0.1":              "production",
		"data.issue.project":         "",
		"data.issue.list":            "",
		"data.issue.none":            "",
		"data.issue.no.such":         "",
		"":                           "",
		"data.issue.title.more":      "",
		"@this":                      "",
		`data.tags.#(0=="level").1`:  "error",
		"data.issue.list.9999999999": "",
	} {
		if got := d.Field(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if got := d.Field("data.issue.title"); len(got) > sentry.MaxField || strings.Contains(got, "\x00") || !strings.HasPrefix(got, "abx") {
		t.Errorf("a text that is too long has %d bytes, %.10q", len(got), got)
	}
	if got := deliver(`{"n":1` + strings.Repeat("0", 2*sentry.MaxField) + `}`).Field("n"); len(got) > sentry.MaxField {
		t.Errorf("a number has %d bytes", len(got))
	}
	if got := (sentry.Delivery{}).Field("data.issue.id"); got != "" {
		t.Errorf("of nothing it is %q", got)
	}
}

func TestEveryTextOfADeliveryIsOneBoundedLine(t *testing.T) {
	long := strings.Repeat("é", sentry.MaxField)
	for _, text := range []string{`a\nb\u202ec`, `\ud800`, "\xff\xfe", long, `</script>\u0000`} {
		d := deliver(`{"data":{"issue":{"id":"` + text + `","shortId":"` + text + `","title":"` + text + `","culprit":"` + text + `","level":"` + text +
			`","priority":"` + text + `","firstSeen":"` + text + `","web_url":"` + text + `","project":{"slug":"` + text + `"}}},"actor":{"type":"` + text + `"}}`)
		for i, field := range fields(d) {
			if len(field) > sentry.MaxField || !utf8.ValidString(field) || strings.ContainsAny(field, "\n\x00\u202e") {
				t.Errorf("field %d of %.10q is %.20q, %d bytes", i, text, field, len(field))
			}
		}
	}
}

func TestDeliveryOfAHostileBodyIsHarmless(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":               "",
		"null":                  "null",
		"a number":              "1",
		"a list":                `[{"data":{"issue":{"id":"1"}}}]`,
		"a text with JSON":      `"{\"data\":{\"issue\":{\"id\":\"1\"}}}"`,
		"half of it":            `{"data":{"issue":{"title":`,
		"one key many times":    `{"data":{` + strings.Repeat(`"issue":1,`, 10_000) + `"x":1}}`,
		"deep":                  strings.Repeat(`{"data":`, 100_000),
		"deep lists":            `{"data":{"issue":{"project":` + strings.Repeat("[", 100_000),
		"other types":           `{"data":[],"issue":"1","comment":7,"actor":[]}`,
		"other types further":   `{"data":{"issue":[1],"error":true,"event":null,"comment":{},"metric_alert":{"projects":{}}}}`,
		"fields of no text":     `{"data":{"issue":{"id":{},"shortId":[],"title":1,"culprit":false,"level":{},"priority":2,"firstSeen":3,"web_url":[],"project":"a"}}}`,
		"no number":             "{\"data\":{\"issue\":{\"project\":{\"slug\":-\xff}}}}",
		"a URL with no project": `{"data":{"error":{"url":"https://sentry.io/api/0/projects/"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			d := deliver(body)
			if got := strings.Join(fields(d), ""); got != "" || d.Actor != "" || !d.Time.IsZero() {
				t.Errorf("it has %.100s, %q, %s", got, d.Actor, d.Time)
			}
			_ = d.Field("data.issue.title")
		})
	}
}

// Only in what is no JSON, which an engineer may start a run with.
func TestANumberThatIsNoneIsText(t *testing.T) {
	d := deliver("{\"data\":{\"issue\":{\"id\":-\xff\u202e,\"userCount\":-\xff\n}}}")
	for _, got := range []string{d.IssueID, d.Field("data.issue.userCount")} {
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\u202e") {
			t.Errorf("got %q", got)
		}
	}
}

func FuzzDeliveryOf(f *testing.F) {
	for _, name := range sentry.SampleNames() {
		body, err := sentry.Sample(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(body), "data.issue.title")
	}
	f.Add("{\"data\":{\"issue\":{\"id\":-\xff}}}", "data.issue.id")
	f.Add(`{"data":{"error":{"url":"/api/0/projects/","received":1e308},"metric_alert":{"projects":{}}},"actor":{"type":"user"}}`, "data.#.#")
	f.Fuzz(func(t *testing.T, body, path string) {
		d := deliver(body)
		for _, field := range append(fields(d), d.Field(path)) {
			if len(field) > sentry.MaxField || !utf8.ValidString(field) {
				t.Errorf("a field of %d bytes, UTF-8 %t", len(field), utf8.ValidString(field))
			}
		}
		if d.Time.Before(time.Time{}) || d.Time.Year() > 9999 {
			t.Errorf("the time is %s", d.Time)
		}
		if again := deliver(body); fmt.Sprint(again) != fmt.Sprint(d) {
			t.Errorf("the second time it is %v", again)
		}
	})
}

func BenchmarkDeliveryOf(b *testing.B) {
	for _, name := range []string{"issue.created", "error.created"} {
		body, err := sentry.Sample(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				deliver(string(body))
			}
		})
	}
}
