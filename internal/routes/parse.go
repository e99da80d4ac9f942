package routes

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
	"sentry-temporal/triage"
)

// What a file may have at most.
const (
	// MaxFile is in bytes. A larger file is refused before it is parsed.
	MaxFile = 256 << 10
	// MaxRoutes is in routes, and maxList in what a list of one of them has.
	MaxRoutes = 1000
	maxList   = 100
	// maxNamespaces is how many namespaces routes name: each is a connection.
	maxNamespaces = 50
	// maxProblems is what is told of what is wrong.
	maxProblems = 100
)

// Problem is what is wrong in a file, and where. The first line is 1, as is the
// first column.
type Problem struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"problem"`
}

// String is the problem as a line.
func (p Problem) String() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Text) }

// ProblemsError is all that is wrong in a file, by lines: at least one problem.
type ProblemsError []Problem

// Error has a line for each problem.
func (e ProblemsError) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Parse returns the table of a file for the workflows that are compiled in and the
// integrations that are configured. The error is a [ProblemsError].
//
// It takes bounded memory and time whatever it is given.
func Parse(file []byte, workflows []triage.Workflow, integrations []config.Integration) (*Table, error) {
	p := &parser{compiled: map[string]triage.Workflow{}, lines: map[string]int{}, namespaces: map[string]bool{}}
	for _, w := range workflows {
		p.compiled[w.Name()] = w
	}
	for _, integration := range integrations {
		p.integrations = append(p.integrations, integration.Name)
	}
	all := p.file(file)
	if len(p.problems) > 0 {
		return nil, ProblemsError(inOrder(p.problems))
	}
	t := newTable(all, workflows, integrations)
	t.warnings = inOrder(p.warnings)
	return t, nil
}

// inOrder returns the first problems of a file.
func inOrder(all []Problem) []Problem {
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(all) - maxProblems; more > 0 {
		last := all[maxProblems-1]
		last.Text = fmt.Sprintf("and %d more from here on", more+1)
		all = append(all[:maxProblems-1:maxProblems-1], last)
	}
	return all
}

// parser collects what is wrong.
type parser struct {
	compiled     map[string]triage.Workflow
	integrations []string
	lines        map[string]int // of routes, by what they are for
	namespaces   map[string]bool
	problems     []Problem
	warnings     []Problem
}

func (p *parser) bad(at *yaml.Node, format string, args ...any) {
	p.problems = append(p.problems, Problem{at.Line, at.Column, fmt.Sprintf(format, args...)})
}

func (p *parser) warn(at *yaml.Node, format string, args ...any) {
	p.warnings = append(p.warnings, Problem{at.Line, at.Column, fmt.Sprintf(format, args...)})
}

// start is where a file begins.
var start = &yaml.Node{Line: 1, Column: 1}

func (p *parser) file(file []byte) []Route {
	if len(file) > MaxFile {
		p.bad(start, "the file has more than %d bytes", MaxFile)
		return nil
	}
	root := p.document(file)
	if root == nil {
		return nil
	}
	var all []Route
	p.mapping(root, "the file", []string{"routes"}, func(_ string, _, value *yaml.Node) {
		for _, item := range p.items(value, "routes", MaxRoutes) {
			all = append(all, p.route(item))
		}
	}, "routes")
	return all
}

// yamlError is an error of the YAML library.
var yamlError = regexp.MustCompile(`^(?:yaml: )?(?:line ([0-9]+): )?(.*)`)

// document returns the root of the only document in a file, nil if it has none.
func (p *parser) document(file []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	var document, second yaml.Node
	switch err := decode(decoder, &document); {
	case errors.Is(err, io.EOF), err == nil && len(document.Content) == 0:
		p.bad(start, "the file is empty: it has to begin with routes:")
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	if err := decode(decoder, &second); err == nil {
		p.bad(&second, "a second document begins here: there can be one")
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
	}
	return document.Content[0]
}

// decode makes an error of a panic of the library.
func decode(decoder *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("is not YAML: %v", r)
		}
	}()
	return decoder.Decode(into)
}

func (p *parser) syntax(err error) {
	at := *start
	parts := yamlError.FindStringSubmatch(err.Error())
	if line, err := strconv.Atoi(parts[1]); err == nil {
		at.Line = line
	}
	p.bad(&at, "is not YAML: %s", clip(parts[2]))
}

// plain reports whether n is nothing but what stands there.
func (p *parser) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode, n.Anchor != "":
		p.bad(n, "anchors and aliases are not taken: write it out")
	case n.Style&yaml.TaggedStyle != 0:
		p.bad(n, "tags are not taken")
	default:
		return true
	}
	return false
}

// mapping calls take for each key of n that is one of keys; needed are those that
// have to be there.
func (p *parser) mapping(n *yaml.Node, what string, keys []string, take func(key string, at, value *yaml.Node), needed ...string) {
	if !p.plain(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		p.bad(n, "%s is %s, not keys with values", what, kindOf(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		at, value := n.Content[i], n.Content[i+1]
		key, ok := p.text(at, "a key")
		if !ok {
			continue
		}
		switch line, twice := seen[key]; {
		case !slices.Contains(keys, key):
			p.bad(at, "%s is not known%s", quoted(key), didYouMean(key, keys))
		case twice:
			p.bad(at, "%s stands in line %d already", key, line)
		default:
			seen[key] = at.Line
			take(key, at, value)
		}
	}
	for _, key := range needed {
		if seen[key] == 0 {
			p.bad(n, "%s has no %s", what, key)
		}
	}
}

// items returns what is in a list, at least one and at most so many.
func (p *parser) items(n *yaml.Node, what string, most int) []*yaml.Node {
	if !p.plain(n) {
		return nil
	}
	switch {
	case n.Kind != yaml.SequenceNode:
		p.bad(n, "%s is %s, not a list", what, kindOf(n))
		return nil
	case len(n.Content) == 0:
		p.bad(n, "%s is an empty list", what)
	case len(n.Content) > most:
		p.bad(n.Content[most], "%s has more than %d entries", what, most)
		return nil
	}
	return n.Content
}

// text returns a text; false if n is none.
func (p *parser) text(n *yaml.Node, what string) (string, bool) {
	if !p.plain(n) {
		return "", false
	}
	switch tag := n.ShortTag(); {
	case n.Kind != yaml.ScalarNode:
		p.bad(n, "%s is %s, not a text", what, kindOf(n))
	case tag == "!!null" || n.Value == "":
		p.bad(n, "%s is empty", what)
	case tag != "!!str":
		p.bad(n, "%s is %s, not a text: put it in quotes", what, kindOf(n))
	default:
		return n.Value, true
	}
	return "", false
}

// texts returns the texts in a list that check lets through, each of them once.
func (p *parser) texts(n *yaml.Node, what string, check func(at *yaml.Node, text string) error) []string {
	var all []string
	for _, item := range p.items(n, what, maxList) {
		value, ok := p.text(item, "an entry of "+what)
		if !ok {
			continue
		}
		if slices.Contains(all, value) {
			p.bad(item, "%s stands there twice", quoted(value))
			continue
		}
		if err := check(item, value); err != nil {
			p.bad(item, "%s", err)
			continue
		}
		all = append(all, value)
	}
	return all
}

// kindOf says what n is.
func kindOf(n *yaml.Node) string {
	switch n.Kind { //nolint:exhaustive // the others are no values
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a time"
	case "!!merge":
		return "a merge"
	}
	return "a text"
}

// fields are the keys of a route.
var fields = []string{
	"workflow", "events", "integrations", "projects", "levels", "namespace", "task_queue", "per_issue", "compress",
}

// levels are those that Sentry has.
var levels = []string{"fatal", "error", "warning", "info", "debug", "sample"}

// validName is the type of a workflow from elsewhere: fit to be a part of a
// workflow ID.
var validName = regexp.MustCompile(`^[!-9;-~]{1,64}$`)

// validTemporal is the name of a namespace or of a task queue.
var validTemporal = regexp.MustCompile(`^[!-~]{1,200}$`)

// validProject is a project's slug, or what it begins with.
var validProject = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}\*?$`)

