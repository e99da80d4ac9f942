package activities

import (
	"cmp"
	"strings"
	"time"

	"sentry-temporal/internal/text"
)

// The texts of a message are cut, each to so many bytes: all of them together are well
// below what Slack takes.
const (
	slackShort      = 100
	slackTitle      = 300
	slackDetails    = 1000
	slackReplyBytes = 2500

	slackDetailLines = 10
	slackReplyLines  = 30
)

// slackContent is what a message says. It is rich text, in which Slack looks for no
// markup, mention or link: what is one is an element of its own. Links are no buttons,
// since Slack shows a warning beside one of an app that takes no clicks.
type slackContent struct {
	Text   string         `json:"text"` // of notifications, and for screen readers
	Blocks []slackElement `json:"blocks"`
	// Neither what is formatted, nor addresses and names in Text.
	Parse       string `json:"parse"`
	Mrkdwn      bool   `json:"mrkdwn"`
	LinkNames   bool   `json:"link_names"`
	UnfurlLinks bool   `json:"unfurl_links"`
	UnfurlMedia bool   `json:"unfurl_media"`
}

// slackElement is a block of rich text, or what is in one.
type slackElement struct {
	Type      string         `json:"type"`
	Elements  []slackElement `json:"elements,omitempty"`
	Text      string         `json:"text,omitempty"`
	URL       string         `json:"url,omitempty"`
	Name      string         `json:"name,omitempty"` // of an emoji
	Style     *slackStyle    `json:"style,omitempty"`
	Timestamp int64          `json:"timestamp,omitempty"`
	Format    string         `json:"format,omitempty"`
	Fallback  string         `json:"fallback,omitempty"`
}

type slackStyle struct {
	Bold bool `json:"bold,omitempty"`
	Code bool `json:"code,omitempty"`
}

func plainText(s string) slackElement { return slackElement{Type: "text", Text: s} }

func boldText(s string) slackElement {
	return slackElement{Type: "text", Text: s, Style: &slackStyle{Bold: true}}
}

func codeText(s string) slackElement {
	return slackElement{Type: "text", Text: s, Style: &slackStyle{Code: true}}
}

// slackLines makes a message of lines. Those without an element are left out.
func slackLines(notification string, lines ...[]slackElement) slackContent {
	section := slackElement{Type: "rich_text_section"}
	for _, line := range lines {
		if len(line) == 0 {
			continue
		}
		if section.Elements != nil {
			section.Elements = append(section.Elements, plainText("\n"))
		}
		section.Elements = append(section.Elements, line...)
	}
	return slackContent{
		Text:   slackEscaper.Replace(notification),
		Blocks: []slackElement{{Type: "rich_text", Elements: []slackElement{section}}},
		Parse:  "none",
	}
}

// slackEscaper is for Text. Blocks have nothing that Slack would take for markup.
var slackEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackParagraph returns a text that may have lines, at most so many bytes and lines. Empty
// lines are left out.
func slackParagraph(s string, limit, most int) [][]slackElement {
	var lines [][]slackElement
	for line := range strings.SplitSeq(text.Shorten(text.Clean(text.Cut(s, 16*limit)), limit), "\n") {
		if line = shown(line, limit); line == "" {
			continue
		}
		if len(lines) == most {
			return append(lines, []slackElement{plainText("…")})
		}
		lines = append(lines, []slackElement{plainText(line)})
	}
	return lines
}

// slackText is the message that says a text.
func slackText(s string) slackContent {
	lines := slackParagraph(s, slackReplyBytes, slackReplyLines)
	if lines == nil {
		lines = [][]slackElement{{plainText("(nothing)")}}
	}
	return slackLines(text.Shorten(lines[0][0].Text, slackTitle), lines...)
}

