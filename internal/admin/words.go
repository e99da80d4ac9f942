package admin

import (
	"slices"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

// Outcomes of deliveries that were taken and are not to be started by themselves.
const (
	outcomeParked    = "parked"
	outcomeDiscarded = "discarded"
)

// runUnknown is said of a run of whose state nothing is known.
const runUnknown = "unknown"

// Meaning is a word that the page uses, and what it means.
type Meaning struct{ Name, Text string }

// Outcomes are what may have become of a delivery, in the order of the page.
var Outcomes = []Meaning{
	{string(starter.Started), "its runs are started in Temporal"},
	{string(starter.Existing), "the runs were there before it: it came a second time, or falls into a run that several deliveries share"},
	{string(starter.Accepted), "it is kept, and its runs are started as soon as Temporal takes them"},
	{outcomeParked, "it is kept, and not started by itself: somebody has to put it back or discard it"},
	{outcomeDiscarded, "it was kept, and somebody has discarded it"},
	{string(starter.Ignored), "no workflow runs for it, and nothing is kept; its row says why"},
	{web.Refused, "the sender is wrong: it was answered 4xx"},
	{web.Failed, "it could not be kept: it was answered 5xx"},
}

// RunStates are what Temporal may have said of a run, in the order of the page.
var RunStates = []Meaning{
	{RunRunning, "it is under way"},
	{RunUntaken, "no worker takes it, or its next activity"},
	{RunStuck, "it is under way and gets no further: its code fails, or no worker has what it calls"},
	{RunCompleted, "it has ended with a result"},
	{RunFailed, "it has ended with an error"},
	{RunTimedOut, "it has taken longer than it may"},
	{RunTerminated, "somebody has terminated it"},
	{RunCanceled, "somebody has canceled it"},
	{RunMissing, "Temporal does not have it any more"},
	{runUnknown, "Temporal has not been asked yet, or has not answered"},
}

// parkedWords say why a delivery is parked.
var parkedWords = map[journal.Code]string{
	journal.Refused:       "Temporal can never take it",
	journal.TooLarge:      "it is too large for Temporal",
	journal.NotConfigured: "its integration or its namespace is not configured",
	journal.Damaged:       "its record cannot be read any more",
	journal.Bug:           "a bug of this server",
	journal.GaveUp:        "it has failed often while others have not",
	journal.ByHand:        "it was parked by hand",
}

// meaningOf returns what a word means; "" if it is none of them.
func meaningOf(meanings []Meaning, name string) string {
	for _, m := range meanings {
		if m.Name == name {
			return m.Text
		}
	}
	return ""
}

// namesOf returns the words of which the meanings are.
func namesOf(meanings []Meaning) []string {
	names := make([]string, len(meanings))
	for i, m := range meanings {
		names[i] = m.Name
	}
	return names
}

// isFinal reports whether a run in this state stays in it.
func isFinal(status string) bool {
	return slices.Contains([]string{RunCompleted, RunFailed, RunTimedOut, RunTerminated, RunCanceled, RunMissing}, status)
}
