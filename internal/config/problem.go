package config

import "strings"

// Problem is what is odd about a variable.
type Problem struct {
	Variable string `json:"variable"`
	Text     string `json:"problem"` // without the value of a secret, nor a piece of it
}

// String is the problem as a line.
func (p Problem) String() string { return p.Variable + ": " + p.Text }

// ProblemsError is all that keeps a program from starting, at least one problem.
type ProblemsError []Problem

// Error has a line for each problem.
func (e ProblemsError) Error() string {
	lines := []string{"configuration:"}
	for _, p := range e {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}
