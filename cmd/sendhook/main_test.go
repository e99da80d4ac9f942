package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/sentry"
)

// received is a request as a server got it.
type received struct {
	header http.Header
	body   []byte
}

// receiver answers every request with status and an answer like the ingress'.
func receiver(t *testing.T, status int) (url string, got func() []received) {
	t.Helper()
	var mu sync.Mutex
	var all []received
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		all = append(all, received{r.Header, body})
		mu.Unlock()
		w.WriteHeader(status)
		fmt.Fprint(w, `{"status":"started","event":"sentry.issue.created","error":"no","runs":[{"workflow_id":"w:sentry:1","status":"started","url":"http://ui/w"}]}`)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []received { s.Close(); return all }
}

func TestASampleArrivesAsSentrySendsIt(t *testing.T) {
	url, got := receiver(t, http.StatusAccepted)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-url", url, "-secret", "s", "issue.created"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	all := got()
	if len(all) != 1 {
		t.Fatalf("%d requests", len(all))
	}
	r := all[0]
	if err := sentry.Verify([]string{"s"}, r.body, r.header.Get(sentry.HeaderSignature)); err != nil {
		t.Error(err)
	}
	if event, err := sentry.EventName(r.header.Get(sentry.HeaderResource), r.body); err != nil || event != "sentry.issue.created" {
		t.Errorf("the event is %q, %v", event, err)
	}
	if !strings.Contains(out.String(), "http://ui/w") || !strings.Contains(out.String(), "202 started") {
		t.Errorf("printed was %q", out.String())
	}
}

func TestEachSendIsAnotherIssueUnlessToldOtherwise(t *testing.T) {
	url, got := receiver(t, http.StatusAccepted)
	if err := run(t.Context(), []string{"-url", url, "-n", "3", "issue.created"}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	bodies, ids := map[string]bool{}, map[string]bool{}
	for _, r := range got() {
		bodies[string(r.body)] = true
		ids[r.header.Get(sentry.HeaderRequestID)] = true
	}
	if len(bodies) != 3 || len(ids) != 3 {
		t.Errorf("%d bodies, %d Request-IDs", len(bodies), len(ids))
	}

	url, got = receiver(t, http.StatusAccepted)
	if err := run(t.Context(), []string{"-url", url, "-n", "3", "-request-id", "mine", "issue.created"}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, r := range got() {
		if id := r.header.Get(sentry.HeaderRequestID); id != "mine" {
			t.Errorf("the Request-ID is %q", id)
		}
	}
}

func TestAFileIsSentByteForByte(t *testing.T) {
	file := filepath.Join(t.TempDir(), "body.json")
	want := []byte("{ \"action\" : \"created\" }\n")
	if err := os.WriteFile(file, want, 0o600); err != nil {
		t.Fatal(err)
	}
	url, got := receiver(t, http.StatusAccepted)
	if err := run(t.Context(), []string{"-url", url, "-body", file}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if r := got()[0]; !bytes.Equal(r.body, want) || r.header.Get(sentry.HeaderResource) != "" {
		t.Errorf("sent was %q as %q", r.body, r.header.Get(sentry.HeaderResource))
	}
}

func TestSecretComesFromTheEnvironment(t *testing.T) {
	for name, secret := range map[string]string{"set": "from-the-environment", "unset": hook.DevelopmentSecret} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SENTRY_CLIENT_SECRET", "")
			if name == "set" {
				t.Setenv("SENTRY_CLIENT_SECRET", secret+",an-older-one")
			}
			url, got := receiver(t, http.StatusAccepted)
			if err := run(t.Context(), []string{"-url", url, "issue.created"}, io.Discard, io.Discard); err != nil {
				t.Fatal(err)
			}
			if r := got()[0]; sentry.Verify([]string{secret}, r.body, r.header.Get(sentry.HeaderSignature)) != nil {
				t.Error("signed with another secret")
			}
		})
	}
}

func TestFailures(t *testing.T) {
	refusing, _ := receiver(t, http.StatusUnauthorized)
	redirecting, _ := receiver(t, http.StatusFound)
	for name, args := range map[string][]string{
		"an answer that is not 2xx": {"-url", refusing, "issue.created"},
		"a redirect":                {"-url", redirecting, "issue.created"},
		"nobody listens":            {"-url", "http://127.0.0.1:1", "issue.created"},
		"an unknown sample":         {"issue.exploded"},
		"no sample":                 {},
		"a count of none":           {"-n", "0", "issue.created"},
		"a load with a wrong share": {"-duration", "1s", "issue.created=x"},
		"a load over none":          {"-duration", "1s", "-connections", "0", "issue.created"},
		"a load of a file":          {"-duration", "1s", "-body", "f", "issue.created"},
		"a file that is not there":  {"-body", "/no/such/file"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestListNamesEverySample(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-list"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(out.String()); !slices.Equal(got, sentry.SampleNames()) {
		t.Errorf("listed are %v", got)
	}
}

func TestLoadIsSentAtItsRateAndReported(t *testing.T) {
	url, got := receiver(t, http.StatusAccepted)
	file := filepath.Join(t.TempDir(), "report.json")
	var out bytes.Buffer
	args := []string{"-url", url, "-secret", "s", "-duration", "1s", "-rate", "200", "-connections", "4", "-retried", "0.5", "-report", file,
		"issue.created=3", "comment.created"}
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	events, ids := map[string]int{}, map[string]int{}
	for _, r := range got() {
		if err := sentry.Verify([]string{"s"}, r.body, r.header.Get(sentry.HeaderSignature)); err != nil {
			t.Fatal(err)
		}
		event, err := sentry.EventName(r.header.Get(sentry.HeaderResource), r.body)
		if err != nil {
			t.Fatal(err)
		}
		events[event]++
		ids[r.header.Get(sentry.HeaderRequestID)+string(r.body)]++
	}
	sent := events["sentry.issue.created"] + events["sentry.comment.created"]
	if len(events) != 2 || events["sentry.issue.created"] < events["sentry.comment.created"] {
		t.Errorf("sent were %v", events)
	}
	if len(ids) >= sent || len(ids) < sent/5 {
		t.Errorf("%d different of %d with half of them repeated", len(ids), sent)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if int(r.Sent) != sent || r.Answers["202"] != sent || r.Latency["p99"] <= 0 {
		t.Errorf("the report is %s", text)
	}
	if !strings.Contains(out.String(), "p99") {
		t.Errorf("printed was %q", out.String())
	}
}

func TestLoadThatIsNotTakenIsAFailure(t *testing.T) {
	url, _ := receiver(t, http.StatusInternalServerError)
	if err := run(t.Context(), []string{"-url", url, "-duration", "100ms", "-rate", "50", "issue.created"}, io.Discard, io.Discard); err == nil {
		t.Error("no error")
	}
}
