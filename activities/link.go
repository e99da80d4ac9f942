package activities

import (
	"net/url"
	"strings"
)

// maxLink bounds an address that is linked to, in bytes: Slack takes no longer one in a button.
const maxLink = 3000

// webPage returns raw if it is the address of a web page, and "" if not. It has no
// character that ends a link in Slack, in HTML, or between < and > in Markdown. Nor does it
// name a user, who looks like a host.
func webPage(raw string) string {
	if len(raw) > maxLink || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("<>|\"'`\\^{}", r) }) {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return ""
	}
	return raw
}
