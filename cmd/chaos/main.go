// Command chaos shows what can be relied on when parts fail. It kills everything
// under load, again and again, and then asks Temporal whether every delivery that
// was acknowledged has exactly one completed run of each workflow that wants it;
// it breaks one of two integrations in every way and measures what the other
// notices; it has one project storm and looks after another; it has a few issues storm
// and counts what Temporal is asked; it rotates the Client
// Secret beside a flood of strangers; it restarts ingresses and wants no delivery to
// be refused; it has strangers attack and measures what deliveries notice; and it has
// fsync fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"sentry-temporal/cmd/internal/proc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	flags := flag.CommandLine
	var o options
	flags.IntVar(&o.deliveries, "deliveries", 20_000, "send this many while everything is killed")
	flags.IntVar(&o.rate, "rate", 300, "send this many a second while everything is killed")
	flags.IntVar(&o.turns, "turns", 3, "break each thing this many times")
	flags.StringVar(&o.breaks, "break", "", "break only what has this in its name, such as delet")
	flags.StringVar(&o.only, "only", "", "do only this: kills, domains, storm, issues, rotation, restarts, attack or disk")
	flags.IntVar(&o.restarts, "restarts", 100, "restart ingresses this many times, with the socket held and behind nginx")
	flags.StringVar(&o.dir, "dir", "", "keep everything in this directory (default: a temporary one, in memory if there is /dev/shm)")
	flag.Parse()
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

type options struct {
	deliveries, rate int // of kills
	turns            int // of domains
	restarts         int
	breaks           string
	only             string
	dir              string
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = temporary(); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				_ = os.RemoveAll(o.dir)
			} else {
				err = fmt.Errorf("%w (logs are in %s)", err, o.dir)
			}
		}()
	}
	binaries, err := proc.Build(ctx, o.dir)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func(ctx context.Context, dir string) error
	}{
		{"kills", func(ctx context.Context, dir string) error {
			return (&experiment{deliveries: o.deliveries, rate: o.rate, dir: dir, binaries: binaries, out: out}).run(ctx)
		}},
		{"domains", func(ctx context.Context, dir string) error {
			return (&domains{turns: o.turns, breaks: o.breaks, each: 500, rate: 40, dir: dir, binaries: binaries, out: out}).run(ctx)
		}},
		{"storm", func(ctx context.Context, dir string) error {
			return (&storm{deliveries: 4000, dir: dir, binaries: binaries, out: out}).run(ctx)
		}},
		{"issues", func(ctx context.Context, dir string) error {
			return (&issues{
				deliveries: 10_000, issues: 10, rate: 170, away: 20 * time.Second, window: 2 * time.Minute,
				dir: dir, binaries: binaries, out: out,
			}).run(ctx)
		}},
		{"rotation", func(ctx context.Context, dir string) error {
			return (&rotation{
				rate: 50, flood: 200, lasts: time.Minute, rotated: 20 * time.Second, placed: 35 * time.Second,
				dir: dir, binaries: binaries, out: out,
			}).run(ctx)
		}},
		{"restarts", func(ctx context.Context, dir string) error {
			return (&restarts{times: o.restarts, rate: 100, patience: time.Second, dir: dir, binaries: binaries, out: out}).run(ctx)
		}},
		{"attack", func(ctx context.Context, dir string) error {
			return (&attack{connections: 300, seconds: 10, breaks: o.breaks, dir: dir, binaries: binaries, out: out}).run(ctx)
		}},
		{"disk", func(ctx context.Context, dir string) error {
			return (&disk{rate: 300, row: 1000, patience: 2 * time.Minute, dir: dir, binaries: binaries, out: out}).run(ctx)
		}},
	} {
		if o.only != "" && o.only != part.name {
			continue
		}
		dir := filepath.Join(o.dir, part.name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		fmt.Fprintf(out, "== %s\n", part.name)
		if err := part.run(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// temporary makes a directory.
func temporary() (string, error) {
	memory := "/dev/shm" // SQLite is slow where fsync is
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		memory = ""
	}
	return os.MkdirTemp(memory, "sentry-temporal-chaos-")
}
