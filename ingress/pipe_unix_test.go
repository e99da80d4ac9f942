//go:build unix

package ingress_test

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// pipe puts a pipe in the place of a file. Who opens it waits until the end of
// the test.
func pipe(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if writer, err := os.OpenFile(path, os.O_RDWR, 0); err == nil { // not to wait for who reads
			writer.Close()
		}
	})
}
