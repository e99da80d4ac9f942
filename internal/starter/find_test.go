package starter_test

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// searchable returns connections to a namespace that has the attributes.
func searchable(t *testing.T) *starter.Connections {
	t.Helper()
	connections := connect(t, devservertest.Server().Address, config.Integration{Name: "sentry", Namespace: "searchable", TaskQueue: "q"})
	if _, err := connections.AddAttributes(t.Context()); err != nil {
		t.Fatal(err)
	}
	return connections
}

// awaitAttributes returns once the server takes queries for the attributes: it
// lists them seconds before it does.
func awaitAttributes(t *testing.T, c client.Client, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	query := strings.Join(names, `="" AND `) + `=""`
	for {
		_, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", query, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// startSample starts the runs of a sample in which old texts are replaced by new
// ones, and returns the first.
func startSample(t *testing.T, s *starts, name string, oldNew ...string) starter.Run {
	t.Helper()
	body, err := sentry.Sample(name)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, s, envelope("sentry."+name, strings.NewReplacer(oldNew...).Replace(string(body))))[0]
}

// find returns the workflow IDs that query finds, once there are want of them.
func find(t *testing.T, c client.Client, query string, want int) map[string]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if len(list.GetExecutions()) >= want {
			found := map[string]bool{}
			for _, run := range list.GetExecutions() {
				found[run.GetExecution().GetWorkflowId()] = true
			}
			return found
		}
		<-time.After(50 * time.Millisecond) // the visibility API lags behind and is rate limited
	}
}

func TestRunsAreFoundBySearchAttributes(t *testing.T) {
	connections := searchable(t)
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler), all...))
	c := connections.Environments()["sentry"].Client
	issue := startSample(t, s, "issue.created")
	fatal := startSample(t, s, "issue.created", `"level":"error"`, `"level":"fatal"`, "6702149985", "42", "BACKEND-1A", "BACKEND-42")
	comment := startSample(t, s, "comment.created")
	event := startSample(t, s, "error.created")
	other := startSample(t, s, "issue.created", "6702149985", "43", "BACKEND-1A", "WEB-43", `"slug":"backend"`, `"slug":"web"`, `"level":"error"`, `"level":"fatal"`)

	for query, want := range map[string][]starter.Run{
		`SentryIssueId="6702149985"`:                                             {issue, comment, event},
		`SentryIssueId="42"`:                                                     {fatal},
		`SentryProject="backend" AND SentryLevel="fatal"`:                        {fatal},
		`SentryProject="web"`:                                                    {other},
		`SentryEvent="sentry.comment.created"`:                                   {comment},
		`SentryShortId="BACKEND-1A"`:                                             {issue},
		`SentryIntegration="sentry" AND WorkflowType="length_of_body"`:           {event},
		`SentryIntegration="sentry" AND WorkflowType="echo_body"`:                {issue, fatal, comment, other},
		`SentryLevel="fatal" AND SentryProject="web" AND SentryShortId="WEB-43"`: {other},
	} {
		if strings.Contains(query, "SentryIssueId") || !strings.Contains(query, "WorkflowType") && !strings.Contains(query, "comment") {
			query += ` AND WorkflowType!="also_issues"` // each issue has a second run
		}
		found := find(t, c, query, len(want))
		if len(found) != len(want) {
			t.Errorf("%s finds %v", query, found)
		}
		for _, run := range want {
			if !found[run.WorkflowID] {
				t.Errorf("%s does not find %s, but %v", query, run.WorkflowID, found)
			}
		}
	}
}

func TestAHostileTitleHarmsNothing(t *testing.T) {
	connections := searchable(t)
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler), all...))
	c := connections.Environments()["sentry"].Client
	hostile := strings.Repeat(`\"quoted\" 'x': [click](https://evil.example) ![i](//evil.example/i.png) <script>alert(1)</script> **b** __b__ ~~s~~ jo@evil.example `+"`c`"+` https://evil.example www.evil.example 🧾 \ud800 \u0000 \n# h | `, 20)[:2000]
	hostile = strings.TrimRight(hostile, `\u0d8"`)
	run := startSample(t, s, "issue.created", "CartTotalMismatch", hostile, "BACKEND-1A", hostile, `"slug":"backend"`, `"slug":"`+strings.Repeat("é", 300)+`"`, "6702149985", "44")
	find(t, c, `SentryIssueId="44"`, 1)
	find(t, c, `SentryProject="`+strings.Repeat("é", 255)+`"`, 1)

	summary, details := metadataOf(t, c, run)
	if len(summary) > 200 || !utf8.ValidString(summary) || strings.ContainsAny(summary, "\n\x00") {
		t.Errorf("the summary is %d bytes: %q", len(summary), summary)
	}
	// Nothing of the body is markup: each punctuation mark stands behind a
	// backslash. What is left is ours.
	escaped := regexp.MustCompile(`\\[[:punct:]]`)
	ours := strings.NewReplacer("](https://acme.sentry.io/issues/44/)", "", "**", "", "- ", "", "[", "", ": ", "", "(error)", "", " bytes", "")
	if left := ours.Replace(escaped.ReplaceAllString(details, "")); regexp.MustCompile("[][()<>*_`!#|:/.@\\\\]").MatchString(left) {
		t.Errorf("there is markup in the details: %s", left)
	}
	// The summary is also shown without Markdown, so nothing is escaped.
	if regexp.MustCompile("[][<>*`~\\\\]|^#|://|www\\.|@").MatchString(summary) {
		t.Errorf("there is markup in the summary: %s", summary)
	}
}

