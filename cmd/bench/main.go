// Command bench measures what an acknowledgement costs and how fast what is kept
// becomes runs, each beside what it cannot be faster than, in the same run.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	flags := flag.CommandLine
	each := flags.Duration("each", 4*time.Second, "measure each cell of the table for this long")
	dir := flags.String("dir", "", "keep journals in this directory: it decides what fsync costs (default: a temporary one)")
	only := flags.String("only", "", "measure only this: one, acknowledgements, latency, starts, runs or memory")
	bare := flags.String("serve-bare", "", "only be the server to compare with, at this address")
	raw := flags.String("serve-worker", "", "only be the worker to compare with, of Temporal at this address")
	flag.Parse()
	err := run(ctx, bench{dir: *dir, each: *each, only: *only, out: os.Stdout}, *bare, *raw)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, b bench, bare, raw string) error {
	if raw != "" {
		return serveWorker(ctx, raw)
	}
	if bare != "" {
		l, err := net.Listen("tcp", bare)
		if err != nil {
			return err
		}
		return serveBare(ctx, l)
	}
	if b.dir == "" {
		var err error
		if b.dir, err = os.MkdirTemp(".", ".bench-"); err != nil { // /tmp may be in memory
			return err
		}
		defer os.RemoveAll(b.dir)
	}
	return b.run(ctx)
}
