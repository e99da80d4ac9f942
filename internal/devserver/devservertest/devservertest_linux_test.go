package devservertest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
)

// With SERVE_FROM in its environment this is what a test kills: it has a server
// and runs until then.
func TestMain(m *testing.M) {
	if file := os.Getenv("SERVE_FROM"); file != "" {
		devservertest.Main(serving{}, devserver.Options{DBFile: file})
	}
	os.Exit(m.Run())
}

type serving struct{}

func (serving) Run() int {
	fmt.Println(devservertest.Server().Address)
	select {}
}

func TestWhatIsStartedEndsWithTestsThatAreKilled(t *testing.T) {
	file := devservertest.DBFile(t)
	tests := exec.CommandContext(t.Context(), os.Args[0])
	tests.Env = append(os.Environ(), "SERVE_FROM="+file)
	tests.Stderr = os.Stderr
	output, err := tests.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tests.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := tests.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = tests.Wait() // it was killed
	await(t, "the server still listens", func() bool {
		conn, err := net.Dial("tcp", strings.TrimSpace(address))
		if err != nil {
			return true
		}
		conn.Close()
		return false
	})
	await(t, "PostgreSQL still runs", func() bool {
		_, err := os.Stat(filepath.Join(file, "data", "postmaster.pid"))
		return err != nil // as always if there is none
	})
}

func TestAServerThatIsNotKnownFailsTheTests(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tests := exec.CommandContext(ctx, os.Args[0])
	tests.Env = append(os.Environ(), "SERVE_FROM="+devservertest.DBFile(t), "TEST_TEMPORAL=postgers")
	if output, err := tests.CombinedOutput(); err == nil || ctx.Err() != nil || !strings.Contains(string(output), "TEST_TEMPORAL") {
		t.Errorf("they said %q, %v", output, err)
	}
}

func await(t *testing.T, otherwise string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !done() {
		if ctx.Err() != nil {
			t.Fatal(otherwise)
		}
	}
}

func TestNothingIsLeftOfAServerThatKeepsNothing(t *testing.T) {
	folder := filepath.Dir(devservertest.DBFile(t))
	t.Setenv("TMPDIR", folder)
	s := devservertest.Start(t, devserver.Options{})
	s.Kill()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if path != folder {
			err = errors.Join(err, errors.New(path+" is left"))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A port is free when it is looked for, and somebody else may have it a moment later.
func TestAServerThatEndsAtOnceIsStartedAgainOnOtherPorts(t *testing.T) {
	binary, err := devserver.Binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		ends int // so many times
		ok   bool
	}{"once": {1, true}, "always": {100, false}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := fmt.Sprintf("#!/bin/sh\necho x >>started\n[ $(wc -l <started) -gt %d ] || exit 2\nexec '%s' \"$@\"\n", tt.ends, binary)
			for file, text := range map[string]string{"go.mod": "module x\n", "bin/temporal": script} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Chdir(dir)
			server, err := devserver.Start(t.Context(), devserver.Options{})
			if server != nil {
				server.Kill()
			}
			if (err == nil) != tt.ok {
				t.Errorf("it is started: %v", err)
			}
		})
	}
}
