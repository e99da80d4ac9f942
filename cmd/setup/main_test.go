package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/starter"
)

func TestMain(m *testing.M) {
	devservertest.Main(m, devserver.Options{Namespaces: []string{"mobile"}})
}

func TestAttributesAreAddedToEachNamespaceAndNotTwice(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", devservertest.Server().Address)
	t.Setenv("INTEGRATIONS", "sentry,mobile")
	t.Setenv("MOBILE_NAMESPACE", "mobile")
	t.Setenv("LOG_LEVEL", "error")
	var first, second bytes.Buffer
	if err := run(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{"default", "mobile"} {
		for _, name := range starter.Attributes {
			if !strings.Contains(lineOf(first.String(), namespace), name) {
				t.Errorf("%s was not added to %s: %s", name, namespace, first.String())
			}
		}
	}
	if err := run(t.Context(), &second); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(second.String(), "added") {
		t.Errorf("the second time: %s", second.String())
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
	var out bytes.Buffer
	if err := run(t.Context(), &out); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("of the missing one it says %v", err)
	}
	if got := out.String(); !strings.HasPrefix(got, "namespace mobile of profile own: ") {
		t.Errorf("of the other it says %q", got)
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
