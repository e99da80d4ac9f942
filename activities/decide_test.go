package activities_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/sentry"
)

// everything is a worker on which all is configured, by variables.
var everything = config.Outside{
	Sentry:       map[string]config.SentryAPI{"sentry": {Organization: "acme"}},
	SlackChannel: "#sentry", SlackWebhookVariable: config.SlackWebhookURL, PagerDutyVariable: config.PagerDutyRoutingKey,
	GitHubRepo: "acme/pay", WebhookVariable: config.WebhookURL,
}

// on returns a context with what is configured.
func on(t *testing.T, o config.Outside) context.Context {
	t.Helper()
	table := destinations.FromVariables(o)
	return outside.With(t.Context(), &outside.Systems{Outside: o, Destinations: func() (*destinations.Table, error) { return table, nil }})
}

// delivered returns a sample as a delivery, in which texts are replaced.
func delivered(t *testing.T, name string, replacements ...string) sentry.Envelope {
	t.Helper()
	body := strings.NewReplacer(replacements...).Replace(sample(t, name))
	resource, _, _ := strings.Cut(name, ".")
	event, err := sentry.EventName(resource, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return sentry.Envelope{
		IntegrationID: "sentry", EventType: event, IdempotencyKey: "a-key", Timestamp: 1773745560, Body: sentry.Body(body), // 2026-03-17T11:06:00Z
	}
}

func decide(ctx context.Context, t *testing.T, c activities.Case) activities.Decision {
	t.Helper()
	d, err := activities.Decide(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// steps are those of a decision in one line each.
func steps(d activities.Decision) string {
	var all []string
	for _, s := range d.Steps {
		line := s.Effect + " " + s.To
		if s.Skipped != "" {
			line = "no " + strings.TrimSpace(line) + ": " + s.Skipped
		}
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

const (
	fatal = `"level":"fatal"`
	err0r = `"level":"error"`
)

func TestWhatIsDone(t *testing.T) {
	old := &activities.SentryIssue{Issue: activities.Issue{ID: "6702149985", FirstSeen: "2026-03-01T00:00:00Z"}, Substatus: "ongoing"}
	page, link := "page TRIAGE_PAGERDUTY_ROUTING_KEY", "link BACKEND-1A"
	messages := "slack #sentry\nslack webhook TRIAGE_SLACK_WEBHOOK_URL\nwebhook TRIAGE_WEBHOOK_URL"
	ticket, noTicket := "ticket acme/pay", "no ticket acme/pay: an issue gets a ticket when it is new"
	resolve := "resolve TRIAGE_PAGERDUTY_ROUTING_KEY"
	noPage := func(why string) string { return "no " + page + ": " + why }
	lines := func(all ...string) string { return strings.Join(all, "\n") }
	for name, tt := range map[string]struct {
		c    activities.Case
		want string
	}{
		"a new issue":        {activities.Case{Envelope: delivered(t, "issue.created")}, lines(page, messages, ticket, link)},
		"a new fatal issue":  {activities.Case{Envelope: delivered(t, "issue.created", err0r, fatal)}, lines(page, messages, ticket, link)},
		"a new medium issue": {activities.Case{Envelope: delivered(t, "issue.created", `"priority":"high"`, `"priority":"medium"`)}, lines(noPage("it is medium, and critical and high ones are paged for"), messages, ticket, link)},
		"a new low issue":    {activities.Case{Envelope: delivered(t, "issue.created", err0r, `"level":"info"`)}, lines(noPage("it is low, and critical and high ones are paged for"), messages, "no ticket acme/pay: it is low", link)},
		"one of staging, as Sentry says": {activities.Case{Envelope: delivered(t, "issue.created"), Event: &activities.SentryEvent{Environment: "staging"}},
			lines(noPage("it is medium, and critical and high ones are paged for"), messages, ticket, link)},
		"a regression":      {activities.Case{Envelope: delivered(t, "issue.unresolved")}, lines(page, messages, noTicket, link)},
		"a resolved issue":  {activities.Case{Envelope: delivered(t, "issue.resolved")}, resolve},
		"a critical alert":  {activities.Case{Envelope: delivered(t, "metric_alert.critical")}, lines(page, messages)},
		"an alert of tests": {activities.Case{Envelope: delivered(t, "metric_alert.critical", `"environment":"production"`, `"environment":"ci"`)}, lines(noPage("it is medium, and critical and high ones are paged for"), messages)},
		"a warning":         {activities.Case{Envelope: delivered(t, "metric_alert.warning")}, lines(noPage("it is medium, and critical and high ones are paged for"), messages)},
		"a resolved alert":  {activities.Case{Envelope: delivered(t, "metric_alert.resolved")}, lines(resolve, messages)},
		"an issue alert":    {activities.Case{Envelope: delivered(t, "event_alert.triggered", err0r, fatal), Issue: old}, lines(page, messages)},
		"a test":            {activities.Case{Envelope: delivered(t, "event_alert.triggered", err0r, fatal, `"issue_alert":{"id":1650933`, `"issue_alert":{"id":-1`), Issue: old}, lines(noPage("a test wakes nobody"), "slack #sentry\nslack webhook TRIAGE_SLACK_WEBHOOK_URL", "no webhook TRIAGE_WEBHOOK_URL: a test is for people")},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(on(t, everything), t, tt.c)
			if got := steps(d); got != tt.want {
				t.Errorf("it is\n%s\nwant\n%s", got, tt.want)
			}
			if d.Card.Test != (name == "a test") {
				t.Errorf("the card says of it being a test: %t", d.Card.Test)
			}
		})
	}
}

// The table in docs/triage.md is that of the code.
func TestWhatIsDoneIsAsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/triage.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| event | what the run does |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	words := map[string]string{
		activities.EffectPage: "pages,", activities.EffectResolve: "resolves the page", activities.EffectSlack: "posts,", activities.EffectWebhook: "tells the webhook",
		activities.EffectTicket: "makes a ticket", activities.EffectLink: "links the run",
	}
	seen := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		event, does := strings.Trim(strings.TrimPrefix(strings.TrimSpace(cells[1]), "`sentry."), "`"), strings.TrimSpace(cells[2])+","
		switch event {
		case "issue.unresolved", "event_alert.triggered":
			continue // told in words of their own
		}
		seen++
		done := map[string]bool{}
		for _, step := range decide(on(t, everything), t, activities.Case{Envelope: delivered(t, event)}).Steps {
			done[step.Effect] = step.Skipped == ""
		}
		for effect, word := range words {
			if documented := strings.Contains(does, word); documented != done[effect] {
				t.Errorf("of %s %s is %t, and documented: %t", event, effect, done[effect], documented)
			}
		}
	}
	if seen < 5 {
		t.Errorf("there are %d rows", seen)
	}
}

func TestAnAlertAboutAnIssueThatIsNewOrBackPagesNobody(t *testing.T) {
	// The sample's event came at 09:42:10.
	at := func(firstSeen, substatus string) *activities.SentryIssue {
		return &activities.SentryIssue{Issue: activities.Issue{ID: "6702149985", FirstSeen: firstSeen}, Substatus: substatus}
	}
	for name, tt := range map[string]struct {
		issue *activities.SentryIssue
		pages bool
	}{
		"Sentry was not asked":  {nil, false},
		"it says nothing":       {&activities.SentryIssue{}, false},
		"new":                   {at("2026-03-17T09:42:10Z", "new"), false},
		"an hour old":           {at("2026-03-17T08:42:11Z", "ongoing"), false},
		"more than an hour old": {at("2026-03-17T08:42:09Z", "ongoing"), true},
		"with the zone":         {at("2026-03-17T08:42:09.999999+00:00", "new"), true},
		"first seen later, by a clock of its own": {at("2026-03-17T09:52:10Z", "new"), false},
		"old and back": {at("2026-01-17T08:42:09Z", "regressed"), false},
		"old and escalating, maybe never archived": {at("2026-01-17T08:42:09Z", "escalating"), true},
		"of an age that is not known":              {at("", "ongoing"), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(on(t, everything), t, activities.Case{Envelope: delivered(t, "event_alert.triggered", err0r, fatal), Issue: tt.issue})
			page := d.Steps[0]
			if page.Effect != activities.EffectPage || (page.Skipped == "") != tt.pages {
				t.Errorf("the page is %+v", page)
			}
			if !tt.pages && !strings.Contains(page.Skipped, "triage_sentry_issue") {
				t.Errorf("it does not say who pages: %s", page.Skipped)
			}
		})
	}
}

