package sentrytemporal_test

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// The linker passes over a variable that it is told to set and does not find.
func TestBuildsStampVariablesThatThereAre(t *testing.T) {
	variables := map[string]bool{}
	ast.Inspect(parse(t, "internal/build/build.go"), func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, name := range spec.Names {
				variables[module+"/internal/build."+name.Name] = true
			}
		}
		return true
	})
	stamp := regexp.MustCompile(`-X (\S+)=(\S*)`)
	for path, want := range map[string]int{"Makefile": 1, "Dockerfile": 2} {
		stamps := stamp.FindAllStringSubmatch(read(t, path), -1)
		if len(stamps) != want {
			t.Errorf("%s sets %v", path, stamps)
		}
		for _, m := range stamps {
			if !variables[m[1]] {
				t.Errorf("%s sets %s, which there is not", path, m[1])
			}
		}
	}
}

// A build argument is unknown in each stage that does not name it.
func TestImagesAreStampedWithArgumentsThatTheirStagesKnow(t *testing.T) {
	use := regexp.MustCompile(`\$([A-Z]+)`)
	known := map[string]bool{}
	used := 0
	for line := range strings.Lines(string(readFile(t, "Dockerfile"))) {
		words := strings.Fields(line)
		if len(words) > 0 && words[0] == "FROM" {
			known = map[string]bool{}
		}
		if len(words) > 0 && words[0] == "ARG" {
			for _, name := range words[1:] {
				known[name] = true
			}
		}
		for _, m := range use.FindAllStringSubmatch(line, -1) {
			used++
			if !known[m[1]] {
				t.Errorf("%s is not known to the stage of %q", m[1], strings.TrimSpace(line))
			}
		}
	}
	if used != 4 {
		t.Errorf("arguments are used %d times, not for both programs and their labels", used)
	}
}
