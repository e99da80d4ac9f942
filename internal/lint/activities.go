package lint

import (
	"go/ast"
	"go/types"
	"slices"

	"golang.org/x/tools/go/types/typeutil"
)

// checkActivities looks at what is given to Local and Do.
func (l *linter) checkActivities() {
	for _, c := range l.callsOf("Local") {
		l.checkLocal(c)
	}
	known := l.registered()
	if known.unclear.node != nil {
		l.warn(known.unclear, "which activities these are is only known when the program runs, so whether those that Do calls are registered is not looked at: list them as `[]any{...}`")
	}
	for _, c := range l.calls {
		if c.is(triagePath, "Do") || c.is(sdkPath, "ExecuteActivity") {
			l.checkRegistered(c, known)
		}
	}
}

// checkLocal looks at the function of a call of Local.
func (l *linter) checkLocal(c call) {
	if len(c.expr.Args) < 2 {
		return // they are what a function returns
	}
	for _, f := range l.functionsOf(c.arg(1), nil) {
		switch {
		case f.object == nil:
			l.add(c.arg(1), "Local is given a closure, which is not run again in a replay and whose name changes with the code around it: give it a function of the package")
		case f.object.Signature().Recv() != nil:
			l.add(c.arg(1), "Local is given the method %s, which runs on the receiver that the workflow has, not on the one that the worker has registered: "+
				"give it a function of the package, or call the method with Do", f.object.Name())
		}
	}
}

// checkRegistered looks at whether the activity of a call is registered.
func (l *linter) checkRegistered(c call, known *registered) {
	if len(c.expr.Args) < 2 || known.list.node == nil {
		return // no program here runs activities
	}
	for _, f := range l.functionsOf(c.arg(1), nil) {
		if f.object == nil {
			l.add(c.arg(1), "%s is given a closure, which no worker can have registered: give it a function of the package or a method", c.callee.Name())
			continue
		}
		if known.unclear.node != nil || known.has(f.object) {
			continue
		}
		line := qualified(f.object, known.list.in.PkgPath)
		if recv := f.object.Signature().Recv(); recv != nil {
			line = "&" + types.TypeString(deref(recv.Type()), from(known.list.in.PkgPath)) + "{...}"
		}
		l.add(c.arg(1), "activity %s is not registered, so the run fails when it calls it: add `%s,` to the list at %s", f.object.Name(), line, l.where(known.list))
	}
}

// function is one that an argument is; object is nil for a closure.
type function struct{ object *types.Func }

// functionsOf returns the functions that an argument can be, as far as that is
// known. Variables that were looked at already are left out.
func (p *program) functionsOf(at place, seen []*types.Var) []function {
	expr, ok := at.node.(ast.Expr)
	if !ok {
		return nil
	}
	expr = ast.Unparen(expr)
	if _, ok := expr.(*ast.FuncLit); ok {
		return []function{{}}
	}
	if c, ok := expr.(*ast.CallExpr); ok {
		if _, ok := at.in.TypesInfo.TypeOf(c).(*types.Signature); ok && !at.in.TypesInfo.Types[c.Fun].IsType() {
			return []function{{}} // made when it runs
		}
		return nil
	}
	switch object := objectOf(at.in.TypesInfo, expr).(type) {
	case *types.Func:
		return []function{{object.Origin()}}
	case *types.Var:
		if slices.Contains(seen, object) {
			return nil
		}
		var all []function
		for _, value := range p.assigned[key(object)] {
			all = append(all, p.functionsOf(value, append(seen, object))...)
		}
		return all
	}
	return nil
}

// registered is what the workers of a program have registered.
type registered struct {
	*program
	functions map[any]bool    // keys
	methods   map[string]bool // names of methods: those of an interface have no other key
	list      place           // where one more is added
	unclear   place           // where there may be more than was found
	elsewhere map[string]bool // packages that have to be looked into for it to be clear
	seen      map[any]bool
}

// registered returns the activities that workers are given: by triage.Register and
// what has parameters like it, and by RegisterActivity of the SDK.
func (p *program) registered() *registered {
	r := &registered{program: p, functions: map[any]bool{}, methods: map[string]bool{}, elsewhere: map[string]bool{}, seen: map[any]bool{}}
	for _, c := range p.calls {
		switch i := listOf(c.callee); {
		case i >= 0:
			for i++; i < len(c.expr.Args); i++ {
				r.add(c.arg(i))
			}
			if r.list.node == nil && r.asked[c.in.PkgPath] {
				r.list = c.place
			}
		case c.callee.Signature().Recv() != nil && (c.callee.Name() == "RegisterActivity" || c.callee.Name() == "RegisterActivityWithOptions") && len(c.expr.Args) > 0:
			if !isAny(c.callee.Signature().Params().At(0).Type()) {
				continue
			}
			r.add(c.arg(0))
		}
	}
	return r
}

