package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"sentry-temporal/activities"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
)

//go:embed template
var templates embed.FS

// The files of the repository that tell of a workflow, besides its folder.
var (
	listFile   = filepath.Join("workflows", "workflows.go")
	readmeFile = "README.md"
)

// skeleton is what the templates are filled with.
type skeleton struct {
	Module, Folder, Name, Title string
	Event, Sample               string
	Parse, Thing                string // the activity that reads the body, and what it returns; "" without one
	Field, Key, Want            string // of the result
}

// newWorkflow makes the workflow called name, which event starts, in the repository
// in dir: its folder, its line in the list and its mark in the README. With an
// error, nothing is changed.
func newWorkflow(dir, name, event string, stdout io.Writer) error {
	s, body, err := design(dir, name, event)
	if err != nil {
		return err
	}
	folder := filepath.Join("workflows", s.Folder)
	changed := map[string][]byte{filepath.Join(folder, "testdata", s.Sample+".json"): body}
	for file, from := range map[string]string{s.Folder + ".go": "workflow.go.tmpl", s.Folder + "_test.go": "workflow_test.go.tmpl"} {
		if changed[filepath.Join(folder, file)], err = s.fill(from); err != nil {
			return err
		}
	}
	if changed[listFile], err = s.listed(dir); err != nil {
		return err
	}
	if changed[readmeFile], err = s.marked(dir); err != nil {
		return err
	}
	if err := writeAll(dir, folder, changed); err != nil {
		return err
	}
	fmt.Fprintf(stdout, `Made %[1]s with code, test and payload, and added the workflow to %[2]s and %[3]s.

Next:
  - write what it does: %[1]s/%[4]s.go
  - see that it does it: go test -run Test%[6]s ./%[1]s/
  - see a run of it: make dev, and in another terminal: go run ./cmd/triage send %[5]s
  - when it is done, record its history, without which its TestHistory fails, and commit it: make histories
  - make test lint
`, filepath.ToSlash(folder), filepath.ToSlash(listFile), readmeFile, s.Folder, s.Sample, s.Title)
	return nil
}

// design returns what a new workflow is made of, and the body of the event.
func design(dir, name, event string) (s skeleton, body []byte, err error) {
	if err := triage.CheckName(name); err != nil {
		return s, nil, err
	}
	if err := triage.CheckEvent(event); err != nil {
		return s, nil, err
	}
	s = skeleton{
		Module: path.Dir(reflect.TypeFor[triage.Keying]().PkgPath()),
		Folder: strings.ReplaceAll(name, "_", ""),
		Name:   name,
		Event:  event,
		Sample: strings.TrimPrefix(event, "sentry."),
		Field:  "Event",
		Key:    "event",
		Want:   event,
	}
	for word := range strings.SplitSeq(name, "_") {
		s.Title += strings.ToUpper(word[:1]) + word[1:]
	}
	if token.IsKeyword(s.Folder) || types.Universe.Lookup(s.Folder) != nil || slices.Contains([]string{"triage", "main", "internal", "vendor", "testdata"}, s.Folder) {
		return s, nil, fmt.Errorf("a package cannot well be called %s: give the workflow another name", s.Folder)
	}
	if body, err = sentry.Sample(s.Sample); err != nil {
		if _, nearest := sentry.KnownEvent(event); nearest != "" {
			return s, nil, fmt.Errorf("there is no sample of the event %s: did you mean %s?", event, nearest)
		}
		return s, nil, fmt.Errorf("there is no sample of the event %s: give one of which there is, and change triage.On afterwards", event)
	}
	if err := free(dir, s); err != nil {
		return s, nil, err
	}
	return s, body, s.read(body)
}

