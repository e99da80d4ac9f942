package activities_test

import (
	"strings"

	"sentry-temporal/activities"
)

// hostileText is a text as somebody may send it to Sentry who wants a message, a page or
// a ticket to notify people, to lead them elsewhere, or to be unreadable. All that leads
// elsewhere leads to evil.example.
type hostileText struct{ name, text string }

// hostileTexts are tried on everything that shows texts from outside.
var hostileTexts = []hostileText{
	// Slack
	{"everybody in the channel", "<!channel> <!here> <!everyone>"},
	{"everybody, with a label", "<!channel|channel> <!here|@here>"},
	{"a user", "<@U1> <@W1|somebody> <@U012AB3CD>"},
	{"a group of users", "<!subteam^S1> <!subteam^S012AB3CD|@oncall>"},
	{"a channel", "<#C1> <#C012AB3CD|general>"},
	{"a link in Slack's form", "<https://evil|ok> <https://evil.example|ok>"},
	{"a mail address in Slack's form", "<mailto:me@evil.example|write>"},
	{"a date that is a link", "<!date^1392734382^{date}^https://evil.example|ok>"},
	{"an opened angle", "<https://evil.example|"},
	{"a closing angle", "title> <https://evil.example>"},
	{"a closing angle and a bar", "|ok> <!channel"},
	{"escaped once already", "&lt;!channel&gt; &lt;https://evil.example|ok&gt;"},
	{"escaped twice already", "&amp;lt;!channel&amp;gt;"},
	{"names of groups", "@channel @here @everyone @U1"},
	{"bold, italic, struck", "*bold* _italic_ ~struck~ **b** __i__ ~~s~~"},
	{"markers that are not closed", "*bold `code ~struck _italic"},
	{"a quotation", "> one\n>>> all that comes"},
	{"emoji by name", ":rotating_light: :x: :skin-tone-2:"},
	// Markdown and GitHub
	{"a fence of three", "```\ncode\n```"},
	{"a fence of four", "````\ncode\n````\n<!-- K -->"},
	{"a long run of backticks", strings.Repeat("`", 100)},
	{"backticks within", "a `b` c ``d`` e"},
	{"a fence that ends", "```\n@user #1 [ok](https://evil.example)\n```\n"},
	{"code that ends", "a ` @user #1 ` b `` @user #2 `` c"},
	{"mentions without end", strings.Repeat("@u ", 2000)},
	{"a fence of tildes", "~~~\ncode\n~~~"},
	{"a team and a user", "@org/team @user ping"},
	{"an escaped user", `\@user &#64;user &commat;user`},
	{"the end of a comment", "--><!-- K -->"},
	{"the start of a comment", "<!-- everything that comes"},
	{"a forged key", "<!-- sentry-temporal: " + strings.Repeat("a", 64) + " -->"},
	{"references", "#1 GH-1 acme/pay#1 0123456789abcdef0123456789abcdef01234567"},
	{"closing words", "closes #1, fixes acme/pay#1"},
	{"a link of Markdown", "[ok](https://evil.example) [ok]: https://evil.example"},
	{"a reference of Markdown", "[x][1]\n\n[1]: https://evil.example"},
	{"an image of Markdown", "![x](https://evil.example/x.png)"},
	{"HTML", `<script>alert(1)</script><img src=x onerror="alert(1)"><a href="https://evil.example">ok</a>`},
	{"HTML that closes", "</details></table></div></body></html>"},
	{"a heading, a list, a task", "# heading\n- item\n- [ ] task\n1. one"},
	{"a heading by underline", "title\n=====\n\n-----"},
	{"a table", "a | b\n--|--\n1 | 2"},
	{"mathematics and a footnote", "$$x$$ $y$ [^1]\n\n[^1]: https://evil.example"},
	// links by themselves
	{"an address", "see https://evil.example/a?b=c#d now"},
	{"an address without a scheme", "www.evil.example evil.example evil.example/a me@evil.example"},
	{"addresses that are no web pages", "javascript:alert(1) data:text/html,x file:///etc/passwd tel:123 mailto:me@evil.example"},
	{"an address with a foreign host", "https://sentry.io@evil.example https://sentry.io.evil.example"},
	// what cannot be read
	{"text that turns", "abc\u202etxt.exe \u2066\u2067\u2069 \u200f"},
	{"NUL and control characters", "a\x00b\x07c\x08d\x1b[31mred\x1b[0m\x7f"},
	{"bytes that are no UTF-8", "a\xff\xfe\xc3(b\xed\xa0\x80c\xf8"},
	{"a cut character at the end", "caf\xc3"},
	{"characters of no width", "a\u200bb\u2060c\ufeffd\u00ad"},
	{"tags that nobody sees", "a\U000e0041\U000e0042b"},
	{"marks upon marks", "e" + strings.Repeat("\u0301", 500)},
	{"ends of lines", "one\r\ntwo\rthree\nfour\u2028five\u2029six\vseven\feight\u0085"},
	{"many ends of lines", strings.Repeat("\n", 500) + "end"},
	{"many lines", strings.Repeat("a\n", 500)},
	{"nothing", ""},
	{"white space", " \t\n "},
	{"only what is not seen", "\u200b\u202e\x00"},
	// what is too long
	{"1,025 emoji", strings.Repeat("💥", 1025)},
	{"emoji that join", strings.Repeat("👩\u200d👩\u200d👧\u200d👦", 300)},
	{"4,000 characters", strings.Repeat("x", 4000)},
	{"4,000 characters to escape", strings.Repeat("<", 2000) + strings.Repeat("&", 2000)},
	{"4,000 characters of two units", strings.Repeat("𝕏", 4000)},
	{"100,000 characters", strings.Repeat("long word ", 10000)},
	{"an escape at each place", strings.Repeat("a", 140) + "&&&&&&&&&&&<!channel>"},
	// what programs might read
	{"JSON", `"}],"channel":"C2","text":"<!channel>","blocks":[{"a":"`},
	{"backslashes", `\u003c!channel\u003e \" \\ \n`},
	{"templates and formats", "{{.Secret}} ${TRIAGE_SLACK_TOKEN} %s %n %!v(MISSING) $(id) `id`"},
	{"headers", "title\r\nX-Evil: 1\r\n\r\nbody"},
}

// hostileURLs are nothing that a message may link to.
var hostileURLs = []string{
	"javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "mailto:me@evil.example", "//evil.example", "evil.example", "https://", "http:///x", "https:evil.example",
	"https://sentry.io@evil.example/", "https://sentry.io/|<!channel>", "https://sentry.io/>\x00<!channel>", "https://sentry.io/\n\n# heading", "https://sentry.io/a b", "https://sentry.io/\x7f", "ht\ttps://evil.example", " ", "%", "https://sentry.io/" + strings.Repeat("x", 4000),
}

// hostileCard is a card with a text in each place that is from outside.
func hostileCard(text string) activities.Card {
	return activities.Card{
		Integration: "sentry", Event: "sentry.issue.created", Headline: "New issue", Severity: "critical",
		URL: "https://acme.sentry.io/issues/4711/", Title: text, ShortID: text, Level: text, Project: text, Environment: text, Release: text,
		Users: text, Count: text, FirstSeen: text, Culprit: text, Frame: text, Rule: text, Details: text,
	}
}
