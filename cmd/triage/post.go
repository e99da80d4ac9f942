package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/routes"
)

// poster posts deliveries one after the other and prints what becomes of each.
type poster struct {
	target // with the secret

	stdout, stderr io.Writer
	sent           map[string]string // what was sent first, by Request-ID
	refused        int
}

// open returns what posts to the target.
func (t target) open(stdout, stderr io.Writer) (*poster, error) {
	secret, err := t.key()
	if err != nil {
		return nil, err
	}
	return &poster{target: target{t.url, secret}, stdout: stdout, stderr: stderr, sent: map[string]string{}}, nil
}

// send posts d and prints the answer. That it is not taken is no error yet, see [poster.verdict].
func (p *poster) send(ctx context.Context, d hook.Delivery) error {
	d.URL, d.Secret = p.url, p.secret
	answer, err := hook.Send(ctx, d)
	if err != nil {
		return explained(err)
	}
	p.print(d, answer)
	return nil
}

// verdict returns an error if some of what was sent was not taken.
func (p *poster) verdict() error {
	if p.refused > 0 {
		return fmt.Errorf("%d not taken", p.refused)
	}
	return nil
}

func (p *poster) print(d hook.Delivery, a hook.Answer) {
	if !a.OK() {
		p.refused++
		fmt.Fprintf(p.stdout, "%d %s (Request-ID %s)\n", a.Code, shown(a.Error), shown(d.RequestID))
		if a.Code == http.StatusUnauthorized {
			fmt.Fprintln(p.stderr, "It has to be signed with the Client Secret of the ingress: --secret, or SENTRY_CLIENT_SECRET in the environment of this command.")
		}
		return
	}
	fmt.Fprintf(p.stdout, "%d %s %s (Request-ID %s)\n", a.Code, shown(string(a.Status)), shown(a.Event), shown(d.RequestID))
	for _, run := range a.Runs {
		fmt.Fprintf(p.stdout, "    %s %s\n", shown(string(run.Status)), shown(run.WorkflowID))
		if run.URL != "" {
			fmt.Fprintf(p.stdout, "    %s\n", shown(run.URL))
		}
	}
	for _, skip := range a.Skipped {
		fmt.Fprintf(p.stdout, "    not %s: %s\n", shown(skip.Workflow), why[skip.Why])
	}
	p.compare(d, a)
}

// why says why a workflow that wants an event does not run.
var why = map[routes.Why]string{
	routes.WhyCondition: "its condition (triage.When) says no",
	routes.WhyRoute:     "its routes are for other deliveries",
}

// compare warns of a delivery that is another one than that which came under its
// Request-ID before: the key in the answer tells.
func (p *poster) compare(d hook.Delivery, a hook.Answer) {
	this := fmt.Sprintf("%s, %d bytes, SHA-256 %.4x…", shown(a.Event), len(d.Body), sha256.Sum256(d.Body))
	first, again := p.sent[d.RequestID]
	if !again {
		p.sent[d.RequestID] = this
		first = "with another event or body"
	}
	switch {
	case a.Key == "" || a.Key == d.RequestID:
	case strings.HasPrefix(a.Key, d.RequestID+"-"):
		fmt.Fprintf(p.stderr, "warning: Request-ID %s came before (%s), so this (%s) is another delivery, with the key %s\n", shown(d.RequestID), first, this, shown(a.Key))
	default:
		fmt.Fprintf(p.stderr, "warning: Request-ID %q cannot be a key, so the key is %s\n", d.RequestID, shown(a.Key))
	}
}

// explained says what to do about err, if that is likely.
func explained(err error) error {
	wrong, isURL := errors.AsType[*url.Error](err)
	if !isURL || !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return fmt.Errorf("nothing listens at %s: start `make dev`, or say with --url where the ingress is: %w", wrong.URL, syscall.ECONNREFUSED)
}
