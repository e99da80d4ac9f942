package outside

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/telemetry"
)

// Status is what is known of whether a system can be used.
type Status string

// The statuses that there are.
const (
	NotConfigured Status = "not configured"
	Unchecked     Status = "being checked" // for the first time
	Ready         Status = "ready"
	NotReady      Status = "not ready"
	WellFormed    Status = "well-formed" // what is set has the right form; the system has no call that tells more without an effect
)

// State is what is known of a system.
type State struct {
	System      string // as in Slack
	Integration string // whose API of Sentry it is; else ""
	Status      Status
	Missing     []string  // lines that say what keeps it from being ready, by variable, scope and channel
	Checked     time.Time // zero before the first time
}

const (
	// checkTimeout bounds a check with all of its requests.
	checkTimeout = time.Minute
	// A system is checked again after this if something is missing, or else.
	checkMissing, checkFine = 3 * time.Minute, time.Hour
	// lookEvery is how often a Watch looks whether there are other destinations.
	lookEvery = 10 * time.Second
	// maxLookedAt bounds how many channels and how many repositories are looked at, so that
	// a check is no burden.
	maxLookedAt = 40
	// maxMissing bounds what is told of a system, in lines.
	maxMissing = 20
)

// Watch checks, by calls that change nothing, whether systems can be used: at once, a few
// minutes later while something is missing, when the destinations change, and every hour.
// Each system is checked for itself: one that hangs delays no other.
type Watch struct {
	systems *Systems
	log     *slog.Logger
	checks  []check

	mu     sync.Mutex
	states []State // of checks
}

// check is one of a system.
type check struct {
	system, integration string
	variables           string // that its problems are of: what they begin with
	// do finds out what is missing for what the destinations name.
	do func(*Systems, context.Context, []destinations.Destination) (Status, []string)
}

// NewWatch returns a Watch of systems that knows nothing yet.
func NewWatch(systems *Systems, integrations []config.Integration, log *slog.Logger) *Watch {
	w := &Watch{systems: systems, log: log}
	for _, integration := range integrations {
		w.checks = append(w.checks, check{
			system: "Sentry", integration: integration.Name, variables: strings.ToUpper(integration.Name) + "_",
			do: func(s *Systems, ctx context.Context, _ []destinations.Destination) (Status, []string) {
				return s.checkSentry(ctx, integration.Name)
			},
		})
	}
	w.checks = append(w.checks,
		check{system: "Slack", variables: "TRIAGE_SLACK_", do: (*Systems).checkSlack},
		check{system: "Slack webhook", variables: config.SlackWebhookURL, do: (*Systems).checkSlackWebhooks},
		check{system: "PagerDuty", variables: "TRIAGE_PAGERDUTY_", do: (*Systems).checkPagerDuty},
		check{system: "GitHub", variables: "TRIAGE_GITHUB_", do: (*Systems).checkGitHub},
		check{system: "Webhook", variables: "TRIAGE_WEBHOOK_", do: (*Systems).checkWebhooks})
	for _, c := range w.checks {
		w.states = append(w.states, State{System: c.system, Integration: c.integration, Status: Unchecked})
	}
	return w
}

// States returns what is known, in a fixed order. It is quick.
func (w *Watch) States() []State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.states)
}

// Run checks until ctx is done. It logs what is missing when it changes, and then every
// hour.
func (w *Watch) Run(ctx context.Context) {
	var group sync.WaitGroup
	for i := range w.checks {
		group.Go(func() {
			var logged time.Time
			for ctx.Err() == nil {
				table := w.table()
				logged = w.check(ctx, i, table, logged)
				w.rest(ctx, i, table)
			}
		})
	}
	group.Wait()
}

// table returns who is told; nil: that is not known.
func (w *Watch) table() *destinations.Table {
	table, err := w.systems.Destinations()
	if err != nil {
		return nil // told elsewhere
	}
	return table
}

// destinationsOf returns the destinations of a table in their order, none if it is nil.
func destinationsOf(table *destinations.Table) []destinations.Destination {
	if table == nil {
		return nil
	}
	var all []destinations.Destination
	for _, rule := range table.Rules() {
		all = append(all, rule.Destination)
	}
	return all
}

// rest waits until it is time to check again.
func (w *Watch) rest(ctx context.Context, i int, table *destinations.Table) {
	pause := checkFine
	if w.States()[i].Status == NotReady {
		pause = checkMissing
	}
	for until := time.Now().Add(pause); time.Now().Before(until) && w.table() == table; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(lookEvery, time.Until(until))):
		}
	}
}

// Once checks all systems once, at the same time, and returns what is known then.
func (w *Watch) Once(ctx context.Context) []State {
	var group sync.WaitGroup
	for i := range w.checks {
		group.Go(func() { w.check(ctx, i, w.table(), time.Time{}) })
	}
	group.Wait()
	return w.States()
}

