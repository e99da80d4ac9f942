package outside_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sentry-temporal/internal/outside"
)

const secret = "s3cr3t"

// do sends a request with secrets in it to a server, and returns the answer and the error.
func do(t *testing.T, handler http.HandlerFunc) (outside.Answer, *outside.Error) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	return doAt(t, server.URL)
}

func doAt(t *testing.T, address string) (outside.Answer, *outside.Error) {
	t.Helper()
	answer, err := outside.NewClientWithin(time.Second).Do(t.Context(), outside.Request{
		System: "Slack", Variable: "X_TOKEN", Method: http.MethodPost, URL: address + "/" + secret, Body: []byte(secret),
		Header: http.Header{"Authorization": {"Bearer " + secret}},
	})
	var e *outside.Error
	if err != nil {
		require.ErrorAs(t, err, &e)
		assert.NotContains(t, e.Error(), secret)
		assert.Contains(t, e.Error(), "Slack")
	}
	return answer, e
}

func TestAnErrorSaysWhetherTheRequestCanHaveHadAnEffect(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    outside.Kind // "" is a success
	}{
		"200":                      {status(200), ""},
		"204":                      {status(204), ""},
		"redirect":                 {status(307), outside.Final},
		"400":                      {status(400), outside.Final},
		"401":                      {status(401), outside.Final},
		"404":                      {status(404), outside.Final},
		"408":                      {status(408), outside.Maybe},
		"429":                      {status(429), outside.NotSent},
		"500":                      {status(500), outside.Maybe},
		"503":                      {status(503), outside.Maybe},
		"no answer":                {func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, outside.Maybe},
		"the connection is closed": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, outside.Maybe},
		"the answer is cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("x"))
		}, outside.Maybe},
		"the answer is without an end": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, outside.Maybe},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := do(t, tt.handler)
			if tt.want == "" {
				assert.Nil(t, err)
				return
			}
			require.NotNil(t, err)
			assert.Equal(t, tt.want, err.Kind, err.Reason)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		_, err := doAt(t, server.URL)
		require.NotNil(t, err)
		assert.Equal(t, outside.NotSent, err.Kind)
	})
	t.Run("no TLS that is trusted", func(t *testing.T) {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = nil
		server.StartTLS()
		defer server.Close()
		_, err := doAt(t, server.URL)
		require.NotNil(t, err)
		assert.Equal(t, outside.NotSent, err.Kind)
	})
	t.Run("an address that is none", func(t *testing.T) {
		_, err := doAt(t, "http://%zz")
		require.NotNil(t, err)
		assert.Equal(t, outside.Final, err.Kind)
	})
}

func TestAnAnswerIsReadUpToABound(t *testing.T) {
	const bound = 4 << 20
	for size, kind := range map[int]outside.Kind{bound: "", bound + 1: outside.Maybe, 16 * bound: outside.Maybe} {
		written := make(chan int, 1)
		answer, err := do(t, func(w http.ResponseWriter, _ *http.Request) {
			n := 0
			for chunk := make([]byte, 1<<20); n < size; {
				more, err := w.Write(chunk[:min(len(chunk), size-n)])
				if n += more; err != nil {
					break
				}
			}
			written <- n
		})
		if kind == "" {
			require.Nil(t, err)
			assert.Len(t, answer.Body, size)
			continue
		}
		require.NotNil(t, err, size)
		assert.Equal(t, kind, err.Kind)
		assert.LessOrEqual(t, len(answer.Body), bound+1)
		assert.LessOrEqual(t, <-written, 8*bound, "the rest stays with the server, but for what is on the way")
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	reached := make(chan struct{}, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} }))
	defer elsewhere.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		answer, err := do(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, code) })
		require.NotNil(t, err)
		assert.Equal(t, outside.Final, err.Kind)
		assert.Equal(t, code, answer.Status)
	}
	assert.Empty(t, reached)
}

func TestWhenToComeAgainIsTakenWithinBounds(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for said, want := range map[string]time.Duration{
		"": 0, "x": 0, "-5": 0, "1.5": 0, "0": time.Second, "30": 30 * time.Second, "7200": time.Hour, "99999999999999": 0,
		date(-time.Hour): time.Second, date(24 * time.Hour): time.Hour, date(10 * time.Minute): 10 * time.Minute,
	} {
		_, err := do(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", said)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		require.NotNil(t, err)
		assert.InDelta(t, want, err.Retry, float64(2*time.Second), "%q", said)
		assert.Equal(t, want == 0, err.Retry == 0, "%q", said)
	}
}

func TestWhoIsNotAllowedIsToldTheVariable(t *testing.T) {
	for _, code := range []int{401, 403} {
		_, err := do(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		require.NotNil(t, err)
		assert.Contains(t, err.Reason, "X_TOKEN")
	}
}

func TestARequestThatIsGivenUpHasAnUnknownEffect(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	_, err := outside.NewClient().Do(ctx, outside.Request{System: "Slack", Method: http.MethodPost, URL: server.URL, Body: []byte("x")})
	e, ok := errors.AsType[*outside.Error](err)
	require.True(t, ok)
	assert.Equal(t, outside.Maybe, e.Kind)
}

func TestAQuoteHasNoSecretAndOneLine(t *testing.T) {
	for said, want := range map[string]string{
		"no " + secret + "!\n": "no (secret)!", "a\nb\x00c": "a bc", "": "",
	} {
		assert.Equal(t, want, outside.Quote(said, secret, ""))
	}
	assert.LessOrEqual(t, len(outside.Quote(strings.Repeat("x", 10000))), 300)
}

// A lost connection that is used again must not have a request be sent twice.
func TestARequestIsSentOnceOnAConnectionThatBreaks(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var requests atomic.Int32
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if requests.Add(1) > 1 {
			panic(http.ErrAbortHandler)
		}
	})}
	go func() { _ = server.Serve(listener) }() // until it is closed
	defer server.Close()
	client := outside.NewClientWithin(time.Second)
	request := outside.Request{System: "Slack", Method: http.MethodPost, URL: "http://" + listener.Addr().String(), Body: []byte("x"), Header: http.Header{"Idempotency-Key": {"k"}}}
	_, err = client.Do(t.Context(), request)
	require.NoError(t, err)
	_, err = client.Do(t.Context(), request)
	require.Error(t, err)
	assert.Equal(t, int32(2), requests.Load())
}

// Else all activities that a worker can run would wait for it, and pages with them.
func TestAHostThatHangsHasABoundedShareOfTheRequests(t *testing.T) {
	const most = 100
	arrived, release := make(chan struct{}, 2*most), make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer hanging.Close()
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer well.Close()
	client := outside.NewClientWithin(time.Minute)
	var waiting sync.WaitGroup
	for range most {
		waiting.Go(func() {
			if _, err := client.Do(t.Context(), outside.Request{System: "Hanging", URL: hanging.URL}); err != nil {
				t.Error(err)
			}
		})
	}
	for range most {
		<-arrived
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Second) // for one that is sent
	defer cancel()
	_, err := client.Do(soon, outside.Request{System: "Hanging", URL: hanging.URL})
	if e, ok := errors.AsType[*outside.Error](err); !ok || e.Kind != outside.NotSent || e.Retry == 0 {
		t.Errorf("one more: %v", err)
	}
	if _, err := client.Do(t.Context(), outside.Request{System: "Well", URL: well.URL}); err != nil {
		t.Errorf("another host: %v", err)
	}
	close(release)
	waiting.Wait()
	if _, err := client.Do(t.Context(), outside.Request{System: "Hanging", URL: hanging.URL}); err != nil {
		t.Errorf("once it answers again: %v", err)
	}
}
