package sentry_test

import (
	"strings"
	"testing"

	"sentry-temporal/internal/sentry"
)

func TestInstallationOfABody(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"as Sentry sends it":   {`{"action":"created","installation":{"uuid":"24b516a4-8a4c-4e4c-9d8c-6b8f6f9f2a10"},"data":{}}`, "24b516a4-8a4c-4e4c-9d8c-6b8f6f9f2a10"},
		"of the longest":       {`{"installation":{"uuid":"` + strings.Repeat("a", 64) + `"}}`, strings.Repeat("a", 64)},
		"too long":             {`{"installation":{"uuid":"` + strings.Repeat("a", 65) + `"}}`, ""},
		"no name":              {`{"installation":{"uuid":"a b"}}`, ""},
		"empty":                {`{"installation":{"uuid":""}}`, ""},
		"a number":             {`{"installation":{"uuid":4711}}`, ""},
		"of another place":     {`{"data":{"installation":{"uuid":"a"}}}`, ""},
		"no installation":      {`{"action":"created"}`, ""},
		"no object":            {`[{"installation":{"uuid":"a"}}]`, ""},
		"no JSON":              {`installation.uuid`, ""},
		"nothing":              {``, ""},
		"nested beyond reason": {strings.Repeat(`{"installation":`, 1_000_000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sentry.InstallationOf([]byte(test.body)); got != test.want {
				t.Errorf("the installation is %q, want %q", got, test.want)
			}
		})
	}
	eachSample(t, func(name string, body []byte) {
		if sentry.InstallationOf(body) == "" {
			t.Errorf("the sample %s has no installation", name)
		}
	})
}
