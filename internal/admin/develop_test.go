package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/sentry"
)

func TestASampleIsSentFromThePageOfADevelopmentStackOnly(t *testing.T) {
	form := header("Content-Type", "application/x-www-form-urlencoded")
	const right = "integration=mobile&sample=issue.created"
	w := newWatched(t, nil)
	if status, text, _ := ask(t, http.MethodPost, w.admin+"/development/send", strings.NewReader(right), form); status != http.StatusNotFound {
		t.Errorf("elsewhere it is answered %d %s", status, text)
	}
	if strings.Contains(w.page(t, ""), "/development/send") {
		t.Error("elsewhere the page offers it")
	}

	var sent []string
	var broken error
	w = newWatched(t, nil, func(o *admin.Options) {
		o.Status.Send = func(_ context.Context, integration, sample string) (string, error) {
			sent = append(sent, integration+" "+sample)
			r := w.signed(t, integration, issueBody, header(sentry.HeaderSignature, sentry.Sign("the-secret-of-mobile", []byte(issueBody))))
			if response, err := http.DefaultClient.Do(r); err == nil {
				response.Body.Close()
			}
			return requestID, broken
		}
	})
	has(t, w.page(t, ""), `action="/development/send"`, "<option selected>issue.created</option>", "<option>mobile</option>")
	for body, want := range map[string]int{
		right: http.StatusOK, "integration=mobile&sample=issue.exploded": http.StatusBadRequest, "integration=other&sample=issue.created": http.StatusBadRequest,
		"": http.StatusBadRequest, right + "&url=http://evil.example": http.StatusBadRequest,
	} {
		sent = nil
		status, text, _ := ask(t, http.MethodPost, w.admin+"/development/send", strings.NewReader(body), form, browser)
		if status != want || (len(sent) == 1 && sent[0] == "mobile issue.created") != (want == http.StatusOK) {
			t.Errorf("%s is answered %d %s, sent is %v", body, status, mainOf(string(text)), sent)
		}
		if status == http.StatusOK {
			has(t, string(text), requestID, "<h1") // where it leads
		}
	}
	sent = nil
	for _, change := range []func(*http.Request){header("Origin", "https://evil.example"), header("Sec-Fetch-Site", "cross-site")} {
		if status, _, _ := ask(t, http.MethodPost, w.admin+"/development/send", strings.NewReader(right), form, change); status != http.StatusForbidden || len(sent) > 0 {
			t.Errorf("to another site it is answered %d, sent is %v", status, sent)
		}
	}
	broken = errors.New("connection refused: secret")
	if status, text, _ := ask(t, http.MethodPost, w.admin+"/development/send", strings.NewReader(right), form); status != http.StatusBadGateway || strings.Contains(string(text), "secret") {
		t.Errorf("what fails is answered %d %s", status, text)
	}
}
