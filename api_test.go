package sentrytemporal_test

import (
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// ofThisRepository are for programs of this repository only: another module cannot
// call them.
var ofThisRepository = []string{"worker.Serve"}

// Another module cannot name a type of an internal package, unless a public one
// does.
func TestTypesThatTeamsNeedHavePublicNames(t *testing.T) {
	// What the test has read itself, its cached result depends on.
	for _, folder := range []string{"triage", "triage/triagetest", "worker", "internal/sentry"} {
		sources, err := filepath.Glob(folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			readFile(t, source)
		}
	}
	public, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedTypes},
		"./triage", "./triage/triagetest", "./worker")
	if err != nil {
		t.Fatal(err)
	}
	named := map[types.Type]bool{}
	seen := 0
	for _, p := range public {
		for _, name := range p.Types.Scope().Names() {
			if alias, ok := p.Types.Scope().Lookup(name).(*types.TypeName); ok && alias.Exported() && alias.IsAlias() {
				named[types.Unalias(alias.Type())] = true
			}
		}
	}
	for _, p := range public {
		for _, name := range p.Types.Scope().Names() {
			object := p.Types.Scope().Lookup(name)
			if !object.Exported() || slices.Contains(ofThisRepository, p.Name+"."+name) {
				continue
			}
			seen++
			for _, hidden := range internalIn(object.Type()) {
				if !named[hidden] {
					t.Errorf("%s.%s needs %s, which has no public name", p.Name, name, hidden)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("nothing is public")
	}
}

// internalIn returns the types of internal packages that whoever makes a t or calls
// it has to name.
func internalIn(t types.Type) []types.Type {
	var found []types.Type
	seen := map[types.Type]bool{}
	var look func(types.Type)
	look = func(t types.Type) {
		t = types.Unalias(t)
		if seen[t] {
			return
		}
		seen[t] = true
		switch t := t.(type) {
		case *types.Named:
			if t.Obj().Pkg() == nil || !strings.HasPrefix(t.Obj().Pkg().Path(), module+"/") {
				return
			}
			if strings.HasPrefix(t.Obj().Pkg().Path(), module+"/internal/") {
				found = append(found, t)
			}
			look(t.Underlying())
		case *types.Struct:
			for field := range t.Fields() {
				if field.Exported() {
					look(field.Type())
				}
			}
		case *types.Interface:
			for method := range t.Methods() {
				if method.Exported() {
					look(method.Type())
				}
			}
		case *types.Signature:
			look(t.Params())
			look(t.Results())
		case *types.Tuple:
			for v := range t.Variables() {
				look(v.Type())
			}
		case *types.Map:
			look(t.Key())
			look(t.Elem())
		case interface{ Elem() types.Type }: // pointer, slice, array, channel
			look(t.Elem())
		}
	}
	look(t)
	return found
}
