package standin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/standin"
)

const (
	org     = "/api/0/organizations/acme/"
	issue   = org + "issues/6702149985/"
	install = "/api/0/sentry-app-installations/5d0c4b1e-7a52-4f0e-9c3b-2f6a8e9d1c47/external-issues/"
	token   = "token"
)

// startSentry starts one with the sample's issue.
func startSentry(t *testing.T, scopes ...string) *standin.Sentry {
	t.Helper()
	s, err := standin.StartSentry("acme", token, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Rate = 1000
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seed(body, standin.Event{Environment: "production"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request, and returns status, header and body.
func ask(t *testing.T, url, method, authorization, body string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

func TestSentrysAPIAnswersAsDocumented(t *testing.T) {
	const read, write, admin = standin.ScopeEventRead, standin.ScopeEventWrite, standin.ScopeOrgRead
	const bearer = "Bearer " + token
	link := func(id, url string) string {
		return fmt.Sprintf(`{"issueId":%s,"webUrl":%q,"project":"triage","identifier":"BACKEND-1A"}`, id, url)
	}
	for name, tt := range map[string]struct {
		scopes              string
		method, path, token string
		body                string
		status              int
		says                string
	}{
		"no token":                     {read, "GET", issue, "", "", 401, "credentials"},
		"another token":                {read, "GET", issue, "Bearer other", "", 401, "Invalid token"},
		"another scheme":               {read, "GET", issue, "Basic " + token, "", 401, "credentials"},
		"another organization":         {read, "GET", "/api/0/organizations/other/issues/6702149985/", bearer, "", 404, "does not exist"},
		"another issue":                {read, "GET", org + "issues/1/", bearer, "", 404, "does not exist"},
		"an issue":                     {read, "GET", issue, bearer, "", 200, `"shortId":"BACKEND-1A"`},
		"by its short id":              {read, "GET", org + "issues/backend-1a/", bearer, "", 200, `"id":"6702149985"`},
		"the index":                    {read, "GET", "/api/0/", bearer, "", 200, `"scopes":["event:read"]`},
		"who may write may read":       {write, "GET", issue, bearer, "", 200, "BACKEND-1A"},
		"no scope to read":             {admin, "GET", issue, bearer, "", 403, "permission"},
		"no scope to write":            {read, "PUT", issue, bearer, `{"status":"resolved"}`, 403, "permission"},
		"no scope to comment":          {read, "POST", issue + "comments/", bearer, `{"text":"x"}`, 403, "permission"},
		"no scope to link":             {read, "POST", install, bearer, link("6702149985", "https://a.example"), 403, "permission"},
		"no scope for organizations":   {read + " " + write, "GET", org, bearer, "", 403, "permission"},
		"an organization":              {admin, "GET", org, bearer, "", 200, `"slug":"acme"`},
		"the latest event":             {read, "GET", issue + "events/latest/", bearer, "", 200, `"environment"`},
		"the recommended event":        {read, "GET", issue + "events/recommended/", bearer, "", 200, `"entries"`},
		"another event":                {read, "GET", issue + "events/1/", bearer, "", 404, ""},
		"all events":                   {read, "GET", issue + "events/", bearer, "", 200, `[{`},
		"a change":                     {write, "PUT", issue, bearer, `{"status":"ignored","substatus":"archived_forever"}`, 200, `"substatus":"archived_forever"`},
		"a status that is none":        {write, "PUT", issue, bearer, `{"status":"done"}`, 400, `{"status":["`},
		"an assignee that is none":     {write, "PUT", issue, bearer, `{"assignedTo":"team:1"}`, 400, `{"assignedTo":["`},
		"a comment":                    {write, "POST", issue + "comments/", bearer, `{"text":" x "}`, 201, `"text":"x"`},
		"a note":                       {write, "POST", issue + "notes/", bearer, `{"text":"x"}`, 201, `"text":"x"`},
		"a comment of nothing":         {write, "POST", issue + "comments/", bearer, `{"text":" "}`, 400, `{"text":["`},
		"a comment without a text":     {write, "POST", issue + "comments/", bearer, `{}`, 400, `{"text":["`},
		"a comment that is too long":   {write, "POST", issue + "comments/", bearer, `{"text":"` + strings.Repeat("x", 4097) + `"}`, 400, "4096"},
		"a link":                       {write, "POST", install, bearer, link("6702149985", "https://a.example"), 200, `"displayName":"triage#BACKEND-1A"`},
		"a link to a number in a text": {write, "POST", install, bearer, link(`"6702149985"`, "https://a.example"), 400, "integer"},
		"a link to no issue":           {write, "POST", install, bearer, link("1", "https://a.example"), 404, "issue"},
		"a link that is too long":      {write, "POST", install, bearer, link("6702149985", "https://a.example/"+strings.Repeat("x", 200)), 400, `{"webUrl":["`},
		"a link that is no web page":   {write, "POST", install, bearer, link("6702149985", "javascript:alert(1)"), 400, `{"webUrl":["`},
		"a link of another":            {write, "POST", "/api/0/sentry-app-installations/other/external-issues/", bearer, link("6702149985", "https://a.example"), 404, ""},
		"something that is no JSON":    {write, "PUT", issue, bearer, `{`, 400, "JSON"},
		"activities":                   {read, "GET", issue + "activities/", bearer, "", 200, `"activity"`},
		"links":                        {read, "GET", issue + "external-issues/", bearer, "", 200, `[]`},
		"a path that is none":          {read, "GET", "/api/0/x/", bearer, "", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSentry(t, strings.Fields(tt.scopes)...)
			status, header, body := ask(t, s.URL+tt.path, tt.method, tt.token, tt.body)
			if status != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("it answers %d: %s", status, body)
			}
			if status != 404 && (header.Get("X-Sentry-Rate-Limit-Remaining") != "999" || header.Get("X-Sentry-Rate-Limit-Reset") == "" || !json.Valid([]byte(body))) {
				t.Errorf("the header is %v, the body %s", header, body)
			}
		})
	}
}

func TestSentryTakesTheSameCommentOnceInAnHour(t *testing.T) {
	s := startSentry(t, standin.ScopeEventWrite)
	write := func() (int, string) {
		status, _, body := ask(t, s.URL+issue+"comments/", "POST", "Bearer "+token, `{"text":"x"}`)
		return status, body
	}
	if status, body := write(); status != 201 {
		t.Errorf("the first is answered %d: %s", status, body)
	}
	if status, body := write(); status != 400 || body != `{"detail":"You have already posted that comment."}`+"\n" {
		t.Errorf("the second is answered %d: %s", status, body)
	}
	s.Repeats = 0
	if status, body := write(); status != 201 {
		t.Errorf("after an hour it is answered %d: %s", status, body)
	}
}

func TestSentryHasOneLinkForAnInstallation(t *testing.T) {
	s := startSentry(t, standin.ScopeEventWrite)
	for i := range 3 {
		ask(t, s.URL+install, "POST", "Bearer "+token, fmt.Sprintf(`{"issueId":6702149985,"webUrl":"https://a.example/%d","project":"triage","identifier":"B"}`, i))
	}
	state, _ := s.Issue("6702149985")
	if len(state.Links) != 1 || state.Links[0].URL != "https://a.example/2" || state.Links[0].Times != 3 {
		t.Fatalf("the links are %+v", state.Links)
	}
	ask(t, s.URL+install+state.Links[0].ID+"/", "DELETE", "Bearer "+token, "")
	if state, _ := s.Issue("6702149985"); len(state.Links) != 0 {
		t.Errorf("the links are %+v", state.Links)
	}
}

func TestSentryCountsRequestsOfASecond(t *testing.T) {
	s := startSentry(t, standin.ScopeEventRead)
	s.Rate = 0
	status, header, _ := ask(t, s.URL+issue, "GET", "Bearer "+token, "")
	if status != 429 || header.Get("X-Sentry-Rate-Limit-Remaining") != "0" || header.Get("Retry-After") != "" {
		t.Errorf("it answers %d, %v", status, header)
	}
}

var next = regexp.MustCompile(`<([^>]+)>; rel="next"; results="(true|false)"`)

func TestSentrysListsHavePages(t *testing.T) {
	s := startSentry(t, standin.ScopeEventRead, standin.ScopeEventWrite)
	for i := range 5 {
		ask(t, s.URL+issue+"comments/", "POST", "Bearer "+token, fmt.Sprintf(`{"text":"%d"}`, i))
	}
	var texts []string
	url, more := s.URL+issue+"comments/?per_page=2", true
	for page := 0; more && page < 10; page++ {
		_, header, body := ask(t, url, "GET", "Bearer "+token, "")
		var rows []struct {
			Data struct {
				Text string `json:"text"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(body), &rows); err != nil || len(rows) == 0 || len(rows) > 2 {
			t.Fatalf("%v: %s", err, body)
		}
		for _, row := range rows {
			texts = append(texts, row.Data.Text)
		}
		found := next.FindStringSubmatch(header.Get("Link"))
		if found == nil {
			t.Fatalf("there is no next page in %q", header.Get("Link"))
		}
		url, more = found[1], found[2] == "true"
	}
	if got := strings.Join(texts, ""); got != "43210" {
		t.Errorf("the comments are %s", got)
	}
}

func TestSentryKnowsTheIssueOfEveryDeliveryThatHasOne(t *testing.T) {
	for _, name := range sentry.SampleNames() {
		body, err := sentry.Sample(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := standin.StartSentry("acme", token, standin.ScopeEventRead)
		if err != nil {
			t.Fatal(err)
		}
		want := sentry.SubjectOf(sentry.Body(body))
		id, err := s.Seed(body, standin.Event{})
		state, found := s.Issue(id)
		resource, _, _ := strings.Cut(name, ".")
		if resource == "seer" { // has no more than the id
			want.IssueID = ""
		}
		if id != want.IssueID || (err == nil) != (id != "") || found != (id != "") || want.Title != "" && found && state.Title != want.Title {
			t.Errorf("%s: it is %+v, %v", name, state, err)
		}
		s.Close()
	}
}

func TestSentryMakesAnIssueUpOnlyIfToldTo(t *testing.T) {
	s := startSentry(t, standin.ScopeEventRead)
	for _, invent := range []bool{false, true} {
		s.Invent = invent
		status, _, _ := ask(t, s.URL+org+"issues/4711/", "GET", "Bearer "+token, "")
		if (status == 200) != invent {
			t.Errorf("told to: %t, it answers %d", invent, status)
		}
		if status, _, _ := ask(t, s.URL+org+"issues/NONE-1/", "GET", "Bearer "+token, ""); status != 404 {
			t.Errorf("a short id that is not known is answered %d", status)
		}
	}
}

func TestSentryIsToldOfAnIssueThatItHasNotSeen(t *testing.T) {
	s := startSentry(t, standin.ScopeEventRead)
	s.Invent = true
	s.Unseen = func(id string) ([]byte, standin.Event) {
		if id != "12" {
			return nil, standin.Event{}
		}
		return []byte(`{"data":{"issue":{"id":"12","shortId":"SHOP-12"}}}`), standin.Event{Release: "1.2"}
	}
	for id, want := range map[string]string{"12": "SHOP-12", "13": "MADE-UP-13"} {
		status, _, body := ask(t, s.URL+org+"issues/"+id+"/", "GET", "Bearer "+token, "")
		if state, _ := s.Issue(id); status != 200 || !strings.Contains(body, want) || state.ShortID != want {
			t.Errorf("%s is answered %d, %s", id, status, body)
		}
	}
	if _, _, body := ask(t, s.URL+org+"issues/12/events/latest/", "GET", "Bearer "+token, ""); !strings.Contains(body, `"1.2"`) {
		t.Errorf("its latest event is %s", body)
	}
}

func TestSentryForgetsTheOldest(t *testing.T) {
	s := startSentry(t, standin.ScopeEventRead)
	for i := range 1000 {
		if _, err := s.Seed(fmt.Appendf(nil, `{"data":{"issue":{"id":"%d"}}}`, i+1), standin.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, found := s.Issue("6702149985"); found || len(s.Issues()) != 1000 {
		t.Errorf("the oldest of %d is there: %t", len(s.Issues()), found)
	}
}

func TestAnIssueOfSentryHasBoundedLinks(t *testing.T) {
	s := startSentry(t, standin.ScopeEventWrite)
	s.Invent = true // takes any installation
	for i := range 101 {
		ask(t, fmt.Sprintf("%s/api/0/sentry-app-installations/%d/external-issues/", s.URL, i), "POST", "Bearer "+token,
			`{"issueId":6702149985,"webUrl":"https://a.example","project":"triage","identifier":"B"}`)
	}
	if state, _ := s.Issue("6702149985"); len(state.Links) != 100 || state.Links[99].Installation != "100" {
		t.Errorf("there are %d links", len(state.Links))
	}
}

func TestSentrysPageShowsWhatIsThereAndNothingElseOfIt(t *testing.T) {
	s := startSentry(t, standin.ScopeEventWrite)
	const hostile = `<script>alert(1)</script><img src=x onerror=alert(1)>`
	seed, err := json.Marshal(map[string]any{"data": map[string]any{"issue": map[string]any{"id": "7", "title": hostile, "level": hostile, "project": map[string]any{"slug": hostile}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seed(seed, standin.Event{}); err != nil {
		t.Fatal(err)
	}
	comment, err := json.Marshal(map[string]string{"text": "Seen. " + hostile})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, s.URL+issue+"comments/", "POST", "Bearer "+token, string(comment))
	ask(t, s.URL+install, "POST", "Bearer "+token, `{"issueId":6702149985,"webUrl":"https://temporal.example/run","project":"triage","identifier":"BACKEND-1A"}`)
	status, header, page := ask(t, s.URL+"/", "GET", "", "")
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || header.Get("Content-Security-Policy") == "" {
		t.Errorf("it answers %d, %v", status, header)
	}
	for _, part := range []string{"BACKEND-1A", "Seen. ", `<a href="https://temporal.example/run" rel="noreferrer">triage#BACKEND-1A</a>`} {
		if !strings.Contains(page, part) {
			t.Errorf("%s is not there", part)
		}
	}
	for _, part := range []string{"<script", "<img", token} {
		if strings.Contains(page, part) {
			t.Errorf("%s is there", part)
		}
	}
}

func TestAnEffectOfSentryCanComeLate(t *testing.T) {
	s := startSentry(t, standin.ScopeEventWrite)
	s.Fail(standin.Fault{Path: "PUT ", Late: time.Millisecond, Status: 502})
	if status, _, _ := ask(t, s.URL+issue, "PUT", "Bearer "+token, `{"status":"resolved"}`); status != 502 {
		t.Errorf("it answers %d", status)
	}
	s.Settle()
	if state, _ := s.Issue("6702149985"); state.Status != "resolved" || state.Changes != 1 {
		t.Errorf("it is %+v", state)
	}
}
