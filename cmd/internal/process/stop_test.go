package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// hold returns a log that tells of lines that begin so, and where a test is to let
// each of them go on.
func hold(beginning string) (log *slog.Logger, came, release chan struct{}) {
	came, release = make(chan struct{}, 100), make(chan struct{})
	log = slog.New(told{slog.DiscardHandler, func(message string, _ []string) {
		if strings.HasPrefix(message, beginning) {
			came <- struct{}{}
			<-release
		}
	}})
	return log, came, release
}

// refuses reports whether nobody listens.
func refuses(l net.Listener) bool {
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return true
	}
	_ = conn.Close()
	return false
}

func TestTheNextIngressWaitsForTheJournalAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	away, _ := nowhere(t)
	first, _, stop := runIngressWith(t, away, dir)
	send(t, first, integrations[0], "issue.created") // it is up
	log, waits, release := hold("waiting for another process")
	close(release)
	p, a := listen(t), listen(t)
	inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(away), MaxBodyBytes: 1 << 20, JournalDir: dir}
		return process.Ingress(ctx, cfg, p, a, log)
	})
	<-waits
	stop()
	if answer := send(t, "http://"+p.Addr().String(), integrations[0], "issue.created"); answer.Status != starter.Accepted {
		t.Errorf("the next one answered %+v", answer)
	}
	if _, text := get(t, "http://"+a.Addr().String()+"/journal?state=pending"); strings.Count(text, `"request_id"`) != 2 {
		t.Errorf("it has %s", text)
	}
}

// Nothing is in the way of the next process before it has the journal: it would
// leave deliveries waiting that another ingress could take.
func TestAnIngressListensOnceItHasTheJournal(t *testing.T) {
	dir := t.TempDir()
	away, _ := nowhere(t)
	first, _, stop := runIngressWith(t, away, dir)
	send(t, first, integrations[0], "issue.created") // it is up
	log, waits, release := hold("waiting for another process")
	public, private := listen(t), listen(t)
	public.Close()
	private.Close()
	inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{
			Common: common(away), MaxBodyBytes: 1 << 20, JournalDir: dir,
			ListenAddr: public.Addr().String(), AdminAddr: private.Addr().String(),
		}
		return process.Ingress(ctx, cfg, nil, nil, log)
	})
	<-waits
	if !refuses(public) || !refuses(private) {
		t.Error("it listens without a journal")
	}
	close(release)
	stop()
	for enough := time.Now().Add(30 * time.Second); refuses(public) || refuses(private); {
		if time.Now().After(enough) {
			t.Fatal("it does not listen with one")
		}
	}
}

