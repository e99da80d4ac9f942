package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A newcomer's mistake ends the ingress with what to do about it: the variable, the file and
// the line, and what has to be there.
func TestAMistakeIsToldWithWhatToDo(t *testing.T) {
	secret := "SENTRY_CLIENT_SECRET=" + strings.Repeat("0123456789abcdef", 4)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	routes := write("routes.yaml", "routes:\n  - workflow: page_on_alert\n    event: [sentry.issue.created]\n")
	profiles := write("temporal.toml", "[profile.eu]\naddress = \"127.0.0.1:1\"\n")
	for name, c := range map[string]struct {
		environ []string
		says    []string
	}{
		"no secret":                 {nil, []string{"SENTRY_CLIENT_SECRET: is not set", "Client Secret", "Credentials", "SENTRY_CLIENT_SECRET_FILE"}},
		"a misspelled secret":       {[]string{"SENTRY_CLIENT_SECRT=x"}, []string{"SENTRY_CLIENT_SECRET: is not set", "SENTRY_CLIENT_SECRT: is not read; did you mean SENTRY_CLIENT_SECRET?"}},
		"a misspelled key":          {[]string{secret, "ROUTES_FILE=" + routes}, []string{"ROUTES_FILE: " + routes + ":3:5: ", "did you mean events?"}},
		"no file of the routes":     {[]string{secret, "ROUTES_FILE=" + dir + "/none.yaml"}, []string{"ROUTES_FILE: ", dir + "/none.yaml"}},
		"a profile that is none":    {[]string{secret, "SENTRY_TEMPORAL_PROFILE=us", "TEMPORAL_CONFIG_FILE=" + profiles}, []string{"SENTRY_TEMPORAL_PROFILE: ", profiles, "[profile.us]"}},
		"a journal without a place": {[]string{secret, "JOURNAL_DIR=" + routes + "/journal"}, []string{"JOURNAL_DIR: ", routes + "/journal"}},
	} {
		t.Run(name, func(t *testing.T) {
			binary, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Env = append([]string{
				asProgram, "HOME=" + dir, "JOURNAL_DIR=" + filepath.Join(dir, "journal"), "TEMPORAL_CONFIG_FILE=" + dir + "/none.toml",
				"LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
			}, c.environ...)
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Run(); err == nil {
				t.Error("it runs")
			}
			for _, want := range c.says {
				if !strings.Contains(said.String(), want) {
					t.Errorf("%q is not in\n%s", want, &said)
				}
			}
		})
	}
}
