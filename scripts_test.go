package sentrytemporal_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// machine is a folder with our Makefile and scripts and nothing on PATH but
// what every machine has, and what a test puts there.
type machine struct {
	t    *testing.T
	dir  string // the project's
	path string // the only folder on PATH
	log  string // what the programs that a test put there were called with
}

func newMachine(t *testing.T) machine {
	t.Helper()
	dir := t.TempDir()
	m := machine{t: t, dir: filepath.Join(dir, "project"), path: filepath.Join(dir, "path"), log: filepath.Join(dir, "log")}
	for _, folder := range []string{filepath.Join(m.dir, "scripts"), m.path} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Makefile", "docker-compose.yml", "scripts/need", "scripts/temporal", "scripts/temporal-server"} {
		text := strings.ReplaceAll(string(readFile(t, name)), "/usr/sbin/", m.path+"/") // nothing of this machine's own
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "make", "awk", "sed", "cat", "env", "chmod", "ln", "mkdir", "mktemp", "mv", "rm", "touch"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(m.path, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.has("go", "")
	return m
}

// has puts a program on PATH that notes how it is called and then does what body
// says.
func (m machine) has(name, body string) {
	m.t.Helper()
	text := fmt.Sprintf("#!/bin/sh\necho \"%s $*\" >>%s\n%s\n", name, m.log, body)
	if err := os.WriteFile(filepath.Join(m.path, name), []byte(text), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// isRoot says who runs everything; somebody else may use sudo or not.
func (m machine) isRoot(is bool) {
	m.t.Helper()
	if is {
		m.has("id", "echo 0")
	} else {
		m.has("id", "echo 1000")
	}
}

// hasApt puts an apt-get on PATH that installs nothing, but notes how it would
// ask.
func (m machine) hasApt() {
	m.t.Helper()
	m.has("apt-get", `[ "$1" = install ] || exit 0; echo "frontend $DEBIAN_FRONTEND" >>`+m.log)
}

// run runs a command in the project and returns what it printed, on both
// streams, and whether it ended well.
func (m machine) run(name string, args ...string) (output string, ok bool) {
	m.t.Helper()
	command := exec.CommandContext(m.t.Context(), filepath.Join(m.path, "env"), append([]string{"-i", "PATH=" + m.path, name}, args...)...)
	command.Dir = m.dir
	text, err := command.CombinedOutput()
	return string(text), err == nil
}

// calls returns how the programs that the test put there were called, but for
// id.
func (m machine) calls() []string {
	m.t.Helper()
	text, err := os.ReadFile(m.log)
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "id ") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

func (m machine) isCalled(want ...string) {
	m.t.Helper()
	if got := strings.Join(m.calls(), "\n"); got != strings.Join(want, "\n") {
		m.t.Errorf("called was\n%s\nand not\n%s", got, strings.Join(want, "\n"))
	}
}

func TestNothingIsSaidOrDoneWhenNothingIsMissing(t *testing.T) {
	m := newMachine(t)
	m.isRoot(true)
	for _, name := range []string{"gcc", "chromium", "nginx", "caddy", "npm", "strace", "initdb"} {
		m.has(name, "")
	}
	m.has("fc-list", "echo NotoColorEmoji.ttf")
	m.hasApt()
	if output, ok := m.run("scripts/need", "gcc", "chromium", "nginx", "caddy", "npm", "strace", "postgresql", "emoji"); !ok || output != "" {
		t.Errorf("said was %q", output)
	}
	m.isCalled("gcc -E -", "fc-list :lang=und-zsye")
}

func TestWhatIsMissingIsInstalledByApt(t *testing.T) {
	const install = "apt-get install -y --no-install-recommends gcc libc6-dev chromium nginx caddy npm strace postgresql fontconfig fonts-noto-color-emoji"
	for name, c := range map[string]struct {
		root bool
		want []string
	}{
		"as root": {true, []string{"apt-get update -q", install, "frontend noninteractive"}},
		"by sudo": {false, []string{
			"sudo -n true", "sudo apt-get update -q", "apt-get update -q",
			"sudo env DEBIAN_FRONTEND=noninteractive " + install, install, "frontend noninteractive",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.isRoot(c.root)
			m.hasApt()
			if !c.root {
				m.has("sudo", `[ "$1" = -n ] || exec "$@"`)
			}
			if output, ok := m.run("scripts/need", "gcc", "chromium", "nginx", "caddy", "npm", "strace", "postgresql", "emoji"); !ok {
				t.Errorf("it failed: %s", output)
			}
			m.isCalled(c.want...)
		})
	}
}

func TestACompilerWithoutItsHeadersIsNone(t *testing.T) {
	m := newMachine(t)
	m.isRoot(true)
	m.has("gcc", "exit 1")
	m.hasApt()
	m.run("scripts/need", "gcc")
	m.isCalled("gcc -E -", "apt-get update -q", "apt-get install -y --no-install-recommends gcc libc6-dev", "frontend noninteractive")
}

func TestAptThatFailsFailsTheTarget(t *testing.T) {
	m := newMachine(t)
	m.isRoot(true)
	m.has("apt-get", `[ "$1" = update ]`)
	if output, ok := m.run("scripts/need", "npm"); ok {
		t.Errorf("it went on: %s", output)
	}
}

// Whoever may not install is told the one command, before anything is built.
func TestWithoutPermissionOneCommandIsNamedAndNothingIsBuilt(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		set    func(machine)
		want   string
	}{
		"sudo asks for a password": {
			"test", func(m machine) { m.isRoot(false); m.has("sudo", "exit 1"); m.hasApt() },
			"sudo apt-get update && sudo apt-get install -y --no-install-recommends gcc libc6-dev chromium nginx caddy npm strace",
		},
		"no sudo": {
			"test", func(m machine) { m.isRoot(false); m.hasApt() },
			"su -c 'apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev chromium nginx caddy npm strace'",
		},
		"no apt-get": {
			"test", func(m machine) { m.isRoot(true) },
			"apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev chromium nginx caddy npm strace",
		},
		"only the compiler is missing": {
			"test", func(m machine) {
				m.isRoot(false)
				m.has("chromium", "")
				m.has("npm", "")
				m.has("nginx", "")
				m.has("caddy", "")
				m.has("strace", "")
			},
			"su -c 'apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev'",
		},
		"pictures": {
			"screenshots", func(m machine) { m.isRoot(false); m.has("npm", "") },
			"su -c 'apt-get update && apt-get install -y --no-install-recommends chromium fontconfig fonts-noto-color-emoji'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.set(m)
			output, ok := m.run("make", "-j", "4", c.target)
			if ok {
				t.Error("it went on")
			}
			if !strings.Contains(output, "\n  "+c.want+"\n") || strings.Count(output, "apt-get install") != 1 {
				t.Errorf("%q is not the one command in\n%s", c.want, output)
			}
			for _, call := range m.calls() {
				if strings.HasPrefix(call, "go ") || strings.HasPrefix(call, "apt-get ") || strings.HasPrefix(call, "npm ") {
					t.Errorf("called was %s", call)
				}
			}
		})
	}
}

func TestSomethingUnknownIsNotNeeded(t *testing.T) {
	m := newMachine(t)
	if output, ok := m.run("scripts/need", "gc"); ok {
		t.Errorf("it went on: %s", output)
	}
}

func TestDemoNeedsNothingButGoAndMake(t *testing.T) {
	m := newMachine(t)
	output, ok := m.run("make", "demo")
	if !ok {
		t.Fatalf("it failed: %s", output)
	}
	m.isCalled("go install github.com/temporalio/cli/cmd/temporal@"+pinned(t, "TEMPORAL_VERSION"), "go run ./cmd/dev demo")
}

// pinned returns what the Makefile sets a variable to.
func pinned(t *testing.T, variable string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + variable + `\s*:= (.*)$`).FindSubmatch(readFile(t, "Makefile"))
	if m == nil {
		t.Fatalf("the Makefile does not set %s", variable)
	}
	return string(m[1])
}

