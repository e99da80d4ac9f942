// Command dev runs all of it on one machine: a Temporal dev server with its UI, the
// worker, the ingress, and stand-ins for what workflows act on. `dev demo` does so on free
// ports, tells a story by deliveries, shows what came of each and ends. `dev new-workflow`
// makes a workflow to begin with.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("dev", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		dir    = flags.String("dir", ".dev", "keep Temporal's database and log, and the journal, in this directory")
		port   = flags.Int("temporal-port", 7233, "port of Temporal, 0 for a free one")
		uiPort = flags.Int("ui-port", 8233, "port of the Temporal UI, 0 for a free one")
	)
	flags.Usage = func() {
		fmt.Fprint(stderr, "Usage: dev [flags]\n       dev demo\n       dev new-workflow name [event]\n\n"+
			"LIVE=1 in the environment acts on the real Slack, PagerDuty, GitHub and Sentry. ALL=1 has the demo send every sample,\nKEEP=1 keep up what it has started.\n"+
			"LISTEN_ADDR, ADMIN_ADDR and WORKER_ADMIN_ADDR are where webhooks arrive and the pages of ingress and worker, 127.0.0.1:0 at a free port.\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() == 0:
		return dev(ctx, *dir, *port, *uiPort, stdout, stderr)
	case flags.NArg() == 1 && flags.Arg(0) == "demo":
		return demo(ctx, stdout)
	case (flags.NArg() == 2 || flags.NArg() == 3) && flags.Arg(0) == "new-workflow":
		return newWorkflow(".", flags.Arg(1), cmp.Or(flags.Arg(2), "sentry.issue.created"), stdout)
	}
	flags.Usage()
	return fmt.Errorf("%q is not known", strings.Join(flags.Args(), " "))
}

// dev runs the stack until ctx is done.
func dev(ctx context.Context, dir string, port, uiPort int, stdout, stderr io.Writer) error {
	cfg, err := devConfig(dir)
	if err != nil {
		return err
	}
	worker, err := config.LoadWorker()
	if err != nil {
		return err
	}
	systems, err := openOutside(cfg.Integrations)
	if err != nil {
		return err
	}
	defer systems.close()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	logFile := filepath.Join(dir, "temporal.log")
	locked, err := lock(filepath.Join(dir, "lock"), fmt.Sprintf("process %d, webhooks at %s, Temporal at port %d, its UI at %d", os.Getpid(), cfg.ListenAddr, port, uiPort))
	if err != nil {
		return fmt.Errorf("a dev runs in %s (%w); the log of its Temporal is %s. Stop it, or start this one beside it:\n"+
			"  LISTEN_ADDR=127.0.0.1:0 ADMIN_ADDR=127.0.0.1:0 WORKER_ADMIN_ADDR=127.0.0.1:0 go run ./cmd/dev -dir %s-2 -temporal-port 0 -ui-port 0", dir, err, logFile, dir)
	}
	defer locked.Close()
	if err := errors.Join(isFree("-temporal-port", port), isFree("-ui-port", uiPort)); err != nil {
		return err
	}
	output, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer output.Close()
	s := stack{
		ingress:      cfg,
		workerAdmin:  worker.AdminAddr,
		outside:      systems.Outside,
		temporalPort: port,
		uiPort:       uiPort,
		dbFile:       filepath.Join(dir, "temporal.db"),
		output:       output,
		log:          telemetry.NewLogger(stderr, cfg.Log.JSON, cfg.Log.Level),
	}
	fmt.Fprintln(stdout, "Starting Temporal, worker and ingress ...")
	err = s.run(ctx, func(ctx context.Context, at addresses) error {
		fmt.Fprint(stdout, "\n")
		for _, integration := range cfg.Integrations {
			secret := "as set in " + strings.ToUpper(integration.Name) + "_CLIENT_SECRET"
			if integration.Secrets[0].Reveal() == hook.DevelopmentSecret {
				secret = hook.DevelopmentSecret
			}
			fmt.Fprintf(stdout, "  Webhook URL    %s\n", at.webhook(integration.Name))
			fmt.Fprintf(stdout, "  Client Secret  %s\n", secret)
		}
		at.tell(stdout, cfg.Integrations[0].Name)
		fmt.Fprint(stdout, "\n")
		systems.tell(stdout)
		fmt.Fprint(stdout, "Ctrl-C stops everything.\n\n")
		<-ctx.Done()
		fmt.Fprintln(stdout, "\nStopping ...")
		return nil
	})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // it was interrupted while it started
	}
	return err
}

// isFree returns an error that names flag if somebody listens at port.
func isFree(flag string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("%s %d: another program is there, and 0 is any free port: %w", flag, port, err)
	}
	return l.Close()
}

// devConfig reads the environment like the ingress does, with defaults for a
// laptop, where the secret that everybody knows is allowed. The Temporal connection is the dev server's, whatever it says.
func devConfig(dir string) (config.Ingress, error) {
	defaults := map[string]string{
		"DEVELOPMENT": "1",
		"JOURNAL_DIR": filepath.Join(dir, "journal"),
		"LISTEN_ADDR": "127.0.0.1:8080",
		"LOG_FORMAT":  "text",
	}
	if os.Getenv("SENTRY_CLIENT_SECRET_FILE") == "" {
		defaults["SENTRY_CLIENT_SECRET"] = hook.DevelopmentSecret
	}
	for name, value := range defaults {
		if os.Getenv(name) == "" {
			if err := os.Setenv(name, value); err != nil {
				return config.Ingress{}, err
			}
		}
	}
	return process.LoadIngress()
}
