package ingress_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
)

const newSecret = "c47a1f8e6d2b9c5b3107f8a4e6d29c0b5137f8e4a9d6b02c5f17e8a4d26c0f9b"

// rotated is an ingress whose secret is in a file, within a bubble of synctest.
type rotated struct {
	webhooks http.Handler
	keys     *keyring.Keyring
	starts   *starts
	logs     *lockedBuffer
	file     string // of the secret
	answered atomic.Int64
	told     chan web.Delivery // of those that were held and then taken
	stop     func()            // ends what is in the background
}

// newRotated returns one with the integrations sentry, whose secret is in a file,
// and mobile, whose is not. It remembers in dir.
func newRotated(t *testing.T, s *starts, dir string) *rotated {
	t.Helper()
	x := &rotated{starts: s, logs: &lockedBuffer{}, told: make(chan web.Delivery, 10_000), file: filepath.Join(dir, "secret")}
	x.put(t, secret)
	secrets, err := config.ReadSecrets(x.file)
	if err != nil {
		t.Fatal(err)
	}
	log := telemetry.NewLogger(x.logs, true, slog.LevelDebug)
	x.keys = keyring.New([]config.Integration{
		{Name: "sentry", Secrets: secrets, SecretFile: x.file},
		{Name: "mobile", Secrets: []config.Secret{secret}},
	}, filepath.Join(dir, keyring.FileName), log)
	x.webhooks = ingress.New(ingress.Options{
		Keyring: x.keys, MaxBodyBytes: maxBody, Inbox: s, Log: log,
		Observers: []func(context.Context, web.Delivery){func(context.Context, web.Delivery) { x.answered.Add(1) }},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.keys.Run(ctx, ingress.TakeHeld(s, log, func(_ context.Context, d web.Delivery) { x.told <- d }))
	}()
	x.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(x.stop)
	return x
}

// put makes text what is in the file of the secret.
func (x *rotated) put(t *testing.T, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(x.file+".new", []byte(text), 0o600), os.Rename(x.file+".new", x.file)); err != nil {
		t.Fatal(err)
	}
}

// from is the body of an issue that an installation sends.
func from(installation string, issue int) string {
	return fmt.Sprintf(`{"action":"created","installation":{"uuid":%q},"data":{"issue":{"id":"%d"}}}`, installation, issue)
}

// send returns the status of the answer to a delivery.
func (x *rotated) send(t *testing.T, integration, body, secret string, change ...func(*http.Request)) int {
	t.Helper()
	r := (&server{Server: &httptest.Server{}}).signed(t, integration, body, header(sentry.HeaderSignature, sentry.Sign(secret, []byte(body))))
	for _, f := range change {
		f(r)
	}
	r.RequestURI = r.URL.Path
	w := httptest.NewRecorder()
	x.webhooks.ServeHTTP(w, r)
	if said := w.Body.String(); w.Code == http.StatusUnauthorized && !strings.Contains(said, sentry.ErrSignatureMismatch.Error()) {
		t.Errorf("the sender is told %s", said)
	}
	return w.Code
}

func (x *rotated) state() keyring.State { return x.keys.States()[0] }

// bodies returns those that were taken, in order.
func (x *rotated) bodies() []string {
	var all []string
	for _, env := range x.starts.seen() {
		all = append(all, string(env.Body))
	}
	return all
}

// pass lets time pass in a bubble of synctest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// soon is a time after which a file was read again and what is held looked at.
const soon = 5 * time.Second

func TestARotatedSecretIsTakenFromItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRotated(t, &starts{}, t.TempDir())
		pass(soon)
		x.put(t, newSecret+","+secret)
		pass(1100 * time.Millisecond) // the file may have been read a moment ago
		for name, key := range map[string]string{"new": newSecret, "old": secret} {
			if status := x.send(t, "sentry", from("u", 1), key); status != http.StatusAccepted {
				t.Errorf("with the %s secret the answer is %d", name, status)
			}
		}
		x.put(t, newSecret)
		pass(soon)
		if status := x.send(t, "sentry", from("u", 1), secret); status != http.StatusUnauthorized {
			t.Errorf("with a secret that is gone the answer is %d", status)
		}
	})
}

