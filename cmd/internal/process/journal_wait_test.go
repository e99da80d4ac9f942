package process

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/journal"
)

func TestAJournalThatAnotherProcessKeepsIsRefused(t *testing.T) {
	dir := t.TempDir()
	first, err := journal.Open(dir, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	o := journal.Options{Log: slog.New(slog.DiscardHandler)}
	long, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := openJournal(long, dir, o, 0); !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("the error is %v", err)
	}
	if long.Err() != nil {
		t.Error("it is waited for without end")
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := openJournal(stopped, dir, o, lockPatience); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("of one that is to stop, the error is %v", err)
	}
}
