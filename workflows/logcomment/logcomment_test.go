package logcomment_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"sentry-temporal/triage/triagetest"
	"sentry-temporal/workflows/logcomment"
)

func TestNewComment(t *testing.T) {
	tests := map[string]struct {
		payload string
		want    logcomment.Result
	}{
		"as Sentry sends it": {"comment.created.json", logcomment.Result{
			Author:  "Ines Okafor",
			Issue:   "6702149985",
			Comment: "Seen it on staging too — the Café Zürich voucher is taken off twice. Jonas, can you look before the 14:00 release? 🧾",
		}},
		"nested, with the issue's short id": {"comment.created.nested.json", logcomment.Result{
			Author:  "Jonas Bråten",
			Issue:   "BACKEND-1A",
			Comment: "Rolled back — totals agree again.",
		}},
		"long": {"comment.created.long.json", logcomment.Result{
			Author:  "Ines Okafor",
			Issue:   "6702149985",
			Comment: strings.Repeat("🧾", 150) + strings.Repeat("ü", 100),
		}},
		"by nobody, without a text": {"comment.created.nobody.json", logcomment.Result{
			Author: "unknown",
			Issue:  "6702149985",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := triagetest.Run(t, logcomment.Workflow, "testdata/"+tt.payload)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("result = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// logged is a test whose log lines go to out.
type logged struct {
	testing.TB
	out *bytes.Buffer
}

func (l logged) Output() io.Writer { return l.out }

func TestALogLineHasTheFirst200CharactersHoweverManyBytes(t *testing.T) {
	l := logged{t, &bytes.Buffer{}}
	if _, err := triagetest.Run(l, logcomment.Workflow, "testdata/comment.created.long.json"); err != nil {
		t.Fatal(err)
	}
	cut := strings.Repeat("🧾", 150) + strings.Repeat("ü", 50)
	if text := l.out.String(); !strings.Contains(text, "comment="+cut+"\n") && !strings.Contains(text, "comment="+cut+" ") {
		t.Errorf("logged was %s", text)
	}
}

func TestHistory(t *testing.T) {
	triagetest.History(t, logcomment.Workflow, "testdata/history.json", "testdata/comment.created.json")
}
