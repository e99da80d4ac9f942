package yamlfile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// levels are those that Sentry has.
var levels = []string{"fatal", "error", "warning", "info", "debug", "sample"}

// Levels returns a list of levels.
func (r *Reader) Levels(n *yaml.Node, what string) []string {
	return r.Texts(n, what, func(_ *yaml.Node, text string) error {
		if !slices.Contains(levels, text) {
			return fmt.Errorf("%s is none of %s%s", Quoted(text), strings.Join(levels, ", "), DidYouMean(text, levels))
		}
		return nil
	})
}

// validSlug is a slug, as projects have one, or what it begins with.
var validSlug = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}\*?$`)

// Slugs returns a list of slugs, of projects or of what else the word says, and of
// what slugs begin with and a *.
func (r *Reader) Slugs(n *yaml.Node, what, word string) []string {
	return r.Texts(n, what, func(_ *yaml.Node, text string) error {
		if !validSlug.MatchString(text) {
			return fmt.Errorf("%s is not a %s's slug, or its beginning and a *", Quoted(text), word)
		}
		return nil
	})
}
