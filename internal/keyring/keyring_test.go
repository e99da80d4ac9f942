package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/sentry"
)

const (
	old  = "the-old-secret"
	next = "the-new-secret"
)

// newKeyring returns one of integrations whose secret, old, is in the file.
func newKeyring(t testing.TB, integrations ...string) (k *keyring.Keyring, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "secret")
	put(t, file, old)
	var all []config.Integration
	for _, name := range integrations {
		all = append(all, config.Integration{Name: name, Secrets: []config.Secret{old}, SecretFile: file})
	}
	return keyring.New(all, "", slog.New(slog.DiscardHandler)), file
}

func put(t testing.TB, file, secret string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
}

// body is one of so many bytes at least.
func body(installation string, size int) []byte {
	return fmt.Appendf(nil, `{"action":"created","installation":{"uuid":%q},"x":"%s"}`, installation, strings.Repeat("x", size))
}

// hold has a delivery held that is signed with the new secret.
func hold(k *keyring.Keyring, integration, requestID string, body []byte) bool {
	header := http.Header{}
	header.Set(sentry.HeaderRequestID, requestID)
	header.Set("User-Agent", strings.Repeat("x", 4<<10)) // of which the envelope keeps the beginning
	return k.Hold(keyring.Held{
		Envelope: sentry.NewEnvelope(integration, "sentry.issue.created", header, body, time.Now()),
		Received: time.Now(),
	}, sentry.Sign(next, body))
}

func stateOf(k *keyring.Keyring, integration string) keyring.State {
	for _, s := range k.States() {
		if s.Integration == integration {
			return s
		}
	}
	return keyring.State{}
}

// taken runs k until all that it holds was looked at under the new secret, and
// returns the keys of what is taken.
func taken(t *testing.T, k *keyring.Keyring, file string) []string {
	t.Helper()
	put(t, file, next)
	var mu sync.Mutex
	var keys []string
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx, func(_ context.Context, h keyring.Held) error {
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, h.Envelope.IntegrationID+" "+h.Envelope.IdempotencyKey)
			return nil
		})
	}()
	pass(10 * time.Second)
	cancel()
	<-done
	return keys
}

// pass lets time pass in a bubble of synctest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first leaves to finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestWhatIsHeldTakes32MiBAtMost(t *testing.T) {
	for name, size := range map[string]int{"next to nothing": 0, "small": 1100, "just over the small sizes": 33 << 10, "large": 5 << 20} {
		t.Run(name, func(t *testing.T) {
			k, _ := newKeyring(t, "sentry")
			before := heap()
			sent := 0
			for int64(sent*(size+1<<10)) < 40<<20 {
				if !hold(k, "sentry", fmt.Sprint(sent), body("u", size)) {
					t.Fatal("the newest is not held")
				}
				sent++
			}
			took := heap() - before
			s := stateOf(k, "sentry")
			if took > 32<<20 || s.HeldBytes > 32<<20 || s.HeldBytes < 24<<20 {
				t.Errorf("%d deliveries take %d bytes, and are said to take %d", s.Held, took, s.HeldBytes)
			}
			if s.Dropped == 0 || s.Held+int(s.Dropped) != sent {
				t.Errorf("of %d deliveries %d are held and %d dropped", sent, s.Held, s.Dropped)
			}
		})
	}
}

func TestTheOldestMakesPlaceForTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, file := newKeyring(t, "sentry")
		for i := range 10 {
			hold(k, "sentry", fmt.Sprint(i), body("u", 4<<20))
		}
		if got := fmt.Sprint(taken(t, k, file)); got != "[sentry 3 sentry 4 sentry 5 sentry 6 sentry 7 sentry 8 sentry 9]" {
			t.Errorf("taken are %s", got)
		}
	})
}

func TestOneIntegrationMakesNoOtherLoseWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, file := newKeyring(t, "sentry", "mobile")
		for i := range 3 {
			hold(k, "sentry", fmt.Sprint(i), body("u", 4<<20))
		}
		for i := range 20 {
			hold(k, "mobile", fmt.Sprint(i), body("v", 4<<20))
		}
		if s := stateOf(k, "sentry"); s.Held != 3 || s.Dropped != 0 {
			t.Errorf("it is %+v", s)
		}
		for i := range 20 {
			hold(k, "sentry", fmt.Sprint(3+i), body("u", 4<<20))
		}
		if s := stateOf(k, "mobile"); s.Held < 3 || s.Held > 4 {
			t.Errorf("it is %+v", s)
		}
		if got := taken(t, k, file); len(got) != 7 {
			t.Errorf("taken are %v", got)
		}
	})
}

func TestWhatIsLargerThanAllThatMayBeHeldIsNot(t *testing.T) {
	k, _ := newKeyring(t, "sentry")
	if hold(k, "sentry", "1", body("u", 32<<20)) {
		t.Error("it is held")
	}
	if s := stateOf(k, "sentry"); s.Held != 0 || s.HeldBytes != 0 || s.Dropped != 1 {
		t.Errorf("it is %+v", s)
	}
}

func TestWhatIsHeldIsDroppedAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, file := newKeyring(t, "sentry")
		hold(k, "sentry", "early", body("u", 0))
		pass(30 * time.Minute)
		hold(k, "sentry", "late", body("u", 0))
		pass(30*time.Minute + time.Second)
		if got := fmt.Sprint(taken(t, k, file)); got != "[sentry late]" {
			t.Errorf("taken are %s", got)
		}
		if s := stateOf(k, "sentry"); s.Dropped != 1 || s.HeldBytes != 0 {
			t.Errorf("it is %+v", s)
		}
	})
}

// The file of what is held is changed while one is being taken, and there is no
// room but that of it.
func TestWhatIsBeingTakenIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, file := newKeyring(t, "sentry")
		for i := range 7 {
			hold(k, "sentry", fmt.Sprint(i), body("u", 4<<20))
		}
		put(t, file, next)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began, finish := make(chan struct{}), make(chan struct{})
		go k.Run(ctx, func(context.Context, keyring.Held) error {
			select {
			case began <- struct{}{}:
				<-finish
			default:
			}
			return nil
		})
		<-began
		hold(k, "sentry", "7", body("u", 4<<20))
		close(finish)
		pass(10 * time.Second)
		if s := stateOf(k, "sentry"); s.Taken != 7 || s.Dropped != 1 || s.Held != 0 || s.HeldBytes != 0 {
			t.Errorf("it is %+v", s)
		}
	})
}

func TestAThousandInstallationsOfAnIntegrationAreKnown(t *testing.T) {
	k, _ := newKeyring(t, "sentry")
	verify := func(installation, secret string) error {
		text := body(installation, 0)
		return k.Verify("sentry", text, sentry.Sign(secret, text))
	}
	for i := range 1001 {
		for range 2 { // it is known already
			if err := verify(fmt.Sprint(i), old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := verify("0", next); errors.Is(err, keyring.ErrKnownInstallation) {
		t.Error("there is no bound")
	}
	for _, i := range []int{1, 500, 1000} {
		if err := verify(fmt.Sprint(i), next); !errors.Is(err, keyring.ErrKnownInstallation) {
			t.Errorf("number %d is not known: %v", i, err)
		}
	}
}

func TestItIsKnownWhenAFileHadOtherSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, file := newKeyring(t, "sentry")
		pass(time.Minute)
		if changed := stateOf(k, "sentry").Changed; !changed.IsZero() {
			t.Errorf("changed at %v", changed)
		}
		before := time.Now()
		taken(t, k, file)
		changed := stateOf(k, "sentry").Changed
		if changed.Before(before) {
			t.Errorf("changed at %v", changed)
		}
		taken(t, k, file) // the same ones
		if again := stateOf(k, "sentry").Changed; !again.Equal(changed) {
			t.Errorf("changed at %v and, with the same secrets, at %v", changed, again)
		}
	})
}
