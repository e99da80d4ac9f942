package yamlfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"

	"sentry-temporal/internal/yamlfile"
)

// thing is what the files of these tests have a list of.
type thing struct {
	name                string
	tags, levels, slugs []string
	on                  bool
}

const mostThings = 3

// parse reads a file of things.
func parse(file string) ([]thing, []yamlfile.Problem, error) {
	var r yamlfile.Reader
	var all []thing
	for _, item := range r.List([]byte(file), "things", mostThings) {
		var one thing
		before := r.Count()
		r.Mapping(item, "a thing", []string{"name", "tags", "levels", "slugs", "on"}, func(key string, at, value *yaml.Node) {
			switch key {
			case "name":
				one.name = r.Name(value, key, regexp.MustCompile(`^[a-z]+$`), "small letters")
			case "tags":
				one.tags = r.Texts(value, key, func(_ *yaml.Node, text string) error {
					if text == "bad" {
						return errors.New("no tag")
					}
					return nil
				})
			case "levels":
				one.levels = r.Levels(value, key)
			case "slugs":
				one.slugs = r.Slugs(value, key, "shop")
			case "on":
				one.on = r.Boolean(value, key)
				r.Warn(at, "on is old")
			}
		}, "name")
		if r.Count() == before {
			all = append(all, one)
		}
	}
	return all, r.Warnings(), r.Err()
}

