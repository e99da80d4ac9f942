// Command chaos kills the parts of a stack under load, again and again, and then
// asks Temporal whether every delivery that was acknowledged has exactly one
// completed run of each workflow that wants it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	var e experiment
	flag.IntVar(&e.deliveries, "deliveries", 20_000, "send this many")
	flag.IntVar(&e.rate, "rate", 300, "send this many a second")
	flag.StringVar(&e.dir, "dir", "", "keep everything in this directory (default: a temporary one, in memory if there is /dev/shm)")
	flag.Parse()
	e.out = os.Stdout
	err := e.run(ctx)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}
