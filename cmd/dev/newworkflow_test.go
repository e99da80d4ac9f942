package main

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sentry-temporal/internal/lint"
)

// repository returns a copy of what a new workflow needs of this repository.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"activities", "internal", "triage", "workflows"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join("../..", folder))); err != nil {
			t.Fatal(err)
		}
	}
	bin, err := filepath.Abs("../../bin") // Temporal's server, if it is there
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"go.mod", "go.sum", "README.md"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// filesHere returns the texts of the files that a new workflow changes or makes, in
// the working directory.
func filesHere(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path != "README.md" && !strings.HasPrefix(path, "workflows/") {
			return err
		}
		text, err := os.ReadFile(filepath.FromSlash(path))
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestANewWorkflowIsCompleteButForWhatItDoes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a copy of the repository")
	}
	dir := repository(t)
	t.Chdir(dir)
	t.Setenv("TRIAGE_RECORD", "1") // as make histories does
	for _, args := range [][]string{
		{"page_on_fatal"},
		{"page_on_fatal_2", "sentry.issue.ignored"},
		{"read_aloud", "sentry.comment.updated"},
		{"count_errors", "sentry.error.created"},
		{"ring", "sentry.metric_alert.critical"},
		{"ring_again", "sentry.event_alert.triggered"},
		{"watch", "sentry.activity_alert.triggered"},
		{"mark_root_causes", "sentry.seer.root_cause_completed"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), append([]string{"new-workflow"}, args...), &out, &out); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if folder := "workflows/" + strings.ReplaceAll(args[0], "_", ""); !strings.Contains(out.String(), folder+"/") || !strings.Contains(out.String(), "make histories") {
			t.Errorf("it does not say what comes next: %s", out.String())
		}
	}
	for _, args := range [][]string{{"vet", "./workflows/..."}, {"test", "./workflows/pageonfatal/", "./workflows/ring/", "./workflows/markrootcauses/"}} {
		if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
			t.Errorf("go %v: %v\n%s", args, err, out)
		}
	}
	findings, err := lint.Run(t.Context(), ".", "./workflows/...")
	if err != nil || len(findings) > 0 {
		t.Errorf("the linter says %v, %v", findings, err)
	}
	if out, err := exec.CommandContext(t.Context(), "gofmt", "-l", "workflows").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt says %v, %s", err, out)
	}
	readme := filesHere(t)["README.md"]
	for _, row := range []string{
		"`triage_sentry_issue`: `created`, `resolved`, `unresolved`; `page_on_fatal`: `created`; `page_on_fatal_2`: `ignored`, `archived` |\n",
		"`log_sentry_comment`: `created`; `read_aloud`: `updated` |\n",
		"| webhook error | `count_errors`: `created` |\n",
	} {
		if !strings.Contains(readme, row) {
			t.Errorf("the README has no row with %s", row)
		}
	}
}

func TestANewWorkflowThatCannotBeChangesNothing(t *testing.T) {
	dir := repository(t)
	t.Chdir(dir)
	before := filesHere(t)
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"no name":                        {[]string{""}, "snake case"},
		"a name of another form":         {[]string{"PageOnFatal"}, "snake case"},
		"a path":                         {[]string{"../page"}, "snake case"},
		"a name that is taken":           {[]string{"log_sentry_comment"}, "logcomment.go"},
		"a folder that is taken":         {[]string{"log_comment"}, "workflows/logcomment"},
		"a word of Go":                   {[]string{"go"}, "another name"},
		"a name that Go has given away":  {[]string{"string"}, "another name"},
		"a name that the list uses":      {[]string{"triage"}, "another name"},
		"no event":                       {[]string{"page", "issue.created"}, "no event name"},
		"many events":                    {[]string{"page", "sentry.issue.*"}, "no sample"},
		"an event that is misspelled":    {[]string{"page", "sentry.issue.create"}, "sentry.issue.created"},
		"an event that has another name": {[]string{"page", "sentry.issue.archived"}, "sentry.issue.ignored"},
		"too much":                       {[]string{"page", "sentry.issue.created", "sentry.issue.resolved"}, "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(t.Context(), append([]string{"new-workflow"}, tt.args...), &out, &out)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the error is %v", err)
			}
			if !maps.Equal(filesHere(t), before) {
				t.Error("something has changed")
			}
		})
	}
	// In this order: the list is looked at first.
	for _, broken := range [][2]string{{"README.md", "# No table\n"}, {"workflows/workflows.go", "package workflows\n\nvar All = []string{}\n"}} {
		file, text := broken[0], broken[1]
		t.Run(file+" is not as it was", func(t *testing.T) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			before := filesHere(t)
			if err := run(t.Context(), []string{"new-workflow", "page"}, &bytes.Buffer{}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("the error is %v", err)
			}
			if !maps.Equal(filesHere(t), before) {
				t.Error("something has changed")
			}
		})
	}
}

func TestANewWorkflowThatCannotBeWrittenChangesNothing(t *testing.T) {
	dir := repository(t)
	t.Chdir(dir)
	before := filesHere(t)
	s := skeleton{Folder: "page"}
	err := writeAll(".", filepath.Join("workflows", s.Folder), map[string][]byte{
		"README.md":                   []byte("changed"),
		"workflows/page/page.go":      []byte("package page\n"),
		"workflows/none/there/is.txt": nil,
	})
	if err == nil {
		t.Error("there is no error")
	}
	if !maps.Equal(filesHere(t), before) {
		t.Error("something has changed")
	}
}
