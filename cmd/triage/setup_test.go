package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/starter"
)

func TestMain(m *testing.M) {
	devservertest.Main(m, devserver.Options{Namespaces: []string{"mobile", "ready", "bare", "routed"}})
}

func TestAttributesAreAddedToEachNamespaceAndNotTwice(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", devservertest.Server().Address)
	t.Setenv("INTEGRATIONS", "sentry,mobile")
	t.Setenv("MOBILE_NAMESPACE", "mobile")
	t.Setenv("LOG_LEVEL", "error")
	first := succeed(t, "setup")
	for _, namespace := range []string{"default", "mobile"} {
		for _, name := range starter.Attributes {
			if !strings.Contains(lineOf(first, namespace), name) {
				t.Errorf("%s was not added to %s: %s", name, namespace, first)
			}
		}
	}
	if second := succeed(t, "setup"); strings.Contains(second, "added") {
		t.Errorf("the second time: %s", second)
	}
}

func TestANamespaceThatIsMissingKeepsNoOtherFromItsAttributes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "temporal.toml")
	if err := os.WriteFile(file, []byte("[profile.own]\naddress = \""+devservertest.Server().Address+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEMPORAL_ADDRESS", devservertest.Server().Address)
	t.Setenv("TEMPORAL_CONFIG_FILE", file)
	t.Setenv("INTEGRATIONS", "sentry,mobile")
	t.Setenv("SENTRY_NAMESPACE", "absent")
	t.Setenv("MOBILE_TEMPORAL_PROFILE", "own")
	t.Setenv("MOBILE_NAMESPACE", "mobile")
	t.Setenv("LOG_LEVEL", "error")
	status, stdout, stderr := triage(t, "setup")
	if status != exitNo || !strings.Contains(stderr, "absent") {
		t.Errorf("of the missing one it says %d, %q", status, stderr)
	}
	if !strings.HasPrefix(stdout, "namespace mobile of profile own: ") {
		t.Errorf("of the other it says %q", stdout)
	}
}

func lineOf(text, namespace string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "namespace "+namespace+":") {
			return line
		}
	}
	return ""
}
