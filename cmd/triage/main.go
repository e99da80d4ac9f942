// Command triage is the tool for people: it sends sample deliveries and load,
// makes Temporal ready and says what is wrong with the configuration.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"sentry-temporal/internal/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// What the process exits with.
const (
	exitOK       = 0
	exitNo       = 1 // what was asked for did not come about
	exitWrongUse = 2 // nothing was tried
)

// run does what args say and returns what to exit with. What a command checks in
// its Args function is wrong use, and an error of its RunE is a no.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	tried := false
	root := &cobra.Command{
		Use:   "triage",
		Short: "The tool for sentry-temporal: Sentry webhooks in, Temporal workflow runs out",
		Long: `The tool for sentry-temporal: Sentry webhooks in, Temporal workflow runs out.

It exits with 0 when all is well, with 1 when something is not, and with 2 when
it is called wrongly.`,
		Version:          build.Read().String(),
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { tried = true }, // after what Args checks
	}
	root.AddCommand(newSend(), newStory(), newLoad(), newSetup(), newCheck(), newDrain(), newDeliveries(), newParked(), newPending(), newRoutes(), newDestinations(), newLint(), newVersion())
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetArgs(append([]string{}, args...)) // nil would be those of the process
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "%s: %v\n", cmd.CommandPath(), err)
	if tried {
		return exitNo
	}
	fmt.Fprintf(stderr, "%s --help tells how to use it.\n", cmd.CommandPath())
	return exitWrongUse
}

// printJSON prints v for machines. What cannot be seen is escaped: it may be a
// terminal that reads it.
func printJSON(w io.Writer, v any) error {
	encoded, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	var escaped strings.Builder
	for _, r := range string(encoded) {
		switch high, low := utf16.EncodeRune(r); {
		case r == '\n' || unicode.IsPrint(r):
			escaped.WriteRune(r)
		case high == unicode.ReplacementChar:
			fmt.Fprintf(&escaped, `\u%04x`, r)
		default:
			fmt.Fprintf(&escaped, `\u%04x\u%04x`, high, low)
		}
	}
	_, err = fmt.Fprintln(w, escaped.String())
	return err
}
