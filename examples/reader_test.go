package examples_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// reader does what a page says, from top to bottom and as it stands there: it
// writes the files that the page shows and runs its commands.
type reader struct {
	t       *testing.T
	dir     string            // where the terminal is
	here    *strings.Replacer // what is at another place, or has another address, on this machine
	environ []string
	// lasting are the ends of commands that go on until the test does, and what they
	// print when they are ready: "" for what nobody has to wait for.
	lasting map[string]string
}

// step is a fenced block of a page: commands, or with a file's name before it all
// that is in the file.
type step struct{ language, text, file string }

var (
	fenced   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	fileName = regexp.MustCompile("`([\\w./-]+)`[^`]*:$") // ends the paragraph before the block
)

// stepsOf returns what a page has its readers do.
func stepsOf(page string) []step {
	var all []step
	for _, at := range fenced.FindAllStringSubmatchIndex(page, -1) {
		s := step{language: page[at[2]:at[3]], text: page[at[4]:at[5]]}
		before := strings.TrimSpace(page[:at[0]])
		if m := fileName.FindStringSubmatch(before[strings.LastIndex(before, "\n\n")+1:]); m != nil && s.language != "sh" {
			s.file = m[1]
		}
		if s.file != "" || s.language == "sh" {
			all = append(all, s)
		}
	}
	return all
}

// follow does all that the page says, and returns what its commands have printed.
func (r *reader) follow(page string) (printed string) {
	r.t.Helper()
	steps := stepsOf(page)
	if len(steps) == 0 {
		r.t.Fatal("the page has nothing to do")
	}
	for _, s := range steps {
		if s.file != "" {
			r.write(s.file, s.text)
			continue
		}
		printed += r.run(s.text)
	}
	return printed
}

func (r *reader) write(file, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run runs commands in the terminal, and is back when they have ended or, if the
// last one lasts, when it is ready.
func (r *reader) run(commands string) (printed string) {
	r.t.Helper()
	for command, ready := range r.lasting {
		if strings.HasSuffix(strings.TrimSpace(commands), command) {
			return r.begin(r.here.Replace(commands), ready)
		}
	}
	commands = r.here.Replace(commands)
	where := filepath.Join(r.t.TempDir(), "pwd")
	ctx, cancel := context.WithTimeout(r.t.Context(), 8*time.Minute) // everything may have to be built
	defer cancel()
	cmd := r.shell(ctx, commands+"\npwd -P >'"+where+"'\n")
	output, err := cmd.CombinedOutput()
	r.t.Logf("%s$ %s%s", r.dir, commands, output)
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	now, err := os.ReadFile(where)
	if err != nil {
		r.t.Fatal(err)
	}
	r.dir = strings.TrimSpace(string(now))
	return string(output)
}

// begin starts commands in a terminal of their own, and stops them when the test
// ends, the last ones first.
func (r *reader) begin(commands, ready string) (printed string) {
	r.t.Helper()
	cmd := r.shell(context.WithoutCancel(r.t.Context()), commands)
	output := &awaited{text: ready, seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what it printed says why
		close(exited)
	}()
	r.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may be gone already
		select {
		case <-exited:
		case <-time.After(30 * time.Second):
			r.t.Errorf("%s does not stop", commands)
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if r.t.Failed() {
			r.t.Logf("%s$ %s%.20000s", r.dir, commands, output)
		}
	})
	if ready == "" {
		return ""
	}
	select {
	case <-output.seen:
	case <-exited:
		r.t.Fatalf("%s ended before it was ready", commands)
	case <-time.After(8 * time.Minute): // it may have to be built
		r.t.Fatalf("%s is not ready", commands)
	}
	return output.String()
}

// shell is commands as a process group of its own.
func (r *reader) shell(ctx context.Context, commands string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-eu", "-c", commands)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), r.environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// awaited keeps what is written to it, and sees a text in it.
type awaited struct {
	text string
	seen chan struct{} // closed when it is there

	mu   sync.Mutex
	all  bytes.Buffer
	once sync.Once
}

func (a *awaited) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.Write(p)
	if a.text != "" && bytes.Contains(a.all.Bytes(), []byte(a.text)) {
		a.once.Do(func() { close(a.seen) })
	}
	return len(p), nil
}

func (a *awaited) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.String()
}

var _ io.Writer = (*awaited)(nil)

// freeAddresses returns n addresses of the loopback interface that nobody listens
// at.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
	}
	return addresses
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func readPage(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
