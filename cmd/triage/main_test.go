package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sentry-temporal/internal/build"
	"sentry-temporal/internal/sentry"
)

// triage runs the tool and returns what it exits with and prints.
func triage(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	status = run(t.Context(), args, &out, &complaints)
	return status, out.String(), complaints.String()
}

// succeed runs the tool, which has to exit with 0, and returns what it prints.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := triage(t, args...)
	if status != exitOK {
		t.Fatalf("triage %s exits with %d: %s", strings.Join(args, " "), status, stderr)
	}
	return stdout
}

func TestTheExitStatusTellsNoFromWrongUse(t *testing.T) {
	refusing, _ := receiver(t, http.StatusUnauthorized)
	redirecting, _ := receiver(t, http.StatusFound)
	failing, _ := receiver(t, http.StatusInternalServerError)
	for name, test := range map[string]struct {
		args []string
		want int
	}{
		"nothing":                   {nil, exitOK},
		"help":                      {[]string{"send", "--help"}, exitOK},
		"an answer that is not 2xx": {[]string{"send", "--url", refusing, "issue.created"}, exitNo},
		"a redirect":                {[]string{"send", "--url", redirecting, "issue.created"}, exitNo},
		"nobody listens":            {[]string{"send", "--url", "http://127.0.0.1:1", "issue.created"}, exitNo},
		"a file that is not there":  {[]string{"send", "--body", "/no/such/file"}, exitNo},
		"a load that is not taken":  {[]string{"load", "--url", failing, "--duration", "100ms", "--rate", "50", "issue.created"}, exitNo},
		"an unknown command":        {[]string{"sned"}, exitWrongUse},
		"an unknown flag":           {[]string{"send", "--uri", refusing, "issue.created"}, exitWrongUse},
		"an unknown sample":         {[]string{"send", "issue.exploded"}, exitWrongUse},
		"no sample":                 {[]string{"send"}, exitWrongUse},
		"a count of none":           {[]string{"send", "-n", "0", "issue.created"}, exitWrongUse},
		"a load of nothing":         {[]string{"load"}, exitWrongUse},
		"a load with a wrong share": {[]string{"load", "issue.created=x"}, exitWrongUse},
		"a load over none":          {[]string{"load", "--connections", "0", "issue.created"}, exitWrongUse},
		"a load without end":        {[]string{"load", "--duration", "0s", "issue.created"}, exitWrongUse},
		"an argument too many":      {[]string{"setup", "now"}, exitWrongUse},
		"a check of no program":     {[]string{"check", "sentry"}, exitWrongUse},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, stderr := triage(t, test.args...)
			if status != test.want {
				t.Errorf("it exits with %d, not %d: %s", status, test.want, stderr)
			}
			if (stderr != "") != (status != exitOK) {
				t.Errorf("it exits with %d and says %q", status, stderr)
			}
		})
	}
}

func TestEachCommandHelpsWithExamples(t *testing.T) {
	commands := 0
	for line := range strings.Lines(succeed(t, "__complete", "")) {
		name, _, described := strings.Cut(line, "\t")
		if !described || name == "help" || name == "completion" { // these are cobra's
			continue
		}
		commands++
		if help := succeed(t, name, "--help"); !strings.Contains(help, "Examples:\n  triage "+name) && !strings.Contains(help, " triage "+name+"\n") {
			t.Errorf("the help of %s has no example: %s", name, help)
		}
	}
	if commands < 5 {
		t.Errorf("there are %d commands", commands)
	}
}

func TestNamesOfSamplesAreCompleted(t *testing.T) {
	got := strings.Fields(succeed(t, "__complete", "send", "issue."))
	for _, name := range sentry.SampleNames() {
		if strings.HasPrefix(name, "issue.") != slices.Contains(got, name) {
			t.Errorf("completed are %v", got)
		}
	}
}

func TestVersionIsThatOfTheBuild(t *testing.T) {
	before := build.Version
	t.Cleanup(func() { build.Version = before })
	build.Version = "v1.2.3-test"
	if got := succeed(t, "version"); !strings.HasPrefix(got, "triage v1.2.3-test (") {
		t.Errorf("printed is %q", got)
	}
	var info build.Info
	if err := json.Unmarshal([]byte(succeed(t, "version", "--json")), &info); err != nil || info != build.Read() {
		t.Errorf("as JSON it is %+v, %v", info, err)
	}
}
