package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sentry-temporal/internal/build"
	"sentry-temporal/internal/service"
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
	if status := service.Main("ingress", []string{"-version"}, nil, run, &out, io.Discard); status != 0 {
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
			status := service.Main("ingress", test.args, nil, func(context.Context) error {
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

func TestMainAsksTheProgramThatRunsForItsHealth(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("it asks for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "the journal stands still")
	}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	health := func(address string, wrong error) (int, string) {
		var stderr bytes.Buffer
		at := func() (string, error) { return address, wrong }
		return service.Main("ingress", []string{"-health"}, at, nil, io.Discard, &stderr), stderr.String() // nil: it does not run
	}
	for _, host := range []string{"127.0.0.1", "", "0.0.0.0"} {
		if exit, said := health(net.JoinHostPort(host, port), nil); exit != 0 {
			t.Errorf("asked at %q it exits with %d: %s", host, exit, said)
		}
	}
	status = http.StatusServiceUnavailable
	if exit, said := health(":"+port, nil); exit != 1 || !strings.Contains(said, "the journal stands still") {
		t.Errorf("of one that does not live it exits with %d: %s", exit, said)
	}
	if exit, said := health("8081", errors.New("ADMIN_ADDR: is none")); exit != 1 || !strings.Contains(said, "ADMIN_ADDR") {
		t.Errorf("without an address it exits with %d: %s", exit, said)
	}
	server.Close()
	if exit, _ := health(":"+port, nil); exit != 1 {
		t.Errorf("where nobody listens it exits with %d", exit)
	}
}
