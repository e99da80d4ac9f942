package main

import (
	"bytes"
	"os"
	"testing"

	"sentry-temporal/cmd/internal/proc"
)

// The short form of what the program does: everything is killed as often, with
// fewer deliveries.
func TestNothingIsLostOrDoubledWhenEverythingIsKilled(t *testing.T) {
	dir, err := temporary()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	binaries, err := proc.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e := experiment{deliveries: 600, rate: 80, dir: dir, binaries: binaries, out: &out}
	if err := e.run(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if e.retried == 0 || len(e.runs[healthy])+len(e.runs[broken]) < e.deliveries/2 {
		t.Errorf("too little has been tried: %d retried\n%s", e.retried, out.String())
	}
}
