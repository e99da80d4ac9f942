// Package process is what the programs run, so that cmd/dev can run all of it
// in one process.
package process

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/forwarder"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/service"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/workflows"
)

// Ingress serves webhooks on public and the admin address on private until ctx is
// done, and for cfg.ShutdownDelay after that. Then it takes no more, gives the
// deliveries and starts under way a moment, and lets go of the admin address and
// the journal last: the next process goes on with what is kept.
//
// A listener that is nil it opens at the address in cfg, once it has the journal. It
// closes both.
func Ingress(ctx context.Context, cfg config.Ingress, public, private net.Listener, log *slog.Logger) error {
	defer func() {
		for _, l := range []net.Listener{public, private} {
			if l != nil {
				_ = l.Close() // mostly it is closed by then
			}
		}
	}()
	told, err := telemetry.Start(ctx, "sentry-temporal-ingress", log)
	if err != nil {
		return err
	}
	defer told.Shutdown(ctx)
	service.Warn(ctx, cfg.Warnings, log)
	warnings := slices.Concat(cfg.Warnings, service.WarnEvents(ctx, workflows.All, log))
	if err := told.Instrument(&cfg.Temporal.Client); err != nil {
		return err
	}
	planner, err := routes.OpenPlanner(cfg.RoutesFile, cfg.JournalDir, workflows.All, cfg.Integrations, log)
	if err != nil {
		return config.ProblemsError(yamlfile.ProblemsOf(routesFile, cfg.RoutesFile, err))
	}
	planner.Warn(ctx)
	count, err := ingress.Count(told.Meter(), cfg.Integrations, expectedEvents())
	if err != nil {
		return err
	}
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, log)
	if err != nil {
		return err
	}
	defer connections.Close()
	commits, err := measureCommits(told.Meter())
	if err != nil {
		return err
	}
	kept, err := openJournal(ctx, cfg.JournalDir, journal.Options{
		MaxBytes:     cfg.JournalMaxBytes,
		Integrations: namesOf(cfg.Integrations),
		OnCommit:     commits,
		Inject:       telemetry.TraceParent,
		Log:          log,
	}, lockPatience)
	if err != nil {
		return err
	}
	defer func() {
		if err := kept.Close(); err != nil {
			log.ErrorContext(ctx, "journal does not close", telemetry.KeyError, err.Error())
		}
	}()
	planner.Keep()
	keys := keyring.New(cfg.Integrations, filepath.Join(cfg.JournalDir, keyring.FileName), log)
	starts := starter.New(connections, log)
	started, err := measureStarts(told.Meter(), cfg.Integrations)
	if err != nil {
		return err
	}
	lanes := forwarder.New(kept, starts.Prepare, forwarder.Options{
		Connection:         connectionOf(connections),
		MaxStartsPerSecond: capsOf(cfg.Integrations),
		OnStarts:           started,
		Extract:            telemetry.WithTraceParent,
		Log:                log,
	})
	if err := errors.Join(measureJournal(told.Meter(), kept), measureLanes(told.Meter(), lanes), measureKeyring(told.Meter(), keys), measureRoutes(told.Meter(), planner)); err != nil {
		return err
	}
	if public, err = listenOn(public, "LISTEN_ADDR", cfg.ListenAddr); err != nil {
		return err
	}
	if private, err = listenOn(private, "ADMIN_ADDR", cfg.AdminAddr); err != nil {
		return err
	}
	if err := service.Guarded(private, cfg.AdminToken); err != nil {
		return err
	}
	inbox := forwarder.NewInbox(lanes, starts, planner.Plan)

	recent := admin.NewRecent(cfg.Integrations)
	webhooks := ingress.Options{
		Keyring:      keys,
		MaxBodyBytes: cfg.MaxBodyBytes,
		Inbox:        inbox,
		Log:          log,
		Observers:    []func(context.Context, web.Delivery){count, ingress.Describe, recent.Observe},
	}
	watch := admin.NewWatch(service.Namespaces(cfg.Integrations, connections, lanes.Failing), log)
	if err := service.MeasureTemporal(told.Meter(), watch.States); err != nil {
		return err
	}
	queues := admin.NewQueueWatch(log)
	if err := measureQueues(told.Meter(), queues.States); err != nil {
		return err
	}
	runs := admin.NewRuns(runPlaces(connections))
	opened := make(chan struct{}, 1) // has an element when there may be places that there were not
	open := func(table *routes.Table) error {
		for _, at := range table.Places() {
			if err := starts.Open(at.Integration, at.Namespace); err != nil {
				return err
			}
			watch.Add(service.OpenedNamespace(connections, at.Integration, at.Namespace, lanes.Failing))
		}
		queues.Set(queuesOf(table, connections))
		select {
		case opened <- struct{}{}:
		default:
		}
		return nil
	}
	if err := open(planner.Table()); err != nil {
		return err
	}
	var draining atomic.Bool
	admins := admin.Options{
		Alive: []admin.Check{{Name: "journal", Turn: kept.Alive}, {Name: "forwarder", Turn: lanes.Alive}},
		Ready: func() error {
			if ctx.Err() != nil {
				return errors.New("the ingress stops")
			}
			if draining.Load() {
				return errors.New("the ingress is being drained, to stop for good")
			}
			return kept.Ready()
		},
		Temporal: watch.States,
		Journal:  kept,
		Metrics:  told.Metrics(),
		Decode:   starter.DecodeWithin,
		Drain: func() (journal.Stats, bool) {
			began := draining.CompareAndSwap(false, true)
			return kept.Stats(), began
		},
		UIURL: cfg.Temporal.UIURL,
		Token: cfg.AdminToken,
		Hosts: cfg.AdminHosts,
		Log:   log,
		Status: &admin.Status{
			Integrations: cfg.Integrations,
			Warnings:     warnings,
			Routes:       planner.State,
			Recent:       recent,
			WebhookURL:   cmp.Or(cfg.PublicURL, localURL(public.Addr())),
			Guessed:      cfg.PublicURL == "",
			Journal:      kept.Stats,
			Look:         kept.Look,
			URL:          starts.URL,
			Queues:       queues.States,
			Runs:         runs.States,
			RunProblems:  runs.Problems,
			Describe:     runs.Describe,
			Input:        runs.Input,
			Lanes:        lanesOf(lanes),
			JournalReady: kept.Ready,
			Instance:     instance(public.Addr()),
			Secrets:      keys.States,
		},
	}
	if cfg.Development {
		admins.Status.Send = sampler(localURL(public.Addr()), cfg.Integrations)
	}
	if most, files := web.Connections(); most < web.MaxConnections {
		log.WarnContext(ctx, "few files may be open, and so few connections", "connections", most, "open_files_limit", files)
	}
	log.InfoContext(ctx, "ingress listens", telemetry.KeyAddress, public.Addr().String(), "admin_address", private.Addr().String())
	context.AfterFunc(ctx, func() { log.InfoContext(ctx, "ingress stops", "delay", cfg.ShutdownDelay.String()) })
	delayed, cancel := service.Later(ctx, cfg.ShutdownDelay)
	defer cancel()
	group, working := errgroup.WithContext(delayed)
	// The admin address outlives the work.
	worked, closeAdmin := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer closeAdmin()
		working, stop := context.WithCancel(working)
		defer stop()
		var background sync.WaitGroup
		background.Go(func() { lanes.Run(working) })
		background.Go(func() { starts.Run(working) })
		background.Go(func() { planner.Follow(working, open) })
		background.Go(func() { putBack(working, kept, connections, opened, log) })
		background.Go(func() { watch.Run(working) })
		background.Go(func() { queues.Run(working) })
		background.Go(func() { runs.Run(working) })
		// Until the last answer there may be something to hold.
		answering, answered := context.WithCancel(context.WithoutCancel(working))
		background.Go(func() { keys.Run(answering, ingress.TakeHeld(inbox, log, recent.Observe)) })
		err := web.Serve(working, public, traced(told, ingress.New(webhooks)), log)
		answered()
		stop()
		background.Wait()
		return err
	})
	group.Go(func() error { return web.Serve(worked, private, admin.New(admins), log) })
	err = group.Wait()
	log.InfoContext(ctx, "ingress stopped")
	return err
}