func TestWhatIsWrongInAFileIsToldWithThePlace(t *testing.T) {
	const right = "things:\n  - name: a\n"
	one := func(lines ...string) string { return "things:\n  - " + strings.Join(lines, "\n    ") + "\n" }
	for name, tt := range map[string]struct {
		file  string
		wants []string // "line:column: " and a word of each problem, in this order
	}{
		"nothing":               {"", []string{"1:1: begin with things:"}},
		"a comment":             {"# to come\n", []string{"1:1: empty"}},
		"not YAML":              {"things: [\n", []string{"1:1: not YAML"}},
		"not YAML, further on":  {"things:\n\t- a\n", []string{"2:1: not YAML"}},
		"a list":                {"- a\n", []string{"1:1: the file is a list"}},
		"no list":               {"{}\n", []string{"1:1: no things"}},
		"nothing in it":         {"things:\n", []string{"1:8: empty, not a list"}},
		"an empty list":         {"things: []\n", []string{"1:9: empty list"}},
		"a text":                {"things: all\n", []string{"1:9: text, not a list"}},
		"keys":                  {"things: {a: 1}\n", []string{"1:9: keys with values"}},
		"too many":              {right + strings.Repeat("  - name: a\n", mostThings), []string{"5:5: more than 3"}},
		"another key":           {right + "thing: []\n", []string{"3:1: mean things?"}},
		"a key far from others": {right + "stuff: []\n", []string{`3:1: "stuff" is not known`}},
		"a second document":     {right + "---\n" + right, []string{"3:1: second document"}},
		"half a second one":     {right + "---\n[", []string{"4:1: YAML"}},
		"a key twice":           {right + "things: []\n", []string{"3:1: line 1"}},

		"no name":              {one("on: true"), []string{"2:5: no name"}},
		"a thing of text":      {one("a"), []string{"2:5: text, not keys"}},
		"a name of others":     {one("name: A1"), []string{`2:11: "A1" is not small letters`}},
		"a number":             {one("name: 17"), []string{"2:11: number, not a text: put it in quotes"}},
		"a fraction":           {one("name: 1.5"), []string{"2:11: number"}},
		"true":                 {one("name: true"), []string{"2:11: true or false"}},
		"a time":               {one("name: 2026-01-02"), []string{"2:11: time"}},
		"null":                 {one("name: ~"), []string{"2:11: empty"}},
		"no text":              {one(`name: ""`), []string{"2:11: empty"}},
		"a list for a text":    {one("name: [a]"), []string{"2:11: a list, not a text"}},
		"no truth value":       {one("name: a", "on: no"), []string{"3:9: text, not true or false"}},
		"a list of them":       {one("name: a", "on: [true]"), []string{"3:9: list"}},
		"an entry twice":       {one("name: a", "tags: [x, y, x]"), []string{`3:18: "x" stands there twice`}},
		"an entry of a number": {one("name: a", "tags: [x, 2]"), []string{"3:15: an entry of tags is a number"}},
		"an entry that is bad": {one("name: a", "tags: [x, bad, y]"), []string{"3:15: no tag"}},
		"a level nobody has":   {one("name: a", "levels: [fatal, eror]"), []string{"3:21: mean error?"}},
		"what is no slug":      {one("name: a", `slugs: [a b, "*", a*b, `+strings.Repeat("s", 101)+"]"), []string{"3:13: shop's slug", "3:18: slug", "3:23: slug", "3:28: slug"}},
		"a key of a list":      {one("name: a", "? [b]", ": c"), []string{"3:7: a key is a list"}},
		"a key of a number":    {one("name: a", "1: b"), []string{"3:5: a key is a number"}},

		"an anchor":          {"things: &a\n  - name: a\n", []string{"1:9: anchors"}},
		"an alias":           {"things:\n  - &a {name: a}\n  - *a\n", []string{"2:5: anchors", "3:5: anchors"}},
		"an alias of none":   {one("name: *nobody"), []string{"1:1: anchors"}},
		"an anchor of a key": {"&a things:\n  - name: a\n", []string{"1:1: anchors", "1:1: no things"}},
		"an anchored flag":   {one("name: a", "on: &a true"), []string{"3:9: anchors"}},
		"a merge":            {"things:\n  - {<<: {name: a}}\n", []string{"2:5: no name", "2:6: merge"}},
		"a tag":              {one("name: !!str a"), []string{"2:11: tags"}},
		"a tag of one's own": {"things: !things\n  - name: a\n", []string{"1:9: tags"}},

		"all at once": {one("nam: a", "on: 1", "tags: [bad]") + "more: 1\n", []string{"2:5: mean name?", "2:5: no name", "3:9: number", "4:12: no tag", "5:1: more"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parse(tt.file)
			problems, ok := errors.AsType[yamlfile.ProblemsError](err)
			if !ok || len(problems) != len(tt.wants) {
				t.Fatalf("it is wrong:\n%v\nwant %q", err, tt.wants)
			}
			for i, problem := range problems {
				place, word, _ := strings.Cut(tt.wants[i], ": ")
				if !strings.HasPrefix(problem.String(), place+": ") || !strings.Contains(problem.Text, word) {
					t.Errorf("problem %d is %s, want %s", i+1, problem, tt.wants[i])
				}
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != len(problems) || lines[0] != problems[0].String() {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

func TestWhatIsRightInAFileIsTaken(t *testing.T) {
	all, warnings, err := parse("# of us\nthings:\n  - name: a\n    on: TRUE\n    tags: [x, \"17\"]\n  - {name: b, levels: [fatal, sample], slugs: [\"a*\", B.c_d-1], on: false}\n  - name: c\n")
	want := []thing{
		{name: "a", on: true, tags: []string{"x", "17"}}, {name: "b", levels: []string{"fatal", "sample"}, slugs: []string{"a*", "B.c_d-1"}}, {name: "c"},
	}
	if err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("%v: it says\n%+v, want\n%+v", err, all, want)
	}
	if len(warnings) != 2 || warnings[0].Line != 4 || warnings[0].Column != 5 || warnings[1].Line != 6 {
		t.Errorf("warned of %v", warnings)
	}
}

func TestAFileIsBounded(t *testing.T) {
	padded := func(size int) string {
		const right = "things: [{name: a}]\n#"
		return right + strings.Repeat("x", size-len(right))
	}
	entries := func(n int) string {
		tags := make([]string, n)
		for i := range tags {
			tags[i] = fmt.Sprintf("t%d", i)
		}
		return "things: [{name: a, tags: [" + strings.Join(tags, ",") + "]}]"
	}
	room := func(s string) string { return strings.Repeat(s, (yamlfile.MaxFile-64)/len(s)) }
	for name, tt := range map[string]struct {
		file  string
		taken bool
	}{
		"as large as it may be": {padded(yamlfile.MaxFile), true},
		"a byte larger":         {padded(yamlfile.MaxFile + 1), false},
		"a list as long as may": {entries(100), true},
		"a list that is longer": {entries(101), false},
		"lists in lists":        {"things: " + room("["), false},
		"lists that end":        {"things: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000), false},
		"keys in keys":          {"things: " + room("{a: "), false},
		"many keys":             {room("? "), false},
		"a long key":            {"? " + room("k") + "\n: v", false},
		"many anchors":          {"things: [" + room("&a a,") + "]", false},
		"a text without end":    {"things: \"" + room("\\u0041"), false},
		"zero bytes":            {room("\x00"), false},
		"no UTF-8":              {room("\xff"), false},
		"many documents":        {"things: [{name: a}]\n" + room("---\n"), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parse(tt.file)
			if (err == nil) != tt.taken {
				t.Fatalf("it is taken %t", err == nil)
			}
			if err != nil && len(err.Error()) > 64<<10 {
				t.Errorf("%d bytes are said of it", len(err.Error()))
			}
		})
	}
}

func TestOfManyProblemsTheFirstAreToldAndHowManyMoreThereAre(t *testing.T) {
	for n, last := range map[int]string{99: "not known", 100: "not known", 101: "and 2 more", 150: "and 51 more"} {
		file := "things: [{name: a}]\n"
		for i := range n {
			file += fmt.Sprintf("k%x: 1\n", i)
		}
		_, _, err := parse(file)
		problems, _ := errors.AsType[yamlfile.ProblemsError](err)
		if len(problems) != min(n, 100) {
			t.Fatalf("of %d problems %d are told", n, len(problems))
		}
		for i, p := range problems {
			if p.Line != 2+i || i < len(problems)-1 && !strings.Contains(p.Text, "not known") {
				t.Errorf("of %d problems number %d is %s", n, i, p)
			}
		}
		if p := problems[len(problems)-1]; !strings.Contains(p.Text, last) {
			t.Errorf("of %d problems the last is %s, want %s", n, p, last)
		}
	}
}

func TestWhatAProblemRepeatsIsShortAndCanBeSeen(t *testing.T) {
	_, _, err := parse("things: [{name: \"" + strings.Repeat("x", 1000) + "\\u202e\\n\"}]")
	if err == nil || len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\n\u202e") {
		t.Errorf("it is said: %q", err)
	}
}

func TestProblemsAreOfTheVariableThatNamesTheFile(t *testing.T) {
	_, _, err := parse("things: [{name: 1}]\nmore: 1\n")
	if got := yamlfile.ProblemsOf("THINGS_FILE", "things.yaml", err); len(got) != 2 || got[0].Variable != "THINGS_FILE" || !strings.HasPrefix(got[1].Text, "things.yaml:2:1: ") {
		t.Errorf("problems %v", got)
	}
	if got := yamlfile.ProblemsOf("THINGS_FILE", "things.yaml", os.ErrNotExist); len(got) != 1 || got[0].Variable != "THINGS_FILE" || got[0].Text != os.ErrNotExist.Error() {
		t.Errorf("problems %v", got)
	}
}

func TestOnlyAFileIsRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := yamlfile.Read(dir); err == nil {
		t.Error("a directory is read")
	}
	if _, err := yamlfile.Read(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	for _, size := range []int{0, 5, yamlfile.MaxFile, yamlfile.MaxFile + 1, yamlfile.MaxFile + 2} {
		path := filepath.Join(dir, fmt.Sprint(size))
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if text, err := yamlfile.Read(path); err != nil || len(text) != min(size, yamlfile.MaxFile+1) {
			t.Errorf("of %d bytes %d are read: %v", size, len(text), err)
		}
	}
}

// taken are the texts that Follow has given since it was last asked; an error is its text.
type taken chan string

func (t taken) since() []string {
	<-time.After(10 * time.Second)
	synctest.Wait()
	var all []string
	for len(t) > 0 {
		all = append(all, <-t)
	}
	return all
}

func TestAFileIsTakenAgainWhenWhatIsInItIsNewAndStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "things.yaml")
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("a")
		got := make(taken, 100)
		go yamlfile.Follow(t.Context(), path, yamlfile.DigestOf(yamlfile.Read(path)), func(text []byte, err error) {
			if err != nil {
				text = []byte("error")
			}
			got <- string(text)
		})
		<-time.After(time.Second / 2) // what the test does comes between two looks at the file
		for _, step := range []struct {
			what string
			do   func()
			want []string
		}{
			{"it stays", func() {}, nil},
			{"it changes", func() { write("b") }, []string{"b"}},
			{"it is written anew", func() { write("b") }, nil},
			{"it is away", func() { _ = os.Remove(path) }, []string{"error"}},
			{"it is back", func() { write("b") }, []string{"b"}},
			{"it is the first again", func() { write("a") }, []string{"a"}},
			{"it says what an error does", func() { write("\x00open " + path + ": no such file or directory") }, []string{"\x00open " + path + ": no such file or directory"}},
			{"it is being written", func() {
				for i := range 20 {
					write(fmt.Sprint(i))
					<-time.After(time.Second)
				}
			}, []string{"19"}},
			{"it changes and changes back", func() {
				write("c")
				<-time.After(time.Second)
				write("19")
			}, nil},
		} {
			step.do()
			if all := got.since(); !slices.Equal(all, step.want) {
				t.Errorf("%s: taken is %q, want %q", step.what, all, step.want)
			}
		}
	})
}
