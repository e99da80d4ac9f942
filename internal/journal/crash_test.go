package journal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sentry-temporal/internal/sentry"
)

func init() {
	// Appends and forwards until it is killed. It prints each key once it is
	// acknowledged, and with a + in front of it when it starts a run.
	roles["append"] = func(dir string) {
		j, err := Open(dir, Options{})
		check(err)
		go forwardAll(context.Background(), j, func(env sentry.Envelope) bool {
			fmt.Println("+" + env.IdempotencyKey) // one write, not buffered
			return false
		})
		var n atomic.Int64
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for {
					key := fmt.Sprintf("%d-%d", os.Getpid(), n.Add(1))
					check(appendTo(context.Background(), j, deliveryOfSize(key, int(n.Load()%7)*1000)))
					fmt.Println(key)
				}
			})
		}
		group.Wait()
	}
}

func TestKilledProcessLosesNothingItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acknowledged, started := map[string]bool{}, map[string]bool{}
	for round := range 5 {
		cmd := child(t, "append", dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if key, ok := strings.CutPrefix(lines.Text(), "+"); ok {
				started[key] = true
			} else {
				acknowledged[key] = true
			}
			if n == 100+73*round {
				must(t, cmd.Process.Kill())
			}
		}
		fails(t, cmd.Wait(), nil) // it was killed

		j := openJournal(t, dir, Options{})
		equal(t, len(setAside(t, dir)), 0)
		pending := map[string]bool{}
		for _, key := range pendingKeys(t, j) {
			if pending[key] {
				t.Errorf("%s twice", key)
			}
			pending[key] = true
		}
		for key := range acknowledged {
			if !pending[key] && !started[key] {
				t.Errorf("%s is lost", key)
			}
		}
		must(t, j.Close())
	}
	if len(acknowledged) < 250 || len(started) == 0 {
		t.Errorf("only %d acknowledged and %d started", len(acknowledged), len(started))
	}

	j := openJournal(t, dir, Options{})
	forwardAll(t.Context(), j, func(env sentry.Envelope) bool {
		started[env.IdempotencyKey] = true
		return j.Stats().Pending == 1
	})
	for key := range acknowledged {
		if !started[key] {
			t.Errorf("%s never ran", key)
		}
	}
}
