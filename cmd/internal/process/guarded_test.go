package process_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
)

const adminToken config.Secret = "the-admin-token-of-the-tests"

// reachable is a listener that says it is for other machines, too.
type reachable struct{ net.Listener }

func (reachable) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv6zero, Port: 8081} }

// Whatever the configuration took the address for.
func TestNothingStartsWithAnAdminAddressForOtherMachinesAndNoToken(t *testing.T) {
	for name, run := range map[string]func(context.Context, config.Common) error{
		"ingress": func(ctx context.Context, common config.Common) error {
			cfg := config.Ingress{Common: common, MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
			return process.Ingress(ctx, cfg, listen(t), reachable{listen(t)}, slog.New(slog.DiscardHandler))
		},
		"worker": func(ctx context.Context, common config.Common) error {
			return serveWorker(ctx, config.Worker{Common: common}, reachable{listen(t)}, slog.New(slog.DiscardHandler))
		},
	} {
		t.Run(name, func(t *testing.T) {
			// One that starts all the same would run into the deadline.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := run(ctx, common(devservertest.Server().Address))
			if err == nil || !strings.Contains(err.Error(), "ADMIN_TOKEN: ") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestTheIngressAsksForItsAdminToken(t *testing.T) {
	p, a := listen(t), reachable{listen(t)}
	inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(devservertest.Server().Address), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir(), AdminHosts: []string{"admin.example.com"}}
		cfg.AdminToken = adminToken
		return process.Ingress(ctx, cfg, p, a, slog.New(slog.DiscardHandler))
	})
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/metrics": http.StatusOK, "/": http.StatusUnauthorized, "/journal": http.StatusUnauthorized} {
		for token, status := range map[string]int{"": want, adminToken.Reveal(): http.StatusOK} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Listener.Addr().String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = "admin.example.com"
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != status {
				t.Errorf("%s, token %q: answered %d", path, token, response.StatusCode)
			}
		}
	}
}
