package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"sentry-temporal/internal/admin"
)

const drainToken = "token-of-the-admin-address"

// draining sets the variables for an ingress that answers so, one after the other and
// the last for ever.
func draining(t *testing.T, answers ...admin.Drained) (asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/drain" || r.Header.Get("Authorization") != "Bearer "+drainToken {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"no"}`)
			return
		}
		a := answers[min(int(asked.Add(1)), len(answers))-1]
		fmt.Fprintf(w, `{"pending":%d,"parked":%d,"forwarded":%d}`, a.Pending, a.Parked, a.Forwarded)
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"ADMIN_ADDR": strings.TrimPrefix(server.URL, "http://"), "ADMIN_TOKEN": drainToken,
		"SENTRY_CLIENT_SECRET": strings.Repeat("0123456789abcdef", 4), "TEMPORAL_CONFIG_FILE": t.TempDir() + "/none.toml",
	} {
		t.Setenv(name, value)
	}
	return asked
}

func TestDrainWaitsUntilNothingIsLeftAndNothingComes(t *testing.T) {
	asked := draining(t, admin.Drained{Pending: 2}, admin.Drained{Forwarded: 2}, admin.Drained{Forwarded: 3}, admin.Drained{Pending: 1, Forwarded: 3}, admin.Drained{Forwarded: 4})
	printed := succeed(t, "drain", "--quiet", "20ms")
	if printed != "2 pending, 0 parked\n0 pending, 0 parked\n1 pending, 0 parked\n0 pending, 0 parked\n" {
		t.Errorf("it prints %q", printed)
	}
	if n := asked.Load(); n < 6 {
		t.Errorf("it asks %d times", n)
	}
}

func TestADrainThatLeavesSomethingFails(t *testing.T) {
	for name, c := range map[string]struct {
		answer admin.Drained
		says   string
	}{
		"parked":  {admin.Drained{Parked: 3}, "3 deliveries are parked"},
		"pending": {admin.Drained{Pending: 4}, "4 deliveries still wait"},
	} {
		t.Run(name, func(t *testing.T) {
			draining(t, c.answer)
			status, _, stderr := triage(t, "drain", "--quiet", "10ms", "--timeout", "300ms")
			if status != exitNo || !strings.Contains(stderr, c.says) {
				t.Errorf("it exits with %d and says %q", status, stderr)
			}
		})
	}
}

func TestADrainThatIsRefusedFails(t *testing.T) {
	draining(t)
	t.Setenv("ADMIN_TOKEN", "another-token-than-that")
	if status, _, stderr := triage(t, "drain"); status != exitNo || !strings.Contains(stderr, "401") || strings.Contains(stderr, "another-token") {
		t.Errorf("it exits with %d and says %q", status, stderr)
	}
}
