package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// instance is an ingress that has taken a delivery at each of these seconds.
func instance(t *testing.T, name string, seconds ...int) (address string, asked func() string) {
	t.Helper()
	question := ""
	address = hostile(t, func(w http.ResponseWriter, r *http.Request) {
		question = r.URL.Path + "?" + r.URL.RawQuery
		var all []string
		for _, second := range seconds {
			all = append(all, fmt.Sprintf(`{"number":%d,"time":"2026-01-02T03:04:%02dZ","integration":"sentry","event":"sentry.issue.created","outcome":"started",
				"short_id":"APP-%d","title":"title %d of %s","runs":[{"run_id":"r","state":{"status":"failed"}}]}`, second, second, second, second, name))
		}
		fmt.Fprintf(w, `{"instance":%q,"deliveries":[%s],"unverified":[]}`, name, strings.Join(all, ","))
	})
	return address, func() string { return question }
}

func TestTheDeliveriesOfSeveralInstancesAreMergedByTime(t *testing.T) {
	first, _ := instance(t, "ingress-0", 40, 10)
	second, _ := instance(t, "ingress-1", 30, 20)
	printed := succeed(t, "deliveries", "--url", first+","+second, "--url", first+"/")
	rows := strings.Split(strings.TrimSpace(printed), "\n")
	if len(rows) < 5 {
		t.Fatalf("it prints\n%s", printed)
	}
	for i, want := range []string{"03:04:40 ingress-0", "03:04:30 ingress-1", "03:04:20 ingress-1", "03:04:10 ingress-0"} {
		fields := strings.Fields(rows[i+1])
		if got := strings.Join(fields[1:3], " "); got != want || !strings.HasSuffix(rows[i+1], "title "+want[6:8]+" of "+want[9:]) ||
			!strings.Contains(rows[i+1], "sentry") || !strings.Contains(rows[i+1], "failed") || !strings.Contains(rows[i+1], "APP-"+want[6:8]) {
			t.Errorf("row %d is %s", i, rows[i+1])
		}
	}
	if len(rows) != 5 {
		t.Errorf("one that is named twice is asked twice:\n%s", printed)
	}
	if two := succeed(t, "deliveries", "--url", first, "--url", second, "--limit", "2"); strings.Count(two, "\n") != 3 || strings.Contains(two, "03:04:20") {
		t.Errorf("two are\n%s", two)
	}
}

func TestAnInstanceThatDoesNotAnswerIsNamedAndTheOthersAreShown(t *testing.T) {
	first, _ := instance(t, "ingress-0", 40)
	refusing := hostile(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	status, stdout, stderr := triage(t, "deliveries", "--url", "http://127.0.0.1:1", "--url", first, "--url", refusing)
	if status != exitNo || !strings.Contains(stdout, "title 40 of ingress-0") || !strings.Contains(stderr, "http://127.0.0.1:1 says nothing") ||
		!strings.Contains(stderr, "502") || !strings.Contains(stderr, "2 of 3 did not answer") {
		t.Errorf("it exits with %d and says\n%s%s", status, stdout, stderr)
	}
	status, stdout, _ = triage(t, "deliveries", "--url", "http://127.0.0.1:1", "--url", first, "--json")
	var answer struct {
		Deliveries []struct{ Instance, URL, Title string }
		Unanswered []struct{ URL, Problem string }
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || status != exitNo || len(answer.Deliveries) != 1 || answer.Deliveries[0].Instance != "ingress-0" ||
		answer.Deliveries[0].URL != first || len(answer.Unanswered) != 1 || answer.Unanswered[0].URL != "http://127.0.0.1:1" || answer.Unanswered[0].Problem == "" {
		t.Errorf("as JSON it exits with %d and prints %s: %v", status, stdout, err)
	}
}

func TestTheFilterOfDeliveriesIsThatOfThePage(t *testing.T) {
	at, asked := instance(t, "ingress-0")
	printed := succeed(t, "deliveries", "--url", at, "--q", "APP 1&2", "--project", "p", "--integration", "i", "--event", "e", "--outcome", "o", "--run", "r")
	if got := asked(); got != "/api/deliveries?event=e&integration=i&outcome=o&project=p&q=APP+1%262&run=r" || printed != "There is none.\n" {
		t.Errorf("it asks %s and prints %s", got, printed)
	}
	for _, args := range []string{"deliveries --limit 0", "deliveries x", "deliveries --url ftp://x", "deliveries --url x", "deliveries --url http://a:b@c"} {
		if status, _, says := triage(t, strings.Fields(args)...); status != exitWrongUse || says == "" {
			t.Errorf("%s exits with %d and says %s", args, status, says)
		}
	}
}

// An ingress as it is takes all of it.
func TestTheDeliveriesOfARealIngressAreFound(t *testing.T) {
	keeping(t, "issue.created", "comment.created")
	for args, want := range map[string]int{
		"deliveries": 2, "deliveries --q BACKEND-1A": 0, "deliveries --project backend --integration sentry --event sentry.issue.created --outcome accepted": 1,
		"deliveries --q carttotalmismatch": 1, "deliveries --run failed": 0,
	} {
		printed := succeed(t, strings.Fields(args)...)
		if got := strings.Count(printed, " accepted "); got != want {
			t.Errorf("%s prints %d\n%s", args, got, printed)
		}
	}
}
