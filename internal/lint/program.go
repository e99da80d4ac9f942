package lint

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"reflect"
	"slices"

	"golang.org/x/tools/go/packages"
	"golang.org/x/tools/go/types/typeutil"

	"sentry-temporal/triage"
)

// The packages whose calls say what is a workflow and what an activity.
var (
	triagePath = reflect.TypeFor[triage.Keying]().PkgPath()
	sdkPath    = "go.temporal.io/sdk/workflow"
)

// program is the packages that are looked at, and what is needed of them.
type program struct {
	packages  []*packages.Package
	asked     map[string]bool // paths of those that findings are for
	assigned  map[any][]place // what variables, fields and parameters are set to, by key
	functions map[any]place   // the bodies of functions, by key
	calls     []call
}

// place is a part of the source.
type place struct {
	node ast.Node
	in   *packages.Package
}

func (p place) position() token.Position { return p.in.Fset.Position(p.node.Pos()) }

// of is another part of the same package.
func (p place) of(node ast.Node) place { return place{node, p.in} }

// call is a call of a function that is known by name.
type call struct {
	place
	expr   *ast.CallExpr
	callee *types.Func
	within any // key of the function or variable of the package that it is part of
	name   string
}

// arg is an argument.
func (c call) arg(i int) place { return c.of(c.expr.Args[i]) }

// is reports whether the call is of one of these functions of a package.
func (c call) is(path string, names ...string) bool {
	return c.callee.Pkg() != nil && c.callee.Pkg().Path() == path && c.callee.Signature().Recv() == nil && slices.Contains(names, c.callee.Name())
}

// key is what an object has in common in all packages that use it: one that is
// read from a file and one from the source are two objects.
func key(object types.Object) any {
	switch o := object.(type) {
	case *types.Func:
		return o.Origin().FullName()
	case *types.Var:
		o = o.Origin()
		if o.Pkg() != nil && o.Parent() == o.Pkg().Scope() {
			return o.Pkg().Path() + "." + o.Name()
		}
		return o
	}
	return object
}

func newProgram(all []*packages.Package) *program {
	p := &program{packages: all, asked: map[string]bool{}, assigned: map[any][]place{}, functions: map[any]place{}}
	for _, in := range all {
		p.asked[in.PkgPath] = true
		for _, file := range in.Syntax {
			for _, decl := range file.Decls {
				p.read(in, decl)
			}
		}
	}
	return p
}

// read notes what a declaration sets and calls.
func (p *program) read(in *packages.Package, decl ast.Decl) {
	if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
		of := in.TypesInfo.Defs[f.Name]
		p.functions[key(of)] = place{f.Body, in}
		p.readWithin(place{f, in}, key(of), f.Name.Name)
		return
	}
	if g, ok := decl.(*ast.GenDecl); ok {
		for _, spec := range g.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				p.readWithin(place{v, in}, key(in.TypesInfo.Defs[v.Names[0]]), v.Names[0].Name)
			}
		}
	}
}

func (p *program) readWithin(decl place, within any, name string) {
	info := decl.in.TypesInfo
	set := func(target ast.Expr, value ast.Node) {
		if object := objectOf(info, target); object != nil {
			p.assigned[key(object)] = append(p.assigned[key(object)], decl.of(value))
		}
	}
	ast.Inspect(decl.node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names {
				switch {
				case len(n.Values) == len(n.Names):
					set(name, n.Values[i])
				case len(n.Values) == 1: // a call that returns several
					set(name, n.Values[0])
				}
			}
		case *ast.AssignStmt:
			for i, target := range n.Lhs {
				if len(n.Rhs) == len(n.Lhs) {
					set(target, n.Rhs[i])
				} else {
					set(target, n.Rhs[0])
				}
			}
		case *ast.RangeStmt:
			if n.Value != nil {
				set(n.Value, n.X)
			}
		case *ast.KeyValueExpr:
			if field, ok := objectOf(info, n.Key).(*types.Var); ok && field.IsField() {
				set(n.Key, n.Value)
			}
		case *ast.CallExpr:
			callee, ok := typeutil.Callee(info, n).(*types.Func)
			if !ok {
				return true
			}
			p.calls = append(p.calls, call{decl.of(n), n, callee.Origin(), within, name})
			params := callee.Origin().Signature().Params()
			for i, argument := range n.Args {
				if params.Len() > 0 { // those of a variadic one are each in the last
					k := key(params.At(min(i, params.Len()-1)))
					p.assigned[k] = append(p.assigned[k], decl.of(argument))
				}
			}
		}
		return true
	})
}

// callsOf returns the calls of these functions of package triage.
func (p *program) callsOf(names ...string) []call {
	var found []call
	for _, c := range p.calls {
		if c.is(triagePath, names...) {
			found = append(found, c)
		}
	}
	return found
}

// needs returns the packages that were not looked at in which the activities that
// are registered are listed.
func (p *program) needs() []string {
	r := p.registered()
	return slices.Sorted(maps.Keys(r.elsewhere))
}

// objectOf returns what a name, or a selector such as pkg.Name or value.Method, is
// of; nil if expr is something else. What a generic function is given for its
// types is left out.
func objectOf(info *types.Info, expr ast.Node) types.Object {
	switch e := expr.(type) {
	case *ast.Ident:
		if o := info.Uses[e]; o != nil {
			return o
		}
		return info.Defs[e]
	case *ast.SelectorExpr:
		if s, ok := info.Selections[e]; ok {
			return s.Obj()
		}
		return info.Uses[e.Sel]
	case *ast.ParenExpr:
		return objectOf(info, e.X)
	case *ast.IndexExpr:
		return functionOf(objectOf(info, e.X))
	case *ast.IndexListExpr:
		return functionOf(objectOf(info, e.X))
	}
	return nil
}

// functionOf returns object if it is a function: a name with an index is one that
// is generic, or an element of something.
func functionOf(object types.Object) types.Object {
	if f, ok := object.(*types.Func); ok {
		return f
	}
	return nil
}

// textOf returns the text that an expression is known to be, and false if it is
// not known before the program runs.
func textOf(at place) (string, bool) {
	expr, ok := at.node.(ast.Expr)
	if !ok {
		return "", false
	}
	value := at.in.TypesInfo.Types[expr].Value
	if value == nil || value.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(value), true
}

// qualified is how a package at a path writes the name of an object.
func qualified(object types.Object, path string) string {
	if of := from(path)(object.Pkg()); of != "" {
		return of + "." + object.Name()
	}
	return object.Name()
}

// from is how a package at a path writes the names of packages.
func from(path string) types.Qualifier {
	return func(p *types.Package) string {
		if p.Path() == path {
			return ""
		}
		return p.Name()
	}
}
