// Package lint finds the mistakes of those who write triage workflows that the
// compiler lets pass and that would show in production: in this repository and in
// teams' own.
package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/tools/go/packages"
)

// Finding is a mistake, or with Warning what may be one.
type Finding struct {
	File    string // relative to the directory that was looked at, if below it
	Line    int
	Text    string // what is wrong, and what to add or change
	Warning bool
}

// String is one line: file, line and text.
func (f Finding) String() string {
	text := f.Text
	if f.Warning {
		text = "warning: " + text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, text)
}

// Run looks at the packages in dir that patterns of the go command are for, as in
// "./...", all of them together: what one defines another has to list. Tests are
// left out. The error is of code that does not build.
func Run(ctx context.Context, dir string, patterns ...string) ([]Finding, error) {
	p, err := load(ctx, dir, patterns)
	if err != nil {
		return nil, err
	}
	asked := p.asked
	// What is listed in a package that was not asked for, such as a library's
	// activities, is looked up there.
	if needs := p.needs(); len(needs) > 0 {
		if p, err = load(ctx, dir, append(slices.Clone(patterns), needs...)); err != nil {
			return nil, err
		}
		p.asked = asked
	}
	l := &linter{program: p, dir: dir}
	l.checkWorkflows()
	l.checkActivities()
	l.checkPurity()
	return l.sorted(), nil
}

// load reads and checks the types of packages, but not of those that they import.
func load(ctx context.Context, dir string, patterns []string) (*program, error) {
	found, err := packages.Load(&packages.Config{Context: ctx, Dir: dir, Mode: packages.LoadSyntax}, patterns...)
	if err != nil {
		return nil, fmt.Errorf("load packages: %w", err)
	}
	var problems []error
	packages.Visit(found, nil, func(p *packages.Package) {
		for _, err := range p.Errors {
			problems = append(problems, err)
		}
	})
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return newProgram(found), nil
}

// linter gathers findings.
type linter struct {
	*program
	dir      string
	findings []Finding
}

// sorted returns the findings in the order of the files.
func (l *linter) sorted() []Finding {
	found := l.findings
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(found)
}

// add adds a finding at a place in the source.
func (l *linter) add(at place, format string, args ...any) { l.find(false, at, format, args...) }

// warn adds what may be a mistake.
func (l *linter) warn(at place, format string, args ...any) { l.find(true, at, format, args...) }

func (l *linter) find(warning bool, at place, format string, args ...any) {
	if l.asked[at.in.PkgPath] {
		position := at.position()
		l.findings = append(l.findings, Finding{l.relative(position.Filename), position.Line, fmt.Sprintf(format, args...), warning})
	}
}

// where is the file and line of a place.
func (l *linter) where(at place) string {
	position := at.position()
	return fmt.Sprintf("%s:%d", l.relative(position.Filename), position.Line)
}

func (l *linter) relative(file string) string {
	dir, err := filepath.Abs(l.dir)
	if err != nil {
		return file
	}
	if inside, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(inside) {
		return filepath.ToSlash(inside)
	}
	return file
}
