// Package text makes text from outside fit to be shown: in a log, a span, a
// page, or Temporal's UI.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s as valid UTF-8 in which everything can be seen. Each run of bytes
// that is no UTF-8 becomes U+FFFD, and each end of a line a line feed, which stays, as
// tabs do. Left out are control characters, what turns the direction of the text
// around it, what has no width, and tags.
//
// Joiners (U+200C, U+200D) and variation selectors stay where scripts and emoji
// need them: one of each behind a character, if that is not of ASCII and no
// Latin, Greek or Cyrillic letter.
//
// It is idempotent, and returns what is clean as it is.
func Clean(s string) string { return clean(s, false) }

// Line is like [Clean] but returns one line: white space of any kind is a space,
// and there is none at either end.
func Line(s string) string { return clean(s, true) }

// Cut returns the first characters of s, at most limit bytes.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := max(limit, 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

const ellipsis = "…"

// Shorten is like [Cut], but what is cut ends in an ellipsis, within limit.
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return Cut(Cut(s, limit-len(ellipsis))+ellipsis, limit)
}

func clean(s string, line bool) string {
	if isPlain(s, line) {
		return s
	}
	var b strings.Builder
	var last rune // that is in the result, or else 0
	kept := 0     // bytes of s that are the result, as long as nothing is in b
	changed := false
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		invalid := r == utf8.RuneError && size == 1
		for invalid && i+size < len(s) {
			if next, n := utf8.DecodeRuneInString(s[i+size:]); next != utf8.RuneError || n != 1 {
				break
			}
			size++
		}
		if r == '\r' && strings.HasPrefix(s[i+size:], "\n") {
			size++
		}
		shown, ok := show(r, last, line)
		same := ok && shown == r && !invalid && size == utf8.RuneLen(r)
		if !same && !changed {
			changed = true
			b.Grow(len(s))
			b.WriteString(s[:kept])
		}
		i += size
		switch {
		case !changed:
			kept = i
		case ok:
			b.WriteRune(shown)
		}
		if ok {
			last = shown
		}
	}
	if changed {
		s = b.String()
	}
	if line {
		s = strings.Trim(s, " ")
	}
	return s
}

// isPlain reports whether s has nothing but printable ASCII, or what may stand
// beside it, and no white space that a line does not have.
func isPlain(s string, line bool) bool {
	if line && s != "" && (s[0] == ' ' || s[len(s)-1] == ' ') {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && (line || c != '\n' && c != '\t') {
			return false
		}
	}
	return true
}

// show returns what is shown of r behind last, and false for nothing.
func show(r, last rune, line bool) (rune, bool) {
	switch r {
	case '\n', '\r', '\v', '\f', '\u0085', '\u2028', '\u2029':
		r = '\n'
	case '\t':
	case zeroWidthNonJoiner, zeroWidthJoiner:
		return r, last != 0 && (unicode.Is(unicode.Variation_Selector, last) || mayJoin(last))
	default:
		switch {
		case ' ' <= r && r <= '~':
			return r, true
		case unicode.Is(unicode.Variation_Selector, r):
			return r, mayJoin(last)
		case isInvisible(r):
			return 0, false
		}
	}
	if line && unicode.IsSpace(r) {
		return ' ', true
	}
	return r, true
}

const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
)

// mayJoin reports whether r is of a script that needs joiners and variation
// selectors, or a symbol.
func mayJoin(r rune) bool {
	return r > unicode.MaxASCII && r != utf8.RuneError && r != zeroWidthNonJoiner && r != zeroWidthJoiner && !unicode.IsSpace(r) &&
		!unicode.In(r, unicode.Variation_Selector, unicode.Latin, unicode.Greek, unicode.Cyrillic)
}

// isInvisible reports whether r is a control or format character, one that a
// reader does not see, or none at all. Characters that Unicode does not have yet
// may be seen elsewhere.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r) // is seen
}
