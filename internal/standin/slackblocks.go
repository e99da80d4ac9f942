package standin

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// maxSlackBlocks bounds all the texts of a message's blocks. Slack does not document it.
const maxSlackBlocks = 13200

// slackBlock is a block, and any element or text within one.
type slackBlock struct {
	Type      string          `json:"type"`
	BlockID   string          `json:"block_id"`
	ActionID  string          `json:"action_id"`
	Text      json.RawMessage `json:"text"` // an object, or in rich text a string
	Fields    []slackBlock    `json:"fields"`
	Elements  []slackBlock    `json:"elements"`
	URL       *string         `json:"url"`
	Value     string          `json:"value"`
	Verbatim  bool            `json:"verbatim"`
	Style     json.RawMessage `json:"style"` // an object, of a button a string
	Name      string          `json:"name"`
	UserID    string          `json:"user_id"`
	GroupID   string          `json:"usergroup_id"`
	ChannelID string          `json:"channel_id"`
	Range     string          `json:"range"`
	Timestamp int64           `json:"timestamp"`
	Format    string          `json:"format"`
	Fallback  string          `json:"fallback"`
}

// words returns a text that is a string.
func (b slackBlock) words() string {
	var s string
	_ = json.Unmarshal(b.Text, &s) // "" if it is none
	return s
}

// object returns a text that is an object.
func (b slackBlock) object() slackBlock {
	var o slackBlock
	_ = json.Unmarshal(b.Text, &o) // empty if it is none
	return o
}

// checkBlocks returns what Slack would not take of blocks, and how many characters they
// have.
func checkBlocks(text []byte) (problems []string, size int) {
	var blocks []slackBlock
	if err := json.Unmarshal(text, &blocks); err != nil {
		return []string{"[ERROR] blocks is not a valid array"}, 0
	}
	c := &blockCheck{}
	if len(blocks) > 50 {
		c.no("no more than 50 items allowed", "/blocks")
	}
	for i, b := range blocks {
		c.block(b, fmt.Sprintf("/blocks/%d", i))
	}
	return c.problems, c.size
}

type blockCheck struct {
	problems []string
	size     int
}

func (c *blockCheck) no(what, where string) {
	c.problems = append(c.problems, "[ERROR] "+what+" [json-pointer:"+where+"]")
}

// text checks a text object.
func (c *blockCheck) text(b slackBlock, most int, plainOnly bool, where string) {
	text := b.words()
	switch n := utf8.RuneCountInString(text); {
	case b.Type != "plain_text" && (plainOnly || b.Type != "mrkdwn"):
		c.no("unsupported type: "+b.Type, where)
	case n == 0:
		c.no("must be more than 0 characters", where)
	case n > most:
		c.no(fmt.Sprintf("must be less than %d characters", most+1), where)
	default:
		c.size += n
	}
}

func (c *blockCheck) most(s string, most int, where string) {
	if utf8.RuneCountInString(s) > most {
		c.no(fmt.Sprintf("must be less than %d characters", most+1), where)
	}
}

func (c *blockCheck) block(b slackBlock, where string) {
	c.most(b.BlockID, 255, where+"/block_id")
	switch b.Type {
	case "divider":
	case "header":
		c.text(b.object(), 150, true, where+"/text")
	case "section":
		if b.Text == nil && b.Fields == nil {
			c.no("missing required field: text", where)
		}
		if b.Text != nil {
			c.text(b.object(), 3000, false, where+"/text")
		}
		if len(b.Fields) > 10 {
			c.no("no more than 10 items allowed", where+"/fields")
		}
		for i, field := range b.Fields {
			c.text(field, 2000, false, fmt.Sprintf("%s/fields/%d", where, i))
		}
	case "context":
		if len(b.Elements) == 0 || len(b.Elements) > 10 {
			c.no("1 to 10 items allowed", where+"/elements")
		}
		for i, e := range b.Elements {
			c.text(e, 3000, false, fmt.Sprintf("%s/elements/%d", where, i))
		}
	case "actions":
		if len(b.Elements) == 0 || len(b.Elements) > 25 {
			c.no("1 to 25 items allowed", where+"/elements")
		}
		for i, e := range b.Elements {
			c.button(e, fmt.Sprintf("%s/elements/%d", where, i))
		}
	case "rich_text":
		if len(b.Elements) == 0 {
			c.no("missing required field: elements", where)
		}
		for i, e := range b.Elements {
			c.rich(e, fmt.Sprintf("%s/elements/%d", where, i))
		}
	default:
		c.no("unsupported type: "+b.Type, where)
	}
}

