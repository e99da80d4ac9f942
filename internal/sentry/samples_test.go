package sentry_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"sentry-temporal/internal/sentry"
)

func TestThereIsASampleOfEachEvent(t *testing.T) {
	want := []string{
		"activity_alert.triggered",
		"comment.created", "comment.deleted", "comment.updated",
		"error.created",
		"event_alert.triggered",
		"installation.created", "installation.deleted",
		"issue.archived", "issue.assigned", "issue.created", "issue.external_issue_created", "issue.external_issue_linked", "issue.ignored", "issue.resolved", "issue.unresolved",
		"metric_alert.critical", "metric_alert.open", "metric_alert.resolved", "metric_alert.warning",
		"preprod_artifact.build_distribution_completed", "preprod_artifact.size_analysis_completed",
		"seer.coding_completed", "seer.coding_started",
		"seer.iteration_completed", "seer.iteration_started",
		"seer.pr_created", "seer.pr_ready_for_review",
		"seer.root_cause_completed", "seer.root_cause_started",
		"seer.solution_completed", "seer.solution_started",
	}
	if got := sentry.SampleNames(); !slices.Equal(got, want) {
		t.Errorf("samples = %q, want %q", got, want)
	}
	if _, err := sentry.Sample("issue.exploded"); err == nil {
		t.Error("there is a sample of an event that does not exist")
	}
}

// escape is how Sentry writes a character that is not printable ASCII, or a
// quote or a backslash.
var escape = regexp.MustCompile(`\\(["\\nrtbf]|u[0-9a-f]{4})`)

