package sentry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxName bounds a resource and an action, in bytes. Sentry's longest has 28
// (build_distribution_completed). Names end up in logs, metrics and search
// attributes, so they stay short.
const maxName = 64

// What can be wrong with a verified body or its resource header.
var (
	ErrNotJSONObject    = errors.New("body is not a JSON object in UTF-8")
	ErrNoAction         = errors.New(`body has no string "action"`)
	ErrMalformedName    = fmt.Errorf("not a name of at most %d letters, digits, _ and -", maxName)
	ErrResourceUnknown  = errors.New(HeaderResource + " is absent and the body is of no known resource")
	ErrResourceMismatch = errors.New(HeaderResource + " contradicts the body")
)

// EventName returns the name of a delivery, "sentry.<resource>.<action>" in
// lower case, from the value of [HeaderResource] and the raw body. There is no
// event field on the wire: the name is made of the two.
//
// The header is not signed. When it is empty the resource is inferred from the
// body, and when it names a known resource while the body is clearly of another
// one the answer is [ErrResourceMismatch]. Resources and actions nobody has
// heard of are fine, whatever their body resembles: Sentry adds some within
// months. "archived", which some old subscriptions send, is the event
// sentry.issue.ignored.
//
// A nil error means that body is a JSON object in UTF-8.
func EventName(resource string, body []byte) (string, error) {
	if !IsObject(body) {
		return "", ErrNotJSONObject
	}
	action := gjson.GetBytes(body, "action")
	if action.Type != gjson.String || action.Str == "" {
		return "", ErrNoAction
	}
	if !isName(action.Str) {
		return "", fmt.Errorf("action: %w", ErrMalformedName)
	}
	inferred := inferResource(body)
	if resource == "" {
		if inferred == "" {
			return "", ErrResourceUnknown
		}
		resource = inferred
	}
	if !isName(resource) {
		return "", fmt.Errorf("%s: %w", HeaderResource, ErrMalformedName)
	}
	resource = strings.ToLower(resource)
	if inferred != "" && inferred != resource && isKnown(resource) {
		return "", ErrResourceMismatch
	}
	name := "sentry." + resource + "." + strings.ToLower(action.Str)
	if other, ok := Renamed(name); ok {
		return other, nil
	}
	return name, nil
}

// IsObject reports whether body is a JSON object in UTF-8, nested no deeper than
// 10,000 levels.
func IsObject(body []byte) bool {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	return bytes.HasPrefix(trimmed, []byte("{")) && utf8.Valid(body) && validJSON(body)
}

// maxNesting is the standard library's own bound.
const maxNesting = 10_000

// validJSON asks gjson, which is several times as fast as the standard library
// but recurses: a body of a million brackets would exhaust the stack. Whatever
// could nest too deeply goes to the standard library, which refuses it.
func validJSON(body []byte) bool {
	if bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) > maxNesting {
		return json.Valid(body)
	}
	return gjson.ValidBytes(body)
}

func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return true
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// identifying lists, per known resource, the keys of data that all have to be
// there for a body to be clearly of that resource. More demanding rows come
// first: an activity alert carries an issue, too.
var identifying = []struct {
	resource string
	keys     []string
}{
	{"activity_alert", []string{"activity", "issue", "alert"}},
	{"event_alert", []string{"event", "triggered_rule"}},
	{"comment", []string{"comment_id", "comment"}},
	{"metric_alert", []string{"metric_alert"}},
	{"seer", []string{"run_id", "group_id"}},
	{"installation", []string{"installation"}},
	{"preprod_artifact", []string{"buildId"}},
	{"error", []string{"error"}},
	{"", []string{"issue", "comment"}}, // either: some senders nest the issue that a comment is on
	{"issue", []string{"issue"}},
}

func isKnown(resource string) bool {
	for _, row := range identifying {
		if row.resource == resource {
			return true
		}
	}
	return false
}

// inferResource returns the known resource that body clearly is of, or "".
func inferResource(body []byte) string {
	has := map[string]bool{}
	data := gjson.GetBytes(body, "data")
	if !data.IsObject() {
		return ""
	}
	data.ForEach(func(key, _ gjson.Result) bool {
		has[key.String()] = true
		return true
	})
	if gjson.GetBytes(body, "comment").IsObject() {
		has["comment"] = true
	}
	for _, row := range identifying {
		found := true
		for _, key := range row.keys {
			found = found && has[key]
		}
		if found {
			return row.resource
		}
	}
	return ""
}
