package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/web"
)

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pipes is a listener for a test that has a time of its own.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial() (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A stop lets what is under way end, as long as Sentry waits for it, and nothing
// else holds it up.
func TestAStopWaitsForWhatIsUnderWay(t *testing.T) {
	const request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
	for name, c := range map[string]struct {
		sent     string
		takes    time.Duration // in the handler, once the body is there
		answered bool
		from, to time.Duration // how long the stop takes
	}{
		"a delivery that takes its time":   {request + "abc", 800 * time.Millisecond, true, 800 * time.Millisecond, time.Second},
		"a delivery that hangs":            {request + "abc", time.Minute, false, time.Second, time.Second},
		"a body that never ends":           {request + "a", 0, true, 300 * time.Millisecond, 600 * time.Millisecond},
		"headers that never end":           {"POST / HTTP/1.1\r\n", 0, false, 300 * time.Millisecond, 600 * time.Millisecond},
		"a connection on which none comes": {"", 0, false, 300 * time.Millisecond, 600 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.ReadAll(r.Body); err == nil {
						<-time.After(c.takes)
					}
					fmt.Fprint(w, "kept")
				})
				ctx, stop := context.WithCancel(t.Context())
				l := newPipes()
				served := make(chan error, 1)
				go func() { served <- web.Serve(ctx, l, handler, slog.New(slog.DiscardHandler)) }()
				conn, err := l.dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				answered := make(chan bool, 1)
				go func() {
					_, _ = io.WriteString(conn, c.sent)
					text, _ := io.ReadAll(conn)
					answered <- strings.HasSuffix(string(text), "kept")
				}()
				synctest.Wait()
				began := time.Now()
				stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took < c.from || took > c.to {
					t.Errorf("the stop took %s", took)
				}
				if <-answered != c.answered {
					t.Errorf("whether it is answered is %t", !c.answered)
				}
				if conn, err := l.dial(); err == nil {
					conn.Close()
					t.Error("a connection is taken after the stop")
				}
				<-time.After(c.takes) // until the handler has ended
			})
		})
	}
}

func TestSlowSendersAreCutOff(t *testing.T) {
	t.Parallel()
	l := listen(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	go func() { _ = web.Serve(t.Context(), l, handler, slog.New(slog.DiscardHandler)) }()
	for name, sent := range map[string]string{
		"headers that never end": "POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"a body that never ends": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, bufio.NewReader(conn)); err != nil {
				var timeout net.Error
				if errors.As(err, &timeout) && timeout.Timeout() {
					t.Error("the connection was still open after 30 s")
				}
			}
		})
	}
}
