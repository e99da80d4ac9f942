package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sentry-temporal/internal/telemetry"
)

// Limits of the server. Sentry is done within a second, so these only end
// senders that are not Sentry, or not well.
const (
	readHeaderTimeout = 3 * time.Second
	readTimeout       = 5 * time.Second  // headers and body
	writeTimeout      = 20 * time.Second // from the end of the headers; more than any sender may ask to wait
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
)

// What is under way when the server stops gets stopTimeout: Sentry waits no longer
// for the whole exchange. A request that has not arrived whole gets arriveTimeout
// for the rest, so that a connection on which nothing comes does not hold up the
// next process.
const (
	stopTimeout   = time.Second
	arriveTimeout = 300 * time.Millisecond
)

// Serve answers requests on listener with handler until ctx is done, over as many
// connections as [Connections] says. Then it accepts no more and returns when the
// requests under way are answered, after a second at most: what is left then is
// cut off. It closes listener.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	open := limit(listener, log)
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         open.changed,
		ConnContext:       open.context,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // which ends Serve
	defer stop()
	if err := server.Serve(open); ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	// Not Shutdown: it closes a connection that is accepted and whose request it has
	// not read yet, without an answer.
	server.SetKeepAlivesEnabled(false) // closes those that are idle
	select {
	case <-open.hurry():
	case <-time.After(stopTimeout):
		log.WarnContext(ctx, "requests under way are cut off", telemetry.KeyAddress, listener.Addr().String())
	}
	if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stop serving %s: %w", listener.Addr(), err)
	}
	return nil
}