// check checks a system once, and returns when the log was last told that it is not ready.
func (w *Watch) check(ctx context.Context, i int, table *destinations.Table, logged time.Time) time.Time {
	checking, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	c := w.checks[i]
	next := State{System: c.system, Integration: c.integration}
	next.Status, next.Missing = c.do(w.systems, checking, destinationsOf(table))
	if ctx.Err() != nil {
		return logged // checked for nothing
	}
	for _, p := range w.systems.Problems {
		if w.ofCheck(p.Variable) != i {
			continue
		}
		// The check may have found the same.
		if line := p.Variable + " " + p.Text; !slices.Contains(next.Missing, line) {
			next.Status, next.Missing = NotReady, append(next.Missing, line)
		}
	}
	if more := len(next.Missing) - maxMissing; more > 0 {
		next.Missing = append(next.Missing[:maxMissing:maxMissing], fmt.Sprintf("and %d more", more))
	}
	next.Checked = time.Now()
	w.mu.Lock()
	last := w.states[i]
	w.states[i] = next
	w.mu.Unlock()

	log := w.log.With("system", c.system)
	if c.integration != "" {
		log = log.With(telemetry.KeyIntegration, c.integration)
	}
	changed := last.Status != next.Status || !slices.Equal(last.Missing, next.Missing)
	switch {
	case next.Status == NotReady && (changed || time.Since(logged) >= checkFine):
		log.WarnContext(ctx, "an outside system is not ready", telemetry.KeyReason, strings.Join(next.Missing, "; "))
		return time.Now()
	case changed && next.Status != NotReady && next.Status != NotConfigured:
		log.InfoContext(ctx, "an outside system can be used", "readiness", string(next.Status))
	}
	return logged
}

// ofCheck returns which check a variable belongs to: that with the longest beginning of it.
func (w *Watch) ofCheck(variable string) int {
	found, longest := -1, -1
	for i, c := range w.checks {
		if strings.HasPrefix(variable, c.variables) && len(c.variables) > longest {
			found, longest = i, len(c.variables)
		}
	}
	return found
}

// used returns the values of a field of the destinations, each once, with who names it
// first.
func used(all []destinations.Destination, field func(destinations.Destination) string) (values []string, by map[string]string) {
	by = map[string]string{}
	for _, d := range all {
		if value := field(d); value != "" && by[value] == "" {
			values = append(values, value)
			by[value] = cmp.Or(d.Name, "?")
		}
	}
	return values, by
}

// formed checks the variables of a system that has no call which tells more.
func formed(variables []string, by map[string]string, read func(string) (config.Secret, error)) (Status, []string) {
	var missing []string
	for _, variable := range variables {
		if _, err := read(variable); err != nil {
			missing = append(missing, variable+" "+err.Error()+named(by[variable]))
		}
	}
	switch {
	case len(missing) > 0:
		return NotReady, missing
	case len(variables) == 0:
		return NotConfigured, nil
	}
	return WellFormed, nil
}

// named says which destination needs something, but for the one of the variables.
func named(destination string) string {
	if destination == "variables" {
		return ""
	}
	return " (destination " + destination + ")"
}

func (s *Systems) checkPagerDuty(_ context.Context, all []destinations.Destination) (Status, []string) {
	variables, by := used(all, func(d destinations.Destination) string { return d.PagerDuty })
	return formed(variables, by, s.RoutingKey)
}

func (s *Systems) checkSlackWebhooks(_ context.Context, all []destinations.Destination) (Status, []string) {
	variables, by := used(all, func(d destinations.Destination) string { return d.SlackWebhook })
	return formed(variables, by, s.Address)
}

func (s *Systems) checkWebhooks(_ context.Context, all []destinations.Destination) (Status, []string) {
	variables, by := used(all, func(d destinations.Destination) string { return d.Webhook })
	status, missing := formed(variables, by, s.Address)
	if len(variables) == 0 {
		return status, missing
	}
	if _, err := s.SigningSecret(); err != nil {
		return NotReady, append(missing, config.WebhookSecret+" "+err.Error())
	}
	return status, missing
}

// credential reads the token of a system. With a token that is not set, the system is not
// configured, unless somebody needs it.
func (s *Systems) credential(variable string, needed bool) (token config.Secret, status Status, missing []string) {
	token, err := s.Secret(variable)
	switch {
	case errors.Is(err, config.ErrNotSet) && !needed:
		return "", NotConfigured, nil
	case err != nil:
		return "", NotReady, []string{variable + " " + err.Error()}
	}
	return token, Ready, nil
}

// verdict is Ready if nothing is missing.
func verdict(missing []string) (Status, []string) {
	if len(missing) > 0 {
		return NotReady, missing
	}
	return Ready, nil
}
