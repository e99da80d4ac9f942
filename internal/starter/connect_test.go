package starter_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/starter"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// sign returns a certificate for 127.0.0.1 and its key, both as PEM.
func (a *authority) sign(t *testing.T, serial int64) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) keyPair(t *testing.T, serial int64) *tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.sign(t, serial))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// connectBy connects as the environment of a worker says, written NAME=value.
func connectBy(t *testing.T, vars ...string) (*starter.Connections, *lines) {
	t.Helper()
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "none.toml"))
	for _, entry := range vars {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
	cfg, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connections.Close)
	return connections, log
}

// reach asks until the server answers.
func reach(t *testing.T, connections *starter.Connections) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := connections.Environments()["sentry"].Reach(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestANewClientCertificateIsShownOnTheNextConnection(t *testing.T) {
	authority := newAuthority(t)
	server := serve(t, &standIn{}, &tls.Config{
		Certificates: []tls.Certificate{*authority.keyPair(t, 2)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: authority.pool(),
	})
	dir := t.TempDir()
	certFile, keyFile, caFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")
	write(t, caFile, authority.pem)
	certificate, key := authority.sign(t, 1001)
	write(t, certFile, certificate)
	write(t, keyFile, key)
	connections, log := connectBy(t, "TEMPORAL_ADDRESS="+server.address, "TEMPORAL_TLS_CLIENT_CERT_PATH="+certFile,
		"TEMPORAL_TLS_CLIENT_KEY_PATH="+keyFile, "TEMPORAL_TLS_SERVER_CA_CERT_PATH="+caFile)
	shown := func() int64 {
		server.cut()
		reach(t, connections)
		serial, _ := server.shown()
		return serial
	}
	if serial := shown(); serial != 1001 {
		t.Fatalf("at first %d is shown", serial)
	}

	certificate, key = authority.sign(t, 1002)
	write(t, certFile, certificate) // and not yet its key
	for range 2 {
		if serial := shown(); serial != 1001 {
			t.Errorf("with half of a new pair %d is shown", serial)
		}
	}
	if n := strings.Count(log.String(), "certificates cannot be read again"); n != 1 {
		t.Errorf("that was logged %d times: %s", n, log)
	}
	write(t, keyFile, key)
	if serial := shown(); serial != 1002 {
		t.Errorf("with the new pair %d is shown", serial)
	}
}

func TestANewAuthorityIsTrustedOnTheNextConnection(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	var mu sync.Mutex
	served := before.keyPair(t, 2)
	server := serve(t, &standIn{}, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		return served, nil
	}})
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	write(t, caFile, before.pem)
	connections, _ := connectBy(t, "TEMPORAL_ADDRESS="+server.address, "TEMPORAL_TLS_SERVER_CA_CERT_PATH="+caFile)
	reach(t, connections)

	mu.Lock()
	served = after.keyPair(t, 3)
	mu.Unlock()
	server.cut()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for refused := false; !refused; { // the cut itself is an error, too
		err := connections.Environments()["sentry"].Reach(ctx)
		if err == nil || ctx.Err() != nil {
			t.Fatalf("a server of an authority that is not trusted: %v", err)
		}
		refused = strings.Contains(err.Error(), "x509")
	}
	write(t, caFile, after.pem)
	reach(t, connections)
}