// Else nobody would be woken: the issue was medium when triage_sentry_issue saw it.
func TestAnAlertAboutANewIssueThatManyHaveByNowPages(t *testing.T) {
	for name, tt := range map[string]struct {
		issue activities.SentryIssue
		level string
		pages bool
	}{
		"medium until many had it": {activities.SentryIssue{Users: "250", Substatus: "new"}, err0r, true},
		"high from the beginning":  {activities.SentryIssue{Users: "250", Substatus: "new", Issue: activities.Issue{Priority: "high"}}, err0r, false},
		"fatal":                    {activities.SentryIssue{Users: "250", Substatus: "new"}, fatal, false},
		"back, which made it high": {activities.SentryIssue{Users: "250", Substatus: "regressed"}, err0r, false},
	} {
		t.Run(name, func(t *testing.T) {
			tt.issue.ID, tt.issue.FirstSeen = "6702149985", "2026-03-17T09:12:10Z"
			d := decide(on(t, everything), t, activities.Case{Envelope: delivered(t, "event_alert.triggered", err0r, tt.level), Issue: &tt.issue})
			if page := d.Steps[0]; page.Effect != activities.EffectPage || (page.Skipped == "") != tt.pages {
				t.Errorf("it is %s, and the page is %+v", d.Severity, page)
			}
		})
	}
}