func (c *blockCheck) button(b slackBlock, where string) {
	if b.Type != "button" {
		c.no("unsupported type: "+b.Type, where)
		return
	}
	c.text(b.object(), 75, true, where+"/text")
	c.most(b.ActionID, 255, where+"/action_id")
	c.most(b.Value, 2000, where+"/value")
	if b.URL != nil {
		c.url(*b.URL, where+"/url")
	}
}

func (c *blockCheck) url(s, where string) {
	c.most(s, 3000, where)
	if scheme, rest, ok := strings.Cut(s, ":"); !ok || scheme == "" || rest == "" {
		c.no("must be a valid url", where)
	}
}

// rich checks what a rich text has.
func (c *blockCheck) rich(b slackBlock, where string) {
	switch b.Type {
	case "rich_text_section", "rich_text_preformatted", "rich_text_quote":
	case "rich_text_list":
		for i, e := range b.Elements {
			c.rich(e, fmt.Sprintf("%s/elements/%d", where, i))
		}
		return
	default:
		c.no("unsupported type: "+b.Type, where)
		return
	}
	for i, e := range b.Elements {
		at := fmt.Sprintf("%s/elements/%d", where, i)
		c.size += utf8.RuneCountInString(e.words())
		switch e.Type {
		case "text":
			if e.words() == "" {
				c.no("must be more than 0 characters", at+"/text")
			}
		case "link":
			if e.URL == nil {
				c.no("missing required field: url", at)
			} else {
				c.url(*e.URL, at+"/url")
			}
		case "date":
			if e.Timestamp == 0 || e.Format == "" {
				c.no("missing required field: timestamp or format", at)
			}
		case "emoji", "user", "usergroup", "channel", "broadcast", "team", "color":
		default:
			c.no("unsupported type: "+e.Type, at)
		}
	}
}

// slackSpan is a text as it is seen.
type slackSpan struct {
	Text                       string
	URL                        string // of a link
	Bold, Italic, Strike, Code bool
	Mention                    bool   // it notifies somebody, or names somebody
	Emoji                      string // name
}

// slackPart is a part of a message as it is seen.
type slackPart struct {
	Kind  string // as its class is called
	Lines [][]slackSpan
}

// partsOf returns how a message is seen.
func (m *SlackPosted) partsOf() []slackPart {
	var blocks []slackBlock
	if m.Blocks == nil || json.Unmarshal(m.Blocks, &blocks) != nil {
		return []slackPart{{Kind: "text", Lines: m.textLines()}}
	}
	var parts []slackPart
	for _, b := range blocks {
		parts = append(parts, b.parts()...)
	}
	return parts
}

// textLines is a message's text, which is also what a notification has.
func (m *SlackPosted) textLines() [][]slackSpan {
	return mrkdwn(m.Text, m.Mrkdwn, m.Autolink)
}

func (b slackBlock) parts() []slackPart {
	one := func(kind string, texts ...slackBlock) slackPart {
		p := slackPart{Kind: kind}
		for _, t := range texts {
			p.Lines = append(p.Lines, t.textObject()...)
		}
		return p
	}
	switch b.Type {
	case "divider":
		return []slackPart{{Kind: "divider"}}
	case "header":
		return []slackPart{one("header", b.object())}
	case "section":
		var parts []slackPart
		if b.Text != nil {
			parts = append(parts, one("section", b.object()))
		}
		if b.Fields != nil {
			parts = append(parts, one("fields", b.Fields...))
		}
		return parts
	case "context":
		return []slackPart{one("context", b.Elements...)}
	case "actions":
		p := slackPart{Kind: "actions", Lines: [][]slackSpan{nil}}
		for _, e := range b.Elements {
			span := slackSpan{Text: e.object().words()}
			if e.URL != nil {
				span.URL = *e.URL
			}
			p.Lines[0] = append(p.Lines[0], span)
		}
		return []slackPart{p}
	}
	var parts []slackPart
	for _, e := range b.Elements { // of a rich text
		parts = append(parts, e.richParts()...)
	}
	return parts
}

func (b slackBlock) textObject() [][]slackSpan {
	if b.Type == "mrkdwn" {
		return mrkdwn(b.words(), true, !b.Verbatim)
	}
	return lines([]slackSpan{{Text: unescape(b.words())}})
}

