package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/telemetry"
)

// lockPatience is how long a journal that another process has is waited for: one
// that stops lets go of it sooner.
const lockPatience = 15 * time.Second

// openJournal opens the journal in dir. While another process has it, which may be
// about to end, it tries again for as long as patience.
func openJournal(ctx context.Context, dir string, o journal.Options, patience time.Duration) (*journal.Journal, error) {
	const pause = 10 * time.Millisecond
	told := false
	for began := time.Now(); ; {
		kept, err := journal.Open(dir, o)
		if !errors.Is(err, journal.ErrLocked) || time.Since(began) >= patience {
			if err != nil {
				err = fmt.Errorf("JOURNAL_DIR: %w", err)
			}
			return kept, err
		}
		if !told {
			told = true
			o.Log.InfoContext(ctx, "waiting for another process to let go of the journal", telemetry.KeyError, err.Error())
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// Inherited returns the socket that somebody else holds for this process, so that
// connections wait in it while none is there: systemd passes it by LISTEN_FDS, see
// sd_listen_fds(3). It is nil if there is none.
func Inherited() (net.Listener, error) {
	passed, err := activation.Listeners()
	switch {
	case err != nil:
		return nil, fmt.Errorf("LISTEN_FDS: %w", err)
	case len(passed) == 0:
		return nil, nil
	case len(passed) > 1 || passed[0] == nil:
		return nil, errors.New("LISTEN_FDS: it takes one listening socket, that for the webhooks")
	}
	return passed[0], nil
}

// listenOn listens at the address that is the value of variable, unless a listener
// is there.
func listenOn(there net.Listener, variable, address string) (net.Listener, error) {
	if there != nil {
		return there, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return l, nil
}