// putBack puts back what was parked because nothing was configured for it, and is
// by now: at the start, and whenever opened has something. While there is no room
// for it, it tries again.
func putBack(ctx context.Context, kept *journal.Journal, connections *starter.Connections, opened <-chan struct{}, log *slog.Logger) {
	configured := func(integration, namespace string) bool {
		_, ok := connections.Client(integration, namespace)
		return ok
	}
	for {
		n, err := kept.PutBackConfigured(ctx, configured)
		if n > 0 {
			log.InfoContext(ctx, "deliveries are configured again and put back", "deliveries", n)
		}
		var again <-chan time.Time
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "deliveries are configured again and stay parked, trying again", telemetry.KeyError, err.Error())
			again = time.After(time.Minute)
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-opened:
		}
	}
}

// connectionOf returns what tells the connection of an integration.
func connectionOf(connections *starter.Connections) func(integration string) (string, bool) {
	return func(integration string) (string, bool) {
		environment, ok := connections.Environments()[integration]
		return environment.Connection, ok
	}
}

// runPlaces returns what tells where the runs of an integration are.
func runPlaces(connections *starter.Connections) func(integration, namespace string) (admin.RunPlace, bool) {
	return func(integration, namespace string) (admin.RunPlace, bool) {
		c, ok := connections.Client(integration, namespace)
		if !ok {
			return admin.RunPlace{}, false
		}
		return admin.RunPlace{Connection: connections.Environments()[integration].Connection, Service: c.WorkflowService()}, true
	}
}

