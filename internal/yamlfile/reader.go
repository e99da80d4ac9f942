// Package yamlfile reads files that people write, such as that of the routes: strict
// YAML, all that is wrong told at once with line and column, and again when it changes.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"sentry-temporal/internal/text"
)

// What a file may have at most.
const (
	// MaxFile is in bytes. A larger file is refused before it is parsed.
	MaxFile = 256 << 10
	// maxList is what a list of texts has.
	maxList = 100
)

// Reader reads one file, and collects what is wrong in it. Its zero value is ready.
//
// It takes bounded memory and time whatever it is given.
type Reader struct{ problems, warnings []Problem }

// Bad notes that something is wrong.
func (r *Reader) Bad(at *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, Problem{at.Line, at.Column, fmt.Sprintf(format, args...)})
}

// Warn notes that something may be wrong.
func (r *Reader) Warn(at *yaml.Node, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{at.Line, at.Column, fmt.Sprintf(format, args...)})
}

// Count returns how many things are wrong so far.
func (r *Reader) Count() int { return len(r.problems) }

// Err returns what is wrong as a [ProblemsError], nil if nothing is.
func (r *Reader) Err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return ProblemsError(inOrder(r.problems))
}

// Warnings returns what may be wrong, by lines.
func (r *Reader) Warnings() []Problem { return inOrder(r.warnings) }

// start is where a file begins.
var start = &yaml.Node{Line: 1, Column: 1}

// List returns what is in the list of a file that has nothing but the key with it, at
// most so many.
func (r *Reader) List(file []byte, key string, most int) []*yaml.Node {
	if len(file) > MaxFile {
		r.Bad(start, "the file has more than %d bytes", MaxFile)
		return nil
	}
	root := r.document(file, key)
	if root == nil {
		return nil
	}
	var all []*yaml.Node
	r.Mapping(root, "the file", []string{key}, func(_ string, _, value *yaml.Node) {
		all = r.items(value, key, most)
	}, key)
	return all
}

// yamlError is an error of the YAML library.
var yamlError = regexp.MustCompile(`^(?:yaml: )?(?:line ([0-9]+): )?(.*)`)

// document returns the root of the only document in a file, nil if it has none.
func (r *Reader) document(file []byte, key string) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	var document, second yaml.Node
	switch err := decode(decoder, &document); {
	case errors.Is(err, io.EOF), err == nil && len(document.Content) == 0:
		r.Bad(start, "the file is empty: it has to begin with %s:", key)
		return nil
	case err != nil:
		r.syntax(err)
		return nil
	}
	if err := decode(decoder, &second); err == nil {
		r.Bad(&second, "a second document begins here: there can be one")
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
	}
	return document.Content[0]
}

// decode makes an error of a panic of the library.
func decode(decoder *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("is not YAML: %v", r)
		}
	}()
	return decoder.Decode(into)
}

const noAnchors = "anchors and aliases are not taken: write it out"

func (r *Reader) syntax(err error) {
	at := *start
	parts := yamlError.FindStringSubmatch(err.Error())
	if line, err := strconv.Atoi(parts[1]); err == nil {
		at.Line = line
	}
	if strings.Contains(parts[2], "anchor") { // the library repeats its name, which may be the beginning of a secret
		r.Bad(&at, "%s", noAnchors)
		return
	}
	r.Bad(&at, "is not YAML: %s", Clip(parts[2]))
}

// plain reports whether n is nothing but what stands there.
func (r *Reader) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode, n.Anchor != "":
		r.Bad(n, "%s", noAnchors)
	case n.Style&yaml.TaggedStyle != 0:
		r.Bad(n, "tags are not taken")
	default:
		return true
	}
	return false
}

