package sentry_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"sentry-temporal/internal/sentry"
)

func TestEventNameOfASample(t *testing.T) {
	eachSample(t, func(name string, body []byte) {
		resource, _, _ := strings.Cut(name, ".")
		want := "sentry." + name
		if name == "issue.archived" {
			want = "sentry.issue.ignored" // one event under two names
		}
		for _, header := range []string{resource, strings.ToUpper(resource), "", "added_next_year"} {
			want := want
			if header == "added_next_year" {
				// Nobody knows what its bodies look like, so none contradicts it.
				want = strings.Replace("sentry."+name, resource, header, 1)
			}
			if got, err := sentry.EventName(header, body); got != want || err != nil {
				t.Errorf("%s under the header %q is %q, %v; want %s", name, header, got, err, want)
			}
		}
	})
}

// No pair is excepted, although an activity alert carries an issue, too: it has
// more that no issue has.
func TestEventNameRefusesASampleUnderAnotherKnownResource(t *testing.T) {
	resources := map[string]bool{}
	for _, name := range sentry.SampleNames() {
		resource, _, _ := strings.Cut(name, ".")
		resources[resource] = true
	}
	eachSample(t, func(name string, body []byte) {
		for resource := range resources {
			if strings.HasPrefix(name, resource+".") {
				continue
			}
			for _, header := range []string{resource, strings.ToUpper(resource)} {
				if got, err := sentry.EventName(header, body); !errors.Is(err, sentry.ErrResourceMismatch) {
					t.Errorf("%s under the header %s is %q, %v; want %v", name, header, got, err, sentry.ErrResourceMismatch)
				}
			}
		}
	})
}

