package web_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
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
		later    string        // a moment after the stop
		takes    time.Duration // in the handler, once the body is there
		answered bool
		from, to time.Duration // how long the stop takes
	}{
		"a delivery that takes its time":      {request + "abc", "", 800 * time.Millisecond, true, 800 * time.Millisecond, time.Second},
		"a delivery that hangs":               {request + "abc", "", time.Minute, false, time.Second, time.Second},
		"a request that comes a moment later": {"", request + "abc", 0, true, 100 * time.Millisecond, 200 * time.Millisecond},
		"a body that never ends":              {request + "a", "", 0, true, 300 * time.Millisecond, 600 * time.Millisecond},
		"headers that never end":              {"POST / HTTP/1.1\r\n", "", 0, false, 300 * time.Millisecond, 600 * time.Millisecond},
		"a connection on which none comes":    {"", "", 0, false, 300 * time.Millisecond, 600 * time.Millisecond},
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
				if c.later != "" {
					<-time.After(100 * time.Millisecond)
					_, _ = io.WriteString(conn, c.later)
				}
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

// withFiles has what f starts take so many files for what it may have open.
func withFiles(t *testing.T, files uint64, f func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

func TestConnectionsLeaveFilesForTheRest(t *testing.T) {
	for files, want := range map[uint64]int{60: 20, 1024: 341, 7000: web.MaxConnections} {
		var most, of int
		withFiles(t, files, func() { most, of = web.Connections() })
		if most != want || of != int(files) {
			t.Errorf("%d connections of %d files, want %d of %d", most, of, want, files)
		}
	}
}

// serveFew serves as many connections as there may be with 90 open files.
func serveFew(t *testing.T, handler http.Handler) (address string, most int, logs *lockedBuffer) {
	t.Helper()
	l := listen(t)
	logs = &lockedBuffer{}
	withFiles(t, 90, func() {
		most, _ = web.Connections()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- web.Serve(ctx, l, handler, slog.New(slog.NewTextHandler(logs, nil))) }()
		t.Cleanup(func() {
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		response, err := http.Get("http://" + l.Addr().String()) // it has looked at the limit
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return l.Addr().String(), most, logs
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func dial(t *testing.T, address, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestConnectionsThatWaitKeepNobodyOut(t *testing.T) {
	for name, text := range map[string]string{
		"that send nothing":       "",
		"with half of a request":  "POST / HTTP/1.1\r\nHost: x\r\nX-Half: ",
		"with a body that stalls": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"that have been answered": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			address, most, logs := serveFew(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
			first := dial(t, address, text)
			for range 3 * most {
				dial(t, address, text)
			}
			response, err := (&http.Client{Timeout: 30 * time.Second}).Get("http://" + address)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if err := first.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, first); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the first connection is still there")
			}
			for _, part := range []string{"level=WARN", fmt.Sprintf("connections=%d", most), "open_files_limit=90"} {
				if !strings.Contains(logs.String(), part) {
					t.Errorf("%s is not in the log: %s", part, logs)
				}
			}
			if lines := strings.Count(logs.String(), "\n"); lines != 1 {
				t.Errorf("%d lines: %s", lines, logs)
			}
		})
	}
}

func TestARequestThatIsVouchedForIsNotCutOff(t *testing.T) {
	underWay, finish := make(chan struct{}), make(chan struct{})
	address, most, _ := serveFew(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			return
		}
		web.Keep(r.Context())
		close(underWay)
		<-finish
		fmt.Fprint(w, "kept")
	}))
	conn := dial(t, address, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	<-underWay
	for range 3 * most {
		dial(t, address, "")
	}
	response, err := http.Get("http://" + address) // all of them have been accepted
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	close(finish)
	if answer, _ := io.ReadAll(conn); !strings.HasSuffix(string(answer), "kept") {
		t.Errorf("answered %q", answer)
	}
}

// failing is a listener that cannot accept for want of files, three times.
type failing struct {
	net.Listener
	times int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.times++; f.times <= 3 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestThatNothingCanBeAcceptedIsAWarning(t *testing.T) {
	l := listen(t)
	logs := &lockedBuffer{}
	go func() {
		_ = web.Serve(t.Context(), &failing{Listener: l}, http.NotFoundHandler(), slog.New(slog.NewTextHandler(logs, nil)))
	}()
	response, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if logged := logs.String(); strings.Count(logged, "level=WARN") != 1 || !strings.Contains(logged, syscall.EMFILE.Error()) {
		t.Errorf("logged is %s", logged)
	}
}