func TestSamplesAreInSentrysForm(t *testing.T) {
	escaped := 0
	eachSample(t, func(name string, body []byte) {
		t.Run(name, func(t *testing.T) {
			var compact bytes.Buffer
			if err := json.Compact(&compact, body); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(compact.Bytes(), body) {
				t.Error("there is white space between tokens")
			}
			if !isASCII(body) {
				t.Error("there are bytes beyond printable ASCII")
			}
			if bytes.Contains(escape.ReplaceAll(body, nil), []byte(`\`)) {
				t.Error(`there is an escape that Sentry does not write`)
			}
			var keys []string
			gjson.ParseBytes(body).ForEach(func(key, _ gjson.Result) bool {
				keys = append(keys, key.Str)
				return true
			})
			if want := []string{"action", "installation", "data", "actor"}; !slices.Equal(keys, want) {
				t.Errorf("keys = %q, want %q", keys, want)
			}
			if _, action, _ := strings.Cut(name, "."); gjson.GetBytes(body, "action").Str != action {
				t.Errorf("action = %s", gjson.GetBytes(body, "action"))
			}
			if gjson.GetBytes(body, "installation.uuid").Str == "" {
				t.Error("there is no installation.uuid")
			}
		})
		if bytes.Contains(body, []byte(`\u`)) {
			escaped++
		}
	})
	if escaped < 10 {
		t.Errorf("%d samples have escaped text, too few to show that it survives", escaped)
	}
}

func isASCII(body []byte) bool {
	return !bytes.ContainsFunc(body, func(r rune) bool { return r < ' ' || r > '~' })
}

// renewed are the places of the ids that FreshIDs replaces; those in issueIDs
// are of the same issue.
var (
	issueIDs = []string{"data.issue.id", "data.issue_id", "data.group_id", "data.error.issue_id", "data.event.issue_id", "data.external_issue.issueId"}
	renewed  = slices.Concat(issueIDs, []string{
		"data.issue.shortId", "data.comment_id", "data.error.event_id", "data.event.event_id",
		"data.metric_alert.id", "data.run_id", "data.buildId",
	})
)

func TestIDsFollowFromTheirSeed(t *testing.T) {
	issues := map[string]bool{}
	eachSample(t, func(name string, body []byte) {
		one := sentry.WithIDs(body, "a")
		if !bytes.Equal(one, sentry.WithIDs(body, "a")) {
			t.Errorf("%s: the same seed has other ids", name)
		}
		if !strings.HasPrefix(name, "installation.") && bytes.Equal(one, sentry.WithIDs(body, "b")) && len(gjson.GetBytes(one, "data").Raw) > 2 {
			t.Errorf("%s: another seed has the same ids", name)
		}
		for _, path := range issueIDs {
			if id := gjson.GetBytes(one, path); id.Exists() {
				issues[id.String()] = true
			}
		}
	})
	if len(issues) != 1 {
		t.Errorf("under one seed the samples are about %d issues", len(issues))
	}
}

func TestTheIssueOfASampleIsKnownByItsID(t *testing.T) {
	sample, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"its own": sample, "other ids": sentry.WithIDs(sample, "a")} {
		id := gjson.GetBytes(body, "data.issue.id").Str
		known := sentry.SampleIssue(id)
		for _, path := range []string{"data.issue.id", "data.issue.shortId", "data.issue.title"} {
			if got, want := gjson.GetBytes(known, path).Str, gjson.GetBytes(body, path).Str; got != want {
				t.Errorf("%s: %s is %q, not %q", name, path, got, want)
			}
		}
	}
	for _, other := range []string{"", "4711", "670214998500", "6702149985000000", "123456789012xxxx", "BACKEND-1A"} {
		if body := sentry.SampleIssue(other); body != nil {
			t.Errorf("%q is known", other)
		}
	}
}

func TestFreshIDs(t *testing.T) {
	eachSample(t, func(name string, body []byte) {
		t.Run(name, func(t *testing.T) {
			one, two := sentry.FreshIDs(body), sentry.FreshIDs(body)

			found := 0
			for _, path := range renewed {
				old := gjson.GetBytes(body, path)
				if !old.Exists() {
					continue
				}
				found++
				if a, b := gjson.GetBytes(one, path).Raw, gjson.GetBytes(two, path).Raw; a == b || a == old.Raw || b == old.Raw {
					t.Errorf("%s was %s, is %s and %s", path, old, a, b)
				}
				// A new one may begin as the old one.
				if others := bytes.ReplaceAll(one, []byte(gjson.GetBytes(one, path).String()), nil); bytes.Contains(others, []byte(old.String())) {
					t.Errorf("%s, once %s, is left elsewhere in the body", old, path)
				}
			}
			if found == 0 && !strings.HasPrefix(name, "installation.") {
				t.Error("there is no id to renew")
			}
			if id := gjson.GetBytes(one, "data.issue.id").Str; !strings.Contains(gjson.GetBytes(one, "data.issue.url").Str, id) {
				t.Errorf("the issue %s has the URL %s", id, gjson.GetBytes(one, "data.issue.url"))
			}

			if id := gjson.GetBytes(one, "data.issue.id"); id.Exists() && (len(id.String()) != 16 || id.Int() < 1e15) {
				t.Errorf("the issue %s has not 16 digits", id)
			}
			if !isASCII(one) {
				t.Error("there are bytes beyond printable ASCII")
			}
			before, err := sentry.EventName("", body)
			if err != nil {
				t.Fatal(err)
			}
			if after, err := sentry.EventName("", one); after != before || err != nil {
				t.Errorf("the event is %q, %v; was %s", after, err, before)
			}
			if !sameShape(gjson.ParseBytes(one), gjson.ParseBytes(body)) {
				t.Errorf("another shape: %s", one)
			}
		})
	})
}

// sameShape reports whether two texts have the same keys in the same order and
// the same types.
func sameShape(a, b gjson.Result) bool {
	if a.Type != b.Type || a.IsArray() != b.IsArray() {
		return false
	}
	if a.Type != gjson.JSON {
		return true
	}
	var as, bs []gjson.Result
	collect := func(into *[]gjson.Result) func(key, value gjson.Result) bool {
		return func(key, value gjson.Result) bool {
			*into = append(*into, key, value)
			return true
		}
	}
	a.ForEach(collect(&as))
	b.ForEach(collect(&bs))
	if len(as) != len(bs) {
		return false
	}
	for i := 0; i < len(as); i += 2 {
		if as[i].Str != bs[i].Str || !sameShape(as[i+1], bs[i+1]) {
			return false
		}
	}
	return true
}

func TestNewRequestIDHasSentrysForm(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	for range 1000 { // enough to meet leading zeros
		id := sentry.NewRequestID()
		if !form.MatchString(id) || seen[id] {
			t.Errorf("request id %q, there before: %t", id, seen[id])
		}
		seen[id] = true
	}
}
