package sentrytemporal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/sentry"
)

// values are what the tests give to the variables that an image is run with.
var values = map[string]string{
	"SENTRY_CLIENT_SECRET": "6f1d0c3b5a7e9f2846bd0a1c3e5f7092846bd0a1c3e5f7092b4d6f8091a3c5e7",
	"ADMIN_TOKEN":          "0a1c3e5f7092b4d6f8091a3c5e76f1d0c3b5a7e9f28",
	"TEMPORAL_ADDRESS":     "127.0.0.1:7233", // nobody is there
}

// Each program runs in a root with nothing in it but what the Dockerfile puts
// there, as its user, with its environment and what docs/production.md has people
// give to docker run, on a network of its own.
func TestImagesStartAsDocumented(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a root of its own takes root")
	}
	built := buildAsInDockerfile(t)

	t.Run("ingress", func(t *testing.T) {
		c := newContainer(t, "ingress", built)
		program := c.start(t)
		c.await(t, "http://127.0.0.1:8081/readyz")
		body, err := sentry.Sample("issue.created")
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:8080/webhooks/sentry", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(sentry.HeaderSignature, sentry.Sign(values["SENTRY_CLIENT_SECRET"], body))
		if status := c.network.status(t, r); status != http.StatusAccepted {
			t.Errorf("a delivery is answered %d", status)
		}
		c.healthy(t)
		c.stop(t, program)

		dir := filepath.Join(c.root, c.environ["JOURNAL_DIR"])
		kept, err := journal.Open(dir, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer kept.Close()
		if pending := kept.Stats().Pending; pending != 1 {
			t.Errorf("%d deliveries are kept in %s", pending, dir)
		}
	})

	t.Run("worker", func(t *testing.T) {
		c := newContainer(t, "worker", built)
		program := c.start(t)
		c.await(t, "http://127.0.0.1:8082/healthz")
		c.healthy(t)
		c.stop(t, program)
	})

	for _, target := range programs {
		c := newContainer(t, target, built)
		for _, command := range [][]string{{"/triage", "version"}, {"/" + target, "-version"}} {
			if said, err := c.command(command).CombinedOutput(); err != nil || !strings.Contains(string(said), "v1.2.3-test") {
				t.Errorf("%s: %v: %v: %s", target, command, err, said)
			}
		}
	}
}

// buildAsInDockerfile builds the programs with the command of the Dockerfile, into
// the directory that it returns.
func buildAsInDockerfile(t *testing.T) string {
	t.Helper()
	built := t.TempDir()
	for _, s := range readDockerfile(t).steps["build"] {
		command := strings.Join(s.words, " ")
		if s.name != "RUN" || !strings.Contains(command, "go build") {
			continue
		}
		shell := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, " /out/", " "+built+"/"))
		shell.Env = append(os.Environ(), "VERSION=v1.2.3-test", "REVISION=0123456789ab")
		if out, err := shell.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		return built
	}
	t.Fatal("the Dockerfile builds nothing")
	return ""
}

// container is an image about to run.
type container struct {
	root       string
	environ    map[string]string
	user       uint32
	entrypoint []string
	health     []string
	network    network
}

// newContainer makes the root that the Dockerfile gives to target.
func newContainer(t *testing.T, target, built string) *container {
	t.Helper()
	c := &container{root: t.TempDir(), environ: documentedVariables(t, target), network: newNetwork(t)}
	for _, s := range readDockerfile(t).image(target) {
		var err error
		switch s.name {
		case "COPY":
			err = c.copy(s, built)
		case "ENV":
			for _, assignment := range s.words {
				name, value, _ := strings.Cut(assignment, "=")
				c.environ[name] = value
			}
		case "USER":
			c.user, err = userOf(s.words[0])
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(strings.Join(s.words, " ")), &c.entrypoint)
		case "HEALTHCHECK":
			if s.words[0] != "CMD" {
				t.Fatalf("the health check of %s is %v", target, s.words)
			}
			err = json.Unmarshal([]byte(strings.Join(s.words[1:], " ")), &c.health)
		case "ARG", "LABEL", "VOLUME", "EXPOSE":
		default:
			t.Fatalf("this test does not know what %s does", s.name)
		}
		if err != nil {
			t.Fatalf("%s: %v: %v", target, s, err)
		}
	}
	if c.user == 0 || len(c.entrypoint) == 0 || len(c.health) == 0 {
		t.Fatalf("%s has the user %d, runs %v and asks for its health with %v", target, c.user, c.entrypoint, c.health)
	}
	return c
}

// documentedVariables are those that docs/production.md has people give to the
// image of target, with values.
func documentedVariables(t *testing.T, target string) map[string]string {
	t.Helper()
	run := regexp.MustCompile(`docker run ((?:[^\n]|\\\n)*) sentry-temporal-` + target + `\n`).FindStringSubmatch(read(t, "docs/production.md"))
	if run == nil {
		t.Fatalf("docs/production.md does not run sentry-temporal-%s", target)
	}
	environ := map[string]string{}
	for _, m := range regexp.MustCompile(`--env ([A-Z_]+)`).FindAllStringSubmatch(run[1], -1) {
		value, known := values[m[1]]
		if !known {
			t.Fatalf("this test has no value for %s", m[1])
		}
		environ[m[1]] = value
	}
	return environ
}

