// Package service is what ingress and worker share as programs that run until
// they are told to stop.
package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
)

// Warn logs what may be wrong with the configuration.
func Warn(ctx context.Context, warnings []config.Problem, log *slog.Logger) {
	for _, w := range warnings {
		log.WarnContext(ctx, "the configuration may be wrong", telemetry.KeyVariable, w.Variable, telemetry.KeyReason, w.Text)
	}
}

// Guarded returns an error if others than this machine reach the admin address
// without a token. The configuration has looked at what the address says; this
// is where it has led.
func Guarded(private net.Listener, token config.Secret) error {
	address, ok := private.Addr().(*net.TCPAddr)
	if ok && !address.IP.IsLoopback() && token == "" {
		return errors.New("ADMIN_TOKEN: is needed, since other machines may reach the admin address " + address.String() + ": set it, or listen on 127.0.0.1")
	}
	return nil
}

// Later returns a context that is done when ctx has been done for a while.
func Later(ctx context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	delayed, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(while, cancel) })
	return delayed, cancel
}
