package process_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/starter"
)

func TestTheStartsOfAnIntegrationAreCapped(t *testing.T) {
	capped := integrations[0]
	capped.MaxStartsPerSecond = 0.001
	public, _, _ := runIngressOf(t, devservertest.Server().Address, t.TempDir(), 0, capped, integrations[1])
	if answer := sendAndWait(t, public, capped, "issue.created", 10); answer.Status != starter.Started {
		t.Errorf("the first was answered %+v", answer)
	}
	if answer := sendAndWait(t, public, capped, "issue.created", 1); answer.Status != starter.Accepted {
		t.Errorf("the second was answered %+v", answer)
	}
	if answer := sendAndWait(t, public, integrations[1], "issue.created", 10); answer.Status != starter.Started {
		t.Errorf("beside a capped integration another was answered %+v", answer)
	}
}

func TestAnIntegrationThatFillsTheJournalLeavesRoomForOthers(t *testing.T) {
	address, _ := nowhere(t)
	public, _, _ := runIngressOf(t, address, t.TempDir(), 128<<10, integrations...)
	for send(t, public, integrations[0], "issue.created").Code != http.StatusInternalServerError {
	}
	if answer := send(t, public, integrations[1], "issue.created"); answer.Status != starter.Accepted {
		t.Errorf("beside one that fills the journal another was answered %+v", answer)
	}
}

// told is a log whose lines, by their messages, a test waits for.
type told struct {
	slog.Handler
	handle func(message string, attributes []string)
}

func (told) Enabled(context.Context, slog.Level) bool { return true }

func (l told) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l told) WithGroup(string) slog.Handler { return l }

func (l told) Handle(_ context.Context, r slog.Record) error {
	var attributes []string
	r.Attrs(func(a slog.Attr) bool {
		attributes = append(attributes, a.String())
		return true
	})
	l.handle(r.Message, attributes)
	return nil
}

func TestANamespaceWithoutSearchAttributesIsToldOf(t *testing.T) {
	warned := make(chan string, 1)
	log := slog.New(told{slog.DiscardHandler, func(message string, attributes []string) {
		if strings.Contains(message, "search attributes") {
			select {
			case warned <- strings.Join(attributes, " "):
			default:
			}
		}
	}})
	bare := config.Integration{Name: "bare", Secrets: []config.Secret{"s"}, Namespace: "bare", TaskQueue: "sentry"}
	inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(devservertest.Server().Address), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
		cfg.Integrations = []config.Integration{bare}
		return process.Ingress(ctx, cfg, listen(t), listen(t), log)
	})
	select {
	case warning := <-warned:
		if !strings.Contains(warning, "namespace=bare") {
			t.Errorf("the warning is %s", warning)
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing is said of a namespace without search attributes")
	}
}

// The loop hangs in its log, which takes the 30 s after which it counts as dead.
func TestALoopThatHangsIsNotAlive(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	release := make(chan struct{})
	log := slog.New(told{slog.DiscardHandler, func(message string, _ []string) {
		if strings.HasPrefix(message, "cannot forward") {
			<-release
		}
	}})
	address, _ := nowhere(t)
	p, a := listen(t), listen(t)
	inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(address), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
		return process.Ingress(ctx, cfg, p, a, log)
	})
	defer close(release)
	send(t, "http://"+p.Addr().String(), integrations[0], "issue.created")
	enough := time.Now().Add(50 * time.Second)
	for {
		status, text := get(t, "http://"+a.Addr().String()+"/healthz")
		if status == http.StatusServiceUnavailable {
			if !strings.Contains(text, "forwarder") {
				t.Errorf("/healthz says %s", text)
			}
			return
		}
		if time.Now().After(enough) {
			t.Fatal("a loop that hangs is alive")
		}
		<-time.After(100 * time.Millisecond)
	}
}

func TestWhatMayBeWrongWithTheConfigurationIsToldOf(t *testing.T) {
	warned := make(chan string, 10)
	log := slog.New(told{slog.DiscardHandler, func(message string, attributes []string) {
		if strings.HasPrefix(message, "the configuration") {
			warned <- strings.Join(attributes, " ")
		}
	}})
	address, _ := nowhere(t)
	of := common(address)
	of.Warnings = []config.Problem{{Variable: "SENTRY_CLIENT_SECRETS", Text: "is not read"}}
	wantWarning := func(program string) {
		select {
		case warning := <-warned:
			if warning != "variable=SENTRY_CLIENT_SECRETS reason=is not read" {
				t.Errorf("the warning of the %s is %s", program, warning)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("the %s says nothing", program)
		}
	}
	a := listen(t)
	inBackground(t, func(ctx context.Context) error {
		return process.Ingress(ctx, config.Ingress{Common: of, MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}, listen(t), a, log)
	})
	wantWarning("ingress")
	if _, page := get(t, "http://"+a.Addr().String()+"/"); !strings.Contains(page, "SENTRY_CLIENT_SECRETS") {
		t.Errorf("it is not on the page: %s", page)
	}
	inBackground(t, func(ctx context.Context) error {
		return serveWorker(ctx, config.Worker{Common: of}, listen(t), log)
	})
	wantWarning("worker")
}

func TestTheIngressWarnsOfEventsThatDoNotCome(t *testing.T) {
	warned, listens := make(chan string, 10), make(chan struct{})
	log := slog.New(told{slog.DiscardHandler, func(message string, attributes []string) {
		if strings.HasPrefix(message, "a workflow wants") {
			warned <- strings.Join(attributes, " ")
		} else if message == "ingress listens" {
			close(listens)
		}
	}})
	address, _ := nowhere(t)
	a := listen(t)
	inBackground(t, func(ctx context.Context) error {
		return process.Ingress(ctx, config.Ingress{Common: common(address), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}, listen(t), a, log)
	})
	select {
	case warning := <-warned:
		if want := "workflow=wait_for_the_end event=sentry.installation.held did_you_mean=sentry.installation.deleted"; warning != want {
			t.Errorf("the warning is %s, want %s", warning, want)
		}
	case <-time.After(30 * time.Second):
		t.Error("the ingress says nothing")
	}
	<-listens
	if _, page := get(t, "http://"+a.Addr().String()+"/"); !strings.Contains(page, "did you mean sentry.installation.deleted") {
		t.Errorf("it is not on the page: %s", page)
	}
}

func TestThatFewFilesMayBeOpenIsToldOf(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3000, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	said := make(chan string, 1)
	log := slog.New(told{slog.DiscardHandler, func(message string, attributes []string) {
		if strings.HasPrefix(message, "few files") {
			said <- strings.Join(attributes, " ")
		}
	}})
	address, _ := nowhere(t)
	inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(address), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
		return process.Ingress(ctx, cfg, listen(t), listen(t), log)
	})
	select {
	case said := <-said:
		if said != "connections=1000 open_files_limit=3000" {
			t.Errorf("said is %s", said)
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing is said")
	}
}
