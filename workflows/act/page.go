package act

import (
	"strconv"
	"time"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
)

// What a page is, for [triage.Latest]: at the same second it is resolved.
const (
	open     = "open"
	resolved = "resolved"
)

// noting bounds what a page waits for: it goes out, whatever is known of it.
const noting = 5 * time.Second

// alreadyResolved is why nobody is woken.
const alreadyResolved = "it is resolved by now"

// page wakes somebody, unless it was resolved before this run came to it. If it is
// resolved meanwhile, the run that says so may find no alert to resolve, since none is
// open yet: then this one resolves it.
func (e *Effect) page(ctx workflow.Context, d activities.Decision, step activities.Step, at time.Time) error {
	var duty *activities.PagerDuty
	now := triage.State{Name: open, At: at}
	newest, err := triage.Latest(ctx, step.Key, now, triage.Within(noting))
	if err == nil && newest.Name == resolved {
		e.skip(alreadyResolved)
		return nil
	}
	paged, pageErr := triage.Do(ctx, duty.TriggerPage, activities.Page{
		Variable: step.To, Key: step.Key, Severity: severityOfPage(d.Severity), Card: d.Card,
	})
	e.Name, e.Note = paged.Key, paged.Note
	// Also after an error, with which somebody may have been woken.
	newest, err = triage.Latest(ctx, step.Key, now)
	switch {
	case err != nil:
		e.add("whether it is resolved meanwhile is not known: " + reason(err))
	case newest.Name == resolved:
		if _, err := triage.Do(ctx, duty.ResolvePage, activities.PageRef{Variable: step.To, Key: step.Key}); err != nil {
			e.add("it was resolved meanwhile, and is open: " + reason(err))
		} else {
			e.add("it was resolved meanwhile, and resolved again")
		}
	}
	return pageErr
}

// noteResolved notes for all runs that the pages that d resolves are: the future has the
// newest state of them.
func noteResolved(ctx workflow.Context, d activities.Decision, at time.Time) workflow.Future {
	future, done := workflow.NewFuture(ctx)
	for _, step := range d.Steps {
		if step.Effect == activities.EffectResolve && step.Skipped == "" {
			workflow.Go(ctx, func(ctx workflow.Context) {
				newest, err := triage.Latest(ctx, step.Key, triage.State{Name: resolved, At: at})
				done.Set(newest, err)
			})
			return future
		}
	}
	return future
}

// resolve resolves a page, unless it was opened again after what this run tells of.
func (e *Effect) resolve(ctx workflow.Context, step activities.Step, noted workflow.Future) error {
	var newest triage.State
	unknown := noted.Get(ctx, &newest)
	if unknown == nil && newest.Name == open {
		e.skip("it is open again by now")
		return nil
	}
	var duty *activities.PagerDuty
	accepted, err := triage.Do(ctx, duty.ResolvePage, activities.PageRef{Variable: step.To, Key: step.Key})
	e.Name, e.Note = accepted.Key, accepted.Note
	if unknown != nil {
		e.add("whether it is open again since, or is about to be opened, is not known: " + reason(unknown))
	}
	return err
}

func (e *Effect) add(note string) {
	if e.Note != "" {
		note = e.Note + "; " + note
	}
	e.Note = note
}

// severityOfPage is what PagerDuty calls a severity.
func severityOfPage(severity string) string {
	switch severity {
	case activities.Critical:
		return "critical"
	case activities.High:
		return "error"
	case activities.Medium:
		return "warning"
	}
	return "info"
}

func digits(n int) string { return strconv.Itoa(n) }
