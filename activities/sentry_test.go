package activities_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/standin"
	"sentry-temporal/internal/text"
	"sentry-temporal/triage"
)

const (
	sentryToken    = secretPart + "0123456789abcdef"
	sentryVariable = "SENTRY_API_TOKEN"
	sampleIssue    = "6702149985"
	sampleInstall  = "5d0c4b1e-7a52-4f0e-9c3b-2f6a8e9d1c47"
)

var (
	sentryRef = activities.IssueRef{Integration: "sentry", IssueID: sampleIssue}
	seeded    = standin.Event{
		Environment: "production", Release: "backend@3.14.2", User: "u-1", File: "checkout/services/totals.py", Function: "assert_totals_match", Line: 41,
		Tags: map[string]string{"server_name": "web-1"},
	}
)

func init() {
	var api *activities.Sentry
	const issue = "/api/0/organizations/acme/issues/" + sampleIssue + "/"
	for _, e := range []struct {
		name, path string
		reads      bool
		do         func(ctx workflow.Context) error
	}{
		{"Sentry: read an issue", "GET " + issue, true, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.ReadIssue, sentryRef)
			return err
		}},
		{"Sentry: read the latest event", "GET " + issue + "events/latest/", true, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.ReadLatestEvent, sentryRef)
			return err
		}},
		{"Sentry: update", "PUT " + issue, false, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.UpdateIssue, activities.IssueUpdate{IssueRef: sentryRef, Status: "resolved"})
			return err
		}},
		{"Sentry: comment", "POST " + issue + "comments/", false, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.CommentOnIssue, activities.IssueComment{IssueRef: sentryRef, Text: "It is looked at."})
			return err
		}},
		{"Sentry: link the run", "POST /api/0/sentry-app-installations/" + sampleInstall + "/external-issues/", false, func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, api.LinkRun, activities.RunLink{IssueRef: sentryRef, Installation: sampleInstall, Identifier: "BACKEND-1A"})
			return err
		}},
	} {
		effects = append(effects, effect{
			name: e.name, variable: sentryVariable, once: !e.reads, late: !e.reads, reads: e.reads, path: e.path, do: e.do,
			serve: func(t *testing.T) served { t.Helper(); served, _ := serveSentry(t); return served },
		})
	}
}

// serveSentry starts a stand-in that has the sample's issue.
func serveSentry(t *testing.T, scopes ...string) (served, *standin.Sentry) {
	t.Helper()
	if len(scopes) == 0 {
		scopes = []string{standin.ScopeEventRead, standin.ScopeEventWrite}
	}
	s, err := standin.StartSentry("acme", sentryToken, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seed(body, seeded); err != nil {
		t.Fatal(err)
	}
	return served{
		Server: s.Server,
		cfg: config.Outside{
			Sentry: map[string]config.SentryAPI{"sentry": {URL: s.URL, Organization: "acme", TokenVariable: sentryVariable}},
			Secret: secretsOf(map[string]string{sentryVariable: sentryToken}),
		},
		effects: func() int {
			issue, _ := s.Issue(sampleIssue)
			return issue.Changes + len(issue.Comments) + len(issue.Links)
		},
	}, s
}

// call calls an activity once, as a worker does.
func call[In, Out any](t *testing.T, cfg config.Outside, ui string, do func(context.Context, In) (Out, error), in In) (Out, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	systems := &outside.Systems{Outside: cfg, Client: outside.NewClient(), Pages: map[string]string{"sentry": ui}}
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: outside.With(t.Context(), systems)})
	env.RegisterActivity(do)
	var out Out
	value, err := env.ExecuteActivity(do, in)
	if err == nil {
		err = value.Get(&out)
	}
	return out, err
}

var sentryActivities = &activities.Sentry{}

