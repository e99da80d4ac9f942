package lint

import (
	"go/ast"
	"go/types"
	"path"
	"slices"
	"strings"
)

// impure are the functions that give another answer elsewhere or another time, by
// package: those with these prefixes, or all but those that follow a "!".
var impure = map[string][]string{
	"os":           {"!", "IsExist", "IsNotExist", "IsPermission", "IsTimeout", "IsPathSeparator", "Expand", "SameFile"},
	"os/exec":      {"!"},
	"os/user":      {"!"},
	"flag":         {"!"},
	"io/ioutil":    {"Read", "Write", "Temp"},
	"syscall":      {"Get", "Environ"},
	"time":         {"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker"},
	"math/rand":    {"!", "New", "NewSource", "NewZipf"},
	"math/rand/v2": {"!", "New", "NewPCG", "NewChaCha8", "NewZipf"},
	"crypto/rand":  {"!"},
	"net":          {"Dial", "Listen", "Lookup", "Resolve", "Interface"},
	"net/http":     {"Get", "Head", "Post", "ListenAndServe", "Serve"},

	"github.com/kelseyhightower/envconfig": {"!"},
	"github.com/caarlos0/env":              {"!"},
	"github.com/joho/godotenv":             {"!"},
	"github.com/spf13/viper":               {"!"},
	"go.temporal.io/sdk/contrib/envconfig": {"!"},

	path.Dir(triagePath) + "/internal/config": {"Load"},
}

// impureVariables are variables that do so.
var impureVariables = []string{"os.Args", "os.Stdin", "net/http.DefaultClient", "flag.CommandLine"}

// isImpure reports whether the use of object makes a function impure.
func isImpure(object types.Object) bool {
	if object.Pkg() == nil {
		return false
	}
	in := object.Pkg().Path()
	switch o := object.(type) {
	case *types.Var:
		return slices.Contains(impureVariables, in+"."+o.Name())
	case *types.Func:
		if o.Signature().Recv() != nil {
			return false // whoever made the receiver was impure
		}
		major := path.Base(in) // as in github.com/caarlos0/env/v11
		names, ok := impure[in]
		if !ok && strings.HasPrefix(major, "v") {
			names, ok = impure[path.Dir(in)]
		}
		if !ok {
			return false
		}
		if names[0] == "!" {
			return !slices.Contains(names[1:], o.Name())
		}
		return slices.ContainsFunc(names, func(prefix string) bool { return strings.HasPrefix(o.Name(), prefix) })
	}
	return false
}

// checkPurity looks at all that workflows and conditions do, in the packages that
// are looked at, but for what activities do.
func (l *linter) checkPurity() {
	for _, c := range l.callsOf("New") {
		if len(c.expr.Args) > 1 {
			name, ok := textOf(c.arg(0))
			if !ok {
				name = "that is defined here"
			}
			p := purity{linter: l, seen: map[any]bool{}, advice: "the workflow " + name + " (" + l.where(c.place) + ") is to run the same wherever and whenever it is replayed: " +
				"have an activity do it, which is given what it needs in main, or take it from the delivery"}
			p.visit(c.arg(1))
		}
	}
	for _, c := range l.callsOf("When") {
		if len(c.expr.Args) > 0 {
			p := purity{linter: l, seen: map[any]bool{}, advice: "the condition of When (" + l.where(c.place) + ") has to be pure, since who asks it and when is not known: decide by the delivery alone"}
			p.visit(c.arg(0))
		}
	}
}

// purity looks at what is reached from one function.
type purity struct {
	*linter
	advice string
	seen   map[any]bool
}

func (p *purity) visit(at place) {
	info := at.in.TypesInfo
	called := map[*ast.Ident]bool{}
	ast.Inspect(at.node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch f := ast.Unparen(n.Fun).(type) {
			case *ast.Ident:
				called[f] = true
			case *ast.SelectorExpr:
				called[f.Sel] = true
			}
			if !isStep(objectOf(info, n.Fun)) {
				return true
			}
			for i, argument := range n.Args {
				if i != 1 { // the function, which is carried out once and its result recorded
					p.visit(at.of(argument))
				}
			}
			return false
		case *ast.Ident:
			object := objectOf(info, n)
			if object != nil && (called[n] || !isActivity(object)) {
				p.use(at.of(n), object)
			}
		}
		return true
	})
}

// use looks at what a name stands for.
func (p *purity) use(at place, object types.Object) {
	if isImpure(object) {
		p.add(at, "%s is used here, and %s", qualified(object, at.in.PkgPath), p.advice)
		return
	}
	k := key(object)
	if p.seen[k] {
		return
	}
	p.seen[k] = true
	if body, ok := p.functions[k]; ok {
		p.visit(body)
	}
	if _, ofPackage := k.(string); ofPackage {
		for _, value := range p.assigned[k] {
			p.visit(value)
		}
	}
}

// isStep reports whether a function carries out the one it is given, its second
// argument, outside of workflow code.
func isStep(object types.Object) bool {
	f, ok := object.(*types.Func)
	if !ok || f.Pkg() == nil {
		return false
	}
	switch f.Pkg().Path() {
	case triagePath:
		return f.Name() == "Local" || f.Name() == "Do"
	case sdkPath:
		return slices.Contains([]string{"ExecuteActivity", "ExecuteLocalActivity", "SideEffect"}, f.Name())
	}
	return false
}

// isActivity reports whether a function takes a context as activities do, and no
// workflow does. One that is not called is handed to what carries it out.
func isActivity(object types.Object) bool {
	f, ok := object.(*types.Func)
	if !ok || f.Signature().Params().Len() == 0 {
		return false
	}
	return types.TypeString(f.Signature().Params().At(0).Type(), nil) == "context.Context"
}