func TestTheAdminAddressAnswersUntilTheDeliveriesUnderWayAreDone(t *testing.T) {
	away, _ := nowhere(t)
	block, cut := make(chan struct{}), make(chan struct{})
	underWay, isCut := make(chan struct{}, 1), make(chan struct{}, 1)
	log := slog.New(told{slog.DiscardHandler, func(message string, _ []string) {
		switch message {
		case "delivery":
			underWay <- struct{}{}
			<-block
		case "requests under way are cut off":
			isCut <- struct{}{}
			<-cut
		}
	}})
	p, a := listen(t), listen(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		cfg := config.Ingress{Common: common(away), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
		ended <- process.Ingress(ctx, cfg, p, a, log)
	}()
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	d := hook.Delivery{URL: "http://" + p.Addr().String() + "/webhooks/sentry", Secret: "s1", RequestID: sentry.NewRequestID(), Body: body}
	go func() { _, _ = hook.Send(context.Background(), d) }() // it is cut off
	<-underWay
	stop()
	<-isCut // until it is let go on, the ingress stops
	if !refuses(p) {
		t.Error("it takes deliveries while it stops")
	}
	admin := "http://" + a.Addr().String()
	if status, text := get(t, admin+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "stops") {
		t.Errorf("/readyz answered %d %s", status, text)
	}
	for _, path := range []string{"/healthz", "/metrics", "/journal"} {
		if status, text := get(t, admin+path); status != http.StatusOK {
			t.Errorf("%s answered %d %s", path, status, text)
		}
	}
	close(block)
	close(cut)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !refuses(a) {
		t.Error("the admin address is still there")
	}
}

// shutdownDelay is long enough to see what happens meanwhile.
const shutdownDelay = 6 * time.Second

func TestAnIngressGoesOnForAWhileWhenItIsToStop(t *testing.T) {
	t.Parallel()
	away, _ := nowhere(t)
	p, a := listen(t), listen(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		cfg := config.Ingress{Common: common(away), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
		cfg.ShutdownDelay = shutdownDelay
		ended <- process.Ingress(ctx, cfg, p, a, slog.New(slog.DiscardHandler))
	}()
	public, admin := "http://"+p.Addr().String(), "http://"+a.Addr().String()
	if code := ready(t, admin).code; code != http.StatusOK {
		t.Errorf("/readyz answered %d", code)
	}
	stop()
	if code := ready(t, admin).code; code != http.StatusServiceUnavailable {
		t.Errorf("while it is to stop /readyz answered %d", code)
	}
	for until := time.Now().Add(shutdownDelay / 4); time.Now().Before(until); {
		if answer := send(t, public, integrations[0], "issue.created"); answer.Status != starter.Accepted {
			t.Errorf("while it is to stop a delivery was answered %+v", answer)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAWorkerGoesOnForAWhileWhenItIsToStop(t *testing.T) {
	t.Parallel()
	const queue = "a-while"
	a := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		cfg := config.Worker{Common: common(devservertest.Server().Address)}
		cfg.Integrations = []config.Integration{{Name: "sentry", Namespace: "default", TaskQueue: queue}}
		cfg.ShutdownDelay = shutdownDelay
		ended <- serveWorker(ctx, cfg, a, slog.New(slog.DiscardHandler))
	}()
	admin := "http://" + a.Addr().String()
	c := clientOf(t, "default")
	if err := begin(t, c, queue, "triage_sentry_issue").Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	stop()
	if code := ready(t, admin).code; code != http.StatusServiceUnavailable {
		t.Errorf("while it is to stop /readyz answered %d", code)
	}
	soon, cancel := context.WithTimeout(t.Context(), shutdownDelay) // nobody is there after that
	defer cancel()
	if err := begin(t, c, queue, "triage_sentry_issue").Get(soon, nil); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheAdminAddressOfAWorkerAnswersUntilActivitiesUnderWayAreDone(t *testing.T) {
	admin, stop := runWorkerOf(t, config.Integration{Name: "sentry", Namespace: "default", TaskQueue: "until-done"})
	begin(t, clientOf(t, "default"), "until-done", "wait_for_the_end")
	<-heldActivity.began
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	<-heldActivity.stopping
	if code := ready(t, admin).code; code != http.StatusServiceUnavailable {
		t.Errorf("while it stops /readyz answered %d", code)
	}
	heldActivity.finish <- struct{}{}
	<-stopped
	if _, err := http.Get(admin + "/healthz"); err == nil {
		t.Error("the admin address is still there")
	}
}

// A balancer takes it out, and what still comes is taken.
func TestAnIngressThatIsDrainedIsNotReadyAndTakesWhatStillComes(t *testing.T) {
	away, _ := nowhere(t)
	public, admin, _ := runIngressWith(t, away, t.TempDir())
	for pending := 1; pending <= 2; pending++ {
		if answer := send(t, public, integrations[0], "issue.created"); answer.Status != starter.Accepted {
			t.Errorf("a delivery was answered %+v", answer)
		}
		response, err := http.Post(admin+"/drain", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close() // it is read
		if want := fmt.Sprintf(`{"pending":%d,"parked":0,"forwarded":0}`, pending); strings.TrimSpace(string(text)) != want {
			t.Errorf("it answered %s", text)
		}
		if code := ready(t, admin).code; code != http.StatusServiceUnavailable {
			t.Errorf("/readyz answered %d", code)
		}
	}
}

func TestAnAddressThatIsTakenIsNamed(t *testing.T) {
	away, _ := nowhere(t)
	taken := listen(t)
	defer taken.Close() // unused, it would be collected, and its address free
	for variable, cfg := range map[string]config.Ingress{
		"LISTEN_ADDR": {ListenAddr: taken.Addr().String(), AdminAddr: "127.0.0.1:0"},
		"ADMIN_ADDR":  {ListenAddr: "127.0.0.1:0", AdminAddr: taken.Addr().String()},
	} {
		cfg.Common, cfg.MaxBodyBytes, cfg.JournalDir = common(away), 1<<20, t.TempDir()
		err := process.Ingress(t.Context(), cfg, nil, nil, slog.New(slog.DiscardHandler))
		if _, isNet := errors.AsType[*net.OpError](err); !isNet || !strings.HasPrefix(err.Error(), variable+": ") {
			t.Errorf("the error is %v", err)
		}
	}
}
