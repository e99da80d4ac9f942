package activities

import (
	"cmp"
	"regexp"
	"strings"

	"sentry-temporal/internal/text"
)

const (
	maxTicketTitle = 250      // bytes; GitHub takes 256 characters
	maxTicketFact  = 1000     // bytes
	maxTicketText  = 20 << 10 // bytes; GitHub takes 65,536 characters, and escaping makes more of them
	zeroWidthSpace = "\u200b"
)

// marker is the first line of what we write. It is not shown.
func marker(key string) string { return "<!-- sentry-temporal: " + key + " -->" }

// carries reports whether something was written under a key.
func carries(body, key string) bool {
	line, _, _ := strings.Cut(body, "\n")
	return strings.TrimRight(line, "\r ") == marker(key)
}

func ticketTitle(card Card) string {
	c := card.clean()
	title := cmp.Or(c.Title, c.Rule, c.Headline, "something that Sentry does not name")
	if c.ShortID != "" {
		title = text.Shorten(c.ShortID, 50) + ": " + title
	}
	if c.Test {
		title = "Test: " + title
	}
	return text.Shorten(breakMentions(text.Cut(title, maxTicketTitle)), maxTicketTitle)
}

// ticketBody tells of a card in Markdown. Texts from outside are code in it, where nothing
// means anything to GitHub.
func ticketBody(ticket Ticket, run string) string {
	c := ticket.Card.clean()
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\n") }
	line(marker(ticket.Key))
	line("**", escapeMarkdown(cmp.Or(text.Shorten(c.Headline, 200), "Sentry")), "**", link(" in Sentry: ", cmp.Or(text.Shorten(c.ShortID, 50), "open"), c.URL))
	if c.Title != "" {
		line("\n", codeBlock(text.Shorten(c.Title, 4*maxTicketFact)), "\n")
	}
	for _, f := range c.facts() {
		if f.name != "details" {
			line("- ", f.name, ": ", codeSpan(text.Shorten(f.value, maxTicketFact)))
		}
	}
	if c.Details != "" {
		line("\n", codeBlock(text.Shorten(c.Details, maxTicketText)), "\n")
	}
	if run != "" {
		line("\n", strings.TrimSpace(link("", "Triage run", run)))
	}
	return b.String()
}

// link is a link after some words, or nothing without an address, which is one of
// webPage's.
func link(before, label, address string) string {
	if address == "" {
		return ""
	}
	return before + "[" + escapeMarkdown(label) + "](<" + address + ">)"
}

// codeSpan shows a line as it is.
func codeSpan(s string) string {
	fence := strings.Repeat("`", longestRun(s)+1)
	return fence + " " + s + " " + fence
}

// codeBlock shows lines as they are.
func codeBlock(s string) string {
	fence := strings.Repeat("`", max(longestRun(s)+1, 3))
	return fence + "\n" + s + "\n" + fence
}

// longestRun returns how many backticks follow one another at most.
func longestRun(s string) int {
	longest, run := 0, 0
	for _, r := range s {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

var (
	mention   = regexp.MustCompile(`@|#|(?i:\bGH-)|://|(?i:\bwww)\.`)
	asciiMark = regexp.MustCompile("[!-/:-@\\[-`{-~]")
)

// breakMentions has no word in s be a person, an issue or an address for GitHub, and changes
// nothing that is to be seen.
func breakMentions(s string) string {
	return mention.ReplaceAllStringFunc(s, func(found string) string {
		if found == "://" {
			return ":" + zeroWidthSpace + "//"
		}
		if www, ok := strings.CutSuffix(found, "."); ok {
			return www + zeroWidthSpace + "."
		}
		return found + zeroWidthSpace
	})
}

// escapeMarkdown has s be shown as it is, without a mention, a reference or a link.
func escapeMarkdown(s string) string {
	return asciiMark.ReplaceAllString(breakMentions(text.Clean(s)), `\$0`)
}
