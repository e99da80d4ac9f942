package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/sentry"
)

// asProgram in the environment makes the test the program itself.
const asProgram = "BE_THE_INGRESS=1"

func TestMain(m *testing.M) {
	if name, value, _ := strings.Cut(asProgram, "="); os.Getenv(name) == value {
		main()
	}
	os.Exit(m.Run())
}

// held is a socket that outlives the programs that listen on it.
func held(t *testing.T) (socket *os.File, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp, _ := l.(*net.TCPListener)
	socket, err = tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket, l.Addr().String()
}

// program is the ingress, with a Temporal that is away.
func program(t *testing.T, environ ...string) *proc.Program {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	p := &proc.Program{
		Binary: binary, Log: filepath.Join(t.TempDir(), "log"),
		Environ: append([]string{
			asProgram, "DEVELOPMENT=1", "SENTRY_CLIENT_SECRET=" + hook.DevelopmentSecret, "TEMPORAL_ADDRESS=127.0.0.1:1",
			"LISTEN_ADDR=127.0.0.1:1", "ADMIN_ADDR=" + net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])),
		}, environ...),
	}
	t.Cleanup(func() {
		p.Kill()
		if text, _ := os.ReadFile(p.Log); t.Failed() {
			t.Logf("its log is\n%s", text)
		}
	})
	return p
}

// The next program answers what was sent while there was none.
func TestNothingIsRefusedWhileTheSocketIsHeld(t *testing.T) {
	socket, address := held(t)
	dir := t.TempDir()
	p := program(t, "JOURNAL_DIR="+dir)
	p.Socket = socket
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	codes := make(chan int, 100)
	send := func() {
		d := hook.Delivery{URL: "http://" + address + "/webhooks/sentry", Secret: hook.DevelopmentSecret, RequestID: sentry.NewRequestID(), Body: body}
		r, err := d.Request(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		r.Close = true // as Sentry does
		answer, err := hook.Do(r)
		if err != nil {
			t.Error(err)
		}
		codes <- answer.Code
	}
	const restarts, together = 3, 5
	for range restarts {
		for range together {
			go send() // most of them before it listens
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		for range together {
			if code := <-codes; code != http.StatusAccepted {
				t.Fatalf("a delivery was answered %d", code)
			}
		}
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	j, err := journal.Open(dir, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if pending := j.Stats().Pending; pending != restarts*together {
		t.Errorf("%d deliveries are kept", pending)
	}
}

func TestOtherThanOneListeningSocketIsRefused(t *testing.T) {
	socket, _ := held(t)
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	for name, passed := range map[string][]*os.File{"two sockets": {socket, socket}, "no socket": {nothing}} {
		t.Run(name, func(t *testing.T) {
			p := program(t, "JOURNAL_DIR="+t.TempDir())
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // it runs until then if it starts
			defer cancel()
			cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, p.Binary)
			cmd.Env = append(slices.Clone(p.Environ), "LISTEN_FDS="+strconv.Itoa(len(passed)))
			cmd.ExtraFiles = passed
			if said, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(said), "LISTEN_FDS: ") {
				t.Errorf("it said %s, %v", said, err)
			}
		})
	}
}

func TestBadConfigurationIsReportedWholeAndNothingStarts(t *testing.T) {
	for name, value := range map[string]string{
		"INTEGRATIONS":          "sentry,Mobile",
		"SENTRY_CLIENT_SECRET":  "",
		"LISTEN_ADDR":           "8080",
		"ADMIN_ADDR":            "nowhere",
		"MAX_BODY_BYTES":        "8MiB",
		"LOG_FORMAT":            "xml",
		"LOG_LEVEL":             "loud",
		"TEMPORAL_UI_URL":       "ui",
		"BACKEND_CLIENT_SECRET": "a-secret-of-nobody",
	} {
		t.Setenv(name, value)
	}
	// An ingress that starts all the same would run into the deadline.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := run(ctx)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("the ingress ran: %v", err)
	}
	for _, name := range []string{"INTEGRATIONS", "SENTRY_CLIENT_SECRET", "LISTEN_ADDR", "ADMIN_ADDR", "MAX_BODY_BYTES", "LOG_FORMAT", "LOG_LEVEL", "TEMPORAL_UI_URL"} {
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s is not reported in:\n%v", name, err)
		}
	}
	if strings.Contains(err.Error(), "a-secret-of-nobody") {
		t.Errorf("a secret is reported in:\n%v", err)
	}
}
