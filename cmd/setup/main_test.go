package main

import (
	"bytes"
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

func lineOf(text, namespace string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "namespace "+namespace+":") {
			return line
		}
	}
	return ""
}
