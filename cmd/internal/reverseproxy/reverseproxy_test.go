package reverseproxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/cmd/internal/reverseproxy"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
)

// upstream is an ingress that can be stopped and started again, with a Temporal that
// is away.
type upstream struct {
	t    *testing.T
	cfg  config.Ingress
	stop func()
}

// newUpstream runs an ingress at host, where a port that is 0 is any.
func newUpstream(t *testing.T, host, port, adminPort string, delay time.Duration) *upstream {
	t.Helper()
	u := &upstream{t: t, cfg: config.Ingress{
		Common: config.Common{
			Integrations:  []config.Integration{{Name: "sentry", Secrets: []config.Secret{hook.DevelopmentSecret}, Namespace: "default", TaskQueue: "sentry"}},
			Temporal:      config.Temporal{Client: client.Options{HostPort: "127.0.0.1:1"}},
			ShutdownDelay: delay,
		},
		ListenAddr: freeAddress(t, host, port), AdminAddr: freeAddress(t, host, adminPort), MaxBodyBytes: 8 << 20, JournalDir: t.TempDir(),
	}}
	u.start()
	t.Cleanup(func() { u.stop() })
	return u
}

func freeAddress(t *testing.T, host, port string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Skip(err) // not every system has more than one address of its own
	}
	defer l.Close()
	return l.Addr().String()
}

// start returns once the ingress is ready.
func (u *upstream) start() {
	u.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- process.Ingress(ctx, u.cfg, nil, nil, slog.New(slog.DiscardHandler)) }()
	u.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			u.t.Error(err)
		}
	})
	for enough := time.Now().Add(30 * time.Second); ; {
		response, err := http.Get("http://" + u.cfg.AdminAddr + "/readyz")
		if err == nil {
			_ = response.Body.Close() // it was not read
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(enough) {
			u.t.Fatal(err)
		}
	}
}

// front is a proxy with its upstreams.
type front struct {
	*reverseproxy.Proxy
	upstreams []*upstream
}

func nginx(t *testing.T) front {
	t.Helper()
	f := front{upstreams: []*upstream{newUpstream(t, "127.0.0.1", "0", "0", 0), newUpstream(t, "127.0.0.1", "0", "0", 0)}}
	var err error
	f.Proxy, err = reverseproxy.Nginx(t.Context(), f.options(t))
	f.check(t, err)
	return f
}

func caddy(t *testing.T) front {
	t.Helper()
	const delay = 5 * time.Second // as the file says
	first := newUpstream(t, "127.0.0.1", "0", "0", delay)
	_, port, _ := net.SplitHostPort(first.cfg.ListenAddr)
	_, adminPort, _ := net.SplitHostPort(first.cfg.AdminAddr)
	f := front{upstreams: []*upstream{first, newUpstream(t, "127.0.0.2", port, adminPort, delay)}}
	var err error
	f.Proxy, err = reverseproxy.Caddy(t.Context(), f.options(t), adminPort)
	f.check(t, err)
	return f
}

func (f front) options(t *testing.T) reverseproxy.Options {
	t.Helper()
	return reverseproxy.Options{Slow: true, Dir: t.TempDir(), Upstreams: [2]string{f.upstreams[0].cfg.ListenAddr, f.upstreams[1].cfg.ListenAddr}}
}

func (f front) check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// answer is what a delivery was answered.
type answer struct {
	status int
	Key    string `json:"idempotency_key"`
	Error  string
}

// send sends a delivery of that many bytes, with the status 0 for no answer.
func (f front) send(t *testing.T, requestID string, size int) answer {
	t.Helper()
	sample, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	body := append(bytes.Clone(sample), bytes.Repeat([]byte(" "), max(0, size-len(sample)))...)
	r, err := hook.Delivery{URL: f.URL + "/webhooks/sentry", Secret: hook.DevelopmentSecret, RequestID: requestID, Body: body}.Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	response, err := f.Client(30 * time.Second).Do(r)
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	a := answer{status: response.StatusCode}
	_ = json.Unmarshal(text, &a) // the proxy's own answers are no JSON
	return a
}

func TestDeliveriesPassAProxyAsTheyAre(t *testing.T) {
	for name, start := range map[string]func(*testing.T) front{"nginx": nginx, "Caddy": caddy} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			for _, size := range []int{0, 8 << 20} {
				requestID := sentry.NewRequestID()
				a := f.send(t, requestID, size)
				for tries := 0; a.status == http.StatusInternalServerError && tries < 20; tries++ { // a machine that is too busy to keep it in time
					a = f.send(t, requestID, size)
				}
				if a.status != http.StatusAccepted || a.Key != requestID {
					t.Errorf("with %d bytes it was answered %+v", size, a)
				}
			}
			for _, size := range []int{8<<20 + 1, 16 << 20} {
				a := f.send(t, sentry.NewRequestID(), size)
				cutOff := a.status == 0 && name == "Caddy" // which lets nobody read on that it has answered
				if a.status != http.StatusRequestEntityTooLarge && !cutOff {
					t.Errorf("with %d bytes it was answered %+v", size, a)
				}
			}
		})
	}
}

func TestNothingIsLostWhileOneOfTwoIngressesRestarts(t *testing.T) {
	for name, c := range map[string]struct {
		start  func(*testing.T) front
		rounds int
	}{"nginx": {nginx, 3}, "Caddy": {caddy, 1}} {
		t.Run(name, func(t *testing.T) {
			f := c.start(t)
			done := make(chan struct{})
			var senders sync.WaitGroup
			sent := make([]int, 4)
			for i := range sent {
				senders.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						sent[i]++
						if a := f.send(t, sentry.NewRequestID(), 0); a.status != http.StatusAccepted {
							t.Errorf("delivery %d of sender %d was answered %+v", sent[i], i, a)
						}
					}
				})
			}
			for range c.rounds {
				for _, u := range f.upstreams {
					u.stop()
					u.start()
				}
			}
			close(done)
			senders.Wait()
			for i, n := range sent {
				if n < 10 {
					t.Errorf("sender %d has sent %d", i, n)
				}
			}
		})
	}
}
