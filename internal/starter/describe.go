package starter

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

// Attributes are the search attributes of every run, all of type Keyword: of
// the other types PostgreSQL has few columns, and a Text value can make a run
// invisible.
var Attributes = []string{"SentryEvent", "SentryIntegration", "SentryProject", "SentryIssueId", "SentryShortId", "SentryLevel"}

// maxAttribute is what PostgreSQL's columns hold, in characters: a run with a
// longer value completes but is never shown.
const maxAttribute = 255

// attributesOf returns the values of [Attributes] by name, without empty ones.
func attributesOf(env sentry.Envelope, s sentry.Subject) map[string]string {
	values := map[string]string{
		"SentryEvent":       env.EventType,
		"SentryIntegration": env.IntegrationID,
		"SentryProject":     s.Project,
		"SentryIssueId":     s.IssueID,
		"SentryShortId":     s.ShortID,
		"SentryLevel":       s.Level,
	}
	for name, value := range values {
		if value = characters(oneLine(value), maxAttribute); value == "" {
			delete(values, name)
		} else {
			values[name] = value
		}
	}
	return values
}

// maxSummary is what Temporal's UI shows of a summary, in bytes. Servers take a
// payload of 400 bytes, and details of 20,000.
const maxSummary = 200

// summaryOf is a run's headline, as in
//
//	BACKEND-1A created: TypeError: x is undefined (error)
//
// It names no person. The Temporal UI shows it here as it is and there as
// Markdown, so it has nothing in it that is markup.
func summaryOf(env sentry.Envelope, s sentry.Subject) string {
	_, name, _ := strings.Cut(env.EventType, ".")
	resource, action, _ := strings.Cut(name, ".")
	what := strings.ReplaceAll(action, "_", " ")
	if resource != "issue" {
		what = strings.ReplaceAll(resource, "_", " ") + " " + what
	}
	about := cmp.Or(s.ShortID, s.IssueID, s.Project, env.IntegrationID)
	headline := withoutMarkup(about, 50) + " " + withoutMarkup(what, 50)
	level := ""
	if s.Level != "" {
		level = " (" + withoutMarkup(s.Level, 20) + ")"
	}
	if s.Title != "" {
		headline += ": " + withoutMarkup(s.Title, maxSummary-len(headline)-len(": ")-len(level))
	}
	return headline + level
}

// unmark replaces what is markup, a link or an address in Markdown by something
// that looks much the same.
var unmark = strings.NewReplacer(
	"<", "‹", ">", "›", "[", "(", "]", ")", "*", "∗", "`", "'", "~", "-", "|", "/", `\`, "/", "://", ": //", "www.", "www .")

// withoutMarkup returns a text as one line that is the same with and without
// Markdown, and at most limit bytes in a payload.
func withoutMarkup(line string, limit int) string {
	line = unmark.Replace(oneLine(line))
	line = underscores.ReplaceAllString(line, "$1$2")
	line = strings.TrimSpace(strings.TrimLeft(line, " #-+=."))
	size, end := 0, 0 // end of what leaves room for the ellipsis
	for i, r := range line {
		if size += encodedSize(r); size > limit {
			return line[:end] + ellipsis
		}
		if size <= limit-len(ellipsis) {
			end = i + utf8.RuneLen(r)
		}
	}
	return line
}

// encodedSize is the bytes that r has in a payload, which is JSON.
func encodedSize(r rune) int {
	switch r {
	case '"', '\\':
		return 2
	case '<', '>', '&':
		return 6
	}
	return utf8.RuneLen(r)
}

const ellipsis = "…"

// underscores are those that are not within a word, where they would be
// emphasis.
var underscores = regexp.MustCompile(`(^|[^\pL\pN_])_+|_+([^\pL\pN_]|$)`)

// detailsOf is what Temporal's UI shows of a run as Markdown.
func detailsOf(env sentry.Envelope, s sentry.Subject) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "- %s: %s\n", name, value)
		}
	}
	title := markdown(cmp.Or(s.ShortID, s.IssueID, env.EventType))
	if link := webAddress(s.URL); link != "" {
		title = "[" + title + "](" + link + ")"
	}
	fmt.Fprintf(&b, "**%s**\n\n", title)
	line("Title", markdown(s.Title))
	line("Project", markdown(s.Project))
	line("Level", markdown(s.Level))
	line("Culprit", markdown(s.Culprit))
	line("First seen", markdown(s.FirstSeen))
	line("Issue", markdown(s.IssueID))
	line("Event", markdown(env.EventType))
	line("Integration", markdown(env.IntegrationID))
	line("Idempotency key", markdown(env.IdempotencyKey))
	line("Sent", markdown(time.Unix(env.Timestamp, 0).UTC().Format(time.RFC3339)))
	line("Body", fmt.Sprintf("%d bytes", len(env.Body)))
	return b.String()
}

// maxDetail bounds a field in a run's details, in bytes.
const maxDetail = 400

// markdown returns a text as one line that Markdown shows as it is, cut so that
// the result has at most maxDetail bytes: every character that could begin markup,
// a link or an address is escaped.
func markdown(line string) string {
	var b strings.Builder
	end := 0 // of what leaves room for the ellipsis
	for _, r := range oneLine(line) {
		size := utf8.RuneLen(r)
		if isPunctuation(r) {
			size++
		}
		if b.Len()+size > maxDetail {
			return b.String()[:end] + ellipsis
		}
		if isPunctuation(r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		if b.Len()+len(ellipsis) <= maxDetail {
			end = b.Len()
		}
	}
	return b.String()
}

// isPunctuation reports whether a backslash escapes r in Markdown.
func isPunctuation(r rune) bool {
	return r < utf8.RuneSelf && (unicode.IsPunct(r) || unicode.IsSymbol(r))
}

// mailAddress is personal data, which has no place where it is never deleted.
var mailAddress = regexp.MustCompile(`[^\s<>()"']+@[^\s<>()"']+`)

// oneLine returns a text as one line without mail addresses.
func oneLine(s string) string { return mailAddress.ReplaceAllString(text.Line(s), "(mail address)") }

func characters(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			return s[:i]
		}
		n++
	}
	return s
}

// webAddress returns address if it leads to a web page and can stand in a
// Markdown link, and else "".
func webAddress(address string) string {
	const most = 1000 // bytes
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	link := strings.NewReplacer("(", "%28", ")", "%29", "<", "%3C", ">", "%3E", `\`, "%5C", " ", "%20").Replace(u.String())
	if len(link) > most {
		return ""
	}
	return link
}
