package logcomment_test

import (
	"strings"
	"testing"

	"sentry-temporal/internal/triage/triagetest"
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
		"cut after 200 characters, however many bytes": {"comment.created.long.json", logcomment.Result{
			Author:  "Ines Okafor",
			Issue:   "6702149985",
			Comment: strings.Repeat("🧾", 150) + strings.Repeat("ü", 50),
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
