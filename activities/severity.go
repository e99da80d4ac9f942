package activities

import (
	"fmt"
	"slices"
	"strings"
)

// How severe something is.
const (
	Critical = "critical"
	High     = "high"
	Medium   = "medium"
	Low      = "low"
)

// severities are all of them, the least severe first.
var severities = []string{Low, Medium, High, Critical}

// What has become of an issue.
const (
	New        = "new"
	Regressed  = "regressed"  // it was resolved, and is there again
	Escalating = "escalating" // it was archived, and there are many more of it
)

// Facts are what [Severity] goes by. What is not known is empty, or 0.
type Facts struct {
	Level       string // fatal, error, warning, info, debug
	Priority    string // of Sentry: high, medium, low
	Users       int    // that it has happened to
	Environment string
	Change      string // New, Regressed or Escalating
	Alert       string // of a metric alert: critical or warning
}

// manyUsers make an issue more severe.
const manyUsers = 100

// harmless are environments, or what their names begin with before a "-" or "_", in which
// nothing wakes anybody.
var harmless = []string{"dev", "development", "local", "test", "testing", "ci", "qa", "stage", "staging", "preview", "sandbox", "demo"}

// Severity returns how severe something is, and why in words.
func Severity(f Facts) (severity, why string) {
	at, reasons := base(f)
	raise := func(most int, reason string) {
		if at < most {
			at++
			reasons = append(reasons, reason)
		}
	}
	if f.Users >= manyUsers {
		raise(len(severities)-1, fmt.Sprintf("%d users have it", f.Users))
	}
	switch f.Change {
	case Regressed:
		raise(slices.Index(severities, High), "it was resolved and is back")
	case Escalating:
		raise(slices.Index(severities, High), "there are many more of it")
	}
	if most := slices.Index(severities, Medium); at > most && isHarmless(f.Environment) {
		at = most
		reasons = append(reasons, "it is in "+f.Environment)
	}
	return severities[at], strings.Join(reasons, "; ")
}

// base returns where severity begins, as an index of severities.
func base(f Facts) (at int, reasons []string) {
	severity, reason := Medium, "its level is not known"
	switch {
	case f.Alert != "":
		if severity = Medium; f.Alert == "critical" {
			severity = Critical
		}
		return slices.Index(severities, severity), []string{"the alert is " + f.Alert}
	case f.Level == "fatal":
		return slices.Index(severities, Critical), []string{"it is fatal"}
	case f.Level == "warning":
		severity, reason = Low, "it is a warning"
	case f.Level == "info", f.Level == "debug", f.Level == "sample":
		return slices.Index(severities, Low), []string{"its level is " + f.Level}
	case f.Level == "error":
		reason = "it is an error"
	}
	at = slices.Index(severities, severity)
	switch f.Priority {
	case "high":
		return at + 1, []string{reason + ", of high priority"}
	case "low":
		return slices.Index(severities, Low), []string{reason + ", of low priority"}
	}
	return at, []string{reason}
}

// isHarmless reports whether nobody is to be woken by what happens in an environment.
func isHarmless(environment string) bool {
	first, _, _ := strings.Cut(strings.ToLower(environment), "-")
	first, _, _ = strings.Cut(first, "_")
	return slices.Contains(harmless, first)
}