func TestANewAPIKeyIsSentWithTheNextCall(t *testing.T) {
	const first, second = "first-key-4c1d0a7e", "second-key-9b2f6d31"
	authority := newAuthority(t)
	server := serve(t, &standIn{}, &tls.Config{Certificates: []tls.Certificate{*authority.keyPair(t, 2)}})
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	write(t, caFile, authority.pem)
	tomlWith := func(profile, key string) string {
		return "[profile." + profile + "]\naddress = \"" + server.address + "\"\n" + key +
			"\n[profile." + profile + ".tls]\nserver_ca_cert_path = \"" + caFile + "\"\n"
	}
	keyFile, tomlFile, configFile := filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "temporal.toml"), filepath.Join(t.TempDir(), "temporal.toml")
	write(t, configFile, []byte(tomlWith("own", "")))
	for name, test := range map[string]struct {
		file string
		text func(key string) string
		vars []string
	}{
		"in a file of its own": {
			keyFile, func(key string) string { return key + "\n" },
			[]string{"TEMPORAL_API_KEY_FILE=" + keyFile, "TEMPORAL_ADDRESS=" + server.address, "TEMPORAL_TLS_SERVER_CA_CERT_PATH=" + caFile},
		},
		"in the CLI's configuration file": {
			tomlFile, func(key string) string { return tomlWith("default", `api_key = "`+key+`"`) },
			[]string{"TEMPORAL_CONFIG_FILE=" + tomlFile},
		},
		"in the profile of an integration": {
			tomlFile, func(key string) string { return tomlWith("own", `api_key = "`+key+`"`) },
			[]string{"TEMPORAL_CONFIG_FILE=" + tomlFile, "SENTRY_TEMPORAL_PROFILE=own", "TEMPORAL_API_KEY=common"},
		},
		"in a file for an integration": {
			keyFile, func(key string) string { return key },
			[]string{"TEMPORAL_CONFIG_FILE=" + configFile, "SENTRY_TEMPORAL_PROFILE=own", "SENTRY_TEMPORAL_API_KEY_FILE=" + keyFile},
		},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, test.file, []byte(test.text(first)))
			connections, log := connectBy(t, test.vars...)
			sent := func() string {
				reach(t, connections)
				_, key := server.shown()
				return key
			}
			if key := sent(); key != "Bearer "+first {
				t.Fatalf("at first %q is sent", key)
			}
			write(t, test.file, nil) // while it is written anew
			for range 2 {
				if key := sent(); key != "Bearer "+first {
					t.Errorf("while there is none %q is sent", key)
				}
			}
			if n := strings.Count(log.String(), "API key cannot be read again"); n != 1 {
				t.Errorf("that was logged %d times: %s", n, log)
			}
			write(t, test.file, []byte(test.text(second)))
			if key := sent(); key != "Bearer "+second {
				t.Errorf("then %q is sent", key)
			}
			if strings.Contains(log.String(), first) || strings.Contains(log.String(), second) {
				t.Errorf("a key is in the log: %s", log)
			}
		})
	}
}