func (b slackBlock) richParts() []slackPart {
	kind := strings.TrimPrefix(b.Type, "rich_text_")
	if kind == "list" {
		p := slackPart{Kind: kind}
		for _, e := range b.Elements {
			for _, part := range e.richParts() {
				p.Lines = append(p.Lines, part.Lines...)
			}
		}
		return []slackPart{p}
	}
	var spans []slackSpan
	for _, e := range b.Elements {
		var style struct{ Bold, Italic, Strike, Code bool }
		_ = json.Unmarshal(e.Style, &style) // none if it is not there
		span := slackSpan{Text: e.words(), Bold: style.Bold, Italic: style.Italic, Strike: style.Strike, Code: style.Code}
		switch e.Type {
		case "link":
			span.URL = *e.URL
			if span.Text == "" {
				span.Text = span.URL
			}
		case "date":
			span.Text = time.Unix(e.Timestamp, 0).UTC().Format("Jan 2, 2006 at 15:04")
		case "emoji":
			span.Text, span.Emoji = ":"+e.Name+":", e.Name
		case "user", "usergroup", "channel", "broadcast":
			span.Text, span.Mention = "@"+e.UserID+e.GroupID+e.ChannelID+e.Range, true
		}
		spans = append(spans, span)
	}
	return []slackPart{{Kind: kind, Lines: lines(spans)}}
}

// lines breaks spans at the ends of lines.
func lines(spans []slackSpan) [][]slackSpan {
	all := [][]slackSpan{nil}
	for _, s := range spans {
		for i, text := range strings.Split(s.Text, "\n") {
			if i > 0 {
				all = append(all, nil)
			}
			if text != "" {
				s.Text = text
				all[len(all)-1] = append(all[len(all)-1], s)
			}
		}
	}
	return all
}

var unescaper = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

func unescape(s string) string { return unescaper.Replace(s) }

var (
	slackAngle   = regexp.MustCompile(`<([^<>\n]*)>`)
	slackAddress = regexp.MustCompile(`https?://[^\s<>|]+|\bwww\.[^\s<>|]+`)
	// The markers of bold, italic, struck and code, around something.
	slackMarked = regexp.MustCompile("(?s)```(.+?)```|`([^`\n]+)`|\\*([^*\n]+)\\*|\\b_([^_\n]+)_\\b|~([^~\n]+)~")
)

// mrkdwn returns how a text in Slack's markup is seen, or one without formats. Addresses
// become links if autolink says so.
func mrkdwn(text string, formats, autolink bool) [][]slackSpan {
	var spans []slackSpan
	for at := 0; at < len(text); {
		found := slackAngle.FindStringSubmatchIndex(text[at:])
		if found == nil {
			spans = append(spans, formatted(text[at:], formats, autolink)...)
			break
		}
		spans = append(spans, formatted(text[at:at+found[0]], formats, autolink)...)
		spans = append(spans, angle(text[at+found[2]:at+found[3]]))
		at += found[1]
	}
	return lines(spans)
}

// angle is what is between < and >.
func angle(inner string) slackSpan {
	target, label, labelled := strings.Cut(inner, "|")
	if !labelled {
		label = target
	}
	switch {
	case strings.HasPrefix(target, "!date^"):
		span := slackSpan{Text: unescape(label)}
		if parts := strings.Split(target, "^"); len(parts) > 3 {
			span.URL = parts[3]
		}
		return span
	case strings.HasPrefix(target, "!"), strings.HasPrefix(target, "@"), strings.HasPrefix(target, "#"):
		return slackSpan{Text: "@" + strings.TrimLeft(unescape(label), "!@#"), Mention: true}
	case strings.Contains(target, ":"):
		return slackSpan{Text: unescape(label), URL: unescape(target)}
	}
	return slackSpan{Text: "<" + unescape(inner) + ">"}
}

func formatted(text string, formats, autolink bool) []slackSpan {
	if !formats {
		return linked(slackSpan{Text: text}, autolink)
	}
	var spans []slackSpan
	for at := 0; at < len(text); {
		found := slackMarked.FindStringSubmatchIndex(text[at:])
		if found == nil {
			return append(spans, linked(slackSpan{Text: text[at:]}, autolink)...)
		}
		spans = append(spans, linked(slackSpan{Text: text[at : at+found[0]]}, autolink)...)
		for kind := 1; kind <= 5; kind++ {
			if found[2*kind] < 0 {
				continue
			}
			s := slackSpan{Text: text[at+found[2*kind] : at+found[2*kind+1]], Code: kind <= 2, Bold: kind == 3, Italic: kind == 4, Strike: kind == 5}
			spans = append(spans, linked(s, autolink && !s.Code)...)
		}
		at += found[1]
	}
	return spans
}

// linked makes links of the addresses in a span.
func linked(s slackSpan, autolink bool) []slackSpan {
	var spans []slackSpan
	add := func(text, url string) {
		if s.Text, s.URL = unescape(text), url; text != "" {
			spans = append(spans, s)
		}
	}
	text := s.Text
	for autolink {
		found := slackAddress.FindStringIndex(text)
		if found == nil {
			break
		}
		add(text[:found[0]], "")
		url := text[found[0]:found[1]]
		if strings.HasPrefix(url, "www.") {
			url = "http://" + url
		}
		add(text[found[0]:found[1]], unescape(url))
		text = text[found[1]:]
	}
	add(text, "")
	return spans
}
