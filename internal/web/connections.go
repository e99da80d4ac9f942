package web

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sentry-temporal/internal/telemetry"
)

// MaxConnections is how many connections an address has at most. Each costs
// some 20 KiB, and up to 60 while its headers come.
const MaxConnections = 2048

// Connections returns how many connections an address has at most, with the
// files that this process may have open: a third of them, so that another third
// is for the other address, and the last for the journal and Temporal. files is
// 0 where that limit is not known.
func Connections() (most, files int) {
	files = maxFiles()
	if files == 0 {
		return MaxConnections, 0
	}
	return max(min(files/3, MaxConnections), 1), files
}

// connections is a listener that keeps to a number of connections. Over it, the
// connection that has been the same for longest makes room for the new one: it is
// new and has sent no request, is idle, or has one that nobody has vouched for
// with [Keep].
type connections struct {
	net.Listener
	most, files int
	log         *slog.Logger
	full, fault rate.Sometimes

	mu    sync.Mutex
	open  map[net.Conn]*list.Element // nil for those that are kept
	loose list.List                  // of net.Conn: the others, those that have been the same for longest first
	until time.Time                  // when requests have to be there; zero while the server goes on
	gone  chan struct{}              // closed once the server stops and none is open any more
}

func limit(l net.Listener, log *slog.Logger) *connections {
	most, files := Connections()
	return &connections{
		Listener: l, most: most, files: files, log: log,
		full: rate.Sometimes{Interval: 10 * time.Second}, fault: rate.Sometimes{Interval: 10 * time.Second},
		open: map[net.Conn]*list.Element{}, gone: make(chan struct{}),
	}
}

// Accept waits for the next connection and makes room for it.
func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		if !errors.Is(err, net.ErrClosed) {
			c.fault.Do(func() {
				c.log.Warn("no connection can be accepted, trying again", telemetry.KeyError, err.Error(), "open_files_limit", c.files)
			})
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		c.full.Do(func() {
			c.log.Warn("as many connections as may be: those that wait for longest are closed",
				telemetry.KeyAddress, c.Addr().String(), "connections", c.most, "open_files_limit", c.files)
		})
		longest := c.loose.Front()
		if longest == nil { // all are kept, which is soon over
			_ = conn.Close()
			return conn, nil
		}
		victim := longest.Value.(net.Conn)
		c.forget(victim)
		_ = victim.Close() // its server notices
	}
	c.open[conn] = c.loose.PushBack(conn)
	return conn, nil
}

// changed is told what becomes of a connection, see [http.Server].
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	place, open := c.open[conn]
	switch {
	case !open: // it has made room for another one
	case state == http.StateClosed || state == http.StateHijacked:
		c.forget(conn)
	case state != http.StateNew: // there is a request, or it is answered
		if place != nil {
			c.loose.Remove(place)
		}
		c.open[conn] = c.loose.PushBack(conn)
	}
	if state == http.StateNew || state == http.StateActive {
		c.cutOff(conn)
	}
}

// hurry is called when no more are accepted, because the server stops. It cuts off
// what does not arrive in time. What it returns is closed once none is open.
func (c *connections) hurry() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(arriveTimeout)
	for conn := range c.open {
		c.cutOff(conn)
	}
	if len(c.open) == 0 {
		close(c.gone)
	}
	return c.gone
}

func (c *connections) cutOff(conn net.Conn) {
	if !c.until.IsZero() {
		_ = conn.SetReadDeadline(c.until) // it may be closed
	}
}

func (c *connections) forget(conn net.Conn) {
	if place := c.open[conn]; place != nil {
		c.loose.Remove(place)
	}
	if _, open := c.open[conn]; open {
		delete(c.open, conn)
		if len(c.open) == 0 && !c.until.IsZero() {
			close(c.gone)
		}
	}
}

// keep has a connection make room for no other until its request is answered.
func (c *connections) keep(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place := c.open[conn]; place != nil {
		c.loose.Remove(place)
		c.open[conn] = nil
	}
}

type keepKey struct{}

// context gives requests that come over conn what [Keep] needs.
func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, keepKey{}, func() { c.keep(conn) })
}

// Keep has the connection of a request make room for no other one until it is
// answered: its sender is known. ctx is the request's.
func Keep(ctx context.Context) {
	if keep, ok := ctx.Value(keepKey{}).(func()); ok {
		keep()
	}
}
