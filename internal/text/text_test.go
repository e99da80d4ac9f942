package text_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sentry-temporal/internal/text"
)

func TestClean(t *testing.T) {
	for name, test := range map[string]struct{ given, clean, line string }{
		"plain":                     {"TypeError: x <b> & \"y\"", "TypeError: x <b> & \"y\"", "TypeError: x <b> & \"y\""},
		"letters of all kinds":      {"Café Zürich — Жук 漢字 한국어 שלום عربي", "Café Zürich — Жук 漢字 한국어 שלום عربي", "Café Zürich — Жук 漢字 한국어 שלום عربي"},
		"emoji":                     {"🧾 👩\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 👍🏽 🇨🇭 1\u20e3", "🧾 👩\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 👍🏽 🇨🇭 1\u20e3", "🧾 👩\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 👍🏽 🇨🇭 1\u20e3"},
		"joiners of scripts":        {"می\u200cخواهم क्\u200dष", "می\u200cخواهم क्\u200dष", "می\u200cخواهم क्\u200dष"},
		"a variant of an ideograph": {"葛\U000e0100城", "葛\U000e0100城", "葛\U000e0100城"},
		"a mark that is seen":       {"\u06dd", "\u06dd", "\u06dd"},
		"an emoji of the future":    {"\U0001fbff\U0001faff", "\U0001fbff\U0001faff", "\U0001fbff\U0001faff"},
		"nothing":                   {"", "", ""},

		"bytes that are no UTF-8":         {"a\xff\xfe\xfdb\xc0\xafc", "a�b�c", "a�b�c"},
		"surrogates in UTF-8":             {"a\xed\xa0\x80b", "a�b", "a�b"},
		"a character that is cut":         {"Caf\xc3", "Caf�", "Caf�"},
		"control characters":              {"a\x00b\x1b[31mc\x7f\u009b", "ab[31mc", "ab[31mc"},
		"ends of lines":                   {"a\r\nb\rc\nd\u0085e\u2028f\u2029g\vh\fi", "a\nb\nc\nd\ne\nf\ng\nh\ni", "a b c d e f g h i"},
		"tabs and other white space":      {"\ta\u00a0b\u3000c \n", "\ta\u00a0b\u3000c \n", "a b c"},
		"turned around":                   {"a\u202eb\u202dc\u2066d\u2069e\u200ef\u200fg\u061ch\u202a\u202b\u202c\u2067\u2068", "abcdefgh", "abcdefgh"},
		"of no width":                     {"p\u200ba\u2060y\ufeff\u00adp\u2061\u2062\u2063\u2064al\u180e\u034f\u3164", "paypal", "paypal"},
		"tags":                            {"🏴\U000e0067\U000e0062\U000e007f \U000e0001x", "🏴 x", "🏴 x"},
		"interlinear":                     {"\ufff9a\ufffab\ufffb", "ab", "ab"},
		"no characters":                   {"a\ufffe\uffff\ufdd0\U0010ffff", "a", "a"},
		"joiners that join nothing":       {"\u200da\u200db\u200c \u200dé\u200d", "ab é", "ab é"},
		"selectors that select nothing":   {"\ufe0fa\ufe0f\U000e0100б\ufe0f", "aб", "aб"},
		"bytes hidden behind an emoji":    {"🧾\ufe0f\ufe0e\U000e0101\U000e0102", "🧾\ufe0f", "🧾\ufe0f"},
		"many joiners behind an emoji":    {"🧾\u200d\u200d\u200c\ufe0f\u200d", "🧾\u200d", "🧾\u200d"},
		"white space, then what is not":   {" \u200b ", "  ", ""},
		"clean up to the end":             {"Zürich\u200b", "Zürich", "Zürich"},
		"what stands before is left over": {"x\u200by\r\n", "xy\n", "xy"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := text.Clean(test.given); got != test.clean {
				t.Errorf("Clean(%q) = %q, not %q", test.given, got, test.clean)
			}
			if got := text.Line(test.given); got != test.line {
				t.Errorf("Line(%q) = %q, not %q", test.given, got, test.line)
			}
		})
	}
}

func TestWhatIsCleanCostsNothing(t *testing.T) {
	for _, s := range []string{"", "9f3c0a5e71d2486cb0d7e4a1f8326b95", "Café Zürich 🧾 ❤\ufe0f"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = text.Clean(s), text.Line(s) }); n != 0 {
			t.Errorf("%q takes %v allocations", s, n)
		}
	}
}

func TestCutting(t *testing.T) {
	for name, test := range map[string]struct {
		given          string
		limit          int
		cut, shortened string
	}{
		"fits":             {"Zürich", 7, "Zürich", "Zürich"},
		"too long":         {"Zürich", 6, "Züric", "Zü…"},
		"in a character":   {"Zürich", 2, "Z", ""},
		"for the ellipsis": {"Zürich", 3, "Zü", "…"},
		"to nothing":       {"Zürich", 0, "", ""},
		"to less":          {"Zürich", -1, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := text.Cut(test.given, test.limit); got != test.cut {
				t.Errorf("cut is %q", got)
			}
			if got := text.Shorten(test.given, test.limit); got != test.shortened {
				t.Errorf("shortened is %q", got)
			}
		})
	}
}

// isForbidden is written anew, by the lists of what must be nowhere.
func isForbidden(r rune) bool {
	switch {
	case unicode.IsControl(r) && r != '\n' && r != '\t',
		0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c,
		r == 0x200b, 0x2060 <= r && r <= 0x2064, r == 0xfeff, r == 0x00ad, r == 0x180e,
		r == 0x2028, r == 0x2029, 0xfff9 <= r && r <= 0xfffb, 0xe0000 <= r && r <= 0xe007f, r&0xfffe == 0xfffe:
		return true
	}
	return false
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"a\xffb", "\u202ea\u200d", "🧾\ufe0f\u200d", "\r\n\r", "\u2028\U000e0041", " \u200b "} {
		f.Add(seed, 5)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(min(limit, 1<<20), 0)
		for what, clean := range map[string]func(string) string{"Clean": text.Clean, "Line": text.Line} {
			got := clean(s)
			if !utf8.ValidString(got) || strings.ContainsFunc(got, isForbidden) {
				t.Errorf("%s(%q) = %q", what, s, got)
			}
			if what == "Line" && (strings.ContainsAny(got, "\n\t") || strings.TrimSpace(got) != got) {
				t.Errorf("%s(%q) = %q", what, s, got)
			}
			if again := clean(got); again != got {
				t.Errorf("%s(%q) = %q, and of that %q", what, s, got, again)
			}
			if utf8.ValidString(s) && len(got) > len(s) {
				t.Errorf("%s(%q) is longer: %q", what, s, got)
			}
			for cut, short := range map[string]string{"Cut": text.Cut(got, limit), "Shorten": text.Shorten(got, limit)} {
				if len(short) > limit || !utf8.ValidString(short) {
					t.Errorf("%s(%q, %d) = %q", cut, got, limit, short)
				}
			}
		}
	})
}