func TestATemporalThatIsThereIsUsedIfItIsNewEnough(t *testing.T) {
	for version, used := range map[string]bool{
		"echo 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)'":     true,
		"echo 'temporal version 1.9.1 (Server 1.32.0, UI 2.54.0)'":     true,
		"echo 'temporal version 0.0.0-DEV (Server 1.30.0, UI 2.42.1)'": true,
		"echo 'temporal version 2.0.0 (Server 2.0.0-rc.1, UI 3.0.0)'":  true,
		"echo 'temporal version 1.5.0 (Server 1.29.0, UI 2.42.1)'":     false,
		"echo 'temporal version 1.31.0 (Server 1.9.12, UI 2.42.1)'":    false,
		"echo 'temporal version 1.5.1 (server 0.30.2) (ui 2.42.1)'":    false,
		"echo 'temporal version 1.29.1'":                               false,
		"echo 'temporal, whatever'":                                    false,
		"exit 1":                                                       false,
	} {
		t.Run(version, func(t *testing.T) {
			m := newMachine(t)
			m.has("temporal", version)
			output, ok := m.run("make", "bin/temporal")
			if !ok {
				t.Fatalf("it failed: %s", output)
			}
			link, _ := os.Readlink(filepath.Join(m.dir, "bin", "temporal"))
			if isUsed := link == filepath.Join(m.path, "temporal"); isUsed != used {
				t.Errorf("bin/temporal is a link to %q: %s", link, output)
			}
			built := "go install github.com/temporalio/cli/cmd/temporal@" + pinned(t, "TEMPORAL_VERSION")
			if used {
				m.isCalled("temporal --version")
				if output != "" {
					t.Errorf("said was %q", output)
				}
				return
			}
			m.isCalled("temporal --version", built)
			if !strings.Contains(output, "minutes") || !strings.Contains(output, filepath.Join(m.path, "temporal")) {
				t.Errorf("said was %q", output)
			}
		})
	}
}