func TestAnIssueIsReadAsSentryHasIt(t *testing.T) {
	s, api := serveSentry(t)
	api.Teams = map[string]string{"42": "payments"}
	want := activities.SentryIssue{
		Issue: activities.Issue{
			ID: sampleIssue, ShortID: "BACKEND-1A", Title: title, Culprit: "checkout.views.PlaceOrderView.post", Level: "error", Status: "unresolved", Priority: "high",
			Platform: "python", Project: "backend", FirstSeen: "2026-03-17T09:42:10.418000+00:00", LastSeen: "2026-03-17T09:42:10.418000+00:00",
			URL: "https://acme.sentry.io/issues/6702149985/",
		},
		Substatus: "new", Users: "1", Count: "1",
	}
	for _, id := range []string{sampleIssue, "BACKEND-1A"} {
		got, err := call(t, s.cfg, "", sentryActivities.ReadIssue, activities.IssueRef{Integration: "sentry", IssueID: id})
		if got != want || err != nil {
			t.Errorf("%s is %+v, %v", id, got, err)
		}
	}
	got, err := call(t, s.cfg, "", sentryActivities.UpdateIssue, activities.IssueUpdate{IssueRef: sentryRef, Status: "ignored", Substatus: "archived_forever", AssignedTo: "team:42"})
	want.Status, want.Substatus, want.Team = "ignored", "archived_forever", "payments"
	if got != want || err != nil {
		t.Errorf("after the change it is %+v, %v", got, err)
	}
}

func TestAnUpdateSendsOnlyWhatChanges(t *testing.T) {
	s, _ := serveSentry(t)
	if _, err := call(t, s.cfg, "", sentryActivities.UpdateIssue, activities.IssueUpdate{IssueRef: sentryRef, Status: "resolved"}); err != nil {
		t.Fatal(err)
	}
	if got := s.Received(); len(got) != 1 || got[0].Body != `{"status":"resolved"}` {
		t.Errorf("it was sent %+v", got)
	}
	if _, err := call(t, s.cfg, "", sentryActivities.UpdateIssue, activities.IssueUpdate{IssueRef: sentryRef}); err == nil || len(s.Received()) != 1 {
		t.Errorf("nothing was to be changed, and %d requests were sent, %v", len(s.Received()), err)
	}
}

func TestTheLatestEventIsReadAsFarAsTriageNeedsIt(t *testing.T) {
	s, _ := serveSentry(t)
	got, err := call(t, s.cfg, "", sentryActivities.ReadLatestEvent, sentryRef)
	want := activities.SentryEvent{
		EventID: got.EventID, Environment: "production", Release: "backend@3.14.2", User: true,
		Frame: "checkout/services/totals.py:41 in assert_totals_match", Suspect: "checkout/services/totals.py",
		Tags: []activities.Tag{{"environment", "production"}, {"level", "error"}, {"release", "backend@3.14.2"}, {"server_name", "web-1"}},
	}
	if !reflect.DeepEqual(got, want) || got.EventID == "" || err != nil {
		t.Errorf("it is %+v, %v", got, err)
	}
}

func TestOfAnEventThatIsTooLargeTheOutlineIsRead(t *testing.T) {
	s, _ := serveSentry(t)
	s.Fail(standin.Fault{Path: "/api/0/organizations/acme/issues/" + sampleIssue + "/events/latest/", Times: -1, Endless: true})
	got, err := call(t, s.cfg, "", sentryActivities.ReadLatestEvent, sentryRef)
	if got.Environment != "production" || got.Release != "backend@3.14.2" || !got.User || got.Frame != "" || err != nil {
		t.Errorf("it is %+v, %v", got, err)
	}
}

// answering is Sentry's API that answers everything with a body.
func answering(t *testing.T, body *string) config.Outside {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, *body) // the client may be gone
	}))
	t.Cleanup(server.Close)
	return config.Outside{
		Sentry: map[string]config.SentryAPI{"sentry": {URL: server.URL, Organization: "acme", TokenVariable: sentryVariable}},
		Secret: secretsOf(map[string]string{sentryVariable: sentryToken}),
	}
}

