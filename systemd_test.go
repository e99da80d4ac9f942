package sentrytemporal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// units are the files in deploy/systemd by their names.
func units(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("deploy/systemd/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no units: %v", err)
	}
	all := map[string]string{}
	for _, file := range files {
		all[filepath.Base(file)] = read(t, file)
	}
	return all
}

// What systemd does not know, or takes for a mistake, is an error of it.
func TestSystemdTakesTheUnitsAndFindsThemClosed(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	dir := t.TempDir()
	check := []string{"verify", "--man=no"}
	var services []string
	for name, text := range units(t) {
		text = regexp.MustCompile(`(?m)^ExecStart=.*$`).ReplaceAllString(text, "ExecStart=/bin/true") // the programs are not installed here
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		check = append(check, file)
		if strings.HasSuffix(name, ".service") {
			services = append(services, file)
		}
	}
	if said, err := exec.CommandContext(t.Context(), analyze, check...).CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("systemd says %s, %v", said, err)
	}
	for _, file := range services {
		said, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=yes", "--threshold=20", file).CombinedOutput() // of 100
		if err != nil {
			t.Errorf("%s is too open: %s", filepath.Base(file), said)
		}
	}
}

func TestUnitsSetVariablesThatThereAre(t *testing.T) {
	known := configuredVariables(t)
	known["SENTRY_CLIENT_SECRET_FILE"], known["GOMEMLIMIT"] = "", ""
	seen := 0
	for name, text := range units(t) {
		for _, m := range regexp.MustCompile(`(?m)^Environment=([A-Z_]+)=(.*)$`).FindAllStringSubmatch(text, -1) {
			seen++
			if _, ok := known[m[1]]; !ok {
				t.Errorf("%s: nothing reads %s", name, m[1])
			}
			if credential, ok := strings.CutPrefix(m[2], "%d/"); ok && !strings.Contains(text, "\nLoadCredential="+credential+":") {
				t.Errorf("%s: %s is not loaded", name, credential)
			}
		}
	}
	if seen == 0 {
		t.Error("no unit sets a variable")
	}
}
