package main

import (
	"context"
	"io"
)

type domains struct {
	turns, each, rate int
	dir, binaries     string
	out               io.Writer
}

func (d *domains) run(ctx context.Context) error { return nil }

type storm struct {
	deliveries    int
	dir, binaries string
	out           io.Writer
}

func (d *storm) run(ctx context.Context) error { return nil }
