package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/sentry"
)

// attack has strangers send over many connections what is not from Sentry, and
// measures what deliveries notice, beside the same deliveries alone.
type attack struct {
	connections   int // of the strangers
	seconds       int // that each attack lasts
	breaks        string
	dir, binaries string
	out           io.Writer

	*stack
}

// What deliveries may notice, and what the ingress may take.
const (
	slowest    = 300 * time.Millisecond // p99
	mostMemory = 256e6                  // bytes
	honestRate = 50                     // small deliveries a second; and one large
	smallBody  = 2 << 10
	largeBody  = 2 << 20
	hugeBody   = 8 << 20
)

// strangers are all alike.
type strangers struct {
	what      string
	size      int    // that they declare
	signature string // "": none
	sends     int    // bytes at once
	drip      bool   // a byte a second from then on, else silence
}

// noticed is what deliveries notice of an attack.
type noticed struct {
	mu             sync.Mutex
	small, large   []time.Duration
	refused, sent  int
	example        string // of a refusal
	peak           int64  // bytes of memory of the ingress
	shown, strange int    // deliveries on the status page that are verified, and that are not
}

func (a *attack) run(ctx context.Context) error {
	var err error
	if a.stack, err = newStack(ctx, a.dir, a.binaries); err != nil {
		return err
	}
	defer a.stop()
	wrong := strings.Repeat("0123456789abcdef", 4)
	stolen := sentry.Sign(hook.DevelopmentSecret, []byte(`{"action":"created"}`))
	all := []strangers{
		{what: alone},
		{what: "not signed, stalled", size: hugeBody, sends: hugeBody - 1},
		{what: "not signed, again and again", size: hugeBody, sends: hugeBody},
		{what: "signed wrongly, stalled", size: hugeBody, signature: wrong, sends: hugeBody - 1},
		{what: "signed wrongly, again and again", size: hugeBody, signature: wrong, sends: hugeBody},
		{what: "signature stolen, stalled", size: hugeBody, signature: stolen, sends: hugeBody - 1},
		{what: "signature stolen, again and again", size: hugeBody, signature: stolen, sends: hugeBody},
		{what: "60 KiB, a byte a second", size: 60 << 10, signature: wrong, drip: true},
	}
	fmt.Fprintf(a.out, "%d strangers' connections, of 8 MiB where nothing else is said, beside %d deliveries a second of 2 KiB and one of 2 MiB, for %d s each; ms to the answer\n",
		a.connections, honestRate, a.seconds)
	fmt.Fprintf(a.out, attackRow, "strangers", "2 KiB p50", "p99", "2 MiB p50", "most", "refused", "peak MB", "on the page")
	var failed []error
	for _, s := range all {
		if !strings.Contains(s.what, a.breaks) && s.what != alone {
			continue
		}
		n, err := a.turn(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
		if err := a.report(s, n); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.what, err))
		}
	}
	return errors.Join(failed...)
}

const attackRow = "%-34s %9s %9s %9s %9s %12s %9s %16s\n"

func (a *attack) report(s strangers, n *noticed) error {
	slices.Sort(n.small)
	slices.Sort(n.large)
	if len(n.small) == 0 || len(n.large) == 0 {
		return fmt.Errorf("none of %d is answered 202: %s", n.sent, n.example)
	}
	p99 := n.small[len(n.small)*99/100]
	most := n.large[len(n.large)-1]
	number := func(d time.Duration) string { return fmt.Sprintf("%.1f", ms(d)) }
	fmt.Fprintf(a.out, attackRow, s.what, number(n.small[len(n.small)/2]), number(p99), number(n.large[len(n.large)/2]), number(most),
		fmt.Sprintf("%d of %d", n.refused, n.sent), fmt.Sprintf("%.0f", float64(n.peak)/1e6), fmt.Sprintf("%d and %d", n.shown, n.strange))
	var failed []error
	if n.refused > 0 {
		failed = append(failed, fmt.Errorf("%d of %d deliveries are refused, as with %s", n.refused, n.sent, n.example))
	}
	if together := slices.Sorted(slices.Values(slices.Concat(n.small, n.large))); together[len(together)*99/100] > slowest {
		failed = append(failed, fmt.Errorf("the p99 of deliveries is over %s", slowest))
	}
	if float64(n.peak) >= mostMemory {
		failed = append(failed, fmt.Errorf("the ingress takes %.0f MB", float64(n.peak)/1e6))
	}
	if n.shown == 0 {
		failed = append(failed, errors.New("no delivery is left on the status page"))
	}
	return errors.Join(failed...)
}