// slackCard is the message that tells of an issue or an alert, with a link to the run
// that posts it.
func slackCard(card Card, run string) slackContent {
	if card.Rule == card.Title { // as it is with metric alerts
		card.Rule = ""
	}
	title := shown(card.Title, slackTitle)
	if title == "" {
		title = "(no title)"
	}
	headline := cmp.Or(shown(card.Headline, slackShort), "Sentry")
	if card.Test {
		headline = "Test: " + headline
	}
	sign := slackSignOf(card)
	head := []slackElement{{Type: "emoji", Name: sign.name}, plainText(" "), boldText(headline)}
	for _, s := range []string{card.ShortID, card.Severity} {
		if s = shown(s, slackShort); s != "" {
			head = append(head, plainText("  ·  "+s))
		}
	}
	name := boldText(title)
	if page := webPage(card.URL); page != "" {
		name.Type, name.URL = "link", page
	}
	lines := [][]slackElement{
		head, {name},
		slackFacts(slackFact{"Level", card.Level}, slackFact{"Project", card.Project}, slackFact{"Environment", card.Environment}, slackFact{"Release", card.Release}),
		slackNumbers(card),
		slackWhere(card),
		slackFacts(slackFact{"Rule", card.Rule}),
	}
	lines = append(lines, slackParagraph(card.Details, slackDetails, slackDetailLines)...)
	if card.Test {
		lines = append(lines, []slackElement{plainText("Somebody tries whether messages arrive here. There is nothing to do.")})
	}
	if run != "" {
		lines = append(lines, []slackElement{{Type: "link", URL: run, Text: "Temporal run"}})
	}
	return slackLines(slackNotification(sign.text, headline, title, card), lines...)
}

// slackNotification is one line that tells what broke where.
func slackNotification(sign, headline, title string, card Card) string {
	s := sign + " " + headline + ": " + title
	if project := shown(card.Project, slackShort); project != "" {
		s += " in " + project
	}
	if environment := shown(card.Environment, slackShort); environment != "" {
		s += ", " + environment
	}
	return s
}

// slackSign is what is seen before anything is read.
type slackSign struct{ name, text string }

func slackSignOf(card Card) slackSign {
	switch {
	case card.Test:
		return slackSign{"test_tube", "🧪"}
	case strings.HasSuffix(card.Event, ".resolved"):
		return slackSign{"white_check_mark", "✅"}
	case card.Level == "fatal", card.Severity == "critical":
		return slackSign{"red_circle", "🔴"}
	case card.Level == "warning":
		return slackSign{"large_yellow_circle", "🟡"}
	case card.Level == "info", card.Level == "debug":
		return slackSign{"large_blue_circle", "🔵"}
	}
	return slackSign{"large_orange_circle", "🟠"}
}

type slackFact struct{ label, value string }

func slackFacts(facts ...slackFact) []slackElement {
	var line []slackElement
	for _, fact := range facts {
		value := shown(fact.value, slackShort)
		if value == "" {
			continue
		}
		if line != nil {
			line = append(line, plainText("  ·  "))
		}
		line = append(line, plainText(fact.label+" "), boldText(value))
	}
	return line
}

// slackNumbers tells how much of it there is, and since when.
func slackNumbers(card Card) []slackElement {
	line := slackFacts(slackFact{"Users", card.Users}, slackFact{"Events", card.Count})
	if seen, err := time.Parse(time.RFC3339, card.FirstSeen); err == nil && seen.Unix() > 0 {
		if line != nil {
			line = append(line, plainText("  ·  "))
		}
		// Each reader sees it in the own time zone.
		line = append(line, plainText("First seen "), slackElement{
			Type: "date", Timestamp: seen.Unix(), Format: "{date_short_pretty} at {time}", Fallback: seen.UTC().Format(time.RFC3339), Style: &slackStyle{Bold: true},
		})
	}
	return line
}

// slackWhere tells where in the code it is.
func slackWhere(card Card) []slackElement {
	var line []slackElement
	for _, s := range []string{shown(card.Culprit, slackTitle), shown(card.Frame, slackTitle)} {
		if s == "" {
			continue
		}
		if line != nil {
			line = append(line, plainText("  "))
		}
		line = append(line, codeText(s))
	}
	return line
}
