package yamlfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sentry-temporal/internal/config"
)

// maxProblems is what is told of what is wrong.
const maxProblems = 100

// Problem is what is wrong in a file, and where. The first line is 1, as is the
// first column.
type Problem struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"problem"`
}

// String is the problem as a line.
func (p Problem) String() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Text) }

// ProblemsError is all that is wrong in a file, by lines: at least one problem.
type ProblemsError []Problem

// Error has a line for each problem.
func (e ProblemsError) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// ProblemsOf returns err, which came of reading the file at path, as problems of the
// variable that names it.
func ProblemsOf(variable, path string, err error) []config.Problem {
	problems, ok := errors.AsType[ProblemsError](err)
	if !ok {
		return []config.Problem{{Variable: variable, Text: err.Error()}}
	}
	var all []config.Problem
	for _, p := range problems {
		all = append(all, config.Problem{Variable: variable, Text: path + ":" + p.String()})
	}
	return all
}

// inOrder returns the first problems of a file.
func inOrder(all []Problem) []Problem {
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(all) - maxProblems; more > 0 {
		last := all[maxProblems-1]
		last.Text = fmt.Sprintf("and %d more from here on", more+1)
		all = append(all[:maxProblems-1:maxProblems-1], last)
	}
	return all
}