func TestEventName(t *testing.T) {
	const created = `{"action":"created"}`
	long := strings.Repeat("a", 64)

	tests := map[string]struct {
		resource, body string
		want           string
		wantErr        error
	}{
		"a resource nobody knows":              {"release", created, "sentry.release.created", nil},
		"an action nobody knows":               {"issue", `{"action":"merged","data":{"issue":{}}}`, "sentry.issue.merged", nil},
		"digits, _ and -":                      {"Alert_2-B", `{"action":"X-9_y"}`, "sentry.alert_2-b.x-9_y", nil},
		"upper case is lowered":                {"Issue", `{"action":"ARCHIVED"}`, "sentry.issue.ignored", nil},
		"archived of another resource stays":   {"release", `{"action":"archived"}`, "sentry.release.archived", nil},
		"an escaped action":                    {"issue", `{"action":"cr\u0065ated"}`, "sentry.issue.created", nil},
		"white space around the object":        {"issue", " \r\n\t" + created + "\n", "sentry.issue.created", nil},
		"much white space before it":           {"issue", strings.Repeat(" ", 1000) + created, "sentry.issue.created", nil},
		"20,000 brackets, not nested":          {"release", `{"action":"created","data":[` + strings.Repeat("[],", 10000) + "{}]}", "sentry.release.created", nil},
		"an action of another level":           {"issue", `{"data":{"action":"resolved"},"action":"created"}`, "sentry.issue.created", nil},
		"the longest resource and action":      {long, `{"action":"` + long + `"}`, "sentry." + long + "." + long, nil},
		"no data to contradict the header":     {"comment", created, "sentry.comment.created", nil},
		"data that resembles nothing":          {"comment", `{"action":"created","data":{"text":"hi"}}`, "sentry.comment.created", nil},
		"data that is no object":               {"comment", `{"action":"created","data":["issue"]}`, "sentry.comment.created", nil},
		"data with a part of what is expected": {"seer", `{"action":"created","data":{"run_id":1}}`, "sentry.seer.created", nil},

		"a comment that nests its issue":   {"comment", `{"action":"created","data":{"comment":{"text":"hi"},"issue":{"id":"7"}}}`, "sentry.comment.created", nil},
		"a comment beside its issue":       {"comment", `{"action":"created","comment":{"text":"hi"},"data":{"issue":{"id":"7"}}}`, "sentry.comment.created", nil},
		"an issue that has a comment, too": {"issue", `{"action":"resolved","data":{"issue":{"id":"7"},"comment":"hi"}}`, "sentry.issue.resolved", nil},
		"an issue passed off as a comment": {"comment", `{"action":"created","data":{"issue":{"id":"7"}}}`, "", sentry.ErrResourceMismatch},

		"no header, no data":             {"", created, "", sentry.ErrResourceUnknown},
		"no header, data unknown":        {"", `{"action":"created","data":{"release":{}}}`, "", sentry.ErrResourceUnknown},
		"no header, a part of a comment": {"", `{"action":"created","data":{"comment_id":1}}`, "", sentry.ErrResourceUnknown},

		"no action":               {"issue", `{"data":{"issue":{}}}`, "", sentry.ErrNoAction},
		"action in another case":  {"issue", `{"Action":"created"}`, "", sentry.ErrNoAction},
		"action null":             {"issue", `{"action":null}`, "", sentry.ErrNoAction},
		"action a number":         {"issue", `{"action":1}`, "", sentry.ErrNoAction},
		"action true":             {"issue", `{"action":true}`, "", sentry.ErrNoAction},
		"action an object":        {"issue", `{"action":{"name":"created"}}`, "", sentry.ErrNoAction},
		"action an array":         {"issue", `{"action":["created"]}`, "", sentry.ErrNoAction},
		"action empty":            {"issue", `{"action":""}`, "", sentry.ErrNoAction},
		"action too long":         {"issue", `{"action":"` + long + `a"}`, "", sentry.ErrMalformedName},
		"action with a space":     {"issue", `{"action":"created now"}`, "", sentry.ErrMalformedName},
		"action with a dot":       {"issue", `{"action":"created.twice"}`, "", sentry.ErrMalformedName},
		"action with a line feed": {"issue", `{"action":"created\n"}`, "", sentry.ErrMalformedName},
		"action with a NUL":       {"issue", `{"action":"created\u0000"}`, "", sentry.ErrMalformedName},
		"action not ASCII":        {"issue", `{"action":"cr\u00e9ated"}`, "", sentry.ErrMalformedName},

		"header too long":     {long + "a", created, "", sentry.ErrMalformedName},
		"header with a space": {"issue ", created, "", sentry.ErrMalformedName},
		"header with a dot":   {"issue.created", created, "", sentry.ErrMalformedName},
		"header with a slash": {"../issue", created, "", sentry.ErrMalformedName},
		"header not ASCII":    {"issué", created, "", sentry.ErrMalformedName},
		"header not UTF-8":    {"issue\xff", created, "", sentry.ErrMalformedName},

		"nothing":                 {"issue", "", "", sentry.ErrNotJSONObject},
		"white space alone":       {"issue", " \n", "", sentry.ErrNotJSONObject},
		"a form":                  {"issue", "action=created", "", sentry.ErrNotJSONObject},
		"an array":                {"issue", "[" + created + "]", "", sentry.ErrNotJSONObject},
		"a string":                {"issue", `"created"`, "", sentry.ErrNotJSONObject},
		"null":                    {"issue", "null", "", sentry.ErrNotJSONObject},
		"cut off":                 {"issue", created[:len(created)-1], "", sentry.ErrNotJSONObject},
		"something behind it":     {"issue", created + "x", "", sentry.ErrNotJSONObject},
		"two objects":             {"issue", created + created, "", sentry.ErrNotJSONObject},
		"a byte order mark":       {"issue", "\ufeff" + created, "", sentry.ErrNotJSONObject},
		"Latin-1":                 {"issue", "{\"action\":\"created\",\"data\":{\"title\":\"Z\xfcrich\"}}", "", sentry.ErrNotJSONObject},
		"a surrogate in UTF-8":    {"issue", "{\"action\":\"created\",\"title\":\"\xed\xa0\x80\"}", "", sentry.ErrNotJSONObject},
		"UTF-16":                  {"issue", "{\x00}\x00", "", sentry.ErrNotJSONObject},
		"a raw line feed in text": {"issue", "{\"action\":\"created\",\"title\":\"a\nb\"}", "", sentry.ErrNotJSONObject},
		"a million open brackets": {"issue", `{"action":"created","data":` + strings.Repeat("[", 1e6), "", sentry.ErrNotJSONObject},
		"a million closed brackets": {"issue", `{"action":"created","data":` + strings.Repeat("[", 1e6) + strings.Repeat("]", 1e6) + "}",
			"", sentry.ErrNotJSONObject},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := sentry.EventName(tt.resource, []byte(tt.body))
			if got != tt.want || !errors.Is(err, tt.wantErr) {
				t.Errorf("EventName = %q, %v; want %q, %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestABodyThatNestsTooDeeplyIsNoObject(t *testing.T) {
	nested := func(levels int) []byte { // objects and lists by turns
		return []byte(strings.Repeat(`{"a":[`, levels/2) + strings.Repeat(`]}`, levels/2))
	}
	for levels, fine := range map[int]bool{9_998: true, 10_000: true, 10_002: false, 2_000_000: false} {
		if sentry.IsObject(nested(levels)) != fine {
			t.Errorf("with %d levels it is an object: %t", levels, !fine)
		}
	}
}

func FuzzEventName(f *testing.F) {
	eachSample(f, func(name string, body []byte) {
		resource, _, _ := strings.Cut(name, ".")
		f.Add(resource, body)
		f.Add("", body)
	})
	f.Add("Alert_2-B", []byte(`{"action":"X-9_y"}`))
	f.Add("issue", []byte(`{"action":"created`))
	f.Add("issue", []byte("{\"action\":\"created\",\"data\":\"\xff\"}"))
	f.Add("issue\n", []byte(`[{"action":"\u0000"}]`))

	valid := regexp.MustCompile(`^sentry\.[a-z0-9_-]{1,64}\.[a-z0-9_-]{1,64}$`)
	f.Fuzz(func(t *testing.T, resource string, body []byte) {
		name, err := sentry.EventName(resource, body)
		var object map[string]json.RawMessage
		isObject := utf8.Valid(body) && json.Unmarshal(body, &object) == nil && object != nil
		if errors.Is(err, sentry.ErrNotJSONObject) == isObject {
			t.Errorf("%q is an object in UTF-8: %t; got %v", body, isObject, err)
		}
		if err != nil {
			if name != "" {
				t.Errorf("the name %q beside the error %v", name, err)
			}
			return
		}
		if !valid.MatchString(name) {
			t.Errorf("the name %q", name)
		}
	})
}