// One incident, whoever pages for it, and the same when it is resolved.
func TestAPageHasOneKeyForItsSubject(t *testing.T) {
	old := &activities.SentryIssue{Issue: activities.Issue{ID: "6702149985", FirstSeen: "2026-03-01T00:00:00Z"}}
	key := func(name string) string {
		return decide(on(t, everything), t, activities.Case{Envelope: delivered(t, name, err0r, fatal), Issue: old}).Steps[0].Key
	}
	issue, alert := activities.EffectKey("sentry", "issue:6702149985", "page", "1"), activities.EffectKey("sentry", "alert:4412", "page", "1")
	for name, want := range map[string]string{
		"issue.created": issue, "issue.unresolved": issue, "event_alert.triggered": issue, "issue.resolved": issue,
		"metric_alert.critical": alert, "metric_alert.resolved": alert,
	} {
		if got := key(name); got != want {
			t.Errorf("the key of %s is another", name)
		}
	}
}

// Messages are of a delivery: a regression's is another than that of the new issue.
func TestMessagesOfTwoDeliveriesHaveTwoKeys(t *testing.T) {
	seen := map[string]string{}
	again := delivered(t, "issue.created")
	again.IdempotencyKey = "another-key"
	for name, env := range map[string]sentry.Envelope{
		"new": delivered(t, "issue.created"), "another": again, "back": delivered(t, "issue.unresolved"),
	} {
		for _, s := range decide(on(t, everything), t, activities.Case{Envelope: env}).Steps {
			if s.Effect != activities.EffectSlack && s.Effect != activities.EffectSlackHook && s.Effect != activities.EffectWebhook {
				continue
			}
			if other := seen[s.Key]; s.Key == "" || other != "" {
				t.Errorf("%s of %s has the key of %s", s.Effect, name, other)
			}
			seen[s.Key] = s.Effect + " of " + name
		}
	}
}

func TestWhatSentrySaysNowCounts(t *testing.T) {
	c := activities.Case{
		Envelope: delivered(t, "issue.created"),
		Issue: &activities.SentryIssue{
			Issue: activities.Issue{ID: "6702149985", Level: "warning", Priority: "low", Title: "now"}, Users: "250", Count: "900", Team: "payments",
		},
		Event:  &activities.SentryEvent{Environment: "production", Release: "1.2.3", Frame: "a.py:1 in f"},
		Unread: []string{"weather: nobody knows"},
	}
	d := decide(on(t, everything), t, c)
	if d.Severity != activities.Medium || !strings.Contains(d.Why, "250 users") {
		t.Errorf("it is %s: %s", d.Severity, d.Why)
	}
	want := activities.Card{
		Integration: "sentry", Event: "sentry.issue.created", Headline: "New issue", Title: d.Card.Title, URL: "https://acme.sentry.io/issues/6702149985/",
		ShortID: "BACKEND-1A", Severity: "medium", Level: "warning", Project: "backend", Environment: "production", Release: "1.2.3",
		Users: "250", Count: "900", FirstSeen: "2026-03-17T09:42:10.418000+00:00", Culprit: "checkout.views.PlaceOrderView.post", Frame: "a.py:1 in f",
	}
	if d.Card != want || !strings.HasPrefix(d.Card.Title, "CartTotalMismatch") {
		t.Errorf("the card is %+v", d.Card)
	}
	if len(d.Unread) != 1 || d.Installation != "5d0c4b1e-7a52-4f0e-9c3b-2f6a8e9d1c47" || d.Issue != (activities.IssueRef{Integration: "sentry", IssueID: "6702149985"}) {
		t.Errorf("decided is %+v", d)
	}
}