// Nothing reads it in the background here.
func TestAFileIsReadForASignatureThatDoesNotMatchAndOnceASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRotated(t, &starts{}, t.TempDir())
		x.stop()
		x.put(t, newSecret)
		if status := x.send(t, "sentry", from("u", 1), newSecret); status != http.StatusAccepted {
			t.Errorf("the answer is %d though the secret is in the file", status)
		}
		x.put(t, secret)
		pass(500 * time.Millisecond)
		if status := x.send(t, "sentry", from("u", 1), secret); status != http.StatusUnauthorized {
			t.Errorf("the file was read twice in half a second: the answer is %d", status)
		}
		pass(600 * time.Millisecond)
		if status := x.send(t, "sentry", from("u", 1), secret); status != http.StatusAccepted {
			t.Errorf("after a second the answer is %d", status)
		}
	})
}

func TestWhatMatchesNoSecretIsHeldUntilThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRotated(t, &starts{}, t.TempDir())
		x.send(t, "sentry", from("u", 0), secret)
		var want []string
		for i := range 5 {
			pass(time.Second)
			body := from("u", i+1)
			want = append(want, body)
			for range 2 { // a repetition is the same delivery
				if status := x.send(t, "sentry", body, newSecret, header(sentry.HeaderTimestamp, "")); status != http.StatusUnauthorized {
					t.Errorf("the answer is %d", status)
				}
			}
			x.send(t, "sentry", from("stranger", i), newSecret)
			x.send(t, "sentry", from("u", 100+i), "guessed")
		}
		last := time.Now().Unix()
		if s := x.state(); s.Held != 10 || s.Mismatches != 15 {
			t.Errorf("it is %+v", s)
		}
		answered := x.answered.Load()
		pass(soon)
		if got := x.bodies(); len(got) != 1 {
			t.Errorf("without a secret %d are taken", len(got))
		}

		x.put(t, newSecret+"\n")
		pass(soon)
		if got := x.bodies()[1:]; !slices.Equal(got, want) {
			t.Errorf("taken are %q, want %q", got, want)
		}
		env := x.starts.seen()[5]
		if env.Timestamp != last || env.EventType != "sentry.issue.created" || env.Headers["request-id"] != requestID || env.IntegrationID != "sentry" {
			t.Errorf("the last one is taken as %+v, received at %d", env, last)
		}
		if len(x.told) != 5 {
			t.Fatalf("%d are told of", len(x.told))
		}
		for i := range 5 {
			told := <-x.told
			if told.Subject.IssueID != fmt.Sprint(i+1) || told.Status != http.StatusUnauthorized || told.Outcome != string(starter.Started) ||
				!told.Verified || told.Key != requestID || told.RequestID != requestID || len(told.Runs) != 1 || told.Hint == "" || told.Size != len(want[i]) {
				t.Errorf("told of is %+v", told)
			}
		}
		if s := x.state(); s.Taken != 5 || s.Held != 5 || s.Dropped != 0 {
			t.Errorf("it is %+v", s)
		}
		if x.answered.Load() != answered {
			t.Error("what is taken counts as answered again")
		}
		logged := x.logs.String()
		if strings.Count(logged, `"held delivery"`) != 5 || !strings.Contains(logged, `"workflow_ids":["w:sentry:`) {
			t.Errorf("the log is %s", logged)
		}
		for _, hidden := range []string{secret, newSecret, sentry.Sign(newSecret, []byte(want[0])), want[0]} {
			if strings.Contains(logged, hidden) {
				t.Errorf("the log has %s", hidden)
			}
		}
	})
}

