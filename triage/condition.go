package triage

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sentry-temporal/internal/text"
)

const (
	// maxCondition is how long a condition may take, and maxAsked how many
	// evaluations of one there are at once: those that never end count, too.
	maxCondition = 100 * time.Millisecond
	maxAsked     = 4
	// maxPanic bounds what is told of a panic, in bytes: it may hold a body.
	maxPanic = 300
)

// errSlow says that a condition took longer than it may.
var errSlow = fmt.Errorf("the condition has not said within %s", maxCondition)

// When has a workflow run only for the deliveries for which holds returns true. It
// is asked before there is a run: in the ingress if the workflow is compiled into
// it, and else by the run itself, which then ends at once with a [Skipped] as its
// result. holds must be pure: no clock, no environment, nothing outside.
//
// If it panics or takes longer than 100 ms the run starts, and the log says why.
func When(holds func(Delivery) bool) Option {
	if holds == nil {
		panic("triage: When has no function")
	}
	return func(s *settings) {
		if s.condition != nil {
			s.twice = "When"
		}
		s.condition = &condition{holdsFor: holds, slots: make(chan struct{}, maxAsked)}
	}
}

// condition is what [When] says; nil holds always.
type condition struct {
	holdsFor func(Delivery) bool
	slots    chan struct{}
	late     atomic.Int32 // evaluations that nobody waits for any more
}

// holds reports whether the condition holds for d. With an error, which says why
// that is not known, it is true.
func (c *condition) holds(d Delivery) (bool, error) {
	if c == nil {
		return true, nil
	}
	if c.late.Load() >= maxAsked {
		return true, errSlow // else each delivery would wait for one that has no end
	}
	enough := time.NewTimer(maxCondition)
	defer enough.Stop()
	select {
	case c.slots <- struct{}{}:
	case <-enough.C:
		return true, errSlow
	}
	said := make(chan answer, 1)
	var over atomic.Bool // it has ended, or nobody waits for it
	go func() {
		defer func() {
			if over.Swap(true) {
				c.late.Add(-1)
			}
			<-c.slots
		}()
		said <- ask(c.holdsFor, d)
	}()
	select {
	case a := <-said:
		return a.Holds, a.err()
	case <-enough.C:
		if !over.Swap(true) {
			c.late.Add(1)
		}
		return true, errSlow
	}
}

// answer is what a condition said.
type answer struct {
	Holds   bool   `json:"holds"`
	Problem string `json:"problem,omitempty"`
}

func (a answer) err() error {
	if a.Problem == "" {
		return nil
	}
	return errors.New(a.Problem)
}

func ask(holds func(Delivery) bool, d Delivery) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a = answer{Holds: true, Problem: "the condition panics: " + text.Shorten(text.Line(text.Cut(fmt.Sprint(p), 4*maxPanic)), maxPanic)}
		}
	}()
	return answer{Holds: holds(d)}
}

// asked is what the condition says of env.
func (c *condition) asked(env Envelope) answer {
	holds, err := c.holds(DeliveryOf(env))
	a := answer{Holds: holds}
	if err != nil {
		a.Problem = err.Error()
	}
	return a
}
