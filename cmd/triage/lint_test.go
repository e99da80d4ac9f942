package main

import (
	"strings"
	"testing"
)

func TestLint(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		says   string
	}{
		"mistakes": {exitNo, "workflows/unlisted/unlisted.go:9: workflow forgotten is in no list"},
		"warned":   {exitOK, "warned.go:9: warning: "},
		"fine":     {exitOK, ""},
		"broken":   {exitNo, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir("../../internal/lint/testdata/" + name)
			status, stdout, stderr := triage(t, "lint")
			if status != tt.status || !strings.Contains(stdout, tt.says) || tt.says == "" && stdout != "" {
				t.Errorf("exit status %d, and it says\n%s%s", status, stdout, stderr)
			}
			if name == "broken" && !strings.Contains(stderr, "broken.go:3") {
				t.Errorf("it complains: %s", stderr)
			}
		})
	}
}

func TestLintLooksAtThePackagesThatAreNamed(t *testing.T) {
	t.Chdir("../../internal/lint/testdata")
	if status, stdout, stderr := triage(t, "lint", "./warned", "./fine/..."); status != exitOK || !strings.HasPrefix(stdout, "warned/warned.go:9: ") {
		t.Errorf("exit status %d, and it says\n%s%s", status, stdout, stderr)
	}
}
