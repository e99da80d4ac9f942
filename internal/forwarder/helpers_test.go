package forwarder

import (
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
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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

const roleVariable = "FORWARDER_TEST_ROLE"

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

func deliveryOf(key string) sentry.Envelope {
	return sentry.Envelope{
		Webhook:        true,
		Source:         "sentry",
		IntegrationID:  "sentry",
		EventType:      "sentry.issue.created",
		IdempotencyKey: key,
		Timestamp:      1733337600,
		Headers:        map[string]string{"sentry-hook-resource": "issue", "request-id": key},
		Body:           sentry.Body(`{"action":"created","key":"` + key + `"}`),
	}
}

// plan plans one start, in the namespace that is called as the integration.
func plan(env sentry.Envelope) []routes.Operation {
	return planOf(sentry.Delivery{Integration: env.IntegrationID}).For(env.IdempotencyKey)
}

func planOf(d sentry.Delivery) routes.Plan {
	return routes.Plan{Operations: []routes.Operation{{
		Kind: routes.Start, Workflow: "triage", WorkflowID: "triage:",
		Integration: d.Integration, Namespace: d.Integration, TaskQueue: "sentry",
	}}}
}

func openJournal(t testing.TB, dir string, o journal.Options) *journal.Journal {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	j, err := journal.Open(dir, o)
	must(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func appendTo(ctx context.Context, j *journal.Journal, env sentry.Envelope, project string) error {
	subject := sentry.Subject{Project: project}
	_, err := j.Append(ctx, journal.Arrival{
		Envelope: env, Subject: subject, Plan: plan,
	})
	return err
}

func appendAll(t testing.TB, j *journal.Journal, keys ...string) {
	t.Helper()
	for _, key := range keys {
		must(t, appendTo(t.Context(), j, deliveryOf(key), ""))
	}
}

// appendFrom appends n deliveries of an integration and project, whose keys
// begin with both.
func appendFrom(t testing.TB, j *journal.Journal, integration, project string, n int) {
	t.Helper()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			env := deliveryOf(fmt.Sprintf("%s-%s-%06d", integration, project, i))
			env.IntegrationID = integration
			if err := appendTo(t.Context(), j, env, project); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func keys(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("key-%06d", i)
	}
	return list
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func pendingKeys(t testing.TB, j *journal.Journal) []string {
	t.Helper()
	items, err := j.List(journal.Filter{State: journal.Pending}, 0, 1<<20)
	must(t, err)
	list := []string{}
	for _, item := range items {
		list = append(list, item.Key)
	}
	return list
}

func parkedItems(t testing.TB, j *journal.Journal) []journal.Item {
	t.Helper()
	items, err := j.List(journal.Filter{State: journal.Parked}, 0, 1<<20)
	must(t, err)
	return items
}

// copyJournal copies the directory of a journal to a new one, as a process that is
// killed at this moment leaves it.
func copyJournal(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, filepath.Base(file)), data, 0o600))
	}
	return to
}

// temporal starts each run once, however often it is asked, and can fail.
type temporal struct {
	mu       sync.Mutex
	started  []string // keys in the order of their start
	attempts []attempt
	running  int
	most     int // attempts at once
	fail     func(ctx context.Context, key string) error
}

type attempt struct {
	key string
	at  time.Time
}

func newTemporal() *temporal { return &temporal{} }

// Prepare implements [Starter].
func (f *temporal) Prepare(env sentry.Envelope, plan []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
	return func(ctx context.Context) ([]starter.Run, error) { return f.start(ctx, env, plan) }, nil
}

// Planned implements [Starter].
func (*temporal) Planned(plan []routes.Operation) []starter.Run {
	runs := make([]starter.Run, len(plan))
	for i, o := range plan {
		runs[i] = starter.Run{Workflow: o.Workflow, WorkflowID: o.WorkflowID, Namespace: o.Namespace, Status: starter.Accepted}
	}
	return runs
}

// URL implements [Starter].
func (*temporal) URL(_, _, _, _ string) string { return "" }

func (f *temporal) start(ctx context.Context, env sentry.Envelope, plan []routes.Operation) ([]starter.Run, error) {
	key := env.IdempotencyKey
	f.mu.Lock()
	f.attempts = append(f.attempts, attempt{key, time.Now()})
	f.running++
	f.most = max(f.most, f.running)
	fail := f.fail
	f.mu.Unlock()
	var err error
	if fail != nil {
		err = fail(ctx, key)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	if err != nil {
		return nil, err
	}
	runs := f.Planned(plan)
	for i := range runs {
		runs[i].Status, runs[i].RunID = starter.Existing, "run of "+key
		if !slices.Contains(f.started, key) {
			runs[i].Status = starter.Started
		}
	}
	if !slices.Contains(f.started, key) {
		f.started = append(f.started, key)
	}
	return runs, nil
}

func (f *temporal) runs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.started)
}

// atOnce returns how many starts were under way at the same time.
func (f *temporal) atOnce() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

func (f *temporal) tried() []attempt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.attempts)
}

func (f *temporal) failWith(fail func(ctx context.Context, key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// mend has all starts succeed from now on.
func (f *temporal) mend() { f.failWith(nil) }

// runForwarder runs a forwarder until stop is called or the test ends.
func runForwarder(t testing.TB, j *journal.Journal, f *temporal, o Options) (stop func()) {
	t.Helper()
	return run(t, newForwarder(j, f, o))
}

func newForwarder(j *journal.Journal, f *temporal, o Options) *Forwarder {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return New(j, f.Prepare, o)
}

func run(t testing.TB, f *Forwarder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	return stop
}

var (
	errDown    = fmt.Errorf("start: %w", serviceerror.NewUnavailable("temporal is down"))
	errRefused = fmt.Errorf("start: %w", serviceerror.NewInvalidArgument(fmt.Sprintf("refused: %s\xff", strings.Repeat("x", 2000))))
	errOdd     = errors.New("nobody has thought of this")
)

func always(err error) func(context.Context, string) error {
	return func(context.Context, string) error { return err }
}

// onlyFor fails with err for keys that begin so.
func onlyFor(prefix string, err error) func(context.Context, string) error {
	return func(_ context.Context, key string) error {
		if strings.HasPrefix(key, prefix) {
			return err
		}
		return nil
	}
}

func slow(d time.Duration) func(context.Context, string) error {
	return func(context.Context, string) error {
		<-time.After(d)
		return nil
	}
}

// oddly fails after d, or when ctx ends.
func oddly(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return errOdd
}

func hang(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// watchers returns how many deliveries somebody waits for.
func watchers(f *Forwarder) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watches)
}
