// Package reverseproxy runs nginx and Caddy as they are configured in deploy/, at
// another address and with a certificate of its own.
package reverseproxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"sentry-temporal/cmd/internal/proc"
)

// host is the name in what is in deploy/.
const host = "hooks.example.com"

// Proxy is one that runs.
type Proxy struct {
	URL string // base address

	address string
	roots   *x509.CertPool
	program *proc.Program
}

// Options say how a proxy is to run.
type Options struct {
	Dir       string // for all its files
	Upstreams [2]string
	Slow      bool // whether timeouts below a second are ten times as long, for a machine that does much else
}

// Nginx runs deploy/nginx/sentry-temporal.conf.
func Nginx(ctx context.Context, o Options) (*Proxy, error) {
	p, port, err := prepare(o, "nginx/sentry-temporal.conf", map[string]string{
		"127.0.0.1:8080": o.Upstreams[0], "127.0.0.1:8090": o.Upstreams[1],
		"listen 443 ssl;":              "listen 127.0.0.1:{port} ssl;",
		"/etc/nginx/tls/fullchain.pem": filepath.Join(o.Dir, "fullchain.pem"),
		"/etc/nginx/tls/privkey.pem":   filepath.Join(o.Dir, "privkey.pem"),
	})
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // else it takes one who may not read the folder
	}
	main := fmt.Sprintf(`daemon off;
worker_processes 1;
%s
pid nginx.pid;
error_log error.log warn;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	include sentry-temporal.conf;
}
`, user)
	if err := os.WriteFile(filepath.Join(o.Dir, "nginx.conf"), []byte(main), 0o600); err != nil {
		return nil, err
	}
	binary, err := exec.LookPath("nginx")
	if err != nil {
		binary = "/usr/sbin/nginx" // which is not on everybody's PATH
	}
	return p, p.start(ctx, port, proc.Program{
		Binary: binary, Log: filepath.Join(o.Dir, "log"),
		Args: []string{"-p", o.Dir, "-e", "error.log", "-c", filepath.Join(o.Dir, "nginx.conf")},
	})
}

// Caddy runs deploy/caddy/Caddyfile. The upstreams have the same port; that of their
// admin address is adminPort.
func Caddy(ctx context.Context, o Options, adminPort string) (*Proxy, error) {
	p, port, err := prepare(o, "caddy/Caddyfile", map[string]string{
		"10.0.0.11:8080": o.Upstreams[0], "10.0.0.12:8080": o.Upstreams[1], "health_port 8081": "health_port " + adminPort,
		"\n" + host + " {\n": "\nhttps://" + host + ":{port} {\n\tbind 127.0.0.1\n\ttls " + filepath.Join(o.Dir, "fullchain.pem") + " " + filepath.Join(o.Dir, "privkey.pem") + "\n",
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(o.Dir, "Caddyfile")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text = append([]byte("{\n\tadmin off\n\tauto_https disable_redirects\n}\n"), text...)
	if err := os.WriteFile(file, text, 0o600); err != nil { //nolint:gosec // the folder is the caller's
		return nil, err
	}
	binary, err := exec.LookPath("caddy")
	if err != nil {
		return nil, err
	}
	return p, p.start(ctx, port, proc.Program{
		Binary: binary, Log: filepath.Join(o.Dir, "log"),
		Args:    []string{"run", "--config", file, "--adapter", "caddyfile"},
		Environ: []string{"XDG_DATA_HOME=" + o.Dir, "XDG_CONFIG_HOME=" + o.Dir},
	})
}

// Client returns a client that trusts the proxy, and uses a connection once, as
// Sentry does.
func (p *Proxy) Client(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: p.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, p.address)
		},
	}}
}

// Stop ends the proxy.
func (p *Proxy) Stop() error { return p.program.Stop() }

// prepare writes a file of deploy/ to the folder, with what stands for the old texts
// in place of them, and a certificate.
func prepare(o Options, name string, replaced map[string]string) (p *Proxy, port int, err error) {
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "..", "deploy", name))
	if err != nil {
		return nil, 0, err
	}
	ports, err := proc.FreePorts(1)
	if err != nil {
		return nil, 0, err
	}
	conf := string(text)
	if o.Slow {
		conf = regexp.MustCompile(`(\d+)ms\b`).ReplaceAllString(conf, "${1}0ms")
	}
	for old, instead := range replaced {
		if strings.Count(conf, old) != 1 {
			return nil, 0, fmt.Errorf("%s does not have %q once", name, old)
		}
		conf = strings.Replace(conf, old, strings.Replace(instead, "{port}", strconv.Itoa(ports[0]), 1), 1)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, filepath.Base(name)), []byte(conf), 0o600); err != nil { //nolint:gosec // the folder is the caller's
		return nil, 0, err
	}
	p = &Proxy{URL: "https://" + net.JoinHostPort(host, strconv.Itoa(ports[0])), address: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))}
	p.roots, err = writeCertificate(o.Dir)
	return p, ports[0], err
}

func (p *Proxy) start(ctx context.Context, port int, program proc.Program) error {
	p.program = &program
	if err := program.Start(); err != nil {
		return err
	}
	if err := proc.AwaitListening(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
		program.Kill()
		said, _ := os.ReadFile(program.Log)
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// writeCertificate makes a certificate, and returns what trusts it.
func writeCertificate(dir string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	for name, text := range map[string][]byte{"fullchain.pem": chain, "privkey.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(chain)
	return roots, nil
}
