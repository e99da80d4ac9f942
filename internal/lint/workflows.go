package lint

import (
	"go/ast"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
)

// checkWorkflows looks at names and events of workflows, and whether each is in a
// list.
func (l *linter) checkWorkflows() {
	defined := l.callsOf("New")
	names := map[string]call{}
	for _, c := range defined {
		name, ok := textOf(c.arg(0))
		if !ok {
			continue
		}
		if err := triage.CheckName(name); err != nil {
			l.add(c.place, "%v: New panics at the start", err)
		}
		if first, ok := names[name]; ok {
			l.add(c.place, "another workflow is called %s, at %s: give one of them another name", name, l.where(first.place))
			l.add(first.place, "another workflow is called %s, at %s: give one of them another name", name, l.where(c.place))
		}
		names[name] = c
	}
	for _, c := range l.callsOf("On") {
		l.checkEvents(c)
	}
	l.checkLists(defined)
}

// checkEvents looks at the events that a call of On names.
func (l *linter) checkEvents(on call) {
	for i := range on.expr.Args {
		event, ok := textOf(on.arg(i))
		if !ok {
			continue
		}
		if err := triage.CheckEvent(event); err != nil {
			l.add(on.arg(i), "%v", err)
			continue
		}
		if known, nearest := sentry.KnownEvent(event); !known && nearest != "" {
			l.warn(on.arg(i), "Sentry is not known to send %s: did you mean %s?", event, nearest)
		} else if !known {
			l.warn(on.arg(i), "Sentry is not known to send %s", event)
		}
	}
}

// checkLists looks for workflows that no list has, if there is a list.
func (l *linter) checkLists(defined []call) {
	found := reach{program: l.program, seen: map[any]bool{}, calls: map[ast.Node]bool{}}
	var list call
	for _, c := range l.callsOf("List") {
		list = c
		for i := range c.expr.Args {
			found.visit(c.arg(i))
		}
	}
	for _, c := range l.calls {
		if i := listOf(c.callee); i >= 0 && i < len(c.expr.Args) {
			found.visit(c.arg(i))
			if list.expr == nil {
				list = c
			}
		}
	}
	if list.expr == nil {
		return
	}
	for _, c := range defined {
		if found.calls[c.expr] {
			continue
		}
		line, where := c.name, c.in.PkgPath
		if c.in != list.in {
			line = c.in.Types.Name() + "." + c.name
			where = `, and import "` + where + `"`
		} else {
			where = ""
		}
		name, ok := textOf(c.arg(0))
		if !ok {
			name = "this one"
		}
		l.add(c.place, "workflow %s is in no list, so nothing runs it: add the line `%s,` to the list at %s%s", name, line, l.where(list.place), where)
	}
}

// reach is which calls of New a list leads to: by its elements, by what these
// variables are set to, and by what these functions do.
type reach struct {
	*program
	seen  map[any]bool
	calls map[ast.Node]bool
}

func (r *reach) visit(at place) {
	info := at.in.TypesInfo
	ast.Inspect(at.node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if object := objectOf(info, n.Fun); object != nil && key(object) == triagePath+".New" {
				r.calls[n] = true
				return false // what the workflow does is not the list's
			}
		case *ast.Ident:
			object := objectOf(info, n)
			if object == nil || r.seen[key(object)] {
				return true
			}
			r.seen[key(object)] = true
			for _, value := range r.assigned[key(object)] {
				r.visit(value)
			}
			if body, ok := r.functions[key(object)]; ok {
				r.visit(body)
			}
		}
		return true
	})
}
