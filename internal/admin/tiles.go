package admin

import (
	"fmt"
	"time"
)

// tile says at the top of a page how it is with something.
type tile struct {
	Name string
	Verdict
	Link  string // to where there is more; "" for nowhere
	Leads string // there
}

// tiles are those of the status page: what is always of interest, and what else is
// not good.
func (s *statusPage) tiles(state StateRecord) []tile {
	temporal := temporalTile(state.Temporal.Verdict, s.admin.UIURL)
	pending := tile{Name: "Journal", Verdict: state.Journal.Verdict}
	if state.Journal.Pending > 0 {
		pending.Link, pending.Leads = "#h-pending", "what is pending"
	}
	parked := tile{Name: "Parked", Verdict: state.Parked.Verdict}
	if state.Parked.Deliveries > 0 {
		parked.Link, parked.Leads = "#h-parked", "what is parked, and why"
	}
	all := []tile{temporal, {Name: "Workers", Verdict: state.Workers.Verdict}, pending, parked, {Name: "Last delivery", Verdict: lastVerdict(state.Integrations)}}
	for _, of := range state.Integrations {
		if of.Secrets.Level != LevelGood {
			all = append(all, tile{Name: "Client Secret of " + of.Integration, Verdict: of.Secrets.Verdict})
		}
	}
	if state.Routes.Level != LevelGood {
		all = append(all, tile{Name: "File of the routes", Verdict: state.Routes.Verdict})
	}
	return all
}

// temporalTile is about Temporal, whose UI is at an address, "" if that is unknown.
func temporalTile(v Verdict, ui string) tile {
	t := tile{Name: "Temporal", Verdict: v}
	if ui != "" {
		t.Link, t.Leads = ui, "Temporal UI"
	}
	return t
}

// lastVerdict is about the last deliveries of all integrations.
func lastVerdict(all []IntegrationRecord) Verdict {
	if len(all) == 1 {
		return all[0].Last.Verdict
	}
	v := verdict(LevelGood, "None since the start")
	last := time.Time{}
	for _, of := range all {
		v.Level = worse(v.Level, of.Last.Level)
		if of.Last.Time.After(last) {
			last, v.Title = of.Last.Time, of.Last.Title
		}
	}
	for _, of := range all[:min(len(all), lastShown)] {
		v.Notes = append(v.Notes, of.Integration+": "+lowerFirst(of.Last.Title))
	}
	if more := len(all) - lastShown; more > 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("and %d more, see below", more))
	}
	return v
}

// lastShown is for how many integrations the tile says when the last delivery came.
const lastShown = 8