func namesOf(integrations []config.Integration) []string {
	names := make([]string, len(integrations))
	for i, integration := range integrations {
		names[i] = integration.Name
	}
	return names
}

func capsOf(integrations []config.Integration) map[string]float64 {
	caps := map[string]float64{}
	for _, integration := range integrations {
		caps[integration.Name] = integration.MaxStartsPerSecond
	}
	return caps
}

// instance names the process that listens there among others with the same
// configuration, of which several may be on a host.
func instance(public net.Addr) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	_, port, err := net.SplitHostPort(public.String())
	if err != nil {
		return host
	}
	return net.JoinHostPort(host, port)
}

// queuesOf returns the task queues that runs may be planned for, to be asked about.
func queuesOf(table *routes.Table, connections *starter.Connections) []admin.TaskQueue {
	var all []admin.TaskQueue
	for _, q := range table.Queues() {
		all = append(all, admin.TaskQueue{
			Connection: connections.Environments()[q.Integration].Connection, Namespace: q.Namespace, Name: q.TaskQueue,
			Ask: func(ctx context.Context) (workflow, activity starter.Tasks, err error) {
				return connections.TaskQueue(ctx, q.Integration, q.Namespace, q.TaskQueue)
			},
		})
	}
	return all
}

// lanesOf returns what says how the lanes are, for the admin address.
func lanesOf(lanes *forwarder.Forwarder) func() []admin.LaneState {
	return func() []admin.LaneState {
		var all []admin.LaneState
		for _, s := range lanes.Lanes() {
			all = append(all, admin.LaneState{Connection: s.Connection, Namespace: s.Namespace, Waiting: s.Waiting, Failing: s.Failing, Since: s.Since})
		}
		return all
	}
}

// localURL is the base address of a listener as this machine reaches it.
func localURL(listener net.Addr) string {
	host, port, err := net.SplitHostPort(listener.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// traced makes each delivery a trace, and what else is asked for none.
func traced(told *telemetry.Telemetry, webhooks http.Handler) http.Handler {
	return told.TraceRequests(webhooks, "POST /webhooks/{integration}", func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/webhooks/")
	})
}
