// Package build says what the running program was built from.
package build

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// Set by the linker where Go cannot know, as in
// -ldflags='-X sentry-temporal/internal/build.Version=v1.2.3'.
var (
	Version  string
	Revision string
)

// Info is what a program was built from.
type Info struct {
	Version  string `json:"version"`  // "devel" if nobody said
	Revision string `json:"revision"` // the commit, with -dirty behind it if something was changed; "unknown" outside git
	Go       string `json:"go"`       // the version of Go
}

// Read returns what this program was built from.
func Read() Info {
	info := Info{Version: Version, Revision: Revision, Go: runtime.Version()}
	if built, ok := debug.ReadBuildInfo(); ok {
		if built.Main.Version != "(devel)" {
			info.Version = cmp.Or(info.Version, built.Main.Version)
		}
		info.Revision = cmp.Or(info.Revision, revision(built.Settings))
	}
	info.Version = cmp.Or(info.Version, "devel")
	info.Revision = cmp.Or(info.Revision, "unknown")
	return info
}

// revision returns the commit that go build noted, "" without one.
func revision(settings []debug.BuildSetting) string {
	commit, dirty := "", ""
	for _, setting := range settings {
		switch {
		case setting.Key == "vcs.revision":
			commit = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + dirty
}

// String is a line for people.
func (i Info) String() string {
	return i.Version + " (" + i.Revision + ", " + i.Go + ")"
}
