package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/sentry"
)

// stack is a Temporal with a proxy in front of it, and an ingress that can begin
// anew.
type stack struct {
	dir, binaries string

	temporal *devserver.Server
	proxy    *proxy
	ingress  *proc.Program
	public   string        // base address of the ingress
	admin    string        // the same
	journals int           // used so far
	traced   *proc.Program // runs the ingress; nil for itself
}

func newStack(ctx context.Context, dir, binaries string, namespaces ...string) (*stack, error) {
	temporal, err := devserver.Start(ctx, devserver.Options{Namespaces: namespaces})
	if err != nil {
		return nil, err
	}
	s := &stack{dir: dir, binaries: binaries, temporal: temporal}
	ports, err := proc.FreePorts(3)
	if err == nil {
		s.public, s.admin = "http://"+localhost(ports[0]), "http://"+localhost(ports[1])
		s.proxy, err = startProxy(localhost(ports[2]), temporal.Address)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *stack) stop() {
	if s.ingress != nil {
		s.ingress.Kill()
	}
	if s.proxy != nil {
		s.proxy.close()
	}
	s.temporal.Kill()
}

// begin starts an ingress that has nothing, with environ besides. One that was
// there is killed.
func (s *stack) begin(ctx context.Context, environ ...string) error {
	if s.ingress != nil {
		s.ingress.Kill()
		_ = os.RemoveAll(s.journal()) // it is not needed any more
	}
	s.journals++
	s.ingress = &proc.Program{Binary: filepath.Join(s.binaries, "ingress")}
	if s.traced != nil {
		s.ingress = s.traced
	}
	s.ingress.Log = filepath.Join(s.dir, "ingress.log")
	s.ingress.Environ = append([]string{
		"DEVELOPMENT=1", "SENTRY_CLIENT_SECRET=" + hook.DevelopmentSecret, "TEMPORAL_ADDRESS=" + s.proxy.address,
		"LISTEN_ADDR=" + strings.TrimPrefix(s.public, "http://"), "ADMIN_ADDR=" + strings.TrimPrefix(s.admin, "http://"),
		"JOURNAL_DIR=" + s.journal(), "LOG_LEVEL=warn",
	}, environ...)
	return s.start(ctx)
}

// start starts the ingress with what it has.
func (s *stack) start(ctx context.Context) error {
	if err := s.ingress.Start(); err != nil {
		return err
	}
	if err := proc.AwaitListening(ctx, strings.TrimPrefix(s.admin, "http://")); err != nil {
		return err
	}
	return proc.AwaitListening(ctx, strings.TrimPrefix(s.public, "http://"))
}

func (s *stack) journal() string { return filepath.Join(s.dir, "journal"+strconv.Itoa(s.journals)) }

// unready returns how often /readyz did not answer 200 until ctx was done.
func (s *stack) unready(ctx context.Context) (asked, not int) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return asked, not
		case <-ticker.C:
		}
		response, err := http.Get(s.admin + "/readyz")
		asked++
		if err != nil || response.StatusCode != http.StatusOK {
			not++
		}
		if err == nil {
			_ = response.Body.Close() // it was not read
		}
	}
}

// acknowledged is a run that was named in an answer.
type acknowledged struct {
	workflowID string
	at         time.Time // of the answer
	path       string    // that the delivery was sent to
}

// send sends n deliveries, rate a second or 0 for as fast as can be, and calls
// each, if it is not nil, with their number so far. It wants all to be taken.
func (*stack) send(ctx context.Context, n, rate int, next vegeta.Targeter, each func(answered int)) ([]acknowledged, error) {
	var all []acknowledged
	sent, answered := 0, 0
	var refused error
	load.Load{Rate: rate, Connections: 32}.Run(ctx, func(t *vegeta.Target) error {
		if sent == n {
			return vegeta.ErrNoTargets
		}
		sent++
		return next(t)
	}, func(r *vegeta.Result) {
		if r.Error == vegeta.ErrNoTargets.Error() {
			return
		}
		answered++
		a, ok := answerOf(r)
		if !ok {
			refused = fmt.Errorf("%s answered %d %s %s", r.URL, r.Code, r.Error, r.Body)
		}
		for _, run := range a.Runs {
			all = append(all, acknowledged{run.WorkflowID, r.Timestamp.Add(r.Latency), r.URL})
		}
		if each != nil {
			each(answered)
		}
	})
	if refused == nil && answered < n {
		refused = fmt.Errorf("%d of %d deliveries were sent", answered, n)
	}
	return all, refused
}

// issues makes new issues of a project.
func (s *stack) issues(integration, project string) vegeta.Targeter {
	return func(t *vegeta.Target) error {
		sample, err := sentry.Sample("issue.created")
		if err != nil {
			return err
		}
		body := strings.ReplaceAll(string(sentry.FreshIDs(sample)), `"slug":"backend"`, `"slug":"`+project+`"`)
		d := hook.Delivery{URL: s.public + "/webhooks/" + integration, Secret: hook.DevelopmentSecret, Resource: "issue", RequestID: sentry.NewRequestID(), Body: []byte(body)}
		r, err := d.Request(context.Background())
		if err != nil {
			return err
		}
		*t = vegeta.Target{Method: http.MethodPost, URL: d.URL, Body: d.Body, Header: r.Header}
		return nil
	}
}

// awaitStarted returns once Temporal has all the runs.
func (s *stack) awaitStarted(ctx context.Context, all []acknowledged) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, a := range all {
		for {
			_, another := s.proxy.inOrder()
			if _, there := s.proxy.started(a.workflowID); there {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is not started: %w", a.workflowID, ctx.Err())
			case <-another:
			}
		}
	}
	return nil
}
