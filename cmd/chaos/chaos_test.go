package main

import (
	"bytes"
	"testing"
)

// The short form of what the program does: everything is killed as often, with
// fewer deliveries.
func TestNothingIsLostOrDoubledWhenEverythingIsKilled(t *testing.T) {
	var out bytes.Buffer
	e := experiment{deliveries: 600, rate: 80, out: &out}
	if err := e.run(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if e.retried == 0 || len(e.runs) < e.deliveries/2 {
		t.Errorf("too little has been tried: %d retried, %d runs\n%s", e.retried, len(e.runs), out.String())
	}
}
