package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// prometheus is what a Prometheus knows of programs that run: real metrics, at times
// that are made up, so that nobody has to wait for them.
type prometheus struct {
	engine  *promql.Engine
	every   time.Duration        // how often it asks for the metrics and looks at the rules
	targets map[string]string    // admin addresses by instance; one that does not answer is down
	scrapes int                  // since the beginning
	series  map[string]*recorded // by labels
	named   map[string][]*recorded
}

// another is an instance that is none of these programs.
const another = "another"

// recorded is a series. Its last sample is stale if the last scrape does not have it.
type recorded struct {
	labels  labels.Labels
	samples []chunks.Sample
	stale   bool
}

// sample implements [chunks.Sample].
type sample struct {
	at int64 // ms
	v  float64
}

func (s sample) T() int64                    { return s.at }
func (s sample) F() float64                  { return s.v }
func (sample) H() *histogram.Histogram       { return nil }
func (sample) FH() *histogram.FloatHistogram { return nil }
func (sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample         { return s }

// watch returns a Prometheus that knows nothing yet.
func watch() *prometheus {
	return &prometheus{
		engine:  promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: 10 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true}),
		every:   time.Minute, // its default
		targets: map[string]string{},
		series:  map[string]*recorded{},
		named:   map[string][]*recorded{},
	}
}

// timeOf is when the scrape n was.
func (p *prometheus) timeOf(n int) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(n) * p.every)
}

// pass asks the targets for their metrics now, and has it be so for a while, in which
// only ages grow.
func (p *prometheus) pass(t *testing.T, while time.Duration) {
	t.Helper()
	found := map[string]float64{}
	of := map[string]labels.Labels{}
	for instance, target := range p.targets {
		job := "sentry-temporal"
		if instance == another {
			job = another
		}
		add := func(l labels.Labels, v float64) {
			b := labels.NewBuilder(l)
			b.Set("job", job)
			b.Set("instance", instance)
			l = b.Labels()
			of[l.String()], found[l.String()] = l, v
		}
		text, err := metricsOf(target)
		up := 0.0
		if err == nil {
			up = 1
		}
		add(labels.FromStrings(labels.MetricName, "up"), up)
		parsing := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
		for {
			entry, err := parsing.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if entry == textparse.EntrySeries {
				var l labels.Labels
				parsing.Labels(&l)
				_, _, v := parsing.Series()
				add(l, v)
			}
		}
	}
	for id, l := range of {
		if p.series[id] == nil {
			r, name := &recorded{labels: l, stale: true}, l.Get(labels.MetricName)
			p.series[id], p.named[name] = r, append(p.named[name], r)
		}
	}
	for n := range max(1, int(while/p.every)) {
		at := p.timeOf(p.scrapes).UnixMilli()
		p.scrapes++
		for id, s := range p.series {
			v, there := found[id]
			switch {
			case there:
				if v > 0 && strings.HasSuffix(s.labels.Get(labels.MetricName), "_age_seconds") {
					v += float64(n) * p.every.Seconds()
				}
				s.samples, s.stale = append(s.samples, sample{at, v}), false
			case !s.stale:
				s.samples, s.stale = append(s.samples, sample{at, math.Float64frombits(value.StaleNaN)}), true
			}
		}
	}
}

// metricsOf returns what a program says of itself.
func metricsOf(target string) ([]byte, error) {
	response, err := http.Get(target + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", target, response.StatusCode)
	}
	return io.ReadAll(response.Body)
}

// Querier implements [storage.Queryable].
func (p *prometheus) Querier(from, to int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		found := &seriesSet{at: -1}
		var name string
		for _, m := range matchers {
			if m.Name == labels.MetricName {
				name = m.Value
			}
		}
		for _, s := range p.named[name] {
			if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
				continue
			}
			begin, _ := slices.BinarySearchFunc(s.samples, from, func(s chunks.Sample, at int64) int { return int(s.T() - at) })
			end, _ := slices.BinarySearchFunc(s.samples, to+1, func(s chunks.Sample, at int64) int { return int(s.T() - at) })
			found.all = append(found.all, storage.NewListSeries(s.labels, s.samples[begin:end]))
		}
		return found
	}}, nil
}

