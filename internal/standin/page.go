package standin

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"time"
)

// pages are what people see of a stand-in, each under its own name, in a frame that all
// have.
//
//go:embed *.html
var pages embed.FS

// page returns the template of a file, which defines "content".
func page(file string) *template.Template {
	return template.Must(template.New("frame.html").Funcs(template.FuncMap{
		"clock":  func(t time.Time) string { return t.Format(time.TimeOnly) },
		"web":    web,
		"pretty": pretty,
	}).ParseFS(pages, "frame.html", file))
}

// show answers with a page. Nothing in it is run, whatever it was given.
func (s *Server) show(w http.ResponseWriter, page *template.Template, name string, content any) {
	var out bytes.Buffer
	err := page.Execute(&out, struct {
		Name     string
		Content  any
		Received []Received
	}{name, content, s.Received()})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(out.Bytes()) // the browser may be gone
}

// pretty returns JSON with indents.
func pretty(text string) string {
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), "", "  "); err != nil {
		return text
	}
	return out.String()
}

// web returns an address if it is one of a web page, and "" otherwise.
func web(address string) string {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return ""
	}
	return address
}
