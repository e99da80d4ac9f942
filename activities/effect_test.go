package activities_test

import (
	"testing"

	"sentry-temporal/activities"
)

func TestAKeyIsOfOneEffectAlone(t *testing.T) {
	seen := map[string]bool{}
	for _, parts := range [][4]string{
		{"sentry", "issue:1", "page", "1"}, {"other", "issue:1", "page", "1"}, {"sentry", "issue:2", "page", "1"},
		{"sentry", "issue:1", "ticket", "1"}, {"sentry", "issue:1", "page", "2"}, {"sentryissue:1", "page", "page", "1"},
	} {
		key := activities.EffectKey(parts[0], parts[1], parts[2], parts[3])
		if again := activities.EffectKey(parts[0], parts[1], parts[2], parts[3]); key == "" || again != key || seen[key] {
			t.Errorf("the key of %v is %q, %q, seen: %t", parts, key, again, seen[key])
		}
		seen[key] = true
	}
}

// A workflow that makes a key of what a body lacks has not the key of all such bodies.
func TestAKeyWithAnEmptyPartIsNone(t *testing.T) {
	for i := range 4 {
		parts := []string{"sentry", "issue:1", "page", "1"}
		parts[i] = ""
		if key := activities.EffectKey(parts[0], parts[1], parts[2], parts[3]); key != "" {
			t.Errorf("the key of %v is %q", parts, key)
		}
	}
}