func TestIntegrationsWithOneProfileShareAConnection(t *testing.T) {
	common, own := serve(t, &standIn{}, nil), serve(t, &standIn{}, nil)
	tomlFile := filepath.Join(t.TempDir(), "temporal.toml")
	write(t, tomlFile, []byte("[profile.own]\naddress = \""+own.address+"\"\nnamespace = \"team\"\n"))
	connections, _ := connectBy(t, "TEMPORAL_ADDRESS="+common.address, "TEMPORAL_CONFIG_FILE="+tomlFile,
		"INTEGRATIONS=sentry,backend,mobile,web", "BACKEND_TEMPORAL_PROFILE=own", "MOBILE_TEMPORAL_PROFILE=own",
		"WEB_TEMPORAL_PROFILE=own", "WEB_NAMESPACE=default")
	environments := connections.Environments()
	if environments["backend"] != environments["mobile"] {
		t.Errorf("they live at %+v and %+v", environments["backend"], environments["mobile"])
	}
	if at := environments["backend"]; at.Connection != "own" || at.Namespace != "team" || at.UIURL != "http://localhost:8233" {
		t.Errorf("an integration with a profile lives at %+v", at)
	}
	for name, environment := range environments {
		if err := environment.Reach(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, test := range []struct {
		integration, namespace string
		want                   client.Client
	}{
		{"sentry", "default", environments["sentry"].Client},
		{"backend", "team", environments["backend"].Client},
		{"backend", "default", environments["web"].Client}, // where it may have been before
		{"sentry", "team", nil},                            // is of another connection
		{"backend", "gone", nil},
		{"gone", "default", nil},
	} {
		if got, ok := connections.Client(test.integration, test.namespace); got != test.want || ok != (test.want != nil) {
			t.Errorf("the client of %s in %s is %v, %v", test.integration, test.namespace, got, ok)
		}
	}
}

func TestABusyTemporalIsToldOfAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		code codes.Code
		is   func(error) bool
	}{
		"exhausted":   {codes.ResourceExhausted, is[*serviceerror.ResourceExhausted]},
		"unavailable": {codes.Unavailable, is[*serviceerror.Unavailable]},
		"aborted":     {codes.Aborted, is[*serviceerror.Aborted]},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, &standIn{start: func(*workflowservice.StartWorkflowExecutionRequest) error {
				return status.Error(test.code, "busy")
			}}, nil)
			connections, _ := connectBy(t, "TEMPORAL_ADDRESS="+server.address)
			c := connections.Environments()["sentry"].Client
			// No deadline makes it end.
			_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "q"}, "w")
			if !test.is(err) {
				t.Errorf("the start said %T %v", err, err)
			}
			_, err = c.SignalWithStartWorkflow(t.Context(), "id", "signal", nil, client.StartWorkflowOptions{TaskQueue: "q"}, "w")
			if !test.is(err) {
				t.Errorf("the signal with start said %T %v", err, err)
			}
			if server.starts != 2 {
				t.Errorf("the two were tried %d times", server.starts)
			}
		})
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func TestOtherCallsAreRepeated(t *testing.T) {
	server := serve(t, &standIn{}, nil)
	connections, _ := connectBy(t, "TEMPORAL_ADDRESS="+server.address)
	_, err := connections.Environments()["sentry"].Client.DescribeWorkflowExecution(t.Context(), "id", "")
	if err != nil || server.described != 2 {
		t.Errorf("tried %d times, %v", server.described, err)
	}
}

func TestAProfileThatIsNotConfiguredIsNotTheCommonConnection(t *testing.T) {
	_, err := starter.Connect(config.Temporal{Client: client.Options{HostPort: devservertest.Server().Address}},
		[]config.Integration{{Name: "sentry", Namespace: "default", Profile: "gone"}}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("said %v", err)
	}
}

// watching is what metrics and traces of a program come through.
type watching struct {
	client.MetricsHandler
	interceptor.ClientInterceptorBase
	mu          sync.Mutex
	counted     int
	intercepted int
}

func (w *watching) WithTags(map[string]string) client.MetricsHandler { return w }
func (w *watching) Timer(string) client.MetricsTimer                 { return w }
func (w *watching) Counter(string) client.MetricsCounter             { return w }
func (*watching) Record(time.Duration)                               {}

func (w *watching) Inc(int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted++
}

func (w *watching) InterceptClient(next interceptor.ClientOutboundInterceptor) interceptor.ClientOutboundInterceptor {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intercepted++
	return next
}

func TestEveryConnectionIsWatched(t *testing.T) {
	server := serve(t, &standIn{}, nil)
	watch := &watching{MetricsHandler: client.MetricsNopHandler}
	common := client.Options{HostPort: server.address, MetricsHandler: watch, Interceptors: []interceptor.ClientInterceptor{watch}}
	connections, err := starter.Connect(
		config.Temporal{Client: common, Profiles: map[string]config.Temporal{"own": {Client: client.Options{HostPort: server.address}}}},
		[]config.Integration{{Name: "sentry", Namespace: "default", Profile: "own"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connections.Close)
	reach(t, connections)
	watch.mu.Lock()
	defer watch.mu.Unlock()
	if watch.counted == 0 || watch.intercepted == 0 {
		t.Errorf("of a profile's connection %d calls were counted, %d interceptors asked", watch.counted, watch.intercepted)
	}
}
