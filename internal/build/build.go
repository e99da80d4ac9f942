// Package build says what the running program was built from.
package build

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// Version is set by the linker, as in -ldflags='-X sentry-temporal/internal/build.Version=v1.2.3'.
var Version string

// Info is what a program was built from.
type Info struct {
	Version  string `json:"version"`  // as the build was told, else what Go knows; "devel" if nobody does
	Revision string `json:"revision"` // commit, with -dirty behind it if the tree had changes; "unknown" outside git
	Go       string `json:"go"`
}

// Read returns what this program was built from.
func Read() Info {
	info := Info{Version: Version, Revision: "unknown", Go: runtime.Version()}
	built, ok := debug.ReadBuildInfo()
	if ok && built.Main.Version != "(devel)" {
		info.Version = cmp.Or(info.Version, built.Main.Version)
	}
	info.Version = cmp.Or(info.Version, "devel")
	if !ok {
		return info
	}
	dirty := ""
	for _, setting := range built.Settings {
		switch {
		case setting.Key == "vcs.revision":
			info.Revision = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "-dirty"
		}
	}
	if info.Revision != "unknown" {
		info.Revision += dirty
	}
	return info
}

// String is a line for people.
func (i Info) String() string {
	return i.Version + " (" + i.Revision + ", " + i.Go + ")"
}
