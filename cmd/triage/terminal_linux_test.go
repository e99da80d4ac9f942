package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a terminal, so many columns wide, at which nobody but the test sits.
func terminal(t *testing.T, columns uint16) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0), unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func TestAPersonIsAskedBeforeAnythingIsChanged(t *testing.T) {
	keeping(t, "issue.created", "comment.created")
	for _, test := range []struct {
		answer  string
		status  int
		pending string
	}{
		{"\n", exitNo, "issue.created comment.created"},
		{"n\n", exitNo, "issue.created comment.created"},
		{"yesterday\n", exitNo, "issue.created comment.created"},
		{"y\n", exitOK, "issue.created"},
	} {
		person, program := terminal(t, 80)
		before := os.Stdin
		os.Stdin = program
		if _, err := io.WriteString(person, test.answer); err != nil {
			t.Fatal(err)
		}
		status, stdout, stderr := triage(t, "pending", "discard", "--event", "sentry.comment.created")
		os.Stdin = before
		if status != test.status || !strings.Contains(stderr, "Discard for good: 1 pending? [y/N]") || !strings.Contains(stderr, "comment.created") {
			t.Errorf("to %q it exits with %d and says %s%s", test.answer, status, stdout, stderr)
		}
		if got := listed(t, "pending", "list"); got != test.pending {
			t.Errorf("after %q pending are %s", test.answer, got)
		}
	}
}

// What comes between the question and the answer was not shown to anybody.
func TestOnlyWhatAPersonWasShownIsChanged(t *testing.T) {
	for _, choice := range []string{"--all", "--reason=by_hand", "7"} {
		var posted url.Values
		at := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				fmt.Fprint(w, `{"deliveries":[{"id":7,"state":"parked"},{"id":9,"state":"parked"}]}`)
				return
			}
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			posted = r.PostForm
			fmt.Fprint(w, `{"discarded":2}`)
		})
		person, program := terminal(t, 80)
		before := os.Stdin
		os.Stdin = program
		if _, err := io.WriteString(person, "y\n"); err != nil {
			t.Fatal(err)
		}
		status, stdout, stderr := triage(t, "parked", "discard", choice, "--url", at)
		os.Stdin = before
		if status != exitOK || !slices.Equal(posted["id"], []string{"7", "9"}) || posted.Has("all") {
			t.Errorf("%s exits with %d, says %s%s and sends %v", choice, status, stdout, stderr, posted)
		}
	}
}

func TestARowIsALineOfTheTerminal(t *testing.T) {
	for name, test := range map[string]struct {
		title   string
		columns int
	}{
		"narrow":              {strings.Repeat("Title", 60), 60},
		"wide":                {strings.Repeat("Title", 60), 200},
		"of wide characters":  {strings.Repeat("\u754c", 100), 200},
		"of those that hover": {strings.Repeat("e\u0301", 200), 200},
	} {
		t.Run(name, func(t *testing.T) {
			at := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"instance":"i","deliveries":[{"title":%q,"time":"2026-01-02T03:04:05Z"},{"title":"short","time":"2026-01-02T03:04:04Z"}]}`, test.title)
			})
			person, program := terminal(t, uint16(test.columns))
			var complaints bytes.Buffer
			if status := run(t.Context(), []string{"deliveries", "--url", at}, program, &complaints); status != exitOK {
				t.Fatal(complaints.String())
			}
			var lines []string
			for at := bufio.NewReader(person); len(lines) < 3; { // a terminal gives it in pieces
				line, err := at.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, strings.TrimRight(line, "\r\n"))
			}
			if !strings.HasSuffix(lines[1], "…") || columnsIn(lines[1]) < test.columns-1 {
				t.Errorf("it prints %q", lines)
			}
			for _, line := range lines {
				if columnsIn(line) > test.columns {
					t.Errorf("%d columns: %s", columnsIn(line), line)
				}
			}
			if elsewhere := succeed(t, "deliveries", "--url", at); !strings.Contains(elsewhere, test.title) {
				t.Errorf("into a file it prints %s", elsewhere)
			}
			if status := run(t.Context(), []string{"parked", "export", "--all", "--url", at}, program, &complaints); status != exitWrongUse {
				t.Errorf("an export to a terminal exits with %d", status)
			}
		})
	}
}
