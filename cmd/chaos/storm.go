package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// storm has one project, or ten, send very much while Temporal is away, and
// looks after what another project has to wait for, and what each gets.
type storm struct {
	deliveries    int
	dir, binaries string
	out           io.Writer

	*stack
}

// soon is how long a quiet project's delivery may take to start.
const soon = time.Second

func (s *storm) run(ctx context.Context) error {
	var err error
	if s.stack, err = newStack(ctx, s.dir, s.binaries); err != nil {
		return err
	}
	defer s.stop()
	return errors.Join(s.one(ctx), s.ten(ctx))
}

// one has one project storm.
func (s *storm) one(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.proxy.hangUp()
	if _, err := s.send(ctx, s.deliveries, 0, s.issues(healthy, "storming"), nil); err != nil {
		return err
	}
	waited, err := s.send(ctx, 1, 1, s.issues(healthy, "quiet"), nil)
	if err != nil {
		return err
	}
	before, _ := s.proxy.inOrder()
	back := time.Now()
	if err := s.proxy.listen(); err != nil {
		return err
	}
	if err := s.awaitMore(ctx, len(before), s.deliveries/4); err != nil {
		return err
	}
	if err := s.awaitStarted(ctx, waited); err != nil {
		return err
	}
	order, _ := s.proxy.inOrder()
	first, _ := s.proxy.started(order[len(before)])
	its, _ := s.proxy.started(waited[0].workflowID)
	place := slices.Index(order[len(before):], waited[0].workflowID) + 1

	late, err := s.send(ctx, 1, 1, s.issues(healthy, "quiet"), nil)
	if err != nil {
		return err
	}
	if err := s.awaitStarted(ctx, late); err != nil {
		return err
	}
	at, _ := s.proxy.started(late[0].workflowID)
	order, _ = s.proxy.inOrder()
	left := s.deliveries + 1 - (len(order) - len(before))
	fmt.Fprintf(s.out, "%d deliveries of a project wait for Temporal; the first starts %.1f s after its return (the longest pause is 10 s)\n", s.deliveries, first.Sub(back).Seconds())
	fmt.Fprintf(s.out, "another project's delivery that came last starts as number %d, %.0f ms after the first\n", place, ms(its.Sub(first)))
	fmt.Fprintf(s.out, "one that comes while %d wait starts %.0f ms after its answer\n", left, ms(at.Sub(late[0].at)))
	if its.Sub(first) > soon || at.Sub(late[0].at) > soon {
		return fmt.Errorf("a storm of one project keeps another waiting for more than %s", soon)
	}
	return nil
}

// ten has ten projects storm, one after the other.
func (s *storm) ten(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.proxy.hangUp()
	const projects = 10
	project := map[string]int{} // by workflow ID
	for i := range projects {
		all, err := s.send(ctx, s.deliveries/2/projects, 0, s.issues(healthy, fmt.Sprintf("storming-%d", i)), nil)
		if err != nil {
			return err
		}
		for _, a := range all {
			project[a.workflowID] = i
		}
	}
	before, _ := s.proxy.inOrder()
	if err := s.proxy.listen(); err != nil {
		return err
	}
	half := s.deliveries / 4
	if err := s.awaitMore(ctx, len(before), half); err != nil {
		return err
	}
	order, _ := s.proxy.inOrder()
	shares := make([]int, projects)
	for _, workflowID := range order[len(before) : len(before)+half] {
		shares[project[workflowID]]++
	}
	fmt.Fprintf(s.out, "ten projects storm with %d deliveries each: when half is started, each has %d to %d of the starts\n",
		s.deliveries/2/projects, slices.Min(shares), slices.Max(shares))
	if float64(slices.Min(shares)) < 0.8*float64(slices.Max(shares)) {
		return fmt.Errorf("ten projects do not share evenly: %d", shares)
	}
	return nil
}

// awaitMore returns once n runs are started besides those before.
func (s *storm) awaitMore(ctx context.Context, before, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		order, another := s.proxy.inOrder()
		if len(order)-before >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d are started: %w", len(order)-before, n, ctx.Err())
		case <-another:
		}
	}
}
