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
	each := flag.Duration("each", 4*time.Second, "measure each cell of the table for this long")
	dir := flag.String("dir", "", "keep journals in this directory: it decides what fsync costs (default: a temporary one)")
	bare := flag.String("serve-bare", "", "only be the server to compare with, at this address")
	flag.Parse()
	err := run(ctx, *dir, *each, *bare)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, each time.Duration, bare string) error {
	if bare != "" {
		l, err := net.Listen("tcp", bare)
		if err != nil {
			return err
		}
		return serveBare(ctx, l)
	}
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp(".", ".bench-"); err != nil { // /tmp may be in memory
			return err
		}
		defer os.RemoveAll(dir)
	}
	b := bench{dir: dir, each: each, out: os.Stdout}
	return b.run(ctx)
}
