package standin

import (
	"bytes"
	"html/template"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	nethtml "golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Markdown is a text of GitHub as people see it, and what comes of it.
type Markdown struct {
	HTML       template.HTML
	Text       string   // what is to be read
	Links      []string // where it leads
	Mentions   []string // who is notified, as in @acme/team
	References []string // which issues say that they are mentioned, as in #1
	Images     []string // where they are
	RawHTML    int      // pieces of it, which are left out
}

// markdown is CommonMark with what GitHub adds. HTML of its own is left out, where GitHub
// lets some of it through: this shows less than GitHub does, and of comments nothing.
var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithHardWraps()))

// How GitHub finds people and issues in text that is neither code nor a link.
var mentioned = regexp.MustCompile(`(^|[^\w@/])(@[A-Za-z0-9][A-Za-z0-9-]*(?:/[A-Za-z0-9][\w-]*)?|(?:[\w.-]+/[\w.-]+)?#[0-9]+|(?i:GH)-[0-9]+)`)

// issueAddress is one that GitHub takes for a reference.
var issueAddress = regexp.MustCompile(`^https?://github\.com/[\w.-]+/[\w.-]+/(?:issues|pull)/[0-9]+`)

// RenderMarkdown shows a text as GitHub does.
func RenderMarkdown(source string) Markdown {
	var out bytes.Buffer
	if err := markdown.Convert([]byte(source), &out); err != nil {
		return Markdown{Text: source, HTML: template.HTML(template.HTMLEscapeString(source))} //nolint:gosec // it is escaped
	}
	var m Markdown
	body := &nethtml.Node{Type: nethtml.ElementNode, Data: "body", DataAtom: atom.Body}
	nodes, err := nethtml.ParseFragment(&out, body)
	if err != nil {
		return Markdown{Text: source, HTML: template.HTML(template.HTMLEscapeString(source))} //nolint:gosec // it is escaped
	}
	var rendered, text strings.Builder
	for _, node := range nodes {
		m.walk(node, &text, false)
		_ = nethtml.Render(&rendered, node) // into memory
	}
	m.HTML, m.Text = template.HTML(rendered.String()), text.String() //nolint:gosec // goldmark lets no HTML through
	return m
}

// walk notes what a node has, and marks who is mentioned.
func (m *Markdown) walk(node *nethtml.Node, text *strings.Builder, inert bool) {
	attribute := func(name string) string {
		for _, a := range node.Attr {
			if a.Key == name {
				return a.Val
			}
		}
		return ""
	}
	switch node.Data {
	case "a":
		m.Links = append(m.Links, attribute("href"))
		if issueAddress.MatchString(attribute("href")) {
			m.References = append(m.References, attribute("href"))
		}
		inert = true
	case "img":
		m.Images = append(m.Images, attribute("src"))
		node.DataAtom, node.Data, node.Attr = atom.Span, "span", nil // a browser is not to ask anybody for it
	case "code", "pre":
		inert = true
	}
	if node.Type == nethtml.CommentNode {
		m.RawHTML++ // goldmark says so in its place
	}
	for child := node.FirstChild; child != nil; child = child.NextSibling {
		if child.Type == nethtml.TextNode {
			text.WriteString(child.Data)
			if !inert {
				m.mention(child.Data)
			}
			continue
		}
		m.walk(child, text, inert)
	}
}

func (m *Markdown) mention(text string) {
	for _, found := range mentioned.FindAllStringSubmatch(text, -1) {
		if name := found[2]; strings.HasPrefix(name, "@") {
			m.Mentions = append(m.Mentions, name)
		} else {
			m.References = append(m.References, name)
		}
	}
}
