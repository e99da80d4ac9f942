package main

import (
	"bytes"
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
	out := succeed(t, "send", "--url", url, "--secret", "s", "issue.created")
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
	if !strings.Contains(out, "http://ui/w") || !strings.Contains(out, "202 started") {
		t.Errorf("printed was %q", out)
	}
}

func TestEachSendIsAnotherIssueUnlessToldOtherwise(t *testing.T) {
	url, got := receiver(t, http.StatusAccepted)
	succeed(t, "send", "--url", url, "-n", "3", "issue.created")
	bodies, ids := map[string]bool{}, map[string]bool{}
	for _, r := range got() {
		bodies[string(r.body)] = true
		ids[r.header.Get(sentry.HeaderRequestID)] = true
	}
	if len(bodies) != 3 || len(ids) != 3 {
		t.Errorf("%d bodies, %d Request-IDs", len(bodies), len(ids))
	}

	url, got = receiver(t, http.StatusAccepted)
	succeed(t, "send", "--url", url, "-n", "3", "--request-id", "mine", "issue.created")
	all := got()
	for _, r := range all {
		if id := r.header.Get(sentry.HeaderRequestID); id != "mine" || !bytes.Equal(r.body, all[0].body) {
			t.Errorf("the Request-ID is %q, and the body as the first: %v", id, bytes.Equal(r.body, all[0].body))
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
	succeed(t, "send", "--url", url, "--body", file)
	if r := got()[0]; !bytes.Equal(r.body, want) || r.header.Get(sentry.HeaderResource) != "" {
		t.Errorf("sent was %q as %q", r.body, r.header.Get(sentry.HeaderResource))
	}
}

func TestSecretComesFromTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-a-file\nan-older-one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ variable, file, secret string }{
		"set":       {"from-the-environment,an-older-one", "", "from-the-environment"},
		"in a file": {"", file, "from-a-file"},
		"unset":     {"", "", hook.DevelopmentSecret},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SENTRY_CLIENT_SECRET", test.variable)
			t.Setenv("SENTRY_CLIENT_SECRET_FILE", test.file)
			url, got := receiver(t, http.StatusAccepted)
			succeed(t, "send", "--url", url, "issue.created")
			if r := got()[0]; sentry.Verify([]string{test.secret}, r.body, r.header.Get(sentry.HeaderSignature)) != nil {
				t.Error("signed with another secret")
			}
		})
	}
}

func TestListNamesEverySample(t *testing.T) {
	if got := strings.Fields(succeed(t, "send", "--list")); !slices.Equal(got, sentry.SampleNames()) {
		t.Errorf("listed are %v", got)
	}
}
