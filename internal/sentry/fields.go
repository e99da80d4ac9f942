package sentry

import (
	"iter"
	"slices"

	"github.com/tidwall/gjson"

	"sentry-temporal/internal/text"
)

// MaxField bounds each text that [Fields] gives out, in bytes.
const MaxField = 16 << 10

// Fields reads a JSON object defensively: nothing in it makes a method fail,
// and what is missing, null or of another type is empty. Its texts are clean, see
// [text.Clean], and its ids are one line. Paths are of gjson, as in
// "issue.project.slug". The zero value is an empty object.
type Fields struct{ object gjson.Result }

// Fields returns the fields of a body. Of one that is not a JSON object in
// UTF-8 all are empty, and ok is false.
func (b Body) Fields() (fields Fields, ok bool) {
	if !IsObject([]byte(b)) {
		return Fields{}, false
	}
	return Fields{gjson.Parse(string(b))}, true
}

// Object returns the first of paths that holds an object.
func (f Fields) Object(paths ...string) Fields {
	for _, path := range paths {
		if found := f.get(path); found.IsObject() {
			return Fields{found}
		}
	}
	return Fields{}
}

// Text returns the first of paths that holds a string with something in it.
func (f Fields) Text(paths ...string) string {
	for _, path := range paths {
		if found := textOf(f.get(path)); found != "" {
			return found
		}
	}
	return ""
}

// ID returns the first of paths that holds an id, which Sentry sends as a string
// here and as a number there, and which may be too big for a float.
func (f Fields) ID(paths ...string) string {
	for _, path := range paths {
		if id := idOf(f.get(path)); id != "" {
			return id
		}
	}
	return ""
}

// Texts returns the strings with something in them of the array at path, at most
// the first limit.
func (f Fields) Texts(path string, limit int) []string {
	var texts []string
	for _, element := range f.get(path).Array() {
		if len(texts) == limit {
			break
		}
		if found := textOf(element); found != "" {
			texts = append(texts, found)
		}
	}
	return texts
}

// Each returns the objects of the array at path, one after the other.
func (f Fields) Each(path string) iter.Seq[Fields] {
	return func(yield func(Fields) bool) {
		list := f.get(path)
		if !list.IsArray() {
			return
		}
		list.ForEach(func(_, element gjson.Result) bool {
			return !element.IsObject() || yield(Fields{element})
		})
	}
}

// True reports whether path holds true.
func (f Fields) True(path string) bool { return f.get(path).Type == gjson.True }

// pick reads the values of keys, which are no paths, in one pass: for those who
// read many fields of every delivery.
func (f Fields) pick(keys ...string) picked {
	p := picked{keys, make([]gjson.Result, len(keys))}
	if f.object.IsObject() {
		left := len(keys)
		f.object.ForEach(func(key, value gjson.Result) bool {
			if i := slices.Index(keys, key.Str); i >= 0 && !p.values[i].Exists() {
				p.values[i] = value
				left--
			}
			return left > 0
		})
	}
	return p
}

// picked are values by key.
type picked struct {
	keys   []string
	values []gjson.Result
}

func (p picked) get(key string) gjson.Result { return p.values[slices.Index(p.keys, key)] }

func (p picked) text(key string) string { return textOf(p.get(key)) }

func (p picked) id(key string) string { return idOf(p.get(key)) }

func textOf(value gjson.Result) string {
	if value.Type != gjson.String {
		return ""
	}
	return text.Clean(text.Cut(value.Str, MaxField))
}

func idOf(value gjson.Result) string {
	if value.Type == gjson.Number {
		return rawOf(value)
	}
	return text.Line(textOf(value))
}

// rawOf returns what stands there, which in no JSON may be anything.
func rawOf(value gjson.Result) string { return text.Line(text.Cut(value.Raw, MaxField)) }

// get reads from objects alone: gjson would look for a path in any text.
func (f Fields) get(path string) gjson.Result {
	if !f.object.IsObject() {
		return gjson.Result{}
	}
	return f.object.Get(path)
}
