package activities_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"sentry-temporal/activities"
	"sentry-temporal/internal/sentry"
)

// title is the issue's in all samples.
const title = "CartTotalMismatch: cart total <119.90 €> & payment total <100.00 €> differ — order from Café Zürich 🧾"

func TestParseIssueOfASample(t *testing.T) {
	tests := map[string]struct{ status, priority, firstSeen, lastSeen string }{
		"issue.created":                {"unresolved", "high", "2026-03-17T09:42:10.418000+00:00", "2026-03-17T09:42:10.418000+00:00"},
		"issue.assigned":               {"unresolved", "high", "2026-03-17T09:42:10.418000Z", "2026-03-17T09:57:33.902000Z"},
		"issue.external_issue_created": {"unresolved", "high", "2026-03-17T09:42:10.418000Z", "2026-03-17T09:57:33.902000Z"},
		"issue.external_issue_linked":  {"unresolved", "high", "2026-03-17T09:42:10.418000Z", "2026-03-17T09:57:33.902000Z"},
		"issue.resolved":               {"resolved", "high", "2026-03-17T09:42:10.418000Z", "2026-03-17T11:26:48.007000Z"},
		"issue.unresolved":             {"unresolved", "high", "2026-03-17T09:42:10.418000Z", "2026-03-19T07:15:22.640000Z"},
		"issue.ignored":                {"ignored", "medium", "2026-03-17T09:42:10.418000Z", "2026-03-20T12:44:09.118000Z"},
		"issue.archived":               {"ignored", "low", "2026-03-17T09:42:10.418000Z", "2026-03-20T12:44:09.118000Z"},
		"activity_alert.triggered":     {"unresolved", "high", "2026-03-17T09:42:10.418000Z", "2026-03-17T10:13:55.731000Z"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			check(t, activities.ParseIssue, sample(t, name), activities.Issue{
				ID:        "6702149985",
				ShortID:   "BACKEND-1A",
				Title:     title,
				Culprit:   "checkout.views.PlaceOrderView.post",
				Level:     "error",
				Status:    tt.status,
				Priority:  tt.priority,
				Platform:  "python",
				Project:   "backend",
				FirstSeen: tt.firstSeen,
				LastSeen:  tt.lastSeen,
				URL:       "https://acme.sentry.io/issues/6702149985/",
			})
		})
	}
}

func TestParseCommentOfASample(t *testing.T) {
	tests := map[string]string{
		"comment.created": "Seen it on staging too — the Café Zürich voucher is taken off twice. Jonas, can you look before the 14:00 release? 🧾",
		"comment.updated": "Seen it on staging too — the Café Zürich voucher is taken off twice, once in the cart & once at the gateway. Holding the 14:00 release. 🛑",
		"comment.deleted": "Holding the 14:00 release.",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			check(t, activities.ParseComment, sample(t, name), activities.Comment{
				ID:      "90417733",
				Author:  "Ines Okafor",
				Text:    text,
				IssueID: "6702149985",
				Project: "backend",
			})
		})
	}
}

// errorEvent is the event in the samples.
var errorEvent = activities.Error{
	EventID:     "4be1c7a09d5e4f8fa2d36c0b9e7715f2",
	IssueID:     "6702149985",
	Title:       title,
	Culprit:     "checkout.views.PlaceOrderView.post",
	Level:       "error",
	Platform:    "python",
	Environment: "production",
	Release:     "backend@2026.3.17-2",
	ProjectID:   "4509382716055552",
	Time:        "2026-03-17T09:42:10.418000Z",
	URL:         "https://acme.sentry.io/issues/6702149985/events/4be1c7a09d5e4f8fa2d36c0b9e7715f2/",
}

func TestParseErrorOfASample(t *testing.T) {
	for _, name := range []string{"error.created", "event_alert.triggered"} {
		t.Run(name, func(t *testing.T) { check(t, activities.ParseError, sample(t, name), errorEvent) })
	}
}

