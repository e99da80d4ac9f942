package process_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/build"
)

func TestMainTellsWhatAProgramWasBuiltFrom(t *testing.T) {
	before := build.Version
	t.Cleanup(func() { build.Version = before })
	build.Version = "v1.2.3-test"
	var out bytes.Buffer
	run := func(context.Context) error {
		t.Error("it runs")
		return nil
	}
	if status := process.Main("ingress", []string{"-version"}, run, &out, io.Discard); status != 0 {
		t.Errorf("it exits with %d", status)
	}
	if got := out.String(); !strings.HasPrefix(got, "ingress v1.2.3-test (") {
		t.Errorf("printed is %q", got)
	}
}

func TestMainExitsWithWhatBecameOfTheProgram(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		err  error
		want int
	}{
		"it ended well":       {nil, nil, 0},
		"it could not go on":  {nil, errors.New("journal"), 1},
		"help":                {[]string{"-h"}, nil, 0},
		"a flag there is not": {[]string{"-port"}, nil, 2},
		"an argument":         {[]string{"start"}, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			ran := false
			var stderr bytes.Buffer
			status := process.Main("ingress", test.args, func(context.Context) error {
				ran = true
				return test.err
			}, io.Discard, &stderr)
			if status != test.want || ran != (test.args == nil) {
				t.Errorf("it exits with %d, and ran: %v", status, ran)
			}
			if (status != 0) && stderr.Len() == 0 {
				t.Error("it does not say why")
			}
		})
	}
}
