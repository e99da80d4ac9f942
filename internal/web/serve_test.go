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
	"testing"
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

func TestStoppingLetsDeliveriesUnderWayFinish(t *testing.T) {
	underWay, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(underWay)
		<-finish
		fmt.Fprint(w, "kept")
	})
	ctx, stop := context.WithCancel(t.Context())
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- web.Serve(ctx, l, handler, slog.New(slog.DiscardHandler)) }()

	got := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		got <- string(text)
	}()
	<-underWay
	stop()
	// The listener closes while the delivery is still under way.
	for {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-served:
		t.Fatalf("serving ended with a delivery under way: %v", err)
	default:
	}
	close(finish)
	if text := <-got; text != "kept" {
		t.Errorf("the delivery under way got %q", text)
	}
	if err := <-served; err != nil {
		t.Error(err)
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
