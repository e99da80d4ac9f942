package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/standin"
	"sentry-temporal/internal/telemetry"
)

// lines are what a stack logs, as JSON.
type lines struct {
	mu   sync.Mutex
	text []byte
	more chan struct{} // is closed when there are more
}

// Write implements [io.Writer].
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, line...)
	close(l.more)
	l.more = make(chan struct{})
	return len(line), nil
}

// await returns the first line with a text, once it is there.
func (l *lines) await(t *testing.T, text string) string {
	t.Helper()
	for {
		l.mu.Lock()
		all, more := string(l.text), l.more
		l.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) {
				return line
			}
		}
		select {
		case <-more:
		case <-t.Context().Done():
		case <-time.After(time.Minute):
			t.Fatalf("there is no line with %s in\n%s", text, all)
		}
	}
}

// keysOf returns the keys of a line in their order, those of groups after the group's.
func keysOf(line []byte) (keys []string, err error) {
	decoder := json.NewDecoder(bytes.NewReader(line))
	type level struct {
		name   string
		object bool
		key    bool // a key is next
	}
	var levels []level
	name := ""
	for {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		top := func() *level { return &levels[len(levels)-1] }
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			levels = levels[:len(levels)-1]
			if len(levels) == 0 {
				return keys, nil
			}
			top().key = top().object
			continue
		}
		if len(levels) > 0 && top().object && top().key {
			name, _ = token.(string)
			if top().name != "" {
				name = top().name + "." + name
			}
			keys = append(keys, name)
			top().key = false
			continue
		}
		if delim, ok := token.(json.Delim); ok {
			in := name
			if len(levels) > 0 && !top().object {
				in = fmt.Sprintf("%s[%d]", top().name, decoder.InputOffset()) // an element of a list
			}
			levels = append(levels, level{name: in, object: delim == '{', key: delim == '{'})
			continue
		}
		if len(levels) > 0 {
			top().key = top().object
		}
	}
	return nil, fmt.Errorf("no whole line: %s", line)
}

func TestKeysOfALineAreSeenThroughGroups(t *testing.T) {
	var out lines
	out.more = make(chan struct{})
	log := telemetry.NewLogger(&out, true, slog.LevelInfo).With("a", 1)
	log.Info("twice", "a", 2)
	log.WithGroup("g").Info("twice", "b", 1, "b", 2)
	log.Info("once", slog.Group("g", "a", 1), "list", []any{1, "a", map[string]int{"x": 1}, map[string]int{"x": 2}})
	for line := range strings.Lines(string(out.text)) {
		keys, err := keysOf([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if twice := repeated(keys); (twice != "") != strings.Contains(line, "twice") {
			t.Errorf("%q is there twice in %v of %s", twice, keys, line)
		}
	}
}

// repeated returns a key that is there twice, or "".
func repeated(keys []string) string {
	seen := map[string]bool{}
	for _, key := range keys {
		if seen[key] {
			return key
		}
		seen[key] = true
	}
	return ""
}

// documentedKeys returns the keys in the table of docs/operations.md.
func documentedKeys(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "| Key | Meaning |")
	table, _, _ := strings.Cut(rest, "\n\n")
	keys := map[string]bool{}
	for line := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(first, -1) {
			keys[code[1]] = true
		}
	}
	if len(keys) < 20 {
		t.Fatalf("the table has the keys %v", keys)
	}
	return keys
}

// Whatever happens in a stack, no line has a key twice, or one that is nowhere explained, and
// what is about an issue says which, by its id and its short id.
func TestEveryKeyInTheLogMeansOneThing(t *testing.T) {
	s := quietStack(t.TempDir())
	out := &lines{more: make(chan struct{})}
	s.log = telemetry.NewLogger(out, true, slog.LevelDebug)
	s.ingress.AdminToken = "token-of-the-admin-address"
	systems := standIns(t, "sentry")
	s.outside = systems.Outside
	at := start(t, s)

	// Every sample, once more each, with a forged one, a path that is none, and what a stranger says.
	for _, name := range sentry.SampleNames() {
		delivery := sampleOf(t, at, name)
		for range 2 {
			for _, run := range send(t, delivery).Runs {
				awaitRun(t, at, run)
			}
		}
	}
	forged := sampleOf(t, at, "issue.created")
	forged.Secret = "another"
	send(t, forged)
	nowhere := sampleOf(t, at, "issue.created")
	nowhere.URL = at.public + "/webhooks/nobody"
	send(t, nowhere)
	noJSON := sampleOf(t, at, "issue.created")
	noJSON.Body = []byte("no JSON")
	send(t, noJSON)
	for _, path := range []string{"/readyz", "/journal", "/metrics", "/"} {
		for _, token := range []string{"", "wrong-token-of-somebody", s.ingress.AdminToken.Reveal()} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.admin+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
		}
	}

	// An activity fails, once and for good.
	systems.standins.Slack.Fail(standin.Fault{Path: "POST /api/chat.postMessage", Status: http.StatusInternalServerError})
	systems.standins.GitHub.Fail(standin.Fault{Path: "POST ", Times: -1, Status: http.StatusForbidden})
	failing := sampleOf(t, at, "issue.created")
	answer := send(t, failing)
	awaitRun(t, at, answer.Runs[0])
	body := string(failing.Body)
	id := regexp.MustCompile(`"id":"(\d{16})"`).FindStringSubmatch(body)[1]
	short := regexp.MustCompile(`"shortId":"([^"]+)"`).FindStringSubmatch(body)[1]
	about := []string{`"event":"sentry.issue.created"`, `"issue":"` + id + `"`, `"short_id":"` + short + `"`}
	for _, of := range []string{`"msg":"an attempt of an activity fails"`, `"msg":"an effect failed"`} {
		line := out.await(t, of)
		for _, want := range about {
			if !strings.Contains(line, want) {
				t.Errorf("%s is not in %s", want, line)
			}
		}
	}
	// What Temporal can never take is parked: too large a body, and nothing makes it smaller.
	random := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // it never fails
	large := sampleOf(t, at, "issue.created")
	large.Body = append(bytes.TrimSuffix(large.Body, []byte("}")), `,"x":"`+base64.StdEncoding.EncodeToString(random)+`"}`...)
	send(t, large)
	out.await(t, `"msg":"delivery parked"`)

	known := documentedKeys(t)
	workflowLines := 0
	out.mu.Lock()
	defer out.mu.Unlock()
	for line := range bytes.Lines(out.text) {
		keys, err := keysOf(line)
		if err != nil {
			t.Fatal(err)
		}
		if key := repeated(keys); key != "" {
			t.Errorf("%s is there twice in %s", key, line)
		}
		// What Temporal's SDK says of itself at that level has keys of its own.
		if bytes.Contains(line, []byte(`"level":"DEBUG"`)) {
			continue
		}
		for _, key := range keys {
			if !known[key] && !strings.ContainsAny(key, "[.") {
				t.Errorf("docs/operations.md does not say what %s means, of %s", key, line)
			}
		}
		var values map[string]any
		if err := json.Unmarshal(line, &values); err != nil {
			t.Fatal(err)
		}
		if values["workflow_id"] != nil {
			workflowLines++
			if values["event"] == nil {
				t.Errorf("there is no event in %s", line)
			}
		}
		if issue, ok := values["issue"].(string); ok && !regexp.MustCompile(`^\d+$`).MatchString(issue) {
			t.Errorf("the id of the issue is none in %s", line)
		}
	}
	if workflowLines < 10 {
		t.Errorf("workflows have %d lines in\n%s", workflowLines, out.text)
	}
}
