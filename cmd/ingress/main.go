// Command ingress receives Sentry's webhooks and starts workflows for them.
// Its configuration is the environment, see the README.
package main

import (
	"context"
	"os"

	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/service"
	"sentry-temporal/internal/telemetry"
)

func main() {
	os.Exit(service.Main("ingress", os.Args[1:], config.IngressAdminAddr, run, os.Stdout, os.Stderr))
}

func run(ctx context.Context) error {
	cfg, err := process.LoadIngress()
	if err != nil {
		return err
	}
	log := telemetry.NewLogger(os.Stderr, cfg.Log.JSON, cfg.Log.Level)
	public, err := process.Inherited()
	if err != nil {
		return err
	}
	return process.Ingress(ctx, cfg, public, nil, log)
}