func TestParseAlertOfASample(t *testing.T) {
	metric := func(state, title string, events string) activities.Alert {
		return activities.Alert{
			Rule:        "Payment page failures",
			RuleID:      "4412",
			Title:       title,
			Description: events + " events in the last 5 minutes\nFilter: level:error transaction:/checkout/payment",
			State:       state,
			Projects:    []string{"web"},
			URL:         "https://acme.sentry.io/issues/alerts/rules/details/4412/?alert=318&referrer=metric_alert_sentry_app&detection_type=static",
		}
	}
	tests := map[string]activities.Alert{
		"event_alert.triggered": {
			Rule:   "Checkout breaks in production",
			RuleID: "1650933",
			Title:  title,
			State:  "triggered",
			Error:  errorEvent,
			URL:    errorEvent.URL,
		},
		"metric_alert.critical": metric("critical", "Critical: Payment page failures", "74"),
		"metric_alert.warning":  metric("warning", "Warning: Payment page failures", "31"),
		"metric_alert.open":     metric("open", "Open: Payment page failures", "26"),
		"metric_alert.resolved": metric("resolved", "Resolved: Payment page failures", "4"),
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) { check(t, activities.ParseAlert, sample(t, name), want) })
	}
}

// A workflow may want events of several resources: what is not there is empty.
func TestParseReadsNothingIntoOtherEvents(t *testing.T) {
	check(t, activities.ParseIssue, sample(t, "comment.created"), activities.Issue{})
	check(t, activities.ParseError, sample(t, "issue.created"), activities.Error{})
	check(t, activities.ParseComment, sample(t, "seer.pr_created"), activities.Comment{Author: "Sentry"})
	check(t, activities.ParseAlert, sample(t, "seer.pr_created"), activities.Alert{State: "pr_created"})
}

