package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/seglog"
	"sentry-temporal/internal/sentry"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails wants err to be target, or any error if target is nil.
func fails(t testing.TB, err, target error) {
	t.Helper()
	if err == nil || target != nil && !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func equal[T any](t testing.TB, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%.2000v\nwant\n%.2000v", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
	}
}

func within[T cmp.Ordered](t testing.TB, got, low, high T) {
	t.Helper()
	if got < low || got > high {
		t.Fatalf("got %v, want %v to %v", got, low, high)
	}
}

func contains(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("%q is not in %q", part, text)
	}
}

// pass lets d pass on the clock of the test's bubble, and then all that is to
// happen until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// roles are what the test binary does, instead of testing, when child started
// it. dir is a journal's directory.
var roles = map[string]func(dir string){}

const roleVariable = "JOURNAL_TEST_ROLE"

func TestMain(m *testing.M) {
	role, ok := roles[os.Getenv(roleVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	dir, err := os.Getwd()
	check(err)
	role(dir)
}

// child is another process that plays role with the journal in dir.
func child(t testing.TB, role, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	return cmd
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// deliveryOf returns a delivery whose body belongs to its key, so that a mix-up
// shows.
func deliveryOf(key string) sentry.Envelope {
	return deliveryOfSize(key, 300)
}

func deliveryOfSize(key string, size int) sentry.Envelope {
	body := `{"action":"created","key":"` + key + `","raw":"\u00e9\u0000 ` + "\xff" + `"}`
	if size > len(body) {
		body += strings.Repeat(" ", size-len(body))
	}
	return sentry.Envelope{
		Webhook:        true,
		Source:         "sentry",
		IntegrationID:  "sentry",
		EventType:      "sentry.issue.created",
		IdempotencyKey: key,
		Timestamp:      1733337600,
		Headers:        map[string]string{"sentry-hook-resource": "issue", "request-id": key},
		Body:           sentry.Body(body),
	}
}

func openJournal(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	j, err := Open(dir, o)
	must(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// planOf plans one start of each delivery, as its key says.
func planOf(env sentry.Envelope) []routes.Operation {
	return []routes.Operation{{
		Kind: routes.Start, Workflow: "triage", WorkflowID: "triage:" + env.IntegrationID + ":" + env.IdempotencyKey,
		Integration: env.IntegrationID, Namespace: "default", TaskQueue: "sentry", Priority: 3, FairnessKey: env.IntegrationID + "/",
	}}
}

// appendTo appends a delivery that has a plan.
func appendTo(ctx context.Context, j *Journal, env sentry.Envelope) error {
	_, err := j.Append(ctx, Arrival{Envelope: env, Plan: planOf})
	return err
}

// park parks the pending delivery id.
func park(t testing.TB, j *Journal, id uint64, reason string) {
	t.Helper()
	must(t, j.ParkFor(t.Context(), id, Refused, reason))
}

// parkedItems returns what is parked.
func parkedItems(t testing.TB, j *Journal) []Item {
	t.Helper()
	items, err := j.List(Filter{State: Parked}, 0, 1000)
	must(t, err)
	return items
}

// only means the delivery id.
func only(state State, id uint64) Filter { return Filter{State: state, IDs: []uint64{id}} }

// forwardAll does what the forwarder does, until ctx ends or start says so.
func forwardAll(ctx context.Context, j *Journal, start func(sentry.Envelope) (enough bool)) {
	for after := uint64(0); ; {
		for _, e := range j.Entries(after, 100) {
			after = e.Position
			d, err := j.Read(e.ID)
			switch {
			case errors.Is(err, ErrDamaged):
				check(j.ParkFor(ctx, e.ID, Damaged, err.Error()))
				continue
			case err != nil:
				check(err)
			}
			enough := start(d.Envelope)
			j.Done(e.ID, nil)
			if enough {
				return
			}
		}
		select {
		case <-j.Arrived():
		case <-ctx.Done():
			return
		}
	}
}

// done is what the forwarder does once everything is started.
func done(j *Journal, id uint64) { j.Done(id, nil) }

func appendAll(t testing.TB, j *Journal, keys ...string) {
	t.Helper()
	for _, key := range keys {
		must(t, appendTo(t.Context(), j, deliveryOf(key)))
	}
}

func keys(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("key-%06d", i)
	}
	return list
}

// pendingKeys returns what is on disk, in order, after making sure that it is
// what was appended.
func pendingKeys(t testing.TB, j *Journal) []string {
	t.Helper()
	var list []string
	for _, e := range j.Entries(0, 1<<20) {
		d, err := j.Read(e.ID)
		must(t, err)
		equal(t, d.Envelope, deliveryOfSize(d.Envelope.IdempotencyKey, len(d.Envelope.Body)))
		equal(t, d.Operations, planOf(d.Envelope))
		list = append(list, d.Envelope.IdempotencyKey)
	}
	return list
}

// setAside returns the files that were damaged.
func setAside(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "damaged-*"))
	must(t, err)
	return files
}

// segments returns the files of a journal, in their order.
func segments(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "journal-*.log"))
	must(t, err)
	slices.Sort(files)
	return files
}

// copyJournal copies the files of a journal to a new directory, as a process
// that is killed at this moment leaves them.
func copyJournal(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, from := range segments(t, dir) {
		data, err := os.ReadFile(from)
		must(t, err)
		path := filepath.Join(to, filepath.Base(from))
		must(t, os.WriteFile(path, bytes.TrimRight(data, "\x00"), 0o600))
		must(t, os.Truncate(path, int64(len(data))))
	}
	return to
}

// faulty is a disk on which nothing can be written while it is broken, and nothing
// new made while it is full.
type faulty struct {
	seglog.Disk
	broken, full atomic.Bool
	fails        atomic.Int32 // how many of the next syncs of files do
}

// openFaulty opens a journal on a disk that can be broken.
func openFaulty(t testing.TB, dir string, o Options) (*Journal, *faulty) {
	t.Helper()
	d, err := seglog.OpenDirectory(dir)
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	f := &faulty{Disk: d}
	o.disk = f
	return openJournal(t, dir, o), f
}

func (f *faulty) fault() error {
	if f.broken.Load() {
		return syscall.EIO
	}
	return nil
}

func (f *faulty) Create(name string, size int64) (seglog.File, error) {
	if f.full.Load() {
		return nil, syscall.ENOSPC
	}
	file, err := f.Disk.Create(name, size)
	return faultyFile{file, f}, errors.Join(err, f.fault())
}

func (f *faulty) Open(name string) (seglog.File, error) {
	file, err := f.Disk.Open(name)
	return faultyFile{file, f}, err
}

func (f *faulty) Sync() error { return errors.Join(f.Disk.Sync(), f.fault()) }

type faultyFile struct {
	seglog.File
	disk *faulty
}

func (f faultyFile) Allocate(size int64) error {
	if f.disk.full.Load() {
		return syscall.ENOSPC
	}
	return f.File.Allocate(size)
}

func (f faultyFile) Sync() error {
	if f.disk.fails.Add(-1) >= 0 {
		return syscall.EIO
	}
	return errors.Join(f.File.Sync(), f.disk.fault())
}