func TestACardOfAnAlertTellsWhatItIsAbout(t *testing.T) {
	metric := decide(on(t, everything), t, activities.Case{Envelope: delivered(t, "metric_alert.critical")}).Card
	if metric.Title != "Payment page failures" || metric.Rule != "Payment page failures" || metric.Project != "web" || metric.Environment != "production" ||
		!strings.HasPrefix(metric.Details, "74 events") || metric.Headline != "Critical alert" || metric.Severity != "critical" {
		t.Errorf("the card is %+v", metric)
	}
	alert := decide(on(t, everything), t, activities.Case{Envelope: delivered(t, "event_alert.triggered")}).Card
	if !strings.HasPrefix(alert.Title, "CartTotal") || alert.Rule != "Checkout breaks in production" || alert.Project != "backend" || alert.Environment != "production" ||
		alert.Release != "backend@2026.3.17-2" || alert.URL == "" {
		t.Errorf("the card is %+v", alert)
	}
}

// The times decide whether a page that was resolved stays resolved.
func TestWhenItBecameWhatItIs(t *testing.T) {
	sent := "2026-03-17T11:06:00Z"
	for name, tt := range map[string]struct {
		env  sentry.Envelope
		want string
	}{
		"an issue is new when it was first seen": {delivered(t, "issue.created"), "2026-03-17T09:42:10Z"},
		"and no later than it was sent":          {delivered(t, "issue.created", `"firstSeen":"2026-03-17T09:42`, `"firstSeen":"2026-03-17T19:42`), sent},
		"or when it was sent":                    {delivered(t, "issue.created", `"firstSeen":"2026-03-17T09:42:10.418000+00:00"`, `"firstSeen":null`), sent},
		"it is back when that is sent":           {delivered(t, "issue.unresolved"), sent},
		"it is resolved when that is sent":       {delivered(t, "issue.resolved"), sent},
		"an issue alert is of when it was sent":  {delivered(t, "event_alert.triggered"), sent},
		"an incident began when it did":          {delivered(t, "metric_alert.critical"), "2026-03-17T09:46:07Z"},
		"and ended when it did":                  {delivered(t, "metric_alert.resolved"), "2026-03-17T10:31:00Z"},
		"not before it began":                    {delivered(t, "metric_alert.resolved", `"date_closed":"2026-03-17T10:31`, `"date_closed":"2026-03-17T09:46`), "2026-03-17T09:46:07Z"},
		"or when that was sent":                  {delivered(t, "metric_alert.resolved", `"date_closed":"2026-03-17T10:31:00Z"`, `"date_closed":null`), sent},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(on(t, everything), t, activities.Case{Envelope: tt.env}).At.Format(time.RFC3339); got != tt.want {
				t.Errorf("it is %s, want %s", got, tt.want)
			}
		})
	}
	byHand := delivered(t, "issue.resolved")
	byHand.Timestamp = 0
	if d := decide(on(t, everything), t, activities.Case{Envelope: byHand}); !d.At.IsZero() {
		t.Errorf("without any time it is %s", d.At)
	}
	// Nobody has signed it, and what cannot be recorded would be decided again and again.
	for _, sent := range []int64{1773745560_000, math.MaxInt64, -1} {
		byHand.Timestamp = sent
		d := decide(on(t, everything), t, activities.Case{Envelope: byHand})
		if encode(t, d); !d.At.IsZero() {
			t.Errorf("sent at %d it is %s", sent, d.At)
		}
	}
}

func TestNobodyToTellIsSaid(t *testing.T) {
	ctx := on(t, config.Outside{Sentry: everything.Sentry})
	if got := steps(decide(ctx, t, activities.Case{Envelope: delivered(t, "issue.created")})); got != "no slack: no destination matches\nlink BACKEND-1A" {
		t.Errorf("it is\n%s", got)
	}
	if got := steps(decide(ctx, t, activities.Case{Envelope: delivered(t, "issue.resolved")})); got != "no resolve: no PagerDuty is configured for it" {
		t.Errorf("it is\n%s", got)
	}
}

func TestWhatIsNotConfiguredIsSaid(t *testing.T) {
	pagerOnly, none := config.NoOutside(), config.NoOutside()
	pagerOnly.PagerDutyVariable = config.PagerDutyRoutingKey
	none.SlackWebhookVariable = config.SlackWebhookURL
	for sample, want := range map[string][2]string{
		"issue.created":         {"slack webhook ticket link", "page webhook ticket link"},
		"issue.unresolved":      {"slack webhook ticket link", "page webhook ticket link"},
		"issue.resolved":        {"", ""},
		"event_alert.triggered": {"slack webhook", "page webhook"},
		"metric_alert.critical": {"slack webhook", "page webhook"},
		"metric_alert.resolved": {"slack webhook", "webhook"},
	} {
		for i, o := range []config.Outside{pagerOnly, none} {
			if got := strings.Join(decide(on(t, o), t, activities.Case{Envelope: delivered(t, sample)}).Missing, " "); got != want[i] {
				t.Errorf("of %s %q is missing, want %q", sample, got, want[i])
			}
		}
	}
	if all := decide(on(t, everything), t, activities.Case{Envelope: delivered(t, "issue.created")}).Missing; len(all) > 0 {
		t.Errorf("%v is missing", all)
	}
}

