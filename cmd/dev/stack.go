package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
	"sentry-temporal/worker"
	"sentry-temporal/workflows"
)

// stack is a Temporal dev server, a worker and an ingress.
type stack struct {
	ingress      config.Ingress // its Temporal connection is filled in
	workerAdmin  string         // address
	outside      config.Outside // what workflows act on
	temporalPort int            // 0: a free one
	uiPort       int            // 0: a free one
	dbFile       string         // "": in memory
	output       io.Writer      // of the Temporal server
	log          *slog.Logger
}

// quietStack is one on free ports, with Temporal in memory and the development
// secret, that says nothing.
func quietStack(journalDir string) stack {
	return stack{
		ingress: config.Ingress{
			Common: config.Common{Integrations: []config.Integration{{
				Name:      "sentry",
				Secrets:   []config.Secret{hook.DevelopmentSecret},
				Namespace: client.DefaultNamespace,
				TaskQueue: "sentry",
			}}},
			ListenAddr:   "127.0.0.1:0",
			AdminAddr:    "127.0.0.1:0",
			MaxBodyBytes: 8 << 20,
			Development:  true,
			JournalDir:   journalDir,
		},
		workerAdmin: "127.0.0.1:0",
		log:         slog.New(slog.DiscardHandler),
	}
}

// addresses is where the parts of a running stack are.
type addresses struct {
	temporal string // host:port
	ui       string // base address, as are the others
	public   string
	admin    string
	worker   string // its admin address
}

func (a addresses) webhook(integration string) string {
	return a.public + "/webhooks/" + integration
}

// tell writes where people look, and how they send a sample to an integration.
func (a addresses) tell(w io.Writer, integration string) {
	fmt.Fprintf(w, "  Status page    %s/\n", a.admin)
	fmt.Fprintf(w, "  Worker's page  %s/\n", a.worker)
	fmt.Fprintf(w, "  Temporal UI    %s\n", a.ui)
	fmt.Fprintf(w, "  Health         %s/readyz\n", a.admin)
	fmt.Fprintf(w, "  Send a sample  go run ./cmd/triage send --url %s issue.created\n", a.webhook(integration))
}

// run starts everything, calls use, and stops everything when use returns: what
// depends on Temporal first, Temporal last. A part that ends by itself ends
// use's context and is the error.
func (s stack) run(ctx context.Context, use func(context.Context, addresses) error) error {
	cfg := s.ingress
	public, err := net.Listen("tcp", cfg.ListenAddr)
	if err != nil {
		return fmt.Errorf("the port of the ingress (LISTEN_ADDR): %w", err)
	}
	defer public.Close()
	admin, err := net.Listen("tcp", cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("the admin port of the ingress (ADMIN_ADDR): %w", err)
	}
	defer admin.Close()
	workerAdmin, err := net.Listen("tcp", s.workerAdmin)
	if err != nil {
		return fmt.Errorf("the admin port of the worker (WORKER_ADMIN_ADDR): %w", err)
	}
	defer workerAdmin.Close()
	var namespaces []string
	for _, integration := range cfg.Integrations {
		namespaces = append(namespaces, integration.Namespace)
	}
	table, err := process.Routes(cfg.RoutesFile, cfg.Integrations)
	if err != nil {
		return err
	}
	for _, at := range table.Places() {
		namespaces = append(namespaces, at.Namespace)
	}
	temporal, err := devserver.Start(ctx, devserver.Options{
		Port: s.temporalPort, UIPort: s.uiPort, DBFile: s.dbFile, Namespaces: namespaces, Output: s.output,
		CodecEndpoint: "http://" + admin.Addr().String() + "/codec",
	})
	if err != nil {
		return err
	}
	defer temporal.Stop()
	cfg.Temporal = config.Temporal{Client: client.Options{HostPort: temporal.Address}, UIURL: temporal.UIURL}
	for i := range cfg.Integrations {
		cfg.Integrations[i].Profile = "" // the common connection
	}

	if err := addAttributes(ctx, cfg, table, s.log); err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	forWorker := config.Worker{Common: cfg.Common, Outside: s.outside}
	forWorker.Warnings = nil // the ingress tells them
	group.Go(func() error {
		return worker.Serve(ctx, forWorker, workerAdmin, s.log, workflows.All, activities.All...)
	})
	group.Go(func() error { return process.Ingress(ctx, cfg, public, admin, s.log) })
	group.Go(func() error {
		select {
		case <-temporal.Exited():
			return errors.New("the Temporal server ended by itself")
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error {
		defer stop()
		return use(ctx, addresses{
			temporal: temporal.Address,
			ui:       temporal.UIURL,
			public:   "http://" + public.Addr().String(),
			admin:    "http://" + admin.Addr().String(),
			worker:   "http://" + workerAdmin.Addr().String(),
		})
	})
	return group.Wait()
}

// addAttributes does what triage setup does.
func addAttributes(ctx context.Context, cfg config.Ingress, table *routes.Table, log *slog.Logger) error {
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, log)
	if err != nil {
		return err
	}
	defer connections.Close()
	if err := process.OpenPlaces(connections, table); err != nil {
		return err
	}
	_, err = connections.AddAttributes(ctx)
	return err
}
