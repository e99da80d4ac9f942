package outside_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sentry-temporal/internal/outside"
)

// proxied says that this process is one that a test has started, with a proxy.
const proxied = "OUTSIDE_TEST_PROXIED"

func TestMain(m *testing.M) {
	if os.Getenv(proxied) == "" {
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
			_ = os.Unsetenv(name) // of whoever runs the tests
		}
	}
	os.Exit(m.Run())
}

func TestARequestToOthersStaysOutOfPrivateNetworks(t *testing.T) {
	client := outside.NewClientWithin(300 * time.Millisecond)
	for _, host := range []string{
		"10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "198.18.0.1", "224.0.0.1", "255.255.255.255",
		"[::]", "[fc00::1]", "[fe80::1]", "[fec0::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::1]",
	} {
		_, err := client.Do(t.Context(), outside.Request{System: "Webhook", Variable: "X_URL", URL: "https://" + host + "/", Public: true})
		var e *outside.Error
		require.ErrorAs(t, err, &e, host)
		assert.Equal(t, outside.Final, e.Kind, host)
		assert.Contains(t, e.Reason, "private", host)
		assert.Contains(t, e.Reason, "X_URL", host)
	}
}

func TestARequestToOthersMayLeaveForTheInternet(t *testing.T) {
	client := outside.NewClientWithin(100 * time.Millisecond)
	for _, nobody := range []string{"192.0.2.1", "[2001:db8::1]"} { // of documentation: no one listens
		_, err := client.Do(t.Context(), outside.Request{URL: "https://" + nobody + "/", Public: true})
		var e *outside.Error
		require.ErrorAs(t, err, &e, nobody)
		assert.Equal(t, outside.NotSent, e.Kind, nobody)
	}
}

func TestARequestToOthersReachesLoopbackThatIsWrittenSo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		_, err := outside.NewClient().Do(t.Context(), outside.Request{URL: "http://" + host + ":" + port, Public: true})
		require.NoError(t, err, host)
	}
}

// The environment's proxies are read once in a process, so that this is one of its own.
func TestARequestToOthersGoesThroughTheProxyThatThereIs(t *testing.T) {
	if os.Getenv(proxied) != "" {
		_, err := outside.NewClient().Do(t.Context(), outside.Request{URL: "https://receiver.example/secret", Public: true})
		require.Error(t, err)
		return
	}
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), proxied+"=1", "HTTPS_PROXY="+proxy.URL, "NO_PROXY=")
	out, err := child.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Len(t, asked, 1, strings.TrimSpace(string(out)))
	assert.Equal(t, "CONNECT receiver.example:443", <-asked)
}