func TestDestinationsThatAreNotKnownAreAProblem(t *testing.T) {
	ctx := outside.With(t.Context(), &outside.Systems{
		Destinations: func() (*destinations.Table, error) {
			return nil, errors.New("line 7: no such key" + strings.Repeat("!", 1000))
		},
	})
	d := decide(ctx, t, activities.Case{Envelope: delivered(t, "issue.created")})
	if len(d.Steps) > 0 || !strings.Contains(d.Problem, "line 7") || len(d.Problem) > 300 {
		t.Errorf("decided is %+v", d)
	}
	issue, err := activities.ParseIssue(ctx, delivered(t, "issue.created"))
	if err != nil || !issue.Configured.Destinations || issue.Configured.Sentry {
		t.Errorf("configured is %+v, %v", issue.Configured, err)
	}
}

// Whatever is in a body: what is decided is in the history, and again in the input of
// each effect.
func TestADecisionIsBounded(t *testing.T) {
	const most = 32 << 10
	long := `"` + strings.Repeat("<", 17<<10) + `"` // JSON writes six bytes for each
	list := "[" + strings.Repeat(long+",", 110) + long + "]"
	events := []string{"issue.created", "issue.unresolved", "issue.resolved", "event_alert.triggered", "metric_alert.critical", "metric_alert.resolved"}
	texts := activities.Issue{}
	if err := json.Unmarshal([]byte(`{"id":`+long+`,"short_id":`+long+`,"title":`+long+`,"level":`+long+`,"priority":`+long+`,"project":`+long+`,"first_seen":`+long+`}`), &texts); err != nil {
		t.Fatal(err)
	}
	wide := texts.Title
	byHand := sentry.Envelope{IntegrationID: wide + wide, EventType: "sentry." + wide + wide, IdempotencyKey: wide + wide, Body: `{}`}
	if size := len(encode(t, decide(on(t, everything), t, activities.Case{Envelope: byHand}))); size > most {
		t.Errorf("of an envelope that was made by hand %d bytes are decided", size)
	}
	for _, body := range everyField {
		for _, event := range events {
			env := sentry.Envelope{IntegrationID: "sentry", EventType: "sentry." + event, Body: sentry.Body(strings.ReplaceAll(strings.ReplaceAll(body, "[?]", list), "?", long))}
			d := decide(on(t, everything), t, activities.Case{
				Envelope: env, Issue: &activities.SentryIssue{Issue: texts, Users: wide, Count: wide, Team: wide},
				Event: &activities.SentryEvent{Environment: wide, Release: wide, Frame: wide},
			})
			if size := len(encode(t, d)); size > most {
				t.Errorf("of %s %d bytes are decided", event, size)
			}
		}
	}
}

// Else nobody would see that a file has no rule for it.
func TestWhatIsUrgentAndForNobodyIsMarked(t *testing.T) {
	table, err := destinations.Parse([]byte("destinations:\n  - name: web\n    match: {projects: [web]}\n    slack: \"#web\"\n"), config.NoOutside())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		table *destinations.Table
		level string
		want  bool
	}{
		"urgent, and for nobody":         {table, fatal, true},
		"not urgent":                     {table, `"level":"info"`, false},
		"urgent, and somebody is told":   {destinations.FromVariables(everything), fatal, false},
		"there is no destination at all": {destinations.None(), fatal, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := outside.With(t.Context(), &outside.Systems{Outside: everything, Destinations: func() (*destinations.Table, error) { return tt.table, nil }})
			if d := decide(ctx, t, activities.Case{Envelope: delivered(t, "issue.created", err0r, tt.level, `"priority":"high"`, `"priority":"low"`)}); d.Untold != tt.want {
				t.Errorf("it is %s and marked: %t", d.Severity, d.Untold)
			}
		})
	}
}

func TestTheEffectsThatAreCountedAreAll(t *testing.T) {
	all := []string{
		activities.EffectPage, activities.EffectResolve, activities.EffectSlack, activities.EffectSlackHook, activities.EffectWebhook,
		activities.EffectTicket, activities.EffectLink,
	}
	if !slices.Equal(outside.Effects, all) || !slices.Equal(outside.Urgent, []string{activities.Critical, activities.High}) {
		t.Errorf("counted are %v, of %v", outside.Effects, outside.Urgent)
	}
}