func TestSummaryAndDetailsSayWhatARunIsAbout(t *testing.T) {
	connections := searchable(t)
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler), all...))
	c := connections.Environments()["sentry"].Client
	plain := strings.NewReplacer(`\`, "")

	summary, details := metadataOf(t, c, startSample(t, s, "issue.created", "cart total <119.90", "snake_case is __undefined__ for jo@acme.example at https://acme.example:"))
	if want := "BACKEND-1A created: CartTotalMismatch: snake_case is undefined for (mail address) at https: //acme.example: "; !strings.HasPrefix(summary, want) || !strings.HasSuffix(summary, " (error)") {
		t.Errorf("the summary is %q", summary)
	}
	for _, want := range []string{"](https://acme.sentry.io/issues/6702149985/)", "Project: backend", "Culprit: checkout.views.PlaceOrderView.post", "First seen: 2026-03-17", "Event: sentry.issue.created"} {
		if !strings.Contains(plain.Replace(details), want) {
			t.Errorf("%q is not in the details:\n%s", want, details)
		}
	}

	summary, details = metadataOf(t, c, startSample(t, s, "comment.created"))
	if summary != "6702149985 comment created" {
		t.Errorf("the summary of a comment is %q", summary)
	}
	for _, private := range []string{"Ines", "Okafor", "voucher"} {
		if strings.Contains(summary+details, private) {
			t.Errorf("%s is in the summary or the details of a comment", private)
		}
	}
}

// metadataOf returns the summary and the details that the Temporal UI shows.
func metadataOf(t *testing.T, c client.Client, run starter.Run) (summary, details string) {
	t.Helper()
	described, err := c.DescribeWorkflow(t.Context(), run.WorkflowID, run.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if summary, err = described.GetStaticSummary(); err != nil {
		t.Fatal(err)
	}
	if details, err = described.GetStaticDetails(); err != nil {
		t.Fatal(err)
	}
	return summary, details
}

// running runs what keeps the attributes of a Starter up to date.
func running(t *testing.T, s *starts) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// Attributes are a help, never a condition.
func TestMissingAttributesAreWarnedOfOnceAndNeverFailAStart(t *testing.T) {
	connections := connect(t, devservertest.Server().Address, config.Integration{Name: "sentry", Namespace: "plain", TaskQueue: "q"})
	log := &lines{}
	s := startsOf(connections, slog.New(slog.NewTextHandler(log, nil)), all...)
	startSample(t, s, "issue.created") // before anything is known
	running(t, s)
	warnings := func() int { return strings.Count(log.String(), "level=WARN") }
	for deadline := time.Now().Add(10 * time.Second); warnings() == 0 && time.Now().Before(deadline); {
		startSample(t, s, "issue.created")
	}
	for range 3 {
		startSample(t, s, "issue.created")
	}
	if n := warnings(); n != 1 || !strings.Contains(log.String(), "--namespace plain --name SentryEvent --type Keyword") {
		t.Errorf("logged was %d times: %s", n, log)
	}
}

func TestAnAttributeOfAnotherTypeIsLeftOut(t *testing.T) {
	connections := connect(t, devservertest.Server().Address, config.Integration{Name: "sentry", Namespace: "mistyped", TaskQueue: "q"})
	c := connections.Environments()["sentry"].Client
	_, err := c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
		Namespace:        "mistyped",
		SearchAttributes: map[string]enumspb.IndexedValueType{"SentryLevel": enumspb.INDEXED_VALUE_TYPE_TEXT},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connections.AddAttributes(t.Context()); err == nil || !strings.Contains(err.Error(), "SentryLevel") {
		t.Errorf("adding the attributes said %v", err)
	}
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler), all...))
	startSample(t, s, "issue.created")
}

// An attribute is removed while the ingress runs.
func TestAnAttributeThatIsGoneDoesNotFailAStart(t *testing.T) {
	connections := connect(t, devservertest.Server().Address, config.Integration{Name: "sentry", Namespace: "shrinking", TaskQueue: "q"})
	if _, err := connections.AddAttributes(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler), all...))
	startSample(t, s, "issue.created")
	c := connections.Environments()["sentry"].Client
	_, err := c.OperatorService().RemoveSearchAttributes(t.Context(), &operatorservice.RemoveSearchAttributesRequest{
		Namespace: "shrinking", SearchAttributes: []string{"SentryLevel"},
	})
	if err != nil {
		t.Fatal(err)
	}
	startSample(t, s, "issue.created")
}
