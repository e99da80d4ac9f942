package worker

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
)

func TestThatNothingIsConfiguredIsInTheLog(t *testing.T) {
	slack := config.NoOutside()
	slack.SlackChannel = "#sentry"
	api := config.NoOutside()
	api.Sentry = map[string]config.SentryAPI{"sentry": {}}
	for name, tt := range map[string]struct {
		cfg   config.Outside
		table error
		want  bool
	}{
		"nothing":               {config.NoOutside(), nil, true},
		"somebody is told":      {slack, nil, false},
		"Sentry's API":          {api, nil, false},
		"a file that is mended": {config.NoOutside(), errors.New("3:5: no such key"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			systems := &outside.Systems{Outside: tt.cfg, Destinations: func() (*destinations.Table, error) {
				return destinations.FromVariables(tt.cfg), tt.table
			}}
			tellOutside(t.Context(), systems, slog.New(slog.NewTextHandler(&logged, nil)))
			if told := strings.Contains(logged.String(), "TRIAGE_"); told != tt.want {
				t.Errorf("it is told: %t: %s", told, &logged)
			}
		})
	}
}