// listOf returns which parameter of a function is a list of workflows with the
// activities after it, as in triage.Register and worker.Run; -1 if none is.
func listOf(f *types.Func) int {
	params := f.Signature().Params()
	last := params.Len() - 1
	if !f.Signature().Variadic() || last < 1 {
		return -1
	}
	workflows, ok := params.At(last - 1).Type().(*types.Slice)
	if !ok || types.TypeString(workflows.Elem(), nil) != triagePath+".Workflow" {
		return -1
	}
	if activities, ok := params.At(last).Type().(*types.Slice); !ok || !isAny(activities.Elem()) {
		return -1
	}
	return last - 1
}

func isAny(t types.Type) bool {
	i, ok := types.Unalias(t).Underlying().(*types.Interface)
	return ok && i.Empty()
}

// add adds what is registered by an expression: an activity, or a list of them.
func (r *registered) add(at place) {
	expr, ok := at.node.(ast.Expr)
	if !ok {
		return
	}
	expr = ast.Unparen(expr)
	t := at.in.TypesInfo.TypeOf(expr)
	switch types.Unalias(t).Underlying().(type) {
	case *types.Signature:
		for _, f := range r.functionsOf(at.of(expr), nil) {
			if f.object != nil {
				r.functions[key(f.object)] = true
			}
		}
	case *types.Slice, *types.Interface:
		r.addValue(at.of(expr), expr)
	default:
		for method := range types.NewMethodSet(t).Methods() {
			if f, ok := method.Obj().(*types.Func); ok && f.Exported() {
				r.functions[key(f)] = true
				r.methods[f.Name()] = true
			}
		}
	}
}

// addValue adds what is in a list, or in a variable of type any.
func (r *registered) addValue(at place, expr ast.Expr) {
	info := at.in.TypesInfo
	switch e := expr.(type) {
	case *ast.CompositeLit:
		if r.asked[at.in.PkgPath] {
			r.list = at
		}
		for _, element := range e.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				element = pair.Value
			}
			r.add(at.of(element))
		}
		return
	case *ast.CallExpr:
		switch callee := typeutil.Callee(info, e).(type) {
		case *types.Builtin: // append
			for _, argument := range e.Args {
				r.add(at.of(argument))
			}
			return
		case *types.Func:
			r.addReturned(at, e, callee)
			return
		}
	case *ast.Ident, *ast.SelectorExpr:
		if v, ok := objectOf(info, e).(*types.Var); ok {
			r.addVariable(at, v)
			return
		}
		if info.Types[expr].IsNil() {
			return
		}
	}
	r.unknown(at)
}

// unknown notes that what is registered here is not known.
func (r *registered) unknown(at place) {
	if r.unclear.node == nil || r.asked[at.in.PkgPath] {
		r.unclear = at
	}
}

// addReturned adds what a call returns.
func (r *registered) addReturned(at place, c *ast.CallExpr, callee *types.Func) {
	if callee.Pkg() != nil && callee.Pkg().Path() == "slices" { // Concat, Clone and so on
		for _, argument := range c.Args {
			r.add(at.of(argument))
		}
		return
	}
	body, ok := r.program.functions[key(callee)]
	if !ok {
		r.unknown(at)
		if callee.Pkg() != nil {
			r.elsewhere[callee.Pkg().Path()] = true
		}
		return
	}
	if r.seen[key(callee)] {
		return
	}
	r.seen[key(callee)] = true
	ast.Inspect(body.node, func(n ast.Node) bool {
		if result, ok := n.(*ast.ReturnStmt); ok && len(result.Results) > 0 {
			r.add(body.of(result.Results[0]))
		}
		_, inner := n.(*ast.FuncLit)
		return !inner
	})
}

// addVariable adds what a variable is set to.
func (r *registered) addVariable(at place, v *types.Var) {
	if r.seen[key(v)] {
		return
	}
	r.seen[key(v)] = true
	values := r.assigned[key(v)]
	for _, value := range values {
		r.add(value)
	}
	// Without a value it is a parameter of what nothing calls, or of a package that was
	// not looked at.
	if len(values) == 0 && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
		r.elsewhere[v.Pkg().Path()] = true
		r.unknown(at)
	}
}

// has reports whether f is registered. Of a method of an interface only the name
// is known.
func (r *registered) has(f *types.Func) bool {
	if recv := f.Signature().Recv(); recv != nil && types.IsInterface(recv.Type()) {
		return r.methods[f.Name()]
	}
	return r.functions[key(f)]
}

func deref(t types.Type) types.Type {
	if p, ok := t.(*types.Pointer); ok {
		return p.Elem()
	}
	return t
}
