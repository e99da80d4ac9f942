package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/journal"
)

const (
	// pageSize is how many deliveries an ingress is asked for at once.
	pageSize = 1000
	// changeTimeout is what it gets to change many.
	changeTimeout = 10 * time.Minute
	// askedAbout is how many are listed before the question.
	askedAbout = 10
)

// choosing is which of the deliveries that an ingress keeps are meant.
type choosing struct {
	state                               journal.State
	url                                 string
	integration, event, project, reason string
	olderThan                           time.Duration
	all                                 bool
}

// add adds the flags for it to cmd.
func (c *choosing) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.url, "url", "", "admin address of the ingress (default: that of ADMIN_ADDR)")
	flags.StringVar(&c.integration, "integration", "", "of this integration")
	flags.StringVar(&c.event, "event", "", "with this event, as in sentry.issue.created")
	flags.StringVar(&c.project, "project", "", "of this project")
	flags.DurationVar(&c.olderThan, "older-than", 0, "received at least so long ago, as in 30m")
	if c.state == journal.Parked {
		flags.StringVar(&c.reason, "reason", "", "parked with this code, or with this text in the reason")
	}
}

// addAll adds the flag that stands for all of them, where nothing does not.
func (c *choosing) addAll(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&c.all, "all", false, "all that are "+string(c.state))
}

// given are the parameters for it, without those of all.
func (c *choosing) given(ids []string) url.Values {
	given := url.Values{"state": {string(c.state)}}
	for name, value := range map[string]string{
		"integration": c.integration, "event": c.event, "project": c.project, "reason": c.reason,
	} {
		if value != "" {
			given.Set(name, value)
		}
	}
	if c.olderThan != 0 {
		given.Set("older_than", c.olderThan.String())
	}
	if len(ids) > 0 {
		given["id"] = ids
	}
	return given
}

func (c *choosing) check(ids []string) error {
	if c.url != "" {
		if err := isAdminAddress(c.url); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if _, err := strconv.ParseUint(id, 10, 64); err != nil {
			return fmt.Errorf("%q is not the number of a delivery: triage %s list has them", id, c.state)
		}
	}
	if c.olderThan < 0 {
		return fmt.Errorf("--older-than %s is below 0", c.olderThan)
	}
	return nil
}

// checkAll also wants to be told which are meant.
func (c *choosing) checkAll(ids []string) error {
	if chosen := len(c.given(ids)) > 1; chosen == c.all {
		return errors.New("say which: numbers, a filter, or --all alone")
	}
	return c.check(ids)
}

// page asks for the first deliveries with a higher ID than after that are meant, and
// tells whether there are more.
func (c *choosing) page(ctx context.Context, at ingressAt, ids []string, after uint64, limit int) (items []journal.Item, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	given := c.given(ids)
	given.Set("after", strconv.FormatUint(after, 10))
	given.Set("limit", strconv.Itoa(limit))
	var answer struct {
		Deliveries []journal.Item
		Next       uint64
	}
	err = at.ask(ctx, http.MethodGet, "/journal", given, &answer)
	return answer.Deliveries, answer.Next > 0, err
}

func newKeptList(state journal.State) *cobra.Command {
	c := choosing{state: state}
	limit, asJSON := 0, false
	cmd := &cobra.Command{
		Use:     "list [number...]",
		Short:   "List " + string(state) + " deliveries, in the order of their numbers",
		Example: "  triage " + string(state) + " list --integration mobile --older-than 1h",
		Args: func(_ *cobra.Command, ids []string) error {
			if limit < 1 {
				return fmt.Errorf("--limit %d: list one at least", limit)
			}
			return c.check(ids)
		},
		RunE: func(cmd *cobra.Command, ids []string) error {
			items, more, err := c.list(cmd.Context(), ids, limit)
			if err != nil {
				return err
			}
			if more {
				fmt.Fprintf(cmd.ErrOrStderr(), "There are more than these %d, see --limit.\n", len(items))
			}
			switch {
			case asJSON:
				return printJSON(cmd.OutOrStdout(), append([]journal.Item{}, items...)) // [], not null
			case len(items) == 0:
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "There is none.")
				return err
			}
			return printItems(cmd.OutOrStdout(), items)
		},
	}
	c.add(cmd)
	flags := cmd.Flags()
	flags.IntVar(&limit, "limit", 100, "list so many at most")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *choosing) list(ctx context.Context, ids []string, limit int) (items []journal.Item, more bool, err error) {
	at, err := ingressOf(c.url)
	if err != nil {
		return nil, false, err
	}
	for more = true; more && len(items) < limit; {
		after := uint64(0)
		if len(items) > 0 {
			after = items[len(items)-1].ID
		}
		var page []journal.Item
		if page, more, err = c.page(ctx, at, ids, after, min(limit-len(items), pageSize)); err != nil {
			return nil, false, err
		}
		items = append(items, page...)
	}
	return items, more, nil
}

func printItems(w io.Writer, items []journal.Item) error {
	var rows [][]string
	for _, i := range items {
		received := "unknown"
		if !i.Received.IsZero() {
			received = i.Received.UTC().Format(timeForm)
		}
		rows = append(rows, []string{
			strconv.FormatUint(i.ID, 10), received, i.Integration, strings.TrimPrefix(i.Event, "sentry."),
			string(i.ReasonCode), cmp.Or(i.ShortID, i.IssueID), i.RequestID, cmp.Or(i.Title, i.Reason),
		})
	}
	return printTable(w, []string{"NUMBER", "RECEIVED (UTC)", "INTEGRATION", "EVENT", "WHY", "ISSUE", "REQUEST-ID", "TITLE"}, rows)
}

