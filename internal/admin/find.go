package admin

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// filter says which deliveries to show: those that have all of what is not empty.
type filter struct {
	// Text is an ID that a delivery has, or a part of its title, in any case.
	Text string
	// Wants are values of facets, in their order.
	Wants [facetCount]string
}

// facet is what a delivery has one or several of, and is found by.
type facet struct {
	Name  string // of the parameter
	Label string
	Fixed []string // the values that there are; nil: those that came
	has   func(DeliveryRecord) []string
}

const (
	facetProject = iota
	facetIntegration
	facetEvent
	facetOutcome
	facetRun
	facetCount
)

var facets = [facetCount]facet{
	{Name: "project", Label: "Project", has: func(d DeliveryRecord) []string { return []string{d.Project} }},
	{Name: "integration", Label: "Integration", has: func(d DeliveryRecord) []string { return []string{d.Integration} }},
	{Name: "event", Label: "Event", has: func(d DeliveryRecord) []string { return []string{d.Event} }},
	{Name: "outcome", Label: "Outcome", Fixed: namesOf(Outcomes), has: func(d DeliveryRecord) []string { return []string{d.Outcome} }},
	{Name: "run", Label: "Run", Fixed: namesOf(RunStates), has: func(d DeliveryRecord) []string {
		var all []string
		for _, r := range d.Runs {
			if status := r.Status(); status != "" && !slices.Contains(all, status) {
				all = append(all, status)
			}
		}
		return all
	}},
}

// paramText is the parameter for the text of a filter.
const paramText = "q"

// deliveryFilter reads a filter from the parameters of a request. What is no
// parameter of it is for others.
func deliveryFilter(given url.Values) filter {
	f := filter{Text: strings.TrimSpace(cut(given.Get(paramText)))}
	for i, facet := range facets {
		f.Wants[i] = cut(given.Get(facet.Name))
	}
	return f
}

// checkFilter reads the parameters of a query. It returns an error if there is one
// that is none of a filter, or one twice: what is misspelt would find too much.
func checkFilter(query string) (url.Values, error) {
	given, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the parameters are malformed")
	}
	names := []string{paramText}
	for _, facet := range facets {
		names = append(names, facet.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case !slices.Contains(names, name):
			return nil, fmt.Errorf("there is no parameter %q here, there are %s", cut(name), strings.Join(names, ", "))
		case len(given[name]) > 1:
			return nil, fmt.Errorf("%s is there twice", name)
		}
	}
	return given, nil
}

// Any reports whether the filter lets less than all through.
func (f filter) Any() bool { return f != filter{} }

// finds reports whether a delivery has the text.
func (f filter) finds(d DeliveryRecord) bool {
	if f.Text == "" {
		return true
	}
	is := func(id string) bool { return strings.EqualFold(id, f.Text) }
	return is(d.RequestID) || is(d.Key) || is(d.IssueID) || is(d.ShortID) ||
		slices.ContainsFunc(d.Runs, func(r RunRecord) bool { return is(r.WorkflowID) || is(r.RunID) }) ||
		strings.Contains(strings.ToLower(d.Title), strings.ToLower(f.Text))
}

// findsUnverified reports whether the filter lets a delivery through of which
// nothing else is known than where it went and its Request-ID.
func (f filter) findsUnverified(d DeliveryRecord) bool {
	integration := f.Wants[facetIntegration]
	return (f.Text == "" || strings.EqualFold(d.RequestID, f.Text) || strings.EqualFold(d.Integration, f.Text)) &&
		(integration == "" || integration == d.Integration)
}

// choices are the values of a facet to choose from.
type choices struct {
	facet
	Chosen string
	Any    int // deliveries that the rest of the filter lets through
	All    []choice
}

type choice struct {
	Name  string
	Count int // of the deliveries that the rest of the filter lets through
}

// choose returns those of all that f lets through, and what there is to choose
// from.
func (f filter) choose(all []DeliveryRecord) (shown []DeliveryRecord, of [facetCount]choices) {
	shown = []DeliveryRecord{}
	var counts [facetCount]map[string]int
	for i, facet := range facets {
		of[i] = choices{facet: facet, Chosen: f.Wants[i]}
		counts[i] = map[string]int{}
	}
	for _, d := range all {
		has := [facetCount][]string{}
		missed, last := 0, 0 // facets that say no, and the last of them
		for i, facet := range facets {
			has[i] = facet.has(d)
			for _, value := range has[i] {
				counts[i][value] += 0 // there is such a one
			}
			if want := f.Wants[i]; want != "" && !slices.Contains(has[i], want) {
				missed, last = missed+1, i
			}
		}
		if !f.finds(d) {
			continue
		}
		if missed == 0 {
			shown = append(shown, d)
		}
		for i := range facets {
			if missed > 1 || missed == 1 && last != i {
				continue
			}
			of[i].Any++
			for _, value := range has[i] {
				counts[i][value]++
			}
		}
	}
	for i, facet := range facets {
		names := facet.Fixed
		if names == nil {
			if f.Wants[i] != "" {
				counts[i][f.Wants[i]] += 0
			}
			delete(counts[i], "")
			names = slices.Sorted(maps.Keys(counts[i]))
		}
		for _, name := range names {
			of[i].All = append(of[i].All, choice{Name: name, Count: counts[i][name]})
		}
	}
	return shown, of
}