// turn has one kind of strangers attack a new ingress.
func (a *attack) turn(ctx context.Context, s strangers) (*noticed, error) {
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	address := strings.TrimPrefix(a.public, "http://")
	attacking, enough := context.WithCancel(ctx)
	defer enough()
	var all sync.WaitGroup
	if s.what != alone {
		text := fmt.Sprintf("POST /webhooks/%s HTTP/1.1\r\nHost: x\r\nSentry-Hook-Resource: issue\r\nContent-Length: %d\r\n", healthy, s.size)
		if s.signature != "" {
			text += sentry.HeaderSignature + ": " + s.signature + "\r\n"
		}
		request := append([]byte(text+"\r\n"), bytes.Repeat([]byte("x"), s.sends)...)
		for range a.connections {
			all.Go(func() {
				for attacking.Err() == nil {
					s.attack(attacking, address, request)
				}
			})
		}
	}
	n, err := a.deliver(ctx)
	enough()
	all.Wait()
	if err != nil {
		return nil, err
	}
	n.peak = a.ingress.Memory("VmHWM")
	return n, a.look(ctx, n)
}

// attack sends what there is to send over one connection until it is hung up on.
func (s strangers) attack(ctx context.Context, address string, request []byte) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if _, err := conn.Write(request); err != nil {
		return
	}
	if s.drip {
		go func() {
			for ctx.Err() == nil {
				<-time.After(time.Second)
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
	}
	_, _ = io.Copy(io.Discard, conn) // until it is hung up on
}

// deliver sends what Sentry would, each over a connection of its own.
func (a *attack) deliver(ctx context.Context) (*noticed, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	n := &noticed{}
	var all sync.WaitGroup
	ticker := time.NewTicker(time.Second / honestRate)
	defer ticker.Stop()
	for i := range a.seconds * honestRate {
		sizes := []int{smallBody}
		if i%honestRate == 0 {
			sizes = append(sizes, largeBody)
		}
		for _, size := range sizes {
			r, err := a.padded(ctx, size)
			if err != nil {
				return nil, err
			}
			all.Go(func() { n.send(client, r, size) })
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
	all.Wait()
	return n, nil
}

func (n *noticed) send(client *http.Client, r *http.Request, size int) {
	began := time.Now()
	response, err := client.Do(r)
	took := time.Since(began)
	said := "no answer"
	if err == nil {
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close() // it was read
		said = response.Status + " " + string(text)
	} else {
		said += ": " + err.Error()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent++
	switch {
	case err != nil || response.StatusCode != http.StatusAccepted:
		n.refused++
		n.example = said
	case size == smallBody:
		n.small = append(n.small, took)
	default:
		n.large = append(n.large, took)
	}
}

// padded returns a new issue of so many bytes.
func (a *attack) padded(ctx context.Context, size int) (*http.Request, error) {
	sample, err := sentry.Sample("issue.created")
	if err != nil {
		return nil, err
	}
	body := append(bytes.TrimSuffix(sentry.FreshIDs(sample), []byte("}")), []byte(`,"text":"`)...)
	body = append(body, bytes.Repeat([]byte("x"), max(0, size-len(body)-len(`"}`)))...)
	body = append(body, []byte(`"}`)...)
	return hook.Delivery{
		URL: a.public + "/webhooks/" + healthy, Secret: hook.DevelopmentSecret, Resource: "issue", RequestID: sentry.NewRequestID(), Body: body,
	}.Request(ctx)
}

// look reads what the status page has.
func (a *attack) look(ctx context.Context, n *noticed) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.admin+"/api/deliveries", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var list struct{ Deliveries, Unverified []struct{} }
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return fmt.Errorf("read %s: %w", r.URL, err)
	}
	n.shown, n.strange = len(list.Deliveries), len(list.Unverified)
	return nil
}