// seriesSet implements [storage.SeriesSet].
type seriesSet struct {
	all []storage.Series
	at  int
}

func (s *seriesSet) Next() bool                      { s.at++; return s.at < len(s.all) }
func (s *seriesSet) At() storage.Series              { return s.all[s.at] }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// ask returns what a query finds at the time of a scrape.
func (p *prometheus) ask(ctx context.Context, query string, at time.Time) (promql.Vector, error) {
	asked, err := p.engine.NewInstantQuery(ctx, p, nil, query, at)
	if err != nil {
		return nil, err
	}
	defer asked.Close()
	result := asked.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	switch v := result.Value.(type) {
	case promql.Vector:
		return slices.Clone(v), nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	}
	return nil, fmt.Errorf("%s is a %s", query, result.Value.Type())
}

// rulesOf returns the alerts of a file as Prometheus reads it.
func rulesOf(t *testing.T, file string) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse(readFile(t, file), false)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	var rules []rulefmt.Rule
	for _, g := range groups.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

// fired is what an alert says, by its name and labels, as in Alert{integration="sentry"}.
type fired map[string]string

// firing returns the alerts that fire after each scrape, with other names instead of
// those of hidden, which are in pairs.
func (p *prometheus) firing(t *testing.T, rules []rulefmt.Rule, hidden []string) []fired {
	t.Helper()
	hide := strings.NewReplacer(hidden...)
	all := make([]fired, p.scrapes)
	for n := range all {
		all[n] = fired{}
	}
	for _, rule := range rules {
		asked, err := p.engine.NewRangeQuery(t.Context(), p, nil, rule.Expr, p.timeOf(0), p.timeOf(p.scrapes-1), p.every)
		if err != nil {
			t.Fatalf("%s: %v", rule.Alert, err)
		}
		found, err := asked.Exec(t.Context()).Matrix()
		if err != nil {
			t.Fatalf("%s: %v", rule.Alert, err)
		}
		for _, s := range found {
			l := labels.NewBuilder(s.Metric).Del(labels.MetricName).Labels()
			id := hide.Replace(rule.Alert + l.String())
			since := s.Floats // of them the first is when it began to be so
			for n, at := range s.Floats {
				if n > 0 && at.T-s.Floats[n-1].T > p.every.Milliseconds() {
					since = s.Floats[n:]
				}
				if time.Duration(at.T-since[0].T)*time.Millisecond >= time.Duration(rule.For) {
					all[(at.T-p.timeOf(0).UnixMilli())/p.every.Milliseconds()][id] = expand(t, rule, l, promql.Sample{T: at.T, F: at.F, Metric: l})
				}
			}
		}
		asked.Close()
	}
	return all
}

// expand returns the summary of an alert.
func expand(t *testing.T, rule rulefmt.Rule, l labels.Labels, s promql.Sample) string {
	t.Helper()
	const before = "{{$labels := .Labels}}{{$value := .Value}}"
	nothing := func(context.Context, string, time.Time) (promql.Vector, error) { return nil, nil }
	summary, err := template.NewTemplateExpander(t.Context(), before+rule.Annotations["summary"], rule.Alert,
		template.AlertTemplateData(l.Map(), nil, "", s), 0, nothing, &url.URL{}, nil).Expand()
	if err != nil {
		t.Fatalf("%s: %v", rule.Alert, err)
	}
	return summary
}

// askedFor returns the selectors of a query.
func askedFor(query string) ([]*parser.VectorSelector, error) {
	parsed, err := parser.ParseExpr(query)
	if err != nil {
		return nil, err
	}
	var found []*parser.VectorSelector
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			found = append(found, selector)
		}
		return nil
	})
	return found, nil
}
