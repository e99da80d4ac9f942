package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sentry-temporal/internal/config"
)

func TestASecretDoesNotPrint(t *testing.T) {
	secret := config.Secret(hush)
	type nested struct {
		Secret  config.Secret
		Pointer *config.Secret
	}
	values := map[string]any{
		"itself":               secret,
		"pointer":              &secret,
		"in a slice":           []config.Secret{secret},
		"in a slice of any":    []any{secret, &secret},
		"in an array":          [1]config.Secret{secret},
		"in a map":             map[string]config.Secret{"key": secret},
		"in a struct":          nested{Secret: secret, Pointer: &secret},
		"in a struct, pointed": &nested{Secret: secret, Pointer: &secret},
		"in an integration":    config.Integration{Name: "sentry", Secrets: []config.Secret{secret}},
		"in a configuration":   config.Ingress{Common: config.Common{Integrations: []config.Integration{{Secrets: []config.Secret{secret}}}}},
	}
	ways := map[string]func(any) string{
		"Sprint": func(v any) string { return fmt.Sprint(v) },
		"error":  func(v any) string { return fmt.Errorf("wrapped: %v", v).Error() },
		"json": func(v any) string {
			if _, ok := v.(config.Ingress); ok {
				return "" // its Temporal options have functions: nothing that json takes
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		},
		"slog text": func(v any) string {
			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, nil)).With("bound", v).WithGroup("group").Info("message", "value", v)
			return out.String()
		},
		"slog JSON": func(v any) string {
			var out bytes.Buffer
			slog.New(slog.NewJSONHandler(&out, nil)).With("bound", v).WithGroup("group").Info("message", "value", v)
			return out.String()
		},
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s"} {
		ways[verb] = func(v any) string { return fmt.Sprintf(verb, v) }
	}
	for what, value := range values {
		for way, printed := range ways {
			t.Run(what+" by "+way, func(t *testing.T) {
				text := printed(value)
				for _, part := range []string{hush[:3], fmt.Sprintf("%x", hush[:3]), fmt.Sprintf("%X", hush[:3])} {
					if strings.Contains(text, part) {
						t.Errorf("%s has %s in it", text, part)
					}
				}
			})
		}
	}
}

func TestASecretSaysThatItIsOne(t *testing.T) {
	const redacted = "[redacted]"
	secret := config.Secret(hush)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if got := fmt.Sprintf(verb, secret); got != redacted {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	text, err := json.Marshal(secret)
	if err != nil || string(text) != `"`+redacted+`"` {
		t.Errorf("as JSON it is %s, %v", text, err)
	}
	if got := secret.String(); got != redacted {
		t.Errorf("as a string it is %s", got)
	}
	if secret.Reveal() != hush {
		t.Error("it does not reveal the text")
	}
}