func TestParseIssue(t *testing.T) {
	tests := map[string]struct {
		body string
		want activities.Issue
	}{
		"nested in the body": {`{"issue":{"id":"7"}}`, activities.Issue{ID: "7"}},
		"data comes first":   {`{"issue":{"id":"8"},"data":{"issue":{"id":"7"}}}`, activities.Issue{ID: "7"}},
		"data has no object": {`{"issue":{"id":"7"},"data":{"issue":"8"}}`, activities.Issue{ID: "7"}},
		"short_id":           {`{"data":{"issue":{"short_id":"WEB-1"}}}`, activities.Issue{ShortID: "WEB-1"}},
		"shortId first":      {`{"data":{"issue":{"short_id":"WEB-1","shortId":"WEB-2"}}}`, activities.Issue{ShortID: "WEB-2"}},
		"permalink":          {`{"data":{"issue":{"web_url":null,"permalink":"https://b"}}}`, activities.Issue{URL: "https://b"}},
		"web_url first":      {`{"data":{"issue":{"permalink":"https://b","web_url":"https://a"}}}`, activities.Issue{URL: "https://a"}},
		"id a big number":    {`{"data":{"issue":{"id":5284610937452286017}}}`, activities.Issue{ID: "5284610937452286017"}},
		"id a big string":    {`{"data":{"issue":{"id":"5284610937452286017"}}}`, activities.Issue{ID: "5284610937452286017"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { check(t, activities.ParseIssue, tt.body, tt.want) })
	}
}

func TestParseCommentTakesTheFirstThatIsNotEmpty(t *testing.T) {
	const rest = `"user":{"name":"user"},"author":{"name":"author"}`
	tests := map[string]struct {
		body string
		want activities.Comment
	}{
		"author: author_name":     {`{"actor":{"name":"actor"},"data":{"comment":{` + rest + `,"author_name":"author_name"}}}`, activities.Comment{Author: "author_name"}},
		"author: user.name":       {`{"actor":{"name":"actor"},"data":{"comment":{` + rest + `,"author_name":7}}}`, activities.Comment{Author: "user"}},
		"author: author.name":     {`{"actor":{"name":"actor"},"data":{"comment":{"user":{"name":null},"author":{"name":"author"}}}}`, activities.Comment{Author: "author"}},
		"author: actor.name":      {`{"actor":{"name":"actor"},"data":{"comment":{"user":"user","author":["author"]}}}`, activities.Comment{Author: "actor"}},
		"author: of body.comment": {`{"actor":{"name":"actor"},"comment":{` + rest + `},"data":{"comment":null}}`, activities.Comment{Author: "user"}},
		"author: data.comment before body.comment": {`{"comment":{"author_name":"body"},"data":{"comment":{"author":{"name":"data"}}}}`,
			activities.Comment{Author: "data"}},
		"author: unknown": {`{"actor":{"name":""},"data":{"comment":{"author_name":7}}}`, activities.Comment{Author: "unknown"}},

		"text: data.comment as a string": {`{"comment":{"text":"nested"},"data":{"comment":"plain","text":"data"}}`, activities.Comment{Author: "unknown", Text: "plain"}},
		"text: comment.text":             {`{"data":{"comment":{"message":"message","text":"text"},"text":"data"}}`, activities.Comment{Author: "unknown", Text: "text"}},
		"text: comment.message":          {`{"data":{"comment":{"message":"message","text":""},"text":"data"}}`, activities.Comment{Author: "unknown", Text: "message"}},
		"text: of body.comment":          {`{"comment":{"text":"nested"},"data":{"comment":"","text":"data"}}`, activities.Comment{Author: "unknown", Text: "nested"}},
		"text: data.text":                {`{"data":{"comment":null,"text":"data"}}`, activities.Comment{Author: "unknown", Text: "data"}},
		"text: none":                     {`{"data":{"comment":7,"text":{}}}`, activities.Comment{Author: "unknown"}},

		"issue: shortId":  {`{"data":{"issue":{"shortId":"WEB-1","short_id":"WEB-2","id":"7"},"issue_id":8}}`, activities.Comment{Author: "unknown", IssueShortID: "WEB-1", IssueID: "7"}},
		"issue: short_id": {`{"data":{"issue":{"shortId":"","short_id":"WEB-2"},"issue_id":8}}`, activities.Comment{Author: "unknown", IssueShortID: "WEB-2", IssueID: "8"}},
		"issue: of body":  {`{"issue":{"shortId":"WEB-3","id":9},"data":{"issue":null,"issue_id":8}}`, activities.Comment{Author: "unknown", IssueShortID: "WEB-3", IssueID: "9"}},
		"issue: issue_id": {`{"data":{"issue_id":5284610937452286017}}`, activities.Comment{Author: "unknown", IssueID: "5284610937452286017"}},

		"id: comment_id":  {`{"data":{"comment_id":5284610937452286017,"comment":{"id":"8"}}}`, activities.Comment{Author: "unknown", ID: "5284610937452286017"}},
		"id: comment's":   {`{"data":{"comment":{"id":"8"}}}`, activities.Comment{Author: "unknown", ID: "8"}},
		"text with a NUL": {`{"data":{"comment":"a\u0000b\ud83e"}}`, activities.Comment{Author: "unknown", Text: "ab\ufffd"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { check(t, activities.ParseComment, tt.body, tt.want) })
	}
}

func TestParseAlert(t *testing.T) {
	tests := map[string]struct {
		body string
		want activities.Alert
	}{
		"a rule without its label":      {`{"data":{"issue_alert":{"id":-1,"title":"rule"}}}`, activities.Alert{Rule: "rule", RuleID: "-1"}},
		"a metric alert's bare title":   {`{"data":{"metric_alert":{"title":"title"}}}`, activities.Alert{Title: "title"}},
		"big ids":                       {`{"data":{"event":{"issue_id":5284610937452286017,"project":5284610937452286018}}}`, activities.Alert{Error: activities.Error{IssueID: "5284610937452286017", ProjectID: "5284610937452286018"}}},
		"projects that are no slugs":    {`{"data":{"metric_alert":{"projects":["web",7,null,"",{"slug":"x"},["y"],"backend"]}}}`, activities.Alert{Projects: []string{"web", "backend"}}},
		"projects in place of the list": {`{"data":{"metric_alert":{"projects":{"web":"backend"}}}}`, activities.Alert{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { check(t, activities.ParseAlert, tt.body, tt.want) })
	}
}

// everyField has a ? in place of each value that is read.
var everyField = []string{
	`?`,
	`{"action":?,"actor":?,"data":?,"comment":?,"issue":?}`,
	`{"data":{"issue":?,"comment":?,"error":?,"event":?,"issue_alert":?,"metric_alert":?}}`,
	`{"data":{"issue":{"id":?,"shortId":?,"short_id":?,"title":?,"culprit":?,"level":?,"status":?,"priority":?,"platform":?,"project":?,
		"firstSeen":?,"lastSeen":?,"web_url":?,"permalink":?}}}`,
	`{"data":{"issue":{"project":{"slug":?}}}}`,
	`{"actor":{"name":?},"data":{"comment_id":?,"issue_id":?,"project_slug":?,"comment":?,"text":?}}`,
	`{"data":{"comment":{"id":?,"author_name":?,"user":?,"author":?,"text":?,"message":?}}}`,
	`{"data":{"comment":{"user":{"name":?},"author":{"name":?}}}}`,
	`{"data":{"error":{"event_id":?,"issue_id":?,"title":?,"culprit":?,"level":?,"platform":?,"environment":?,"release":?,"project":?,
		"datetime":?,"web_url":?}}}`,
	`{"action":?,"data":{"triggered_rule":?,"issue_alert":{"id":?,"title":?},"description_title":?,"description_text":?,"web_url":?,
		"metric_alert":{"title":?,"projects":[?],"alert_rule":{"id":?,"name":?}},
		"event":{"event_id":?,"issue_id":?,"title":?,"culprit":?,"level":?,"platform":?,"environment":?,"release":?,"project":?,
		"datetime":?,"web_url":?}}}`,
	`{"data":{"metric_alert":{"alert_rule":?,"projects":?}}}`,
}

func TestMissingNullAndMistypedFieldsAreEmpty(t *testing.T) {
	values := []string{`null`, `true`, `""`, `{}`, `[]`, `[7]`, `{"name":7,"id":false,"slug":{}}`, `[{"name":"x","id":"x"}]`}
	for _, body := range everyField {
		for _, value := range values {
			empty(t, strings.ReplaceAll(body, "?", value))
		}
	}
	empty(t, `{}`)
}

func TestUnreadableBodyIsEmpty(t *testing.T) {
	for _, body := range []string{
		"", " ", "x", `{"data":`, `{"data":{"issue":{"id":"7"}}`, `{"data":{"issue":{"id":"7"}}}x`, `"{}"`, `[{"data":{}}]`,
		"{\"data\":{\"issue\":{\"id\":\"7\",\"title\":\"\xff\"}}}",
		strings.Repeat("[", 1e6),
		`{"data":{"issue":{"id":"7"}},"deep":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}",
		strings.Repeat(`{"data":`, 1e5) + strings.Repeat("}", 1e5),
		strings.Repeat(`{"data":{"issue":{"comment":{"event":`, 2000) + `{}` + strings.Repeat("}}}}", 2000),
	} {
		empty(t, body)
	}
}

// empty checks that there is nothing in body, whatever it is taken for.
func empty(t *testing.T, body string) {
	t.Helper()
	check(t, activities.ParseIssue, body, activities.Issue{})
	check(t, activities.ParseComment, body, activities.Comment{Author: "unknown"})
	check(t, activities.ParseError, body, activities.Error{})
	check(t, activities.ParseAlert, body, activities.Alert{})
}

func TestUnreadableBodyIsInTheLog(t *testing.T) {
	tests := map[string]struct {
		body   string
		warned bool
	}{
		"cut off":    {`{"data":`, true},
		"empty":      {``, true},
		"not UTF-8":  {"{\"data\":\"\xff\"}", true},
		"nothing in": {`{}`, false},
		"a sample":   {sample(t, "comment.created"), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelWarn}))))
			env := suite.NewTestActivityEnvironment()
			env.RegisterActivity(activities.ParseComment)

			input := sentry.Envelope{EventType: "sentry.comment.created", Body: sentry.Body(tt.body)}
			if _, err := env.ExecuteLocalActivity(activities.ParseComment, input); err != nil {
				t.Fatal(err)
			}
			if warned := strings.Contains(logged.String(), "sentry.comment.created"); warned != tt.warned {
				t.Errorf("warned: %t, want %t; the log: %s", warned, tt.warned, &logged)
			}
		})
	}
}

func TestLongFieldIsCutBetweenCharacters(t *testing.T) {
	const limit = 16 << 10 // bytes
	for name, text := range map[string]string{
		"one byte each":    strings.Repeat("a", 2*limit),
		"three bytes each": strings.Repeat("€", limit),
		"four bytes each":  "a" + strings.Repeat("🧾", limit),
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(map[string]any{"data": map[string]any{"comment": text}})
			if err != nil {
				t.Fatal(err)
			}
			got := parse(t, activities.ParseComment, string(body)).Text
			if !strings.HasPrefix(text, got) || !utf8.ValidString(got) || len(got) > limit || len(got) <= limit-utf8.UTFMax {
				t.Errorf("%d of %d bytes are left, valid UTF-8: %t", len(got), len(text), utf8.ValidString(got))
			}
		})
	}
	digits := strings.Repeat("7", limit)
	check(t, activities.ParseIssue, `{"data":{"issue":{"id":`+digits+`8}}}`, activities.Issue{ID: digits})
	exact := strings.Repeat("a", limit)
	check(t, activities.ParseIssue, `{"data":{"issue":{"title":"`+exact+`"}}}`, activities.Issue{Title: exact})
}

// maxPayload is what Temporal takes as one result.
const maxPayload = 2 << 20

func TestTheBiggestResultFitsAPayload(t *testing.T) {
	long := `"` + strings.Repeat("<", 17<<10) + `"` // JSON writes six bytes for each
	list := "[" + strings.Repeat(long+",", 110) + long + "]"
	for _, body := range everyField {
		body = strings.ReplaceAll(strings.ReplaceAll(body, "[?]", list), "?", long)
		for name, size := range map[string]int{
			"issue":   len(encode(t, parse(t, activities.ParseIssue, body))),
			"comment": len(encode(t, parse(t, activities.ParseComment, body))),
			"error":   len(encode(t, parse(t, activities.ParseError, body))),
			"alert":   len(encode(t, parse(t, activities.ParseAlert, body))),
		} {
			if size > maxPayload {
				t.Errorf("the %s takes %d bytes", name, size)
			}
		}
	}
}

func FuzzParseIssue(f *testing.F)   { fuzz(f, activities.ParseIssue) }
func FuzzParseComment(f *testing.F) { fuzz(f, activities.ParseComment) }
func FuzzParseError(f *testing.F)   { fuzz(f, activities.ParseError) }
func FuzzParseAlert(f *testing.F)   { fuzz(f, activities.ParseAlert) }

func fuzz[Out any](f *testing.F, activity func(context.Context, sentry.Envelope) (Out, error)) {
	for _, name := range sentry.SampleNames() {
		f.Add(sample(f, name))
	}
	for _, body := range everyField {
		for _, value := range []string{`null`, `"\ud83e\u0000"`, `5284610937452286017`, `[]`, `{}`, "\"\xff\"", `"`} {
			f.Add(strings.ReplaceAll(body, "?", value))
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		out := parse(t, activity, body)
		text := encode(t, out)
		if len(text) > maxPayload {
			t.Errorf("the result takes %d bytes", len(text))
		}
		var back Out
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, out) {
			t.Errorf("%+v is read back as %+v, %v: is it UTF-8?", out, back, err)
		}
	})
}

func check[Out any](t *testing.T, activity func(context.Context, sentry.Envelope) (Out, error), body string, want Out) {
	t.Helper()
	if got := parse(t, activity, body); !reflect.DeepEqual(got, want) {
		t.Errorf("%.200q\n got %+v\nwant %+v", body, got, want)
	}
}

// parse calls a parse activity, which must not fail.
func parse[Out any](t *testing.T, activity func(context.Context, sentry.Envelope) (Out, error), body string) Out {
	t.Helper()
	out, err := activity(t.Context(), sentry.Envelope{Body: sentry.Body(body)})
	if err != nil {
		t.Fatalf("%.200q: %v", body, err)
	}
	return out
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func sample(t testing.TB, name string) string {
	t.Helper()
	body, err := sentry.Sample(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
