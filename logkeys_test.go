package sentrytemporal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// keysOfOthers are those that lines have beside what is written here: of slog, and of Temporal's SDK.
var keysOfOthers = []string{
	"time", "level", "msg",
	"activity_id", "activity_run_id", "activity_type", "attempt", "run_id", "worker_id", "worker_type", "workflow_id", "workflow_type",
}

// What a line of the log may have is in the table, and nothing else is.
func TestTableOfLogKeysHasThoseThatAreWritten(t *testing.T) {
	written := map[string]bool{}
	for _, key := range keysOfOthers {
		written[key] = true
	}
	constants := map[string]string{} // those whose name says that they are keys, by folder and name
	var files []*ast.File
	folders := map[*ast.File]string{}
	for _, folder := range []string{"activities", "ingress", "internal", "triage", "worker", "workflows", "cmd/internal/process"} {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			files = append(files, file)
			folders[file] = filepath.ToSlash(filepath.Dir(path))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != len(spec.Names) {
				return true
			}
			for i, name := range spec.Names {
				if text, ok := literal(spec.Values[i]); ok && regexp.MustCompile(`^[kK]ey[A-Z]`).MatchString(name.Name) {
					constants[folders[file]+"."+name.Name] = text
				}
			}
			return true
		})
	}
	for _, file := range files {
		keyOf := func(e ast.Expr) (string, bool) {
			switch e := e.(type) {
			case *ast.Ident:
				key, ok := constants[folders[file]+"."+e.Name]
				return key, ok
			case *ast.SelectorExpr:
				key, ok := constants["internal/telemetry."+e.Sel.Name]
				return key, ok
			}
			return literal(e)
		}
		note := func(pairs []ast.Expr) {
			for i := 0; i+1 < len(pairs); i += 2 {
				// What else is text there is none.
				if key, ok := keyOf(pairs[i]); ok && regexp.MustCompile(`^[a-z_]+$`).MatchString(key) {
					written[key] = true
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit: // []any{key, value, ...}, whose first is one of the constants
				if len(n.Elts) > 1 {
					if _, isLiteral := literal(n.Elts[0]); !isLiteral {
						if _, ok := keyOf(n.Elts[0]); ok {
							note(n.Elts)
						}
					}
				}
			case *ast.CallExpr:
				note(n.Args[min(len(n.Args), before(n)):])
			}
			return true
		})
	}
	documented := map[string]bool{}
	for _, row := range table(t, "docs/operations.md", "Key") {
		for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[0], -1) {
			if documented[code[1]] {
				t.Errorf("%s is explained twice", code[1])
			}
			documented[code[1]] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(written)) {
		if !documented[key] {
			t.Errorf("docs/operations.md does not explain the key %s", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(documented)) {
		if !written[key] {
			t.Errorf("docs/operations.md explains the key %s, which nobody writes", key)
		}
	}
}

// before returns how many arguments of a call come before the keys and values of a log
// line: all of them where it is no such call.
func before(call *ast.CallExpr) int {
	name := ""
	on := ""
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		name = f.Sel.Name
		if x, ok := f.X.(*ast.Ident); ok {
			on = x.Name
		}
	case *ast.Ident:
		name = f.Name
	}
	switch {
	case on == "slog" && (name == "String" || name == "Int" || name == "Any" || name == "Float64" || name == "Duration" || name == "Bool"):
		return 0
	case name == "With":
		return len(call.Args) % 2 // that of the SDK's package takes the logger first
	case name == "append" && len(call.Args) == 3:
		return 1
	case name == "Debug" || name == "Info" || name == "Warn" || name == "Error":
		return 1
	case name == "DebugContext" || name == "InfoContext" || name == "WarnContext" || name == "ErrorContext":
		return 2
	case name == "Log" || name == "LogAttrs":
		return 3
	}
	return len(call.Args)
}

// literal returns the text of a literal.
func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}
