package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/yamlfile"
)

// errWrongFile says that a file of routes or destinations cannot be used.
var errWrongFile = errors.New("the file cannot be used")

// printProblems prints a line for each, as editors know it; what is a word before each.
func printProblems(w io.Writer, path, what string, problems []yamlfile.Problem) {
	for _, p := range problems {
		fmt.Fprintf(w, "%s:%d:%d: %s%s\n", path, p.Line, p.Column, what, p.Text)
	}
}

const warning = "warning: "

// wrongIn returns what is wrong in a file, if that is what err says.
func wrongIn(err error) (yamlfile.ProblemsError, error) {
	if problems, wrong := errors.AsType[yamlfile.ProblemsError](err); wrong {
		return problems, nil
	}
	return nil, err
}

// fileAndDelivery wants a path, and a sample or the path of a body.
func fileAndDelivery() cobra.PositionalArgs {
	return cobra.MatchAll(cobra.ExactArgs(2), func(_ *cobra.Command, args []string) error {
		if _, err := sentry.Sample(args[1]); err == nil {
			return nil
		}
		if _, err := os.Stat(args[1]); err != nil {
			return fmt.Errorf("%s is neither a sample nor a file: triage send --list lists the samples", args[1])
		}
		return nil
	})
}

// readDelivery returns the envelope of a sample or of a body file, whose resource may be
// "" as far as the body says it.
func readDelivery(delivery, resource, integration string) (sentry.Envelope, error) {
	body, err := sentry.Sample(delivery)
	if err == nil {
		resource, _, _ = strings.Cut(delivery, ".")
	} else if body, err = os.ReadFile(delivery); err != nil {
		return sentry.Envelope{}, err
	}
	event, err := sentry.EventName(resource, body)
	if err != nil {
		return sentry.Envelope{}, fmt.Errorf("%s would be refused: %w", delivery, err)
	}
	return sentry.Envelope{IntegrationID: integration, EventType: event, Body: sentry.Body(body)}, nil
}

// without says that a list of projects, or of what else the word says, has nothing of what
// a delivery has.
func without(what string, list []string, has ...string) string {
	of := fmt.Sprintf("it is for the %ss %s, and ", what, strings.Join(list, ", "))
	if len(has) == 0 || has[0] == "" {
		return of + "the delivery has none"
	}
	return of + "the delivery's is " + strings.Join(has, ", ")
}
