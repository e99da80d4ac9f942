package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/admin"
)

// answerTimeout is what an ingress gets to answer.
const answerTimeout = 10 * time.Second

// lookingBack is what the flags of deliveries say.
type lookingBack struct {
	urls                                            []string
	text, project, integration, event, outcome, run string
	limit                                           int
	json                                            bool
}

func newDeliveries() *cobra.Command {
	var l lookingBack
	cmd := &cobra.Command{
		Use:   "deliveries",
		Short: "List the last deliveries of one ingress or of several",
		Long: `Asks each ingress for the last deliveries that it has taken, 200 at most, and lists
them by time, the newest first. An ingress that does not answer is named, and those
of the others are listed all the same.

ADMIN_ADDR and ADMIN_TOKEN, or its file, are read as the ingress does.`,
		Example: `  triage deliveries
  triage deliveries --url http://ingress-0:8081,http://ingress-1:8081 --q BACKEND-1A
  triage deliveries --outcome parked --json`,
		Args: func(_ *cobra.Command, args []string) error { return l.check(args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.list(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&l.urls, "url", nil, "admin address of an ingress; repeat it, or separate several by commas (default: that of ADMIN_ADDR)")
	flags.StringVar(&l.text, "q", "", "with this Request-ID, key, issue id or short id, or with this text in the title")
	flags.StringVar(&l.project, "project", "", "of this project")
	flags.StringVar(&l.integration, "integration", "", "of this integration")
	flags.StringVar(&l.event, "event", "", "with this event, as in sentry.issue.created")
	flags.StringVar(&l.outcome, "outcome", "", "with this outcome, as in parked")
	flags.StringVar(&l.run, "run", "", "with a run in this state, as in failed")
	flags.IntVar(&l.limit, "limit", 100, "list so many at most")
	flags.BoolVar(&l.json, "json", false, "print JSON")
	return cmd
}

func (l *lookingBack) check(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q: deliveries are found by flags", args[0])
	}
	if l.limit < 1 {
		return fmt.Errorf("--limit %d: list one at least", l.limit)
	}
	for _, address := range l.urls {
		if err := isAdminAddress(address); err != nil {
			return err
		}
	}
	return nil
}

// taken is a delivery with the ingress that took it.
type taken struct {
	Instance string `json:"instance"`
	URL      string `json:"url"` // of its admin address
	admin.DeliveryRecord
}

// unanswered is an ingress that did not say what it has taken.
type unanswered struct {
	URL     string `json:"url"`
	Problem string `json:"problem"`
}

func (l *lookingBack) list(ctx context.Context, stdout, stderr io.Writer) error {
	given := url.Values{}
	for name, value := range map[string]string{
		"q": l.text, "project": l.project, "integration": l.integration, "event": l.event, "outcome": l.outcome, "run": l.run,
	} {
		if value != "" {
			given.Set(name, value)
		}
	}
	var asked []ingressAt
	for _, address := range append(l.urls, "")[:max(len(l.urls), 1)] {
		at, err := ingressOf(address)
		if err != nil {
			return err
		}
		if !slices.Contains(asked, at) {
			asked = append(asked, at)
		}
	}
	var mu sync.Mutex
	deliveries, silent := []taken{}, []unanswered{} // [] in JSON, not null
	var all sync.WaitGroup
	for _, at := range asked {
		all.Go(func() {
			of, err := deliveriesOf(ctx, at, given)
			mu.Lock()
			defer mu.Unlock()
			deliveries = append(deliveries, of...)
			if err != nil {
				silent = append(silent, unanswered{at.base, err.Error()})
			}
		})
	}
	all.Wait()
	slices.SortStableFunc(deliveries, func(a, b taken) int {
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Instance, b.Instance), cmp.Compare(b.Number, a.Number))
	})
	slices.SortFunc(silent, func(a, b unanswered) int { return strings.Compare(a.URL, b.URL) })
	deliveries = deliveries[:min(len(deliveries), l.limit)]
	var err error
	if l.json {
		err = printJSON(stdout, map[string]any{"deliveries": deliveries, "unanswered": silent})
	} else {
		err = printDeliveries(stdout, deliveries)
	}
	for _, s := range silent {
		fmt.Fprintf(stderr, "%s says nothing of what it has taken: %s\n", s.URL, s.Problem)
	}
	if len(silent) > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d did not answer", len(silent), len(asked)))
	}
	return err
}

// deliveriesOf asks an ingress.
func deliveriesOf(ctx context.Context, at ingressAt, given url.Values) ([]taken, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var answer struct {
		Instance   string
		Deliveries []admin.DeliveryRecord
	}
	if err := at.ask(ctx, http.MethodGet, "/api/deliveries", given, &answer); err != nil {
		return nil, err
	}
	all := make([]taken, len(answer.Deliveries))
	for i, d := range answer.Deliveries {
		all[i] = taken{answer.Instance, at.base, d}
	}
	return all, nil
}

const timeForm = "2006-01-02 15:04:05"

func printDeliveries(w io.Writer, deliveries []taken) error {
	if len(deliveries) == 0 {
		_, err := fmt.Fprintln(w, "There is none.")
		return err
	}
	var rows [][]string
	for _, d := range deliveries {
		var runs []string
		for _, r := range d.Runs {
			if status := r.Status(); status != "" && !slices.Contains(runs, status) {
				runs = append(runs, status)
			}
		}
		rows = append(rows, []string{
			d.Time.UTC().Format(timeForm), d.Instance, d.Integration, strings.TrimPrefix(d.Event, "sentry."), d.Outcome, strings.Join(runs, ","),
			d.Issue(), cmp.Or(d.Title, d.Reason),
		})
	}
	return printTable(w, []string{"TIME (UTC)", "INSTANCE", "INTEGRATION", "EVENT", "OUTCOME", "RUNS", "ISSUE", "TITLE"}, rows)
}
