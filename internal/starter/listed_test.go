package starter_test

import (
	"log/slog"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
)

// A server on PostgreSQL runs what it cannot list: a value that the column does
// not take hides a run for ever.
func TestARunIsListedWhateverIsInItsAttributes(t *testing.T) {
	connections := searchable(t)
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler), all...))
	c := connections.Environments()["sentry"].Client
	for name, text := range map[string]string{
		"256 letters":             strings.Repeat("x", 256),
		"255 letters of 4 bytes":  strings.Repeat("🧾", 255),
		"256 letters of 4 bytes":  strings.Repeat("🧾", 256),
		"100,000 letters":         strings.Repeat("é", 100_000),
		"colons":                  `web:app::v1`,
		"an unbalanced quote":     `it's`,
		"operators":               `a & b | !c <-> (d):*`,
		"quotes":                  `\"a\" \\ 'b'`,
		"a NUL":                   `a\u0000b`,
		"half a surrogate pair":   `a\ud800b`,
		"control characters":      `a\u0001\u001b[31m\u007f\u0085`,
		"separators of lines":     `a\r\n\u2028\u2029`,
		"other directions":        `\u202eabc\u2066`,
		"spaces":                  `  a  `,
		"nothing but white space": ` \t `,
		"nothing":                 ``,
	} {
		t.Run(name, func(t *testing.T) {
			run := startSample(t, s, "issue.created", `"slug":"backend"`, `"slug":"`+text+`"`, `"level":"error"`, `"level":"`+text+`"`, "BACKEND-1A", text)
			find(t, c, `SentryIssueId="6702149985" AND WorkflowId="`+run.WorkflowID+`"`, 1)
		})
	}
}

// A value that a column of text cannot take is left out with its attribute.
func TestARunIsListedWhenAnAttributeIsOfAnotherType(t *testing.T) {
	connections := connect(t, devservertest.Server().Address, config.Integration{Name: "sentry", Namespace: "texts", TaskQueue: "q"})
	c := connections.Environments()["sentry"].Client
	_, err := c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
		Namespace: "texts",
		SearchAttributes: map[string]enumspb.IndexedValueType{
			"SentryProject": enumspb.INDEXED_VALUE_TYPE_TEXT, "SentryEvent": enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitAttributes(t, c, "SentryEvent")
	s := kept(t, startsOf(connections, slog.New(slog.DiscardHandler), all...))
	running(t, s)
	run := startSample(t, s, "issue.created", `"slug":"backend"`, `"slug":"web:'app"`)
	find(t, c, `SentryEvent="sentry.issue.created" AND WorkflowId="`+run.WorkflowID+`"`, 1)
}
