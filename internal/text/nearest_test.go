package text_test

import (
	"testing"

	"sentry-temporal/internal/text"
)

func TestNearestIsWhatWasMeant(t *testing.T) {
	names := []string{"created", "resolved", "create"}
	for name, want := range map[string]string{
		"created": "created", "creatd": "created", "craeted": "created", "creat": "create", "crea": "create",
		"resolvedxx": "resolved", "resolvedxxx": "", "": "", "assigned": "",
	} {
		if got := text.Nearest(name, names, 2); got != want {
			t.Errorf("nearest to %q is %q, want %q", name, got, want)
		}
	}
}