func (p *parser) route(n *yaml.Node) Route {
	r := Route{Line: n.Line}
	before := len(p.problems)
	at := map[string]*yaml.Node{} // the keys that are there
	workflow := n
	p.mapping(n, "a route", fields, func(key string, keyAt, value *yaml.Node) {
		at[key] = keyAt
		switch key {
		case "workflow":
			workflow = value
			r.Workflow = p.name(value, "a workflow's name", validName, "1 to 64 printable ASCII characters without blanks and colons")
		case "events":
			r.Events = p.texts(value, key, p.event)
		case "integrations":
			r.Integrations = p.texts(value, key, func(_ *yaml.Node, text string) error {
				if !slices.Contains(p.integrations, text) {
					return fmt.Errorf("%s is not in INTEGRATIONS%s", quoted(text), didYouMean(text, p.integrations))
				}
				return nil
			})
		case "projects":
			r.Projects = p.texts(value, key, func(_ *yaml.Node, text string) error {
				if !validProject.MatchString(text) {
					return fmt.Errorf("%s is not a project's slug, or its beginning and a *", quoted(text))
				}
				return nil
			})
		case "levels":
			r.Levels = p.texts(value, key, func(_ *yaml.Node, text string) error {
				if !slices.Contains(levels, text) {
					return fmt.Errorf("%s is none of %s%s", quoted(text), strings.Join(levels, ", "), didYouMean(text, levels))
				}
				return nil
			})
		case "namespace":
			r.Namespace = p.name(value, key, validTemporal, "1 to 200 printable ASCII characters without blanks")
			before := len(p.namespaces)
			if p.namespaces[r.Namespace] = true; before == maxNamespaces && len(p.namespaces) > before {
				p.bad(value, "the routes have more than %d namespaces", maxNamespaces)
			}
		case "task_queue":
			r.TaskQueue = p.name(value, key, validTemporal, "1 to 200 printable ASCII characters without blanks")
		case "per_issue":
			r.PerIssue = p.window(value)
		case "compress":
			r.Uncompressed = !p.boolean(value, key)
		}
	}, "workflow")
	if w := p.compiled[r.Workflow]; w != nil {
		for _, key := range []string{"events", "per_issue"} {
			if at[key] != nil {
				p.bad(at[key], "%s come with %s, which is compiled in: leave them out", key, r.Workflow)
			}
		}
		own := routeOf(w)
		r.Compiled, r.Events, r.PerIssue = true, own.Events, own.PerIssue
	} else if r.Workflow != "" {
		meant := didYouMean(r.Workflow, slices.Sorted(maps.Keys(p.compiled)))
		switch {
		case at["events"] == nil:
			p.bad(workflow, "%s is not compiled in, so its route needs events%s", quoted(r.Workflow), meant)
		case meant != "":
			p.warn(workflow, "%s is not compiled in%s", quoted(r.Workflow), meant)
		}
	}
	if len(p.problems) > before {
		return r
	}
	what := r.matter()
	if line, there := p.lines[what]; there {
		p.bad(n, "the route in line %d is for the same deliveries and workflow, and comes first", line)
	} else {
		p.lines[what] = r.Line
	}
	return r
}