// newKeptChange returns a command that asks and then does something to deliveries. The
// ingress counts them under the name counted.
func newKeptChange(state journal.State, name, short, question, done, counted string) *cobra.Command {
	c := choosing{state: state}
	yes := false
	cmd := &cobra.Command{
		Use:   name + " [number...]",
		Short: short,
		Long: short + `: those with these numbers, or all that are like the
flags. It says how many and which before it asks.`,
		Example: fmt.Sprintf("  triage %s %s 4711 4712\n  triage %s %s --project backend --older-than 1h --yes", state, name, state, name),
		Args: func(cmd *cobra.Command, ids []string) error {
			if err := c.checkAll(ids); err != nil {
				return err
			}
			if !yes && !isTerminal(cmd.InOrStdin()) {
				return errors.New("there is no terminal to ask at: say --yes")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, ids []string) error {
			at, err := ingressOf(c.url)
			if err != nil {
				return err
			}
			if !yes {
				shown, sure, err := c.ask(cmd, at, ids, question)
				if err != nil {
					return err
				}
				if !sure {
					return errors.New("nothing was done")
				}
				if len(shown) > 0 { // and none that has come since
					ids, c.all = shown, false
				}
			}
			return c.change(cmd.Context(), at, ids, name, done, counted, cmd.OutOrStdout())
		},
	}
	c.add(cmd)
	c.addAll(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// ask tells which deliveries are meant and asks whether to go on. It returns their
// numbers, unless there are more than it was told of.
func (c *choosing) ask(cmd *cobra.Command, at ingressAt, ids []string, question string) (numbers []string, sure bool, err error) {
	items, more, err := c.page(cmd.Context(), at, ids, 0, pageSize)
	if err != nil || len(items) == 0 {
		return nil, err == nil, err // the ingress says that there is none
	}
	w := cmd.ErrOrStderr()
	if err := printItems(w, items[:min(len(items), askedAbout)]); err != nil {
		return nil, false, err
	}
	if len(items) > askedAbout {
		fmt.Fprintln(w, "...")
	}
	count := strconv.Itoa(len(items))
	if more {
		count = "more than " + count
	} else {
		for _, i := range items {
			numbers = append(numbers, strconv.FormatUint(i.ID, 10))
		}
	}
	fmt.Fprintf(w, "%s: %s %s? [y/N] ", question, count, c.state)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	return numbers, slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line))), nil
}

func (c *choosing) change(ctx context.Context, at ingressAt, ids []string, name, done, counted string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	given := c.given(ids)
	if name != "discard" {
		given.Del("state") // it follows
	}
	if c.all {
		given.Set("all", "true")
	}
	var answer map[string]json.RawMessage
	err := at.ask(ctx, http.MethodPost, "/journal/"+name, given, &answer)
	n := 0
	if json.Unmarshal(answer[counted], &n) == nil && (err == nil || n > 0) {
		fmt.Fprintf(stdout, "%d %s\n", n, done)
	}
	return err
}

func newKeptExport(state journal.State) *cobra.Command {
	c := choosing{state: state}
	cmd := &cobra.Command{
		Use:   "export [number...]",
		Short: "Print the envelopes of " + string(state) + " deliveries, a line of JSON for each",
		Long: `Prints the envelope of each delivery, with its body, as a line of JSON. The deliveries
stay where they are. One that cannot be read any more is left out, and a failure.`,
		Example: "  triage " + string(state) + " export --all >" + string(state) + ".jsonl",
		Args: func(cmd *cobra.Command, ids []string) error {
			if isTerminal(cmd.OutOrStdout()) {
				return errors.New("what comes is for programs: send it to a file")
			}
			return c.checkAll(ids)
		},
		RunE: func(cmd *cobra.Command, ids []string) error {
			return c.export(cmd.Context(), ids, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.add(cmd)
	c.addAll(cmd)
	return cmd
}

func (c *choosing) export(ctx context.Context, ids []string, stdout, stderr io.Writer) error {
	at, err := ingressOf(c.url)
	if err != nil {
		return err
	}
	lines, damaged := lineCounter{w: stdout}, 0
	given := c.given(ids)
	given.Set("limit", strconv.Itoa(pageSize))
	for {
		response, err := at.open(ctx, http.MethodGet, "/journal/export", given)
		if err != nil {
			return err
		}
		_, err = io.Copy(&lines, response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			return fmt.Errorf("the export is not whole: %w", err)
		}
		n, _ := strconv.Atoi(response.Header.Get(admin.HeaderDamaged)) // 0 if it says nothing
		damaged += n
		next := response.Header.Get(admin.HeaderNext)
		if next == "" {
			break
		}
		given.Set("after", next)
	}
	fmt.Fprintf(stderr, "%d exported\n", lines.n)
	if damaged > 0 {
		return fmt.Errorf("%d cannot be read any more and are left out", damaged)
	}
	return nil
}

// lineCounter counts the lines that are written.
type lineCounter struct {
	w io.Writer
	n int
}

func (l *lineCounter) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	l.n += strings.Count(string(p[:n]), "\n")
	return n, err
}