func TestREADMENamesTheLeastTemporal(t *testing.T) {
	m := regexp.MustCompile(`(?m)^least=(.*)$`).FindSubmatch(readFile(t, "scripts/temporal"))
	if m == nil || !strings.Contains(string(readFile(t, "README.md")), "is "+string(m[1])+" or later") {
		t.Errorf("it does not name %s", m)
	}
}

func TestWhatIsBuiltIsAnnouncedFirstAndComesIntoBin(t *testing.T) {
	m := newMachine(t)
	m.has("go", "echo building; echo ours >$GOBIN/temporal")
	output, ok := m.run("make", "bin/temporal")
	if !ok {
		t.Fatalf("it failed: %s", output)
	}
	if said, _, _ := strings.Cut(output, "building"); !strings.Contains(said, "minutes") {
		t.Errorf("how long it takes is not said before it begins: %s", output)
	}
	if text, err := os.ReadFile(filepath.Join(m.dir, "bin", "temporal")); err != nil || string(text) != "ours\n" {
		t.Errorf("bin/temporal has %q, %v", text, err)
	}
	m.run("make", "bin/temporal")
	if calls := m.calls(); len(calls) != 1 {
		t.Errorf("called was %q", calls)
	}
}

// The link leads nowhere once the CLI is removed from the machine; what is
// built must not go where the link led.
func TestALinkThatLeadsNowhereIsReplaced(t *testing.T) {
	m := newMachine(t)
	gone := filepath.Join(m.path, "temporal")
	if err := os.Mkdir(filepath.Join(m.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(gone, filepath.Join(m.dir, "bin", "temporal")); err != nil {
		t.Fatal(err)
	}
	m.has("go", "echo ours >$GOBIN/temporal")
	if output, ok := m.run("make", "bin/temporal"); !ok {
		t.Fatalf("it failed: %s", output)
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("it was built where the link led")
	}
}

func TestServerOfTheDeploymentIsBuiltOnceAndAgainForAnotherVersion(t *testing.T) {
	m := newMachine(t)
	version := pinnedServer(t)
	m.has("go", `for package; do :; done
case $package in */server@*) to=$GOBIN/server ;; *) to=$GOBIN/sql ;; esac
printf '#!/bin/sh\necho temporal version %s\n' "${package##*@v}" >$to
chmod +x $to`)
	for _, wanted := range []string{"v1.31.0", version, version} {
		if output, ok := m.run("scripts/temporal-server", wanted); !ok {
			t.Fatalf("it failed: %s", output)
		}
	}
	m.isCalled(
		"go install go.temporal.io/server/cmd/server@v1.31.0", "go install go.temporal.io/server/cmd/tools/sql@v1.31.0",
		"go install go.temporal.io/server/cmd/server@"+version, "go install go.temporal.io/server/cmd/tools/sql@"+version,
	)
	left, err := filepath.Glob(filepath.Join(m.dir, "bin", "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("in bin/ are %v, %v", left, err)
	}
}

// pinnedServer returns the version of the server in docker-compose.yml.
func pinnedServer(t *testing.T) string {
	t.Helper()
	_, version, _ := strings.Cut(readDeployment(t).Services["temporal"].Image, ":")
	return "v" + version
}

func TestTheServerThatIsTestedIsTheOneThatIsDeployed(t *testing.T) {
	m := newMachine(t)
	m.has("initdb", "")
	m.has("go", `case $1 in install) exit 1; esac`)
	m.has("temporal", "echo 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)'")
	m.run("make", "test/postgres")
	m.isCalled("temporal --version", "go install go.temporal.io/server/cmd/server@"+pinnedServer(t))
}

// A bare machine has nothing that the check before a change did not get by the
// commands that everybody uses.
func TestCheckRunsTheCommandsOfTheREADMEAndInstallsNothing(t *testing.T) {
	check := string(readFile(t, ".ci/run"))
	for _, command := range []string{"make demo", "make test", "make lint", "make test/postgres"} {
		if !strings.Contains(check, "\n"+command+"\n") {
			t.Errorf("%s is not run", command)
		}
	}
	for _, command := range []string{"apt", "go install", "npm", "curl"} {
		if strings.Contains(check, command) {
			t.Errorf("%s is used", command)
		}
	}
}
