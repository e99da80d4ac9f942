package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"sentry-temporal/internal/build"
)

// Main is the main function of the program called name, whose configuration is
// the environment: it runs until SIGTERM or Ctrl-C, a second of which ends the
// process at once, and returns what to exit with. -version prints what the
// program was built from instead, and -health asks the one that runs, at its admin
// address, whether it lives.
func Main(name string, args []string, adminAddr func() (string, error), run func(context.Context) error, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	version := flags.Bool("version", false, "print what this program was built from, and end")
	health := flags.Bool("health", false, "ask the program that runs whether it lives, and exit with 0 if it does")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "%s: takes no arguments: its configuration is the environment\n", name)
		return 2
	case *version:
		fmt.Fprintln(stdout, name, build.Read())
		return 0
	case *health:
		if err := askHealth(adminAddr); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", name, err)
			return 1
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}
