package standin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sentry-temporal/internal/standin"
)

const routingKey = "0123456789abcdef0123456789abcdef"

func pagerDuty(t *testing.T) *standin.PagerDuty {
	t.Helper()
	p, err := standin.StartPagerDuty(routingKey)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// post sends a body, and returns the answer with its fields.
func post(t *testing.T, url, body string) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	var fields map[string]any
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&fields))
	return answer.StatusCode, fields
}

func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	return string(text)
}

func pageEvent(action, key string) string {
	return `{"routing_key":"` + routingKey + `","event_action":"` + action + `","dedup_key":"` + key +
		`","payload":{"summary":"s","source":"web","severity":"error"}}`
}

func TestPagerDutyRefusesWhatItsAPIRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ body, said string }{
		"no JSON":               {`x`, "JSON"},
		"no key":                {strings.Replace(pageEvent("trigger", "k"), routingKey, "", 1), "routing_key"},
		"a short key":           {strings.Replace(pageEvent("trigger", "k"), routingKey, "abc", 1), "32"},
		"another key":           {strings.Replace(pageEvent("trigger", "k"), routingKey, strings.Repeat("x", 32), 1), "Invalid routing key"},
		"another action":        {pageEvent("close", "k"), "event_action"},
		"a long dedup_key":      {pageEvent("trigger", strings.Repeat("k", 256)), "dedup_key"},
		"resolve without one":   {pageEvent("resolve", ""), "dedup_key"},
		"no payload":            {`{"routing_key":"` + routingKey + `","event_action":"trigger"}`, "payload"},
		"no summary":            {strings.Replace(pageEvent("trigger", "k"), `"s"`, `" "`, 1), "summary"},
		"a long summary":        {strings.Replace(pageEvent("trigger", "k"), `"s"`, `"`+strings.Repeat("s", 1025)+`"`, 1), "summary"},
		"no source":             {strings.Replace(pageEvent("trigger", "k"), `"web"`, `""`, 1), "source"},
		"another severity":      {strings.Replace(pageEvent("trigger", "k"), `"error"`, `"fatal"`, 1), "severity"},
		"more than 512 KB":      {strings.Replace(pageEvent("trigger", "k"), `"s"`, `"s","class":"`+strings.Repeat("s", 512<<10)+`"`, 1), "large"},
		"a link that is none":   {strings.Replace(pageEvent("trigger", "k"), `{`, `{"links":[{"href":"javascript:x"}],`, 1), "links"},
		"an image by http":      {strings.Replace(pageEvent("trigger", "k"), `{`, `{"images":[{"src":"http://x.example/x"}],`, 1), "images"},
		"a summary of a number": {strings.Replace(pageEvent("trigger", "k"), `"s"`, `7`, 1), "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pagerDuty(t)
			status, fields := post(t, p.URL+"/v2/enqueue", tt.body)
			assert.Equal(t, http.StatusBadRequest, status)
			text, err := json.Marshal(fields["errors"])
			require.NoError(t, err)
			assert.Contains(t, string(text), tt.said)
			assert.Empty(t, p.Alerts())
		})
	}
}

func TestPagerDutyHasNoOrderOfEvents(t *testing.T) {
	for reversed, want := range map[bool]string{false: "resolved", true: "triggered"} {
		p := pagerDuty(t)
		p.Hold()
		for _, action := range []string{"trigger", "resolve"} {
			status, fields := post(t, p.URL+"/v2/enqueue", pageEvent(action, "k"))
			assert.Equal(t, http.StatusAccepted, status)
			assert.Equal(t, "k", fields["dedup_key"])
		}
		assert.Empty(t, p.Alerts(), "it was accepted, and took effect at once")
		p.Release(reversed)
		require.Len(t, p.Alerts(), 1)
		assert.Equal(t, want, p.Alerts()[0].Status)
	}
}

func TestPagerDutyHasALimitAMinute(t *testing.T) {
	p := pagerDuty(t)
	p.Limit(2)
	var got []int
	for range 3 {
		status, _ := post(t, p.URL+"/v2/enqueue", pageEvent("trigger", ""))
		got = append(got, status)
	}
	assert.Equal(t, []int{202, 202, 429}, got)
	assert.Len(t, p.Alerts(), 2, "an event without a key opens an alert of its own")
}

func TestPagesLetNothingHostileThrough(t *testing.T) {
	p := pagerDuty(t)
	hostile := `<script>alert(1)</script><img src=x onerror=alert(1)>`
	event := strings.ReplaceAll(pageEvent("trigger", "k"), `"s"`, `"`+hostile+`","class":"`+hostile+`","custom_details":{"`+hostile+`":"`+hostile+`"}`)
	event = strings.Replace(event, `{`, `{"client":"c","client_url":"javascript:alert(1)",`, 1)
	status, _ := post(t, p.URL+"/v2/enqueue", event)
	require.Equal(t, http.StatusAccepted, status)
	text := get(t, p.URL+"/")
	assert.Contains(t, text, "&lt;script&gt;")
	for _, bad := range []string{"<script", "<img", "javascript:"} {
		assert.NotContains(t, text, bad)
	}
}

func TestAPageForPeopleUsesUpNoFault(t *testing.T) {
	p := pagerDuty(t)
	p.Fail(standin.Fault{Status: http.StatusInternalServerError})
	get(t, p.URL+"/")
	assert.Empty(t, p.Received())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/v2/enqueue", http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	answer.Body.Close()
	assert.Equal(t, http.StatusInternalServerError, answer.StatusCode)
	assert.Len(t, p.Received(), 1)
}
