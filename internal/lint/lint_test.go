package lint_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sentry-temporal/internal/lint"
)

// A comment says what is to be found in its line: // want "text" "text".
func TestMistakesAreFound(t *testing.T) {
	for _, tt := range []string{"mistakes", "fine", "alone", "warned", "team", "unclear"} {
		t.Run(tt, func(t *testing.T) {
			dir := filepath.Join("testdata", tt)
			findings, err := lint.Run(t.Context(), dir, "./...")
			if err != nil {
				t.Fatal(err)
			}
			wants := wantsIn(t, dir)
			for _, f := range findings {
				at := f.File + ":" + strconv.Itoa(f.Line)
				line := strings.TrimPrefix(f.String(), at+": ")
				if !met(wants, at, line) {
					t.Errorf("%s: %s", at, line)
				}
			}
			for at, left := range wants {
				for _, want := range left {
					t.Errorf("%s: nothing is found that is like %s", at, want)
				}
			}
		})
	}
}

// met takes the first of what is wanted at a place that line is like.
func met(wants map[string][]*regexp.Regexp, at, line string) bool {
	for i, want := range wants[at] {
		if want.MatchString(line) {
			wants[at] = append(wants[at][:i:i], wants[at][i+1:]...)
			return true
		}
	}
	return false
}

func wantsIn(t *testing.T, dir string) map[string][]*regexp.Regexp {
	t.Helper()
	text := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	wants := map[string][]*regexp.Regexp{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, group := range file.Comments {
			for _, c := range group.List {
				_, want, ok := strings.Cut(c.Text, "// want ")
				if !ok {
					continue
				}
				inside, err := filepath.Rel(dir, path)
				if err != nil {
					return err
				}
				at := filepath.ToSlash(inside) + ":" + strconv.Itoa(files.Position(c.Pos()).Line)
				for _, quoted := range text.FindAllString(want, -1) {
					unquoted, err := strconv.Unquote(quoted)
					if err != nil {
						return err
					}
					wants[at] = append(wants[at], regexp.MustCompile(unquoted))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return wants
}

func TestCodeThatDoesNotBuildIsNoFinding(t *testing.T) {
	if _, err := lint.Run(t.Context(), filepath.Join("testdata", "broken"), "./..."); err == nil || !strings.Contains(err.Error(), "broken.go:3") {
		t.Errorf("the error is %v", err)
	}
}

func TestPackagesThatThereAreNotAreAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module empty\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lint.Run(t.Context(), dir, "./none"); err == nil {
		t.Error("there is no error")
	}
}
