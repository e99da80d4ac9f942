package sentrytemporal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// module is the path that go.mod says: the repository can be put at another one.
var module = modulePath()

func modulePath() string {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		panic(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(line, "module ")
}

// mayImport says which way imports point, by the first folder of a package
// (internal packages by two). A package may always import its own subpackages
// and siblings below the same key where that is listed.
var mayImport = map[string][]string{
	"cmd":                   {"cmd/internal", "ingress", "worker", "workflows", "activities", "triage", "internal"},
	"ingress":               {"internal/config", "internal/keyring", "internal/routes", "internal/sentry", "internal/starter", "internal/telemetry", "internal/text", "internal/web"},
	"worker":                {"triage", "internal/admin", "internal/config", "internal/destinations", "internal/outside", "internal/service", "internal/starter", "internal/telemetry", "internal/web"},
	"workflows":             {"workflows", "activities", "triage"},
	"workflows/act/acttest": {"activities", "triage", "internal/config", "internal/destinations", "internal/outside", "internal/sentry", "internal/standin"},
	"activities":            {"internal"},
	"internal/text":         {},
	"internal/sentry":       {"internal/text"},
	"triage":                {"triage", "internal/sentry", "internal/text"},
	"triage/triagetest":     {"triage", "internal/devserver", "internal/sentry", "internal/starter"},
	"internal/build":        {},
	"internal/lint":         {"internal/sentry", "triage"},
	"internal/config":       {"internal/text"},
	"internal/yamlfile":     {"internal/config", "internal/text"},
	"internal/destinations": {"internal/config", "internal/telemetry", "internal/text", "internal/yamlfile"},
	"internal/outside":      {"internal/config", "internal/destinations", "internal/telemetry", "internal/text"},
	"internal/standin":      {"internal/config"},
	"internal/telemetry":    {"internal/build", "internal/text"},
	"internal/devserver":    {"internal/devserver"},
	"internal/routes":       {"internal/config", "internal/sentry", "internal/telemetry", "internal/text", "internal/yamlfile", "triage"},
	"internal/starter":      {"internal/config", "internal/routes", "internal/sentry", "internal/telemetry", "internal/text", "triage"},
	"internal/seglog":       {},
	"internal/journal":      {"internal/routes", "internal/seglog", "internal/sentry", "internal/telemetry", "internal/text"},
	"internal/forwarder":    {"internal/journal", "internal/routes", "internal/sentry", "internal/starter", "internal/telemetry", "internal/text"},
	"internal/service":      {"internal/admin", "internal/build", "internal/config", "internal/sentry", "internal/starter", "internal/telemetry", "internal/text", "triage"},
	"internal/keyring":      {"internal/config", "internal/sentry", "internal/telemetry"},
	"internal/web":          {"internal/routes", "internal/sentry", "internal/starter", "internal/telemetry"},
	"internal/admin":        {"internal/config", "internal/destinations", "internal/journal", "internal/keyring", "internal/outside", "internal/routes", "internal/sentry", "internal/starter", "internal/telemetry", "internal/text", "internal/web", "triage"},
}

// mayImportOutside narrows what a package may use from elsewhere.
var mayImportOutside = map[string][]string{
	"internal/sentry": {"github.com/tidwall/gjson"},
}

// The files are parsed, not listed with the go command, so that a cached test
// result is never stale.
func TestImportsPointOneWay(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."), entry.IsDir() && entry.Name() == "testdata", entry.Name() == "node_modules":
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		from := room(filepath.ToSlash(filepath.Dir(path)))
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("%s: %s has no place in the layout", path, from)
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
				if !below(inside, allowed) {
					t.Errorf("%s imports %s", path, inside)
				}
			} else if outside, narrowed := mayImportOutside[from]; narrowed && strings.Contains(imported, ".") && !below(imported, outside) {
				t.Errorf("%s imports %s", path, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no Go file was found")
	}
}

// room is the key of a folder in mayImport.
func room(folder string) string {
	if _, own := mayImport[folder]; own {
		return folder
	}
	parts := strings.Split(folder, "/")
	if parts[0] == "internal" && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

func below(path string, folders []string) bool {
	for _, folder := range folders {
		if path == folder || strings.HasPrefix(path, folder+"/") {
			return true
		}
	}
	return false
}
