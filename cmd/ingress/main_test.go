package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestBadConfigurationIsReportedWholeAndNothingStarts(t *testing.T) {
	for name, value := range map[string]string{
		"INTEGRATIONS":          "sentry,Mobile",
		"SENTRY_CLIENT_SECRET":  "",
		"LISTEN_ADDR":           "8080",
		"ADMIN_ADDR":            "nowhere",
		"MAX_BODY_BYTES":        "8MiB",
		"LOG_FORMAT":            "xml",
		"LOG_LEVEL":             "loud",
		"TEMPORAL_UI_URL":       "ui",
		"BACKEND_CLIENT_SECRET": "a-secret-of-nobody",
	} {
		t.Setenv(name, value)
	}
	// An ingress that starts all the same would run into the deadline.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := run(ctx)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("the ingress ran: %v", err)
	}
	for _, name := range []string{"INTEGRATIONS", "SENTRY_CLIENT_SECRET", "LISTEN_ADDR", "ADMIN_ADDR", "MAX_BODY_BYTES", "LOG_FORMAT", "LOG_LEVEL", "TEMPORAL_UI_URL"} {
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s is not reported in:\n%v", name, err)
		}
	}
	if strings.Contains(err.Error(), "a-secret-of-nobody") {
		t.Errorf("a secret is reported in:\n%v", err)
	}
}