// read has the workflow read the body, if there is an activity that does.
func (s *skeleton) read(body []byte) error {
	ctx := context.Background()
	resource, _, _ := strings.Cut(s.Sample, ".")
	env := sentry.NewEnvelope("sentry", s.Event, nil, body, time.Now())
	var err error
	switch resource {
	case "issue", "activity_alert":
		var issue activities.Issue
		issue, err = activities.ParseIssue(ctx, env)
		s.Parse, s.Thing, s.Field, s.Key, s.Want = "ParseIssue", "issue", "Title", "title", issue.Title
	case "error":
		var event activities.Error
		event, err = activities.ParseError(ctx, env)
		s.Parse, s.Thing, s.Field, s.Key, s.Want = "ParseError", "event", "Title", "title", event.Title
	case "comment":
		var comment activities.Comment
		comment, err = activities.ParseComment(ctx, env)
		s.Parse, s.Thing, s.Field, s.Key, s.Want = "ParseComment", "comment", "Text", "text", comment.Text
	case "event_alert", "metric_alert":
		var alert activities.Alert
		alert, err = activities.ParseAlert(ctx, env)
		s.Parse, s.Thing, s.Field, s.Key, s.Want = "ParseAlert", "alert", "Title", "title", alert.Title
	}
	return err
}

// free returns an error if the name or the folder of a workflow is taken.
func free(dir string, s skeleton) error {
	if _, err := os.Stat(filepath.Join(dir, "workflows", s.Folder)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is a folder workflows/%s already: give the workflow another name", s.Folder)
	}
	sources, err := filepath.Glob(filepath.Join(dir, "workflows", "*", "*.go"))
	if err != nil {
		return err
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte("triage.New("+strconv.Quote(s.Name))) {
			return fmt.Errorf("%s has a workflow called %s already", source, s.Name)
		}
	}
	return nil
}

// fill returns the text of a template.
func (s *skeleton) fill(from string) ([]byte, error) {
	parsed, err := template.ParseFS(templates, "template/"+from)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, s); err != nil {
		return nil, err
	}
	return format.Source(text.Bytes())
}

// listed returns the list of workflows with one more.
func (s *skeleton) listed(dir string) ([]byte, error) {
	file := filepath.Join(dir, listFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	inserted := map[token.Pos]string{} // before these places
	for _, decl := range parsed.Decls {
		g, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		if g.Tok == token.IMPORT && g.Rparen.IsValid() {
			inserted[g.Rparen] = strconv.Quote(s.Module+"/workflows/"+s.Folder) + "\n"
		}
		for _, spec := range g.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || v.Names[0].Name != "All" || len(v.Values) != 1 {
				continue
			}
			if list, ok := v.Values[0].(*ast.CallExpr); ok {
				inserted[list.Rparen] = s.Folder + ".Workflow,\n"
			}
		}
	}
	if len(inserted) != 2 {
		return nil, fmt.Errorf("%s has no imports in brackets and no All = triage.List(...) to add a workflow to", file)
	}
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(inserted))) {
		offset := files.Position(at).Offset
		text = slices.Insert(text, offset, []byte(inserted[at])...)
	}
	return format.Source(text)
}

// marked returns the README with the workflow in the row of its event.
func (s *skeleton) marked(dir string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, readmeFile))
	if err != nil {
		return nil, err
	}
	resource, action, _ := strings.Cut(s.Sample, ".")
	mark := "`" + s.Name + "`: `" + action + "`"
	if s.Event == "sentry.issue.ignored" {
		mark += ", `archived`" // is the same event
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		row, isRow := strings.CutSuffix(line, "|\n")
		if !isRow || !strings.HasPrefix(row, "| `"+resource+"` |") {
			continue
		}
		last := strings.LastIndex(row, "|") + 1
		if there := strings.TrimSpace(row[last:]); there != "" {
			mark = there + "; " + mark
		}
		lines[i] = row[:last] + " " + mark + " |\n"
		return []byte(strings.Join(lines, "")), nil
	}
	return nil, fmt.Errorf("%s has no row of %s in its table of events", readmeFile, resource)
}

// What is written is source code, for whoever may read the rest of it.
const (
	fileMode = 0o644
	dirMode  = 0o755
)

// writeAll writes files below dir, of which those in folder are new. If one cannot
// be written, all is as before.
func writeAll(dir, folder string, files map[string][]byte) (err error) {
	before := map[string][]byte{}
	defer func() {
		if err == nil {
			return
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, folder)))
		for file, text := range before {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, file), text, fileMode))
		}
	}()
	if err := os.MkdirAll(filepath.Join(dir, folder, "testdata"), dirMode); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, file)
		if text, err := os.ReadFile(path); err == nil {
			before[file] = text
		}
		if err := os.WriteFile(path, files[file], fileMode); err != nil {
			return err
		}
	}
	return nil
}