func TestNothingIsHeldOf(t *testing.T) {
	for name, test := range map[string]struct {
		integration, body string
		mismatches        int64
	}{
		"an installation that nobody knows":    {"sentry", from("stranger", 1), 0},
		"no installation":                      {"sentry", `{"action":"created","data":{"issue":{}}}`, 0},
		"what is no webhook":                   {"sentry", `{"installation":{"uuid":"u"}}`, 1},
		"an integration without a secret file": {"mobile", from("u", 1), 0},
		"an installation of another one":       {"sentry", from("u-of-mobile", 1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newRotated(t, &starts{}, t.TempDir())
				x.send(t, "sentry", from("u", 0), secret)
				x.send(t, "mobile", from("u", 0), secret)
				x.send(t, "mobile", from("u-of-mobile", 0), secret)
				if status := x.send(t, test.integration, test.body, newSecret); status != http.StatusUnauthorized {
					t.Errorf("the answer is %d", status)
				}
				for _, s := range x.keys.States() {
					if s.Held != 0 || s.Dropped != 0 {
						t.Errorf("it is %+v", s)
					}
				}
				if got := x.state().Mismatches; got != test.mismatches {
					t.Errorf("%d mismatches are counted, want %d", got, test.mismatches)
				}
			})
		})
	}
}

func TestWhatIsHeldAndCannotBeKeptIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		s := &starts{start: func(ctx context.Context, _ sentry.Envelope) ([]starter.Run, error) {
			if broken.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		}}
		x := newRotated(t, s, t.TempDir())
		x.send(t, "sentry", from("u", 0), secret)
		x.send(t, "sentry", from("u", 1), newSecret)
		broken.Store(true)
		x.put(t, newSecret)
		pass(time.Minute)
		if s := x.state(); s.Held != 1 || s.Taken != 0 {
			t.Errorf("it is %+v", s)
		}
		if n := strings.Count(x.logs.String(), "cannot be taken"); n != 1 {
			t.Errorf("the log says %d times that it cannot be taken", n)
		}
		broken.Store(false)
		pass(soon)
		if s := x.state(); s.Held != 0 || s.Taken != 1 {
			t.Errorf("it is %+v", s)
		}
	})
}

func TestABugDoesNotEndTheTakingOfWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bug := from("u", 1)
		s := &starts{start: func(_ context.Context, env sentry.Envelope) ([]starter.Run, error) {
			if string(env.Body) == bug {
				panic("a bug")
			}
			return nil, nil
		}}
		x := newRotated(t, s, t.TempDir())
		x.send(t, "sentry", from("u", 0), secret)
		x.send(t, "sentry", bug, newSecret)
		x.send(t, "sentry", from("u", 2), newSecret)
		x.put(t, newSecret)
		pass(soon)
		if s := x.state(); s.Held != 1 || s.Taken != 1 {
			t.Errorf("it is %+v", s)
		}
	})
}

func TestAFileThatCannotBeUsedLeavesTheSecretsFromBefore(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"missing":   os.Remove,
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"blank":     func(path string) error { return os.WriteFile(path, []byte(" \n"), 0o600) },
		"too large": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("a", 65<<10)), 0o600) },
		"directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newRotated(t, &starts{}, t.TempDir())
				if err := spoil(x.file); err != nil {
					t.Fatal(err)
				}
				pass(time.Minute)
				if status := x.send(t, "sentry", from("u", 1), secret); status != http.StatusAccepted {
					t.Errorf("the answer is %d", status)
				}
				if x.state().Problem == "" {
					t.Error("nothing is said of it")
				}
				if n := strings.Count(x.logs.String(), `"WARN"`); n != 1 {
					t.Errorf("the log has %d warnings: %s", n, x.logs.String())
				}
				if err := os.RemoveAll(x.file); err != nil {
					t.Fatal(err)
				}
				x.put(t, newSecret)
				pass(soon)
				if status := x.send(t, "sentry", from("u", 1), newSecret); status != http.StatusAccepted || x.state().Problem != "" {
					t.Errorf("once it is well again the answer is %d, and it is %+v", status, x.state())
				}
			})
		})
	}
}

func TestAnOddSecretIsTakenWithAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRotated(t, &starts{}, t.TempDir())
		x.put(t, newSecret[:32]+","+secret)
		pass(soon)
		if status := x.send(t, "sentry", from("u", 1), newSecret[:32]); status != http.StatusAccepted {
			t.Errorf("the answer is %d", status)
		}
		if n := strings.Count(x.logs.String(), `"WARN"`); n != 1 {
			t.Errorf("the log has %d warnings: %s", n, x.logs.String())
		}
	})
}

