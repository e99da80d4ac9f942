package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sentry-temporal/internal/sentry"
)

// exhausted appends deliveries until one is refused, prints the keys of those that
// were not, and returns their number.
func exhausted(j *Journal, prefix string) int {
	for n := 0; ; n++ {
		key := fmt.Sprint(prefix, n)
		err := appendTo(context.Background(), j, deliveryOfSize(key, 400_000))
		if err != nil {
			return n
		}
		fmt.Println(key)
	}
}

// exhaust shows what a journal does with a disk that is full, and prints each
// key it acknowledged and each it forwarded. room makes the disk larger.
func exhaust(j *Journal, room func() error) error {
	filled := exhausted(j, "first-")
	if filled < 5 {
		return fmt.Errorf("only %d fit", filled)
	}
	var group sync.WaitGroup
	for i := range 20 { // together, and again and again
		group.Go(func() {
			key := fmt.Sprint("refused-", i)
			if appendTo(context.Background(), j, deliveryOfSize(key, 400_000)) == nil {
				fmt.Println(key)
			}
		})
	}
	group.Wait()

	// What is forwarded makes room.
	forwardAll(context.Background(), j, func(env sentry.Envelope) bool {
		fmt.Println("-" + env.IdempotencyKey)
		return j.Stats().Pending == 1
	})
	if err := j.Sync(); err != nil {
		return err
	}
	if exhausted(j, "second-") == 0 {
		return errors.New("nothing fits after forwarding")
	}

	if err := room(); err != nil {
		return err
	}
	for i := range 10 {
		key := fmt.Sprint("third-", i)
		if err := appendTo(context.Background(), j, deliveryOfSize(key, 400_000)); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
		fmt.Println(key)
	}
	return nil
}

func init() {
	roles["tmpfs"] = func(dir string) {
		j, err := Open(dir, Options{MaxBytes: small})
		check(err)
		check(exhaust(j, func() error { return remount(dir, "size=64m") }))
		check(j.Close())
	}
}

func TestFullDiskLosesNothingAndGoesOnWhenThereIsSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	must(t, os.Mkdir(dir, 0o700))
	if err := mount(dir, "size=16m"); err != nil {
		t.Skipf("needs to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, 0)) })
	answer, err := child(t, "tmpfs", dir).Output()
	must(t, err)
	hasAcknowledged(t, dir, string(answer))
}

func mount(dir, options string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, options)
}

func remount(dir, options string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, options)
}

// hasAcknowledged checks that the journal in dir has exactly what exhaust
// said, but for what it refused and may have all the same.
func hasAcknowledged(t *testing.T, dir, answer string) {
	t.Helper()
	want := map[string]bool{}
	for line := range strings.Lines(answer) {
		if key, forwarded := strings.CutPrefix(strings.TrimSpace(line), "-"); forwarded {
			delete(want, key)
		} else {
			want[key] = true
		}
	}
	if len(want) < 10 {
		t.Errorf("only %d acknowledged", len(want))
	}
	j := openJournal(t, dir, Options{MaxBytes: small})
	equal(t, len(setAside(t, dir)), 0)
	for _, key := range pendingKeys(t, j) {
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("lost: %v", want)
	}
	must(t, j.Close())
}
