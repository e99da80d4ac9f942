package starter

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sentry-temporal/internal/config"
)

// What fits is whole, and what does not is cut to what leaves room for the ellipsis.
func TestTextsAreCutToExactlyTheirBounds(t *testing.T) {
	for name, test := range map[string]struct{ got, want string }{
		"a line that fits":                       {withoutMarkup(strings.Repeat("a", 50), 50), strings.Repeat("a", 50)},
		"a line of a byte more":                  {withoutMarkup(strings.Repeat("a", 51), 50), strings.Repeat("a", 47) + ellipsis},
		"a line of two bytes a letter":           {withoutMarkup(strings.Repeat("é", 26), 50), strings.Repeat("é", 23) + ellipsis},
		"a detail that fits":                     {markdown(strings.Repeat("a", maxDetail)), strings.Repeat("a", maxDetail)},
		"a detail of a byte more":                {markdown(strings.Repeat("a", maxDetail+1)), strings.Repeat("a", maxDetail-3) + ellipsis},
		"punctuation that fits":                  {markdown(strings.Repeat("!", maxDetail/2)), strings.Repeat(`\!`, maxDetail/2)},
		"punctuation of a sign more":             {markdown(strings.Repeat("!", maxDetail/2+1)), strings.Repeat(`\!`, maxDetail/2-2) + ellipsis},
		"a sign that fits but for its backslash": {markdown(strings.Repeat("a", maxDetail-1) + "!"), strings.Repeat("a", maxDetail-3) + ellipsis},
	} {
		if test.got != test.want {
			t.Errorf("%s: %d bytes, want %d: %.500q", name, len(test.got), len(test.want), test.got)
		}
	}
}

func TestOnlyWebAddressesAreLinks(t *testing.T) {
	for address, want := range map[string]string{
		"https://sentry.example/issues/1/": "https://sentry.example/issues/1/",
		"http://sentry.internal/issues/1/": "http://sentry.internal/issues/1/",
		"ftp://sentry.example/1":           "",
		"javascript:alert(1)":              "",
		"https:///issues/1":                "",
		"https://me:secret@sentry.example": "",
	} {
		if got := webAddress(address); got != want {
			t.Errorf("%s is shown as %q", address, got)
		}
	}
}

func TestAnAPIKeyIsReadAgainAndItsTroublesAreToldOnce(t *testing.T) {
	var log bytes.Buffer
	file := filepath.Join(t.TempDir(), "key")
	k := &apiKey{file: config.APIKeyFile{Path: file}, log: slog.New(slog.NewTextHandler(&log, nil))}
	if _, err := k.now(t.Context()); err == nil {
		t.Error("a key that was never there is no error")
	}
	said := func(info, warn int) {
		t.Helper()
		if got := log.String(); strings.Count(got, "level=INFO") != info || strings.Count(got, "level=WARN") != warn || strings.Contains(got, "the-key") {
			t.Errorf("logged was %s", got)
		}
	}
	for _, step := range []struct {
		text       string // "": the file is away
		want       string
		info, warn int // lines in all
	}{
		{"the-key-1\n", "the-key-1", 0, 0},
		{"the-key-1\n", "the-key-1", 0, 0},
		{"the-key-2\n", "the-key-2", 1, 0},
		{"", "the-key-2", 1, 1},
		{"", "the-key-2", 1, 1},
		{"two keys\nin it", "the-key-2", 1, 2},
		{"the-key-2", "the-key-2", 1, 2},
		{"", "the-key-2", 1, 3},
	} {
		_ = os.Remove(file)
		if step.text != "" {
			if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := k.now(t.Context())
		if got != step.want || err != nil {
			t.Errorf("with %q in the file the key is another, %v", step.text, err)
		}
		said(step.info, step.warn)
	}
}