// To open a pipe that nobody writes to hangs, as a disk may.
func TestAFileThatHangsKeepsNoDeliveryWaiting(t *testing.T) {
	x := newRotated(t, &starts{}, t.TempDir())
	x.stop()
	pipe(t, x.file)
	answered := make(chan int)
	for range 2 { // one has it read, one waits for that
		go func() { answered <- x.send(t, "sentry", from("u", 1), newSecret) }()
	}
	for range 2 {
		select {
		case status := <-answered:
			if status != http.StatusUnauthorized {
				t.Errorf("the answer is %d", status)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("there is no answer while the file hangs")
		}
	}
	if status := x.send(t, "sentry", from("u", 1), secret); status != http.StatusAccepted {
		t.Errorf("with the secret from before the answer is %d", status)
	}
}

func TestAKnownInstallationThatMatchesNoMoreIsToldOfWithinSecondsAndOnceAMinute(t *testing.T) {
	for integration, remedy := range map[string]string{"sentry": "in the file", "mobile": "restart the ingress"} {
		t.Run(integration, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newRotated(t, &starts{}, t.TempDir())
				x.send(t, integration, from("u", 0), secret)
				began := time.Now()
				for i := 0; time.Since(began) < 59*time.Second; i++ {
					x.send(t, integration, from("u", i), newSecret)
					pass(100 * time.Millisecond)
					if told := strings.Count(x.logs.String(), `"ERROR"`); time.Since(began) > soon && told != 1 || told > 1 {
						t.Fatalf("after %s the log says it %d times", time.Since(began), told)
					}
				}
				if logged := x.logs.String(); !strings.Contains(logged, remedy) {
					t.Errorf("the log does not say what to do: %s", logged)
				}
				pass(time.Hour)
				x.send(t, integration, from("u", 1), newSecret)
				pass(soon)
				if told := strings.Count(x.logs.String(), `"ERROR"`); told < 2 {
					t.Error("the next time it is not told of")
				}
			})
		})
	}
}

func TestInstallationsAreKnownAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		x := newRotated(t, &starts{}, dir)
		x.send(t, "sentry", from("u", 0), secret)
		x.stop()
		x = newRotated(t, &starts{}, dir)
		x.send(t, "sentry", from("u", 1), newSecret)
		if s := x.state(); s.Held != 1 {
			t.Errorf("it is %+v", s)
		}
		x.stop()
		if !strings.Contains(x.logs.String(), `"deliveries":1`) {
			t.Errorf("the log does not say that one is lost: %s", x.logs.String())
		}
		info, err := os.Stat(filepath.Join(dir, keyring.FileName))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file is %v, %v", info, err)
		}
	})
}

func TestADamagedFileOfInstallationsKeepsNothingFromStarting(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "cut off": `{"sentry":["u"`, "of another shape": `["u"]`, "of other types": `{"sentry":[1]}`, "no text": "\x00\xff",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, keyring.FileName)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				x := newRotated(t, &starts{}, dir)
				if !strings.Contains(x.logs.String(), `"WARN"`) {
					t.Error("nothing is said of it")
				}
				if status := x.send(t, "sentry", from("u", 0), secret); status != http.StatusAccepted {
					t.Errorf("the answer is %d", status)
				}
				x.send(t, "sentry", from("u", 1), newSecret)
				if s := x.state(); s.Held != 1 {
					t.Errorf("it is not learned anew: %+v", s)
				}
				pass(soon)
				if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), `{"mobile":[],"sentry":["u"]}`) {
					t.Errorf("written is %s: %v", text, err)
				}
			})
		})
	}
}

func TestADirectoryThatCannotBeWrittenToIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, keyring.FileName+".new"), 0o700); err != nil {
			t.Fatal(err)
		}
		x := newRotated(t, &starts{}, dir)
		x.send(t, "sentry", from("u", 0), secret)
		pass(time.Minute)
		if n := strings.Count(x.logs.String(), `"WARN"`); n != 1 {
			t.Errorf("the log has %d warnings: %s", n, x.logs.String())
		}
		if err := os.Remove(filepath.Join(dir, keyring.FileName+".new")); err != nil {
			t.Fatal(err)
		}
		pass(soon)
		if _, err := os.Stat(filepath.Join(dir, keyring.FileName)); err != nil {
			t.Errorf("it is not written later: %v", err)
		}
	})
}
