package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/metrics"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/devserver"
)

const (
	large   = 60
	largest = 8 << 20 // the default of MAX_BODY_BYTES
)

// memory prints how much memory the ingress takes when many deliveries of the
// largest size arrive while Temporal is stopped, and when a new process
// forwards them.
func (b *bench) memory(ctx context.Context) error {
	body, err := largeBody(largest)
	if err != nil {
		return err
	}
	temporal, err := devserver.Start(ctx, devserver.Options{})
	if err != nil {
		return err
	}
	address := temporal.Address
	temporal.Kill() // for now: the ingress finds it there later
	url, ingress, err := b.startIngress(ctx, address)
	if err != nil {
		return err
	}
	defer ingress.Kill()
	idle := ingress.Memory("VmRSS")
	next := targets(url, body)
	var taken, refused atomic.Int64
	load.Load{Connections: 4}.Run(ctx, func(t *vegeta.Target) error {
		if taken.Load() >= large || refused.Load() > large {
			return vegeta.ErrNoTargets
		}
		return next(t)
	}, func(r *vegeta.Result) {
		switch {
		case r.Code == http.StatusAccepted:
			taken.Add(1)
		case r.Error != vegeta.ErrNoTargets.Error():
			refused.Add(1) // the disk was too slow for it
		}
	})
	if taken.Load() < large {
		return fmt.Errorf("only %d large deliveries were taken, %d were not", taken.Load(), refused.Load())
	}
	fmt.Fprintf(b.out, "\n%d deliveries of %d MiB   idle %d MB, while they arrive over 4 connections at most %d MB; %d more not taken\n",
		taken.Load(), largest>>20, idle>>20, ingress.Memory("VmHWM")>>20, refused.Load())

	ingress.Kill() // so that a new process shows what forwarding takes
	if err := ingress.Start(); err != nil {
		return err
	}
	if err := proc.AwaitListening(ctx, strings.TrimPrefix(b.admin, "http://")); err != nil {
		return err
	}
	waiting, err := metrics.Read(ctx, b.admin)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "a new process with %.0f of them pending   at most %d MB\n", waiting[metrics.Pending], ingress.Memory("VmHWM")>>20)
	if temporal, err = devserver.Start(ctx, devserver.Options{Port: portOf(address)}); err != nil {
		return err
	}
	defer temporal.Kill()
	began := time.Now()
	own, all := int64(0), int64(0)
	for {
		state, err := metrics.Read(ctx, b.admin)
		if err != nil {
			return err
		}
		for range 20 {
			own, all = max(own, ingress.Memory("RssAnon")), max(all, ingress.Memory("VmRSS"))
			<-time.After(5 * time.Millisecond)
		}
		if state[metrics.Pending] == 0 {
			if state[metrics.Parked] > 0 {
				return fmt.Errorf("%.0f large deliveries were parked", state[metrics.Parked])
			}
			break
		}
		if time.Since(began) > 3*time.Minute {
			return errors.New("large deliveries are not forwarded")
		}
	}
	fmt.Fprintf(b.out, "while it forwards them (%s)   RSS at most %d MB, of that its own %d MB; ever %d MB\n",
		time.Since(began).Round(time.Second), all>>20, own>>20, ingress.Memory("VmHWM")>>20)
	return nil
}

// largeBody returns an issue of size bytes with very many stack frames, which
// compresses as such do.
func largeBody(size int) ([]byte, error) {
	sample, err := bodyOf(4 << 10)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(strings.TrimSuffix(string(sample), "}") + `,"frames":[`)
	for i := 0; b.Len() < size-512; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"filename":"checkout/views/order_%d.py","function":"place_%d","lineno":%d,"in_app":true,"context_line":"    total = sum(item.price * item.count for item in cart.items())","vars":{"cart":"<Cart %x>","user":"<User %d>"}}`,
			rand.IntN(100), rand.IntN(1000), rand.IntN(5000), rand.Uint64(), rand.IntN(100_000))
	}
	b.WriteString("]}")
	return []byte(b.String()), nil
}

func portOf(address string) int {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return n
}