func TestTheFrameIsTheApplicationsOwnWhereItWasRaisedLast(t *testing.T) {
	frame := func(file string, own bool) string {
		return fmt.Sprintf(`{"filename":%q,"function":"f","lineNo":7,"inApp":%t}`, file, own)
	}
	raised := func(frames ...string) string { return `{"stacktrace":{"frames":[` + strings.Join(frames, ",") + `]}}` }
	exception := func(values ...string) string {
		return `{"type":"exception","data":{"values":[` + strings.Join(values, ",") + `]}}`
	}
	threads := func(crashed bool, frames ...string) string {
		return fmt.Sprintf(`{"type":"threads","data":{"values":[{"crashed":%t,"stacktrace":{"frames":[%s]}}]}}`, crashed, strings.Join(frames, ","))
	}
	own, other, library := frame("own.go", true), frame("other.go", true), frame("library.go", false)
	var body string
	cfg := answering(t, &body)
	for name, tt := range map[string]struct{ entries, want string }{
		"the last call":                 {exception(raised(other, own)), "own.go"},
		"calls of libraries after it":   {exception(raised(other, own, library, library)), "own.go"},
		"what was raised last":          {exception(raised(other), raised(own)), "own.go"},
		"what was raised last has none": {exception(raised(own), raised(library)), "own.go"},
		"the thread that crashed":       {threads(false, other) + "," + threads(true, own), "own.go"},
		"a thread that did not crash":   {threads(false, own), ""},
		"an exception beside threads":   {threads(true, other) + "," + exception(raised(own)) + "," + threads(true, other), "own.go"},
		"a trace by itself":             {`{"type":"stacktrace","data":{"frames":[` + own + `]}}`, "own.go"},
		"none is the application's own": {exception(raised(library)), ""},
		"no frames":                     {exception(raised(), `{"stacktrace":null}`, `null`, `7`), ""},
		"a message":                     {`{"type":"message","data":{"formatted":"x"}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			body = `{"eventID":"1","entries":[` + tt.entries + `]}`
			got, err := call(t, cfg, "", sentryActivities.ReadLatestEvent, sentryRef)
			frame := ""
			if tt.want != "" {
				frame = tt.want + ":7 in f"
			}
			if got.Suspect != tt.want || got.Frame != frame || err != nil {
				t.Errorf("it is %q, %q, %v", got.Frame, got.Suspect, err)
			}
		})
	}
}

func TestAnEventsTagsAreBoundedAndItsEnvironmentIsFoundBehindThem(t *testing.T) {
	tags := []string{`{"key":"","value":"x"}`, `{"key":7,"value":"x"}`, `["level","error"]`}
	for i := range 100 {
		tags = append(tags, fmt.Sprintf(`{"key":"a%03d","value":%q}`, i, strings.Repeat("€", 1000)))
	}
	tags = append(tags, `{"key":"environment","value":"production"}`, `{"key":"release","value":"1.2.3"}`)
	body := `{"eventID":"1","release":null,"user":{"id":null,"ip_address":"192.0.2.1"},"tags":[` + strings.Join(tags, ",") + `]}`
	got, err := call(t, answering(t, &body), "", sentryActivities.ReadLatestEvent, sentryRef)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Tags) != 50 || got.Environment != "production" || got.Release != "1.2.3" || !got.User {
		t.Errorf("there are %d tags, environment %q, release %q, of a user: %t", len(got.Tags), got.Environment, got.Release, got.User)
	}
	if value := got.Tags[0].Value; got.Tags[0].Key != "a000" || len(value) > 300 || !utf8.ValidString(value) {
		t.Errorf("the first tag is %s with %d bytes", got.Tags[0].Key, len(value))
	}
}

func TestWhatIsReadIsFitToBeShown(t *testing.T) {
	for _, hostile := range hostileTexts {
		t.Run(hostile.name, func(t *testing.T) {
			encoded := string(encode(t, hostile.text))
			body := `{"id":"1","eventID":"1","title":` + encoded + `,"substatus":` + encoded + `,"userCount":` + encoded + `,"assignedTo":{"type":"team","name":` + encoded + `},` +
				`"tags":[{"key":"environment","value":` + encoded + `}],"entries":[{"type":"stacktrace","data":{"frames":[{"inApp":true,"filename":` + encoded + `,"function":` + encoded + `}]}}]}`
			cfg := answering(t, &body)
			issue, err := call(t, cfg, "", sentryActivities.ReadIssue, sentryRef)
			if err != nil {
				t.Fatal(err)
			}
			event, err := call(t, cfg, "", sentryActivities.ReadLatestEvent, sentryRef)
			if err != nil {
				t.Fatal(err)
			}
			if issue.Users != "" {
				t.Errorf("it happened to %q users", issue.Users)
			}
			for _, line := range []string{issue.Substatus, issue.Team, event.Environment, event.Frame, event.Suspect} {
				if line != text.Line(line) || len(line) > 700 {
					t.Errorf("%d bytes: %.100q", len(line), line)
				}
			}
		})
	}
}

func TestACommentIsNotWrittenAgainWhenSentryWouldTakeIt(t *testing.T) {
	comment := func(ctx workflow.Context) error {
		_, err := triage.Do(ctx, sentryActivities.CommentOnIssue, activities.IssueComment{IssueRef: sentryRef, Text: " It is looked at.\r\nSoon. "})
		return err
	}
	path := "/api/0/organizations/acme/issues/" + sampleIssue + "/comments/"
	t.Run("hours after an answer was lost", func(t *testing.T) {
		s, api := serveSentry(t)
		api.Repeats = 0
		s.Fail(standin.Fault{Path: "POST " + path, After: true, Cut: true})
		o := effect{do: comment}.run(t, s.cfg)
		if o.err != nil || s.effects() != 1 {
			t.Errorf("%d comments, %v", s.effects(), o.err)
		}
		if o.waited < 2*outside.Timeout {
			t.Errorf("after %s it was looked for: it might have come later", o.waited)
		}
	})
	t.Run("among others", func(t *testing.T) {
		s, api := serveSentry(t)
		api.Repeats, api.Rate = 0, 1000
		write := func(text string) {
			if _, err := call(t, s.cfg, "", sentryActivities.CommentOnIssue, activities.IssueComment{IssueRef: sentryRef, Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		write("It is looked at.\nSoon.")
		for i := range 120 {
			write(fmt.Sprint("other ", i))
		}
		s.Fail(standin.Fault{Path: "POST " + path, Status: http.StatusBadGateway})
		if o := (effect{do: comment}).run(t, s.cfg); o.err != nil || s.effects() != 121 {
			t.Errorf("%d comments, %v", s.effects(), o.err)
		}
	})
}

func TestACommentThatIsThereAlreadyIsSaidToBe(t *testing.T) {
	s, _ := serveSentry(t)
	for attempt, want := range []bool{false, true} {
		got, err := call(t, s.cfg, "", sentryActivities.CommentOnIssue, activities.IssueComment{IssueRef: sentryRef, Text: "It is looked at."})
		if (got.Note != "") != want || err != nil || s.effects() != 1 {
			t.Errorf("call %d: %q, %v, %d comments", attempt, got.Note, err, s.effects())
		}
	}
}

func TestEveryTextIsTakenAsAComment(t *testing.T) {
	s, api := serveSentry(t)
	api.Rate = 1000
	for _, hostile := range hostileTexts {
		comment := activities.IssueComment{IssueRef: sentryRef, Text: "Said: " + hostile.text}
		if _, err := call(t, s.cfg, "", sentryActivities.CommentOnIssue, comment); err != nil {
			t.Errorf("%s: %v", hostile.name, err)
		}
	}
}

func TestALongCommentIsCutBetweenCharacters(t *testing.T) {
	const most = 4000
	for name, tt := range map[string]struct{ text, want string }{
		"as long as may be":             {strings.Repeat("€", most), strings.Repeat("€", most)},
		"one more":                      {strings.Repeat("€", most+1), strings.Repeat("€", most-1) + "…"},
		"a space where it is cut":       {strings.Repeat("€", most-2) + "  " + strings.Repeat("€", most), strings.Repeat("€", most-2) + "…"},
		"white space around, uncounted": {" \n" + strings.Repeat("€", most) + "\n ", strings.Repeat("€", most)},
	} {
		t.Run(name, func(t *testing.T) {
			s, api := serveSentry(t)
			if _, err := call(t, s.cfg, "", sentryActivities.CommentOnIssue, activities.IssueComment{IssueRef: sentryRef, Text: tt.text}); err != nil {
				t.Fatal(err)
			}
			if issue, _ := api.Issue(sampleIssue); len(issue.Comments) != 1 || issue.Comments[0].Text != tt.want {
				t.Errorf("there are %d comments, %+.50q", len(issue.Comments), issue.Comments)
			}
		})
	}
}

func TestALinkLeadsToTheRun(t *testing.T) {
	const ui = "https://temporal.example"
	const run = "/namespaces/default-test-namespace/workflows/default-test-workflow-id"
	long := func(n int) string { return ui + "/" + strings.Repeat("x", n-len(ui)-len(run)-1) }
	link := activities.RunLink{IssueRef: sentryRef, Installation: sampleInstall, Identifier: "BACKEND-1A"}
	other := func(change func(*activities.RunLink)) activities.RunLink { l := link; change(&l); return l }
	for name, tt := range map[string]struct {
		ui      string
		link    activities.RunLink
		want    string
		skipped string
	}{
		"its page":                             {ui, link, ui + run + "/default-test-run-id", ""},
		"too long: without the run ID":         {long(190), link, long(190) + run, ""},
		"just as long as may be":               {long(200 - len("/default-test-run-id")), link, long(200-len("/default-test-run-id")) + run + "/default-test-run-id", ""},
		"just as long without the run ID":      {long(200), link, long(200) + run, ""},
		"longer even so":                       {long(201), link, "", "201"},
		"no UI":                                {"", link, "", "TEMPORAL_UI_URL"},
		"no installation":                      {ui, other(func(l *activities.RunLink) { l.Installation = "" }), "", "installation"},
		"an installation that leads elsewhere": {ui, other(func(l *activities.RunLink) { l.Installation = "../../x" }), "", "installation"},
		"an id that is no number":              {ui, other(func(l *activities.RunLink) { l.IssueID = "BACKEND-1A" }), "", "number"},
	} {
		t.Run(name, func(t *testing.T) {
			s, api := serveSentry(t)
			got, err := call(t, s.cfg, tt.ui, sentryActivities.LinkRun, tt.link)
			if got.URL != tt.want || (got.Skipped != "") != (tt.skipped != "") || !strings.Contains(got.Skipped, tt.skipped) || err != nil {
				t.Errorf("it is %+v, %v", got, err)
			}
			issue, _ := api.Issue(sampleIssue)
			if tt.want == "" && len(s.Received()) != 0 || tt.want != "" && (len(issue.Links) != 1 || issue.Links[0].URL != tt.want || issue.Links[0].Name != "triage#BACKEND-1A") {
				t.Errorf("the issue has %+v after %d requests", issue.Links, len(s.Received()))
			}
		})
	}
}

func TestALinkGoesToTheIssueWhateverItsNumber(t *testing.T) {
	const id = "9007199254740993" // a float has only its neighbours
	s, api := serveSentry(t)
	if _, err := api.Seed([]byte(`{"data":{"issue":{"id":"`+id+`"}}}`), seeded); err != nil {
		t.Fatal(err)
	}
	link := activities.RunLink{IssueRef: activities.IssueRef{Integration: "sentry", IssueID: id}, Installation: sampleInstall}
	if _, err := call(t, s.cfg, "https://temporal.example", sentryActivities.LinkRun, link); err != nil {
		t.Fatal(err)
	}
	if issue, _ := api.Issue(id); len(issue.Links) != 1 || issue.Links[0].Name != "triage#"+id {
		t.Errorf("the issue has %+v", issue.Links)
	}
}

func TestAnIDLeadsNowhereElse(t *testing.T) {
	s, _ := serveSentry(t)
	for _, id := range []string{"", "..", "../..", "1/../2", "1?a=b", "1#a", "1%2f2", "1 2", "é", strings.Repeat("1", 101)} {
		if _, err := call(t, s.cfg, "", sentryActivities.ReadIssue, activities.IssueRef{Integration: "sentry", IssueID: id}); err == nil || len(s.Received()) > 0 {
			t.Errorf("%.20q: %d requests, %v", id, len(s.Received()), err)
		}
	}
}

func TestAnErrorOfSentrysAPISaysWhatToDo(t *testing.T) {
	full := []string{standin.ScopeEventRead, standin.ScopeEventWrite}
	resolve := activities.IssueUpdate{IssueRef: sentryRef, Status: "resolved"}
	for name, tt := range map[string]struct {
		scopes []string
		change func(*config.SentryAPI)
		update activities.IssueUpdate
		says   []string
	}{
		"the token may not write":       {full[:1], func(*config.SentryAPI) {}, resolve, []string{"403", sentryVariable, "event:write"}},
		"another organization":          {full, func(a *config.SentryAPI) { a.Organization = "other" }, resolve, []string{"404", "other"}},
		"an issue that is not there":    {full, func(*config.SentryAPI) {}, activities.IssueUpdate{IssueRef: activities.IssueRef{Integration: "sentry", IssueID: "5"}, Status: "resolved"}, []string{"404", "acme"}},
		"a change that Sentry refuses":  {full, func(*config.SentryAPI) {}, activities.IssueUpdate{IssueRef: sentryRef, Status: "exploded"}, []string{"400", "exploded"}},
		"an integration without an API": {full, func(*config.SentryAPI) {}, activities.IssueUpdate{IssueRef: activities.IssueRef{Integration: "backend", IssueID: "5"}, Status: "resolved"}, []string{"BACKEND_API_TOKEN", "BACKEND_ORGANIZATION"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serveSentry(t, tt.scopes...)
			api := s.cfg.Sentry["sentry"]
			tt.change(&api)
			s.cfg.Sentry["sentry"] = api
			_, err := call(t, s.cfg, "", sentryActivities.UpdateIssue, tt.update)
			refused, ok := errors.AsType[*temporal.ApplicationError](err)
			if !ok || !refused.NonRetryable() {
				t.Fatalf("it is not final: %v", err)
			}
			for _, part := range tt.says {
				if !strings.Contains(refused.Message(), part) {
					t.Errorf("%q is not in: %v", part, refused.Message())
				}
			}
		})
	}
}

func TestTooManyRequestsWaitUntilSentryCountsAnew(t *testing.T) {
	read := func(ctx workflow.Context) error {
		_, err := triage.Do(ctx, sentryActivities.ReadIssue, sentryRef)
		return err
	}
	for name, tt := range map[string]struct {
		reset       string
		least, most time.Duration
	}{
		"in ten minutes":     {strconv.FormatInt(time.Now().Add(10*time.Minute).Unix(), 10), 9 * time.Minute, 10 * time.Minute},
		"long ago":           {"1700000000", time.Second, time.Second},
		"in a hundred years": {strconv.FormatInt(time.Now().AddDate(100, 0, 0).Unix(), 10), time.Hour, time.Hour},
		"soon":               {"soon", time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serveSentry(t)
			s.Fail(standin.Fault{Path: "/api/", Status: http.StatusTooManyRequests, Header: http.Header{"X-Sentry-Rate-Limit-Reset": {tt.reset}}})
			o := effect{do: read}.run(t, s.cfg)
			if o.err != nil || o.waited < tt.least || o.waited > tt.most+time.Second {
				t.Errorf("it waited %s, %v", o.waited, o.err)
			}
		})
	}
}

// everyAnswer has a ? in place of each value that is read.
var everyAnswer = []string{
	`?`, `[?]`,
	`{"id":?,"shortId":?,"title":?,"culprit":?,"level":?,"status":?,"priority":?,"platform":?,"project":?,"firstSeen":?,"lastSeen":?,"permalink":?,
		"substatus":?,"userCount":?,"count":?,"assignedTo":?}`,
	`{"id":"1","assignedTo":{"type":"team","slug":?,"name":?}}`,
	`{"eventID":?,"release":?,"environment":?,"user":?,"tags":?,"entries":?}`,
	`{"eventID":"1","release":{"version":?},"user":{"id":?,"email":?},"tags":[?,{"key":?,"value":?}],"entries":[?,{"type":?,"data":?}]}`,
	`{"eventID":"1","entries":[{"type":"exception","data":{"values":[?,{"stacktrace":{"frames":[?,{"inApp":?},{"inApp":true,"filename":?,"lineNo":?,"function":?}]}}]}}]}`,
}

func FuzzSentryAnswers(f *testing.F) {
	for _, body := range everyAnswer {
		for _, value := range []string{`null`, `"\ud83e\u0000"`, `5284610937452286017`, `[]`, `{}`, "\"\xff\"", `"`, `"x"`, `1e400`} {
			f.Add(strings.ReplaceAll(body, "?", value))
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		issue, events := activities.SentryAnswer(body)
		if size := len(encode(t, issue)); size > maxPayload {
			t.Errorf("the issue takes %d bytes", size)
		}
		for _, event := range events {
			if size := len(encode(t, event)); size > maxPayload/4 || len(event.Tags) > 50 {
				t.Errorf("the event takes %d bytes and has %d tags", size, len(event.Tags))
			}
			for _, line := range []string{event.EventID, event.Environment, event.Release, event.Frame, event.Suspect} {
				if line != text.Line(line) {
					t.Errorf("%q is no line", line)
				}
			}
		}
	})
}
