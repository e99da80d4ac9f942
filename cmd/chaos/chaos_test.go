package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"sentry-temporal/cmd/internal/proc"
)

// built returns a directory for an experiment, and where the programs are.
func built(t *testing.T) (dir, binaries string) {
	t.Helper()
	dir, err := temporary()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if binaries, err = proc.Build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir, binaries
}

// The short form of what the program does: everything is killed as often, with
// fewer deliveries.
func TestNothingIsLostOrDoubledWhenEverythingIsKilled(t *testing.T) {
	dir, binaries := built(t)
	var out bytes.Buffer
	e := experiment{deliveries: 600, rate: 80, dir: dir, binaries: binaries, out: &out}
	if err := e.run(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if e.retried == 0 || len(e.runs[healthy])+len(e.runs[broken]) < e.deliveries/2 {
		t.Errorf("too little has been tried: %d retried\n%s", e.retried, out.String())
	}
}

func TestNothingIsLostWhenTheSecretIsRotatedBesideAFlood(t *testing.T) {
	dir, binaries := built(t)
	var out bytes.Buffer
	r := rotation{rate: 20, flood: 50, lasts: 9 * time.Second, rotated: 3 * time.Second, placed: 6 * time.Second, dir: dir, binaries: binaries, out: &out}
	if err := r.run(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// The short form: fewer restarts, and a sender that waits for longer on a machine that
// does much else.
func TestNothingIsRefusedLostOrDoubledByRestarts(t *testing.T) {
	dir, binaries := built(t)
	var out bytes.Buffer
	r := restarts{times: 6, rate: 50, patience: 10 * time.Second, dir: dir, binaries: binaries, out: &out}
	if err := r.run(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// The short form: fewer deliveries in a shorter window.
func TestAStormOfAFewIssuesIsARunAnIssue(t *testing.T) {
	dir, binaries := built(t)
	var out bytes.Buffer
	s := issues{deliveries: 600, issues: 10, rate: 200, away: time.Second, window: 10 * time.Second, dir: dir, binaries: binaries, out: &out}
	if err := s.run(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// The short form: the sender waits for longer until all is well again.
func TestNothingIsAcknowledgedThatIsNotSynced(t *testing.T) {
	dir, binaries := built(t)
	var out bytes.Buffer
	d := disk{rate: 200, row: 200, patience: 3 * time.Minute, dir: dir, binaries: binaries, out: &out}
	if err := d.run(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}
