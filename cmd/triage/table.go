package main

import (
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
	"golang.org/x/text/width"

	"sentry-temporal/internal/text"
)

// isTerminal reports whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// columnsOf returns how wide a terminal is, and 0 for what is none.
func columnsOf(w io.Writer) int {
	if !isTerminal(w) {
		return 0
	}
	columns, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil || columns <= 0 {
		return 0
	}
	return columns
}

// shown returns s as one line that does nothing to a terminal.
func shown(s string) string { return text.Line(s) }

// columns returns how many a character takes on a terminal.
func columns(r rune) int {
	switch kind := width.LookupRune(r).Kind(); {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func columnsIn(s string) (n int) {
	for _, r := range s {
		n += columns(r)
	}
	return n
}

// cutTo returns s, or its beginning and an ellipsis if it takes more than most
// columns.
func cutTo(s string, most int) string {
	if columnsIn(s) <= most {
		return s
	}
	n := 1 // of the ellipsis
	for i, r := range s {
		if n += columns(r); n > most {
			return s[:i] + "…"
		}
	}
	return s
}

// widestCell bounds all columns but the last, which is as wide as the terminal lets
// it be.
const widestCell = 48

// printTable prints a table, whose cells may be anybody's text. On a terminal each row
// is a line.
func printTable(w io.Writer, head []string, rows [][]string) error {
	widths := make([]int, len(head))
	all := append([][]string{head}, rows...)
	for i, row := range all {
		clean := make([]string, len(row))
		for c, cell := range row {
			if clean[c] = shown(cell); c < len(row)-1 {
				clean[c] = cutTo(clean[c], widestCell)
			}
			widths[c] = max(widths[c], columnsIn(clean[c]))
		}
		all[i] = clean
	}
	most := columnsOf(w)
	var out strings.Builder
	for _, row := range all {
		var line strings.Builder
		for c, cell := range row {
			line.WriteString(cell)
			if c < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[c]-columnsIn(cell)+2))
			}
		}
		whole := strings.TrimRight(line.String(), " ")
		if most > 0 {
			whole = cutTo(whole, most)
		}
		out.WriteString(whole + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}
