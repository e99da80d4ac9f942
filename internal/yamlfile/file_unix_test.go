//go:build unix

package yamlfile_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sentry-temporal/internal/yamlfile"
)

// Who opens a pipe waits for its writer.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	go func() {
		_, err := yamlfile.Read(path)
		refused <- err
	}()
	select {
	case err := <-refused:
		if err == nil {
			t.Error("a pipe is read")
		}
	case <-time.After(10 * time.Second):
		t.Error("a pipe is waited for")
	}
}
