package admin_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"

	"sentry-temporal/internal/admin"
)

func ok(context.Context) error { return nil }

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// pass has time pass in a bubble of synctest, where it takes none.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// watch runs a Watch for as long as the test.
func watch(t *testing.T, log *slog.Logger, namespaces ...admin.Namespace) *admin.Watch {
	t.Helper()
	w := admin.NewWatch(namespaces, log)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return w
}

func TestANamespaceThatHangsNeitherDelaysNorHidesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, slog.New(slog.DiscardHandler),
			admin.Namespace{Name: "hangs", Ask: hang}, admin.Namespace{Connection: "eu", Name: "answers", Ask: ok})
		synctest.Wait() // takes no time
		states := w.States()
		if states[0].Status != admin.StatusUnknown || states[1] != (admin.NamespaceState{Connection: "eu", Namespace: "answers", Status: admin.StatusOK, Asked: time.Now()}) {
			t.Errorf("at first: %+v", states)
		}
		pass(2 * time.Second)
		if hung := w.States()[0]; hung.Status != admin.StatusUnreachable || hung.Problem == "" {
			t.Errorf("after 2 s: %+v", hung)
		}
	})
}

func TestTemporalIsAskedEveryFiveSecondsHoweverManyWantToKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		w := watch(t, slog.New(slog.DiscardHandler), admin.Namespace{Name: "default", Ask: func(context.Context) error {
			asked.Add(1)
			return nil
		}})
		for range 14 {
			synctest.Wait()
			for range 100 {
				w.States()
			}
			pass(time.Second)
		}
		if n := asked.Load(); n != 3 {
			t.Errorf("asked %d times within 14 s", n)
		}
	})
}

func TestWhatIsWrongWithANamespaceIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status string
		logged string
	}{
		"nothing":              {nil, admin.StatusOK, "Temporal answers for a namespace"},
		"no connection":        {errors.New("failed reaching server: connection refused"), admin.StatusUnreachable, "Temporal does not answer for a namespace"},
		"unavailable":          {serviceerror.NewUnavailable("away"), admin.StatusUnreachable, "Temporal does not answer for a namespace"},
		"no such namespace":    {serviceerror.NewNamespaceNotFound("mobile"), admin.StatusRefused, "Temporal answers, and a namespace cannot be used"},
		"no permission for it": {serviceerror.NewPermissionDenied("not yours", ""), admin.StatusRefused, "Temporal answers, and a namespace cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				w := watch(t, slog.New(slog.NewTextHandler(&log, nil)), admin.Namespace{Name: "mobile", Ask: func(context.Context) error { return test.err }})
				synctest.Wait()
				if !strings.Contains(log.String(), `msg="`+test.logged+`"`) {
					t.Errorf("logged is %s", &log)
				}
				if state := w.States()[0]; state.Status != test.status || (state.Problem == "") != (test.err == nil) {
					t.Errorf("the state is %+v", state)
				}
			})
		})
	}
}

// said is what Temporal answers.
type said struct{ err error }

func TestAChangeOfANamespaceIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var err atomic.Value
		err.Store(said{errors.New("connection refused")})
		watch(t, slog.New(slog.NewTextHandler(&log, nil)), admin.Namespace{Name: "mobile", Ask: func(context.Context) error {
			return err.Load().(said).err
		}})
		for _, next := range []error{errors.New("connection refused"), serviceerror.NewNamespaceNotFound("mobile"), nil} {
			err.Store(said{next})
			pass(time.Minute)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		for i, has := range []string{"level=WARN msg=\"Temporal does not answer", "level=WARN msg=\"Temporal answers, and a namespace cannot be used\"", "level=INFO msg=\"Temporal answers"} {
			if len(lines) != 3 || !strings.Contains(lines[i], has) {
				t.Errorf("the log is\n%s", &log)
			}
		}
	})
}