// matter is which deliveries a route is for, and the workflow.
func (r Route) matter() string {
	parts := []string{r.Workflow}
	for _, list := range [][]string{r.Events, r.Integrations, r.Projects, r.Levels} {
		parts = append(parts, strings.Join(slices.Sorted(slices.Values(list)), " "))
	}
	return strings.Join(parts, "\n")
}

// event checks an event or a pattern of events.
func (p *parser) event(at *yaml.Node, event string) error {
	known, nearest := sentry.KnownEvent(event)
	meant := ""
	if nearest != "" {
		meant = "; did you mean " + nearest + "?"
	}
	if err := triage.CheckEvent(event); err != nil {
		return fmt.Errorf("%s%s", text.Line(text.Shorten(err.Error(), maxEvent)), meant)
	}
	if !known {
		p.warn(at, "%s is no event that Sentry is known to send%s", clip(event), meant)
	}
	return nil
}

// maxEvent bounds what is said of a wrong event, in bytes.
const maxEvent = 256

// name returns a text that is valid, else "".
func (p *parser) name(n *yaml.Node, what string, valid *regexp.Regexp, words string) string {
	value, ok := p.text(n, what)
	if ok && !valid.MatchString(value) {
		p.bad(n, "%s: %s is not %s", what, quoted(value), words)
		return ""
	}
	return value
}

func (p *parser) window(n *yaml.Node) time.Duration {
	value, ok := p.text(n, "per_issue")
	if !ok {
		return 0
	}
	window, err := time.ParseDuration(value)
	if err != nil {
		p.bad(n, "per_issue: %s is not a time such as 30m or 1h30m", quoted(value))
		return 0
	}
	if err := triage.CheckWindow(window); err != nil {
		p.bad(n, "per_issue: %s", err)
		return 0
	}
	return window
}

func (p *parser) boolean(n *yaml.Node, what string) bool {
	if !p.plain(n) {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		p.bad(n, "%s is %s, not true or false", what, kindOf(n))
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

// didYouMean names what is spelled most like a name, if anything is.
func didYouMean(name string, names []string) string {
	const most = 2 // wrong characters
	if meant := text.Nearest(name, names, most); meant != "" {
		return "; did you mean " + meant + "?"
	}
	return ""
}

// quoted is a text of the file as a problem repeats it.
func quoted(s string) string { return strconv.Quote(clip(s)) }

// clip bounds what a problem repeats.
func clip(s string) string {
	const most = 80 // bytes
	return text.Shorten(text.Line(s), most)
}