func userOf(words string) (uint32, error) {
	uid, _, _ := strings.Cut(words, ":")
	user, err := strconv.ParseUint(uid, 10, 32)
	return uint32(user), err
}

func (c *container) copy(s step, built string) error {
	source, target := s.words[0], filepath.Join(c.root, s.words[1])
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	owner := uint32(0)
	for _, flag := range s.flags {
		if of, is := strings.CutPrefix(flag, "--chown="); is {
			var err error
			if owner, err = userOf(of); err != nil {
				return err
			}
		}
	}
	program, isProgram := strings.CutPrefix(source, "/out/")
	switch {
	case isProgram:
		return os.Link(filepath.Join(built, program), target)
	case source == "/empty":
		return errors.Join(os.Mkdir(target, 0o755), os.Chown(target, int(owner), int(owner)))
	case strings.HasSuffix(source, ".crt"):
		return os.WriteFile(target, nil, 0o644) // of this machine or another
	default:
		return errors.New("this test does not know it")
	}
}

func (c *container) command(words []string) *exec.Cmd {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = "/"
	for name, value := range c.environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Credential: &syscall.Credential{Uid: c.user, Gid: c.user}}
	return cmd
}

// start starts the program of the image, and ends it with the test.
func (c *container) start(t *testing.T) *exec.Cmd {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the program has its own
	program := c.command(c.entrypoint)
	program.Stdout, program.Stderr = log, log
	c.network.do(func() { err = program.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if program.ProcessState == nil {
			_ = program.Process.Kill()
			_ = program.Wait()
		}
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("its log is\n%s", text)
		}
	})
	return program
}

// await returns when url is answered 200.
func (c *container) await(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		status := c.network.status(t, r)
		if status == http.StatusOK {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is answered %d", url, status)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *container) askHealth() (said []byte, err error) {
	c.network.do(func() { said, err = c.command(c.health).CombinedOutput() })
	return said, err
}

// healthy wants the health check of the image to pass.
func (c *container) healthy(t *testing.T) {
	t.Helper()
	if said, err := c.askHealth(); err != nil {
		t.Errorf("%v: %v: %s", c.health, err, said)
	}
}

// stop ends the program, and wants its health check to fail after that.
func (c *container) stop(t *testing.T, program *exec.Cmd) {
	t.Helper()
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	said, err := c.askHealth()
	if exit, is := errors.AsType[*exec.ExitError](err); !is || exit.ExitCode() != 1 {
		t.Errorf("%v of one that has ended: %v: %s", c.health, err, said)
	}
}

// network is a network with nobody else on it, so that the ports of the images are
// free. What is done in it runs in one thread.
type network chan func()

func newNetwork(t *testing.T) network {
	t.Helper()
	n := make(network)
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		entered <- enterNetwork()
		for f := range n {
			f()
		}
	}()
	t.Cleanup(func() { close(n) })
	if err := <-entered; err != nil {
		t.Skipf("this machine gives no network of its own: %v", err)
	}
	return n
}

// enterNetwork gives the thread a network of its own, with a loopback.
func enterNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback)
}

func (n network) do(f func()) {
	done := make(chan struct{})
	n <- func() {
		defer close(done)
		f()
	}
	<-done
}

// status sends r within the network; 0 is no answer.
func (n network) status(t *testing.T, r *http.Request) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			n.do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, address) })
			return conn, err
		},
	}}
	answer, err := client.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// What the images need to be reached and to keep what they are given is theirs,
// not the compose file's: an image by itself has it, too.
func TestImagesExposeWhatTheyListenAt(t *testing.T) {
	known, _ := configurationVariables(t)
	d := readDockerfile(t)
	for _, target := range programs {
		environ := map[string]string{"LISTEN_ADDR": known["LISTEN_ADDR"]}
		var exposed, volumes []string
		for _, s := range d.image(target) {
			switch s.name {
			case "ENV":
				for _, assignment := range s.words {
					name, value, _ := strings.Cut(assignment, "=")
					environ[name] = value
				}
			case "EXPOSE":
				exposed = s.words
			case "VOLUME":
				volumes = s.words
			}
		}
		listens := map[string][]string{"ingress": {environ["LISTEN_ADDR"], environ["ADMIN_ADDR"]}, "worker": {environ["WORKER_ADMIN_ADDR"]}}[target]
		var want []string
		for _, address := range listens {
			want = append(want, strings.TrimPrefix(address, ":"))
		}
		if !slices.Equal(exposed, want) {
			t.Errorf("%s exposes %v and listens at %v", target, exposed, listens)
		}
		if target == "ingress" && filepath.Dir(environ["JOURNAL_DIR"]) != volumes[0] {
			t.Errorf("the journal is in %s, and the volume %v", environ["JOURNAL_DIR"], volumes)
		}
	}
}
