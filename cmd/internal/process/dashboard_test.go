package process_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"

	"sentry-temporal/internal/config"
)

// grafana is what matters here of a dashboard.
type grafana struct {
	Templating struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage
		}
	}
	Panels []struct {
		ID          int
		Title, Type string
		Datasource  struct{ UID string }
		Targets     []struct{ Expr string }
	}
}

// dashboard returns the one that there is, which is well-formed.
func dashboard(t *testing.T) grafana {
	t.Helper()
	var d grafana
	if err := json.Unmarshal(readFile(t, "deploy/grafana-dashboard.json"), &d); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, panel := range d.Panels {
		isRow := panel.Type == "row"
		if ids[panel.ID] || panel.Title == "" || isRow != (len(panel.Targets) == 0) || isRow == (panel.Datasource.UID == "${datasource}") {
			t.Errorf("panel %d, %s, is not well-formed", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
	}
	if len(ids) == 0 {
		t.Error("the dashboard is empty")
	}
	return d
}

// asked returns the query that Grafana asks for one of a dashboard.
func asked(query string) string {
	return strings.NewReplacer("$__rate_interval", "5m", "$integration", "(sentry)").Replace(query)
}

// atWork returns a stack in which all that has a metric of its own has happened.
func atWork(t *testing.T) *scene {
	t.Helper()
	s := newScene(t)
	s.ingress()
	s.worker(func(cfg *config.Worker) {
		// What is left out is measured, and does nothing else.
		cfg.Outside.Problems = []config.Problem{{Variable: "SENTRY_ORGANIZATION", Text: "is needed"}}
	})
	s.calm()
	broken.Store(true)
	t.Cleanup(func() { broken.Store(false) })
	for n := range 3 {
		for _, do := range []string{"end", "fail", "panic", "call", "act"} {
			s.tell(do)
		}
		s.post("none", "s1")
		s.post("{}", "another")
		s.await("ingress", "sentry_temporal_journal_pending 0")
		s.await("worker", fmt.Sprintf(`temporal_workflow_completed_total\{.*workflow_type="do_as_told".*\} %d`, 2*(n+1)))
		s.await("worker", fmt.Sprintf(`temporal_workflow_failed_total\{.*workflow_type="do_as_told".*\} %d`, 2*(n+1)))
		s.so(2 * time.Minute)
	}
	return s
}

// Each query of the dashboard finds something in the metrics of a stack that is at work.
func TestTheDashboardShowsAStackAtWork(t *testing.T) {
	s := atWork(t)
	d := dashboard(t)
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	if !slices.Equal(variables, []string{"datasource", "integration"}) {
		t.Errorf("the variables are %v", variables)
	}
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			found, err := s.ask(t.Context(), asked(target.Expr), s.timeOf(s.scrapes-1))
			if err != nil {
				t.Errorf("%s: %s: %v", panel.Title, target.Expr, err)
			}
			if !slices.ContainsFunc(found, func(s promql.Sample) bool { return !math.IsNaN(s.F) }) {
				t.Errorf("%s: %s finds %v", panel.Title, target.Expr, found)
			}
		}
	}
}
