package destinations_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
)

// followed is a Follower of a file that is read again.
type followed struct {
	*destinations.Follower
	path string
	log  lines
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// follow runs in a bubble of synctest. A file of "" is none.
func follow(t *testing.T, file string) *followed {
	t.Helper()
	f := &followed{path: filepath.Join(t.TempDir(), "destinations.yaml")}
	if file != "" {
		f.write(t, file)
	}
	outside := configured
	outside.DestinationsFile = f.path
	f.Follower = destinations.Open(outside, slog.New(slog.NewTextHandler(&f.log, nil)))
	go f.Follow(t.Context())
	<-time.After(time.Second / 2) // what a test does comes between two looks at the file
	return f
}

func (f *followed) write(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
}

// seconds passes, and returns how often the log then has said words in all.
func (f *followed) seconds(n int, words string) int {
	<-time.After(time.Duration(n) * time.Second)
	synctest.Wait()
	return strings.Count(f.log.String(), words)
}

// told is who is told of anything, or why that is not known.
func (f *followed) told() string {
	table, err := f.Table()
	if err != nil {
		return "error: " + err.Error()
	}
	d, _ := table.For(destinations.Question{})
	return d.Slack
}

const cannotBeUsed = "level=ERROR"

func TestAFileIsReadAgainWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, one(`slack: "#a"`))
		if f.told() != "#a" {
			t.Errorf("told is %s", f.told())
		}
		said := strings.Count(f.log.String(), "\n")
		if n := f.seconds(60, "\n") - said; n != 0 {
			t.Errorf("of a file that does not change the log says\n%s", f.log.String())
		}
		f.write(t, one(`slack: "#b"`)+"  - {name: never, slack: \"#c\"}\n")
		if n := f.seconds(3, "level=WARN"); n != 1 || f.told() != "#b" {
			t.Errorf("told is %s, and the log says\n%s", f.told(), f.log.String())
		}
		if state := f.State(); state.File != f.path || state.Problem != "" || state.Unknown || len(state.Rules) != 2 || len(state.Warnings) != 1 {
			t.Errorf("it is %+v", state)
		}
	})
}

func TestAWrongFileIsRefusedAsAWholeAndTheOldOneStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, one(`slack: "#a"`))
		for name, spoil := range map[string]func(){
			"wrong":   func() { f.write(t, one(`slack: "#b"`, "bad: 1")) },
			"missing": func() { _ = os.Remove(f.path) },
		} {
			said, again := strings.Count(f.log.String(), cannotBeUsed), strings.Count(f.log.String(), "again")
			spoil()
			if n := f.seconds(60, cannotBeUsed) - said; n != 1 {
				t.Errorf("%s: in a minute the log says %d times that it cannot be used\n%s", name, n, f.log.String())
			}
			if state := f.State(); f.told() != "#a" || state.Problem == "" || state.Unknown || len(state.Rules) != 1 {
				t.Errorf("%s: told is %s, and it is %+v", name, f.told(), state)
			}
			f.write(t, one(`slack: "#a"`))
			if n := f.seconds(3, "again") - again; n != 1 || f.State().Problem != "" {
				t.Errorf("%s: once it is right again: %+v\n%s", name, f.State(), f.log.String())
			}
		}
	})
}

func TestAFileThatIsBeingWrittenIsNotTakenForWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, one(`slack: "#a"`))
		for _, channel := range []string{"b", "bb", "bbb"} { // each of these is right, were it whole
			f.write(t, one(`slack: "#`+channel+`"`))
			if f.seconds(1, ""); f.told() != "#a" {
				t.Fatalf("told is %s of a file that is being written", f.told())
			}
		}
		if f.seconds(2, ""); f.told() != "#bbb" {
			t.Errorf("once it is written told is %s", f.told())
		}
	})
}

// A worker does not wait for it: there is more to do than to tell somebody.
func TestWithAFileThatIsWrongAtTheStartItIsNotKnownWhoIsToldUntilItIsMended(t *testing.T) {
	for name, file := range map[string]string{"wrong": one(`slack: "#a"`, "bad: 1"), "missing": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := follow(t, file)
				if told := f.told(); !strings.HasPrefix(told, "error: DESTINATIONS_FILE ") {
					t.Errorf("told is %s", told)
				}
				if n := f.seconds(60, cannotBeUsed); n != 1 || strings.Count(f.log.String(), "wait") != 1 {
					t.Errorf("in a minute the log says\n%s", f.log.String())
				}
				if state := f.State(); !state.Unknown || state.Problem == "" || state.Rules != nil {
					t.Errorf("it is %+v", state)
				}
				f.write(t, one(`slack: "#a"`))
				if f.seconds(3, ""); f.told() != "#a" || f.State().Unknown || f.State().Problem != "" {
					t.Errorf("once it is mended told is %s", f.told())
				}
			})
		})
	}
}

func TestWithoutAFileTheVariablesAreRead(t *testing.T) {
	f := destinations.Open(config.Outside{SlackChannel: "#sentry"}, slog.New(slog.DiscardHandler))
	f.Follow(t.Context()) // there is nothing to follow
	table, err := f.Table()
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := table.For(destinations.Question{}); d.Slack != "#sentry" || f.State().File != "" || f.State().Unknown || len(f.State().Rules) != 1 {
		t.Errorf("told is %+v, and it is %+v", d, f.State())
	}
}
