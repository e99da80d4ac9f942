package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/text"
)

const (
	// staleAfter is how long an answer of Temporal is believed.
	staleAfter = 15 * time.Second
	// laneBad is how long starts may fail before that is more than a hiccup.
	laneBad = 5 * time.Second
	// oldestBad is how long a delivery may wait for Temporal.
	oldestBad = 2 * time.Minute
	// fullBad is the part of the journal that may be full.
	fullBad = 0.7
	// untakenBad is how long a run may wait for a worker if none takes any, and
	// behindBad how long if they do.
	untakenBad = 5 * time.Second
	behindBad  = time.Minute
	// quiet is how long an integration may send nothing.
	quiet = 24 * time.Hour
)

// StartsFail is what the problem of a namespace begins with that answers and
// takes no starts.
const StartsFail = "starts fail: "

// worse returns the worse of two levels.
func worse(a, b Level) Level {
	order := []Level{LevelGood, LevelUnknown, LevelBusy, LevelBad}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

func verdict(level Level, title string, notes ...string) Verdict {
	return Verdict{Level: level, Title: title, Notes: append([]string{}, notes...)} // [] in JSON, not null
}

// state returns how it is now.
func (s *statusPage) state() StateRecord {
	now := time.Now()
	record := StateRecord{
		Instance: s.Instance, Time: now.UTC().Round(0), Level: LevelGood,
		Temporal: s.temporalRecord(now),
		Workers:  s.workersRecord(now),
		Routes:   s.routesRecord(),
	}
	record.Journal, record.Parked = s.journalRecords()
	for _, level := range []Level{record.Temporal.Level, record.Workers.Level, record.Journal.Level, record.Parked.Level, record.Routes.Level} {
		record.Level = worse(record.Level, level)
	}
	secrets := s.Secrets()
	for i, integration := range s.Integrations {
		of := IntegrationRecord{
			Integration: integration.Name,
			Last:        s.lastRecord(integration.Name, now),
			Secrets:     secretsRecord(secrets[i], now),
		}
		record.Integrations = append(record.Integrations, of)
		record.Level = worse(record.Level, worse(of.Last.Level, of.Secrets.Level))
	}
	return record
}

// temporalRecord is about the namespaces.
func (s *statusPage) temporalRecord(now time.Time) TemporalRecord {
	var lanes []LaneState
	if s.Lanes != nil {
		lanes = s.Lanes()
	}
	return temporalRecordOf(s.admin.Temporal(), lanes, now)
}

func temporalRecordOf(states []NamespaceState, lanes []LaneState, now time.Time) TemporalRecord {
	record := TemporalRecord{Namespaces: []NamespaceRecord{}}
	level, good := LevelGood, 0
	for _, state := range states {
		of := NamespaceRecord{
			Connection: state.Connection, Namespace: state.Namespace,
			Status: state.Status, Problem: state.Problem, Asked: state.Asked,
		}
		for _, lane := range lanes {
			if lane.Connection == state.Connection && lane.Namespace == state.Namespace {
				of.Lane = lane
				of.Lane.Failing = text.Shorten(text.Line(lane.Failing), maxProblem)
			}
		}
		of.Verdict = namespaceVerdict(of, now)
		level = worse(level, of.Level)
		if of.Level == LevelGood {
			good++
		}
		record.Namespaces = append(record.Namespaces, of)
	}
	record.Verdict = temporalVerdict(record.Namespaces, level, good)
	return record
}

// temporalVerdict is that of all namespaces, of which as many as good are all
// right.
func temporalVerdict(all []NamespaceRecord, level Level, good int) Verdict {
	v := verdict(level, "Answers")
	switch {
	case level == LevelGood:
		return v
	case len(all) == 1:
		v.Title = all[0].Title
	default:
		v.Title = fmt.Sprintf("Well for %d of %d namespaces", good, len(all))
	}
	for _, of := range all {
		if of.Level != LevelGood {
			v.Notes = append(v.Notes, placed(of, len(all) > 1)...)
		}
	}
	return v
}

// placed returns the notes on a namespace, with its name and what is wrong in
// front if there are several.
func placed(of NamespaceRecord, several bool) []string {
	name := nameOf(of.Connection, of.Namespace) + ": "
	if !several {
		if len(of.Notes) == 0 {
			return nil
		}
		return append([]string{name + of.Notes[0]}, of.Notes[1:]...)
	}
	return append([]string{name + lowerFirst(of.Title)}, of.Notes...)
}

// namespaceVerdict says how it is with a namespace.
func namespaceVerdict(of NamespaceRecord, now time.Time) Verdict {
	v := answerVerdict(of, now)
	if of.Lane.Failing == "" {
		if of.Lane.Waiting > 0 && v.Level == LevelBad {
			v.Notes = append(v.Notes, count(of.Lane.Waiting, "delivery waits", "deliveries wait")+" for it")
		}
		return v
	}
	waits := count(of.Lane.Waiting, "delivery waits", "deliveries wait") + " for " + ageText(max(0, now.Sub(of.Lane.Since)))
	switch {
	case v.Level == LevelBad:
		v.Notes = append(v.Notes, waits)
	case now.Sub(of.Lane.Since) > laneBad:
		v = verdict(LevelBad, "Takes no starts", of.Lane.Failing, waits)
	default:
		v = verdict(LevelBusy, "Starts are repeated", of.Lane.Failing, waits)
	}
	return v
}

// answerVerdict says what Temporal answers for a namespace.
func answerVerdict(of NamespaceRecord, now time.Time) Verdict {
	switch {
	case of.Status == StatusUnknown || of.Asked.IsZero():
		return verdict(LevelUnknown, "Is being asked")
	case now.Sub(of.Asked) > staleAfter:
		return verdict(LevelUnknown, "Not known", "asked "+ageText(now.Sub(of.Asked))+" ago")
	case of.Status == StatusUnreachable:
		return verdict(LevelBad, "Does not answer", of.Problem)
	case strings.HasPrefix(of.Problem, StartsFail):
		// The lane knows better whether that is still so, and since when.
		if of.Lane.Failing != "" {
			return verdict(LevelGood, "Answers")
		}
		return verdict(LevelBusy, "Starts are repeated", strings.TrimPrefix(of.Problem, StartsFail))
	case of.Status == StatusRefused:
		return verdict(LevelBad, "Refuses", of.Problem)
	}
	return verdict(LevelGood, "Answers")
}

// workersRecord is about the task queues.
func (s *statusPage) workersRecord(now time.Time) WorkersRecord {
	record := WorkersRecord{Queues: []QueueRecord{}}
	if s.Queues == nil {
		record.Verdict = verdict(LevelUnknown, "Not known")
		return record
	}
	level, good := LevelGood, 0
	for _, state := range s.Queues() {
		of := QueueRecord{Verdict: queueVerdict(state, now), QueueState: state}
		level = worse(level, of.Level)
		if of.Level == LevelGood {
			good++
		}
		record.Queues = append(record.Queues, of)
	}
	record.Verdict = verdict(level, "Poll for work")
	switch n := len(record.Queues); {
	case n == 0:
		record.Verdict = verdict(LevelGood, "None needed", "no run is to go to any task queue")
	case level == LevelGood:
	case n == 1:
		record.Title = record.Queues[0].Title
	default:
		record.Title = fmt.Sprintf("Well for %d of %d task queues", good, n)
	}
	for _, of := range record.Queues {
		switch notes := of.Notes; {
		case of.Level != LevelGood && len(record.Queues) > 1:
			record.Notes = append(append(record.Notes, queueName(of.QueueState)+": "+lowerFirst(of.Title)), notes...)
		case len(notes) > 0:
			record.Notes = append(append(record.Notes, queueName(of.QueueState)+": "+notes[0]), notes[1:]...)
		}
	}
	return record
}

// queueVerdict says how it is with a task queue.
func queueVerdict(q QueueState, now time.Time) Verdict {
	switch {
	case q.Asked.IsZero() && q.Problem == "":
		return verdict(LevelUnknown, "Is being asked")
	case q.Asked.IsZero():
		return verdict(LevelUnknown, "Not known", q.Problem)
	case now.Sub(q.Asked) > staleAfter:
		notes := []string{"asked " + ageText(now.Sub(q.Asked)) + " ago"}
		if q.Problem != "" {
			notes = append(notes, q.Problem)
		}
		return verdict(LevelUnknown, "Not known", notes...)
	}
	runs, activities := kindVerdict(q.Workflow, now, "run waits", "runs wait"), kindVerdict(q.Activity, now, "activity waits", "activities wait")
	v := runs
	switch {
	case activities.Level == LevelBad && runs.Level != LevelBad:
		v = activities
	case activities.Level == LevelBad:
		v.Notes = append(v.Notes, activities.Title)
	case q.Workflow.Pollers > 0 && q.Activity.Pollers == 0:
		v.Notes = append(v.Notes, "its workers take runs and no activities")
	case worse(runs.Level, activities.Level) != runs.Level:
		v = activities
	}
	return v
}

// kindVerdict says how it is with the tasks of a kind, which are called one or
// several.
func kindVerdict(k KindState, now time.Time, one, several string) Verdict {
	waits, age := count(int(k.Backlog), one, several), time.Duration(k.BacklogAgeSeconds*float64(time.Second))
	switch {
	case k.Counted && k.Backlog > 0 && k.Pollers == 0:
		return verdict(LevelBad, waits+" and no worker polls", noPoll(k, now))
	case k.Counted && age > untakenBad && k.Untaken:
		return verdict(LevelBad, waits+" and no worker takes any", "the first for "+ageText(age), lastPoll(k, now))
	case k.Counted && age > behindBad:
		return verdict(LevelBad, waits+" for "+ageText(age), "workers take some, and too few")
	case k.Pollers == 0:
		return verdict(LevelBusy, "No worker polls", noPoll(k, now))
	case !k.Counted:
		return verdict(LevelUnknown, "Workers poll", "this Temporal server does not say how much waits for them")
	case age > untakenBad:
		return verdict(LevelBusy, waits+" for "+ageText(age))
	}
	return verdict(LevelGood, "Poll for work")
}

// noPoll says since when no worker polls.
func noPoll(k KindState, now time.Time) string {
	if k.LastPoll.IsZero() {
		return "none has for " + ageText(max(0, now.Sub(k.Since))+pollsKept) + " at least; what was before, the server does not remember"
	}
	return lastPoll(k, now)
}

// lastPoll says when a worker polled last, which a server remembers for as long as
// pollsKept.
func lastPoll(k KindState, now time.Time) string {
	return "the last one did " + ageText(max(0, now.Sub(k.LastPoll))) + " ago"
}

// journalRecords are about the journal and what is parked in it.
func (s *statusPage) journalRecords() (JournalRecord, ParkedRecord) {
	stats := s.Journal()
	kept := JournalRecord{
		Pending: stats.Pending, PendingBytes: stats.PendingBytes, MaxBytes: stats.MaxBytes,
		OldestSeconds: stats.OldestAge.Seconds(), Committed: stats.Committed, CommitMS: float64(stats.Commit.Microseconds()) / 1000,
	}
	var err error
	if s.JournalReady != nil {
		err = s.JournalReady()
	}
	if err != nil {
		kept.Problem = err.Error()
	}
	kept.Verdict = journalVerdict(stats, err)
	parked := ParkedRecord{Verdict: verdict(LevelGood, "None"), Deliveries: stats.Parked, Bytes: stats.ParkedBytes, MaxBytes: stats.MaxParkedBytes}
	if stats.Parked > 0 {
		parked.Verdict = verdict(LevelBad, fmt.Sprint(stats.Parked), sizeText(stats.ParkedBytes)+", waiting for you")
	}
	return kept, parked
}

// journalVerdict says how it is with a journal that cannot keep a delivery for
// the reason in err.
func journalVerdict(stats journal.Stats, err error) Verdict {
	waits := fmt.Sprintf("%d pending", stats.Pending)
	var notes []string
	if stats.Pending > 0 {
		notes = []string{fmt.Sprintf("%s of %s, the oldest for %s", sizeText(stats.PendingBytes), sizeText(stats.MaxBytes), ageText(stats.OldestAge))}
	}
	switch {
	case errors.Is(err, journal.ErrFull):
		return verdict(LevelBad, "Full", append([]string{"deliveries are refused", waits}, notes...)...)
	case err != nil:
		return verdict(LevelBad, "Keeps nothing", append([]string{err.Error(), "deliveries are refused"}, notes...)...)
	case stats.MaxBytes > 0 && float64(stats.PendingBytes) > fullBad*float64(stats.MaxBytes):
		return verdict(LevelBad, "Nearly full", append([]string{waits}, notes...)...)
	case stats.OldestAge > oldestBad:
		return verdict(LevelBad, waits, notes...)
	case stats.Pending > 0:
		return verdict(LevelBusy, waits, notes...)
	}
	return verdict(LevelGood, waits, "nothing waits for Temporal")
}

// lastRecord is about the last delivery of an integration.
func (s *statusPage) lastRecord(integration string, now time.Time) LastRecord {
	last, began := s.Recent.lastOf(integration), s.Recent.began
	record := LastRecord{Time: last}
	switch since := now.Sub(last); {
	case !last.IsZero() && since <= quiet:
		record.Verdict = verdict(LevelGood, ageText(since)+" ago")
	case !last.IsZero():
		record.Verdict = verdict(LevelBusy, ageText(since)+" ago", "nothing has come for more than a day")
	case now.Sub(began) > quiet:
		record.Verdict = verdict(LevelBusy, "None since the start", "that was "+ageText(now.Sub(began))+" ago")
	default:
		record.Verdict = verdict(LevelUnknown, "None since the start", "that was "+ageText(now.Sub(began))+" ago")
	}
	return record
}

// mismatchShown is how long it is bad that a delivery of an installation that is
// known has matched no secret, unless there are other secrets by then.
const mismatchShown = 10 * time.Minute

// secretsRecord is about the Client Secrets of an integration.
func secretsRecord(s keyring.State, now time.Time) SecretsRecord {
	record := SecretsRecord{
		Valid: s.Secrets, Mismatches: s.Mismatches, Mismatched: s.Mismatched,
		Held: s.Held, Taken: s.Taken, Dropped: s.Dropped, Problem: s.Problem,
	}
	numbers := fmt.Sprintf("%d refused, %d held, %d taken, %d dropped", s.Mismatches, s.Held, s.Taken, s.Dropped)
	file := s.Problem + ". The secrets from before are valid."
	switch {
	case s.Held > 0 || s.Mismatched.After(s.Changed) && now.Sub(s.Mismatched) < mismatchShown:
		advice := "Was it rotated in Sentry? Put the new one in front of the others in its variable and restart the ingress."
		if s.FromFile {
			advice = "Was it rotated in Sentry? Put the new one in front of the others in its file: what is held is taken then."
		}
		record.Verdict = verdict(LevelBad, "Does not match any more", advice, numbers)
		if s.Problem != "" {
			record.Notes = append(record.Notes, file)
		}
	case s.Problem != "":
		record.Verdict = verdict(LevelBad, "Its file cannot be used", file)
	default:
		record.Verdict = verdict(LevelGood, count(s.Secrets, "secret is valid", "secrets are valid"))
	}
	return record
}

// routesRecord is about the file of the routes.
func (s *statusPage) routesRecord() RoutesRecord {
	routes := s.Routes()
	record := RoutesRecord{Verdict: verdict(LevelGood, count(len(routes.Routes), "route", "routes")), File: routes.File, Problem: routes.Problem}
	if routes.Problem != "" {
		record.Verdict = verdict(LevelBad, "Cannot be used", append(linesOf(routes.Problem), "The routes from before are used.")...)
	}
	return record
}

// nameOf is what a namespace is called among those of several connections.
func nameOf(connection, namespace string) string {
	if connection == "" {
		return namespace
	}
	return connection + ", " + namespace
}

func queueName(q QueueState) string {
	return nameOf(q.Connection, q.Namespace) + ", " + q.TaskQueue
}

// count returns a number with what it is of.
func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

func lowerFirst(s string) string { return strings.ToLower(s[:min(1, len(s))]) + s[min(1, len(s)):] }