// Mapping calls take for each key of n that is one of keys; needed are those that
// have to be there.
func (r *Reader) Mapping(n *yaml.Node, what string, keys []string, take func(key string, at, value *yaml.Node), needed ...string) {
	if !r.plain(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.Bad(n, "%s is %s, not keys with values", what, kindOf(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		at, value := n.Content[i], n.Content[i+1]
		key, ok := r.Text(at, "a key")
		if !ok {
			continue
		}
		switch line, twice := seen[key]; {
		case !slices.Contains(keys, key):
			r.Bad(at, "%s is not known%s", Quoted(key), DidYouMean(key, keys))
		case twice:
			r.Bad(at, "%s stands in line %d already", key, line)
		default:
			seen[key] = at.Line
			take(key, at, value)
		}
	}
	for _, key := range needed {
		if seen[key] == 0 {
			r.Bad(n, "%s has no %s", what, key)
		}
	}
}

// items returns what is in a list, at least one and at most so many.
func (r *Reader) items(n *yaml.Node, what string, most int) []*yaml.Node {
	if !r.plain(n) {
		return nil
	}
	switch {
	case n.Kind != yaml.SequenceNode:
		r.Bad(n, "%s is %s, not a list", what, kindOf(n))
		return nil
	case len(n.Content) == 0:
		r.Bad(n, "%s is an empty list", what)
	case len(n.Content) > most:
		r.Bad(n.Content[most], "%s has more than %d entries", what, most)
		return nil
	}
	return n.Content
}

// Text returns a text; false if n is none.
func (r *Reader) Text(n *yaml.Node, what string) (string, bool) {
	if !r.plain(n) {
		return "", false
	}
	switch tag := n.ShortTag(); {
	case n.Kind != yaml.ScalarNode:
		r.Bad(n, "%s is %s, not a text", what, kindOf(n))
	case tag == "!!null" || n.Value == "":
		r.Bad(n, "%s is empty", what)
	case tag != "!!str":
		r.Bad(n, "%s is %s, not a text: put it in quotes", what, kindOf(n))
	default:
		return n.Value, true
	}
	return "", false
}

// Texts returns the texts in a list that check lets through, each of them once.
func (r *Reader) Texts(n *yaml.Node, what string, check func(at *yaml.Node, text string) error) []string {
	var all []string
	for _, item := range r.items(n, what, maxList) {
		value, ok := r.Text(item, "an entry of "+what)
		if !ok {
			continue
		}
		if slices.Contains(all, value) {
			r.Bad(item, "%s stands there twice", Quoted(value))
			continue
		}
		if err := check(item, value); err != nil {
			r.Bad(item, "%s", err)
			continue
		}
		all = append(all, value)
	}
	return all
}

// Name returns a text that is valid, else "".
func (r *Reader) Name(n *yaml.Node, what string, valid *regexp.Regexp, words string) string {
	value, ok := r.Text(n, what)
	if ok && !valid.MatchString(value) {
		r.Bad(n, "%s: %s is not %s", what, Quoted(value), words)
		return ""
	}
	return value
}

// Boolean returns a truth value; false if n is none.
func (r *Reader) Boolean(n *yaml.Node, what string) bool {
	if !r.plain(n) {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.Bad(n, "%s is %s, not true or false", what, kindOf(n))
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

// kindOf says what n is.
func kindOf(n *yaml.Node) string {
	switch n.Kind { //nolint:exhaustive // the others are no values
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a time"
	case "!!merge":
		return "a merge"
	}
	return "a text"
}

// DidYouMean names what is spelled most like a name, if anything is.
func DidYouMean(name string, names []string) string {
	const most = 2 // wrong characters
	if meant := text.Nearest(name, names, most); meant != "" {
		return "; did you mean " + meant + "?"
	}
	return ""
}

// Quoted is a text of the file as a problem repeats it.
func Quoted(s string) string { return strconv.Quote(Clip(s)) }

// Clip bounds what a problem repeats.
func Clip(s string) string {
	const most = 80 // bytes
	return text.Shorten(text.Line(s), most)
}
