package outside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sentry-temporal/internal/text"
)

const (
	// Timeout bounds a request with its answer. It is well below what an attempt of
	// an activity has.
	Timeout = 5 * time.Second
	// maxAnswer bounds the body of an answer, in bytes.
	maxAnswer = 4 << 20
	// maxReason bounds what is told of an answer that says no, in bytes.
	maxReason = 300
	// maxAtOnce bounds the requests under way to one host: a worker runs 1,000 activities at
	// a time, and one system that hangs must not have them all.
	maxAtOnce = 100
	// What a system says of when to come again is taken between these.
	minRetry, maxRetry = time.Second, time.Hour
)

// Kind is what is known of a request that failed.
type Kind string

// The kinds that there are.
const (
	NotSent Kind = "not sent" // it had no effect: repeat it
	Final   Kind = "final"    // it was refused: repeating it is of no use
	Maybe   Kind = "maybe"    // whether it had its effect is not known
)

// Error is a request that failed. It holds no secret: no address, no header and no body
// of the request.
type Error struct {
	Kind   Kind
	System string        // as in Slack
	Status int           // of the answer; 0 without one
	Code   string        // of the error, if the system has such names and its activities read them
	Reason string        // one line
	Retry  time.Duration // when the system says to come again; 0: it does not
}

// Error says what happened.
func (e *Error) Error() string { return e.System + ": " + e.Reason }

// Request is one to an outside system.
type Request struct {
	System   string // as errors name it
	Variable string // of the credential, as errors name it
	Method   string // "" is GET
	URL      string
	Header   http.Header
	Body     []byte
	// Public has the request go to the internet only, and not into a private network,
	// unless the address itself is one of loopback.
	Public bool
}

// Answer is what came back, of any status.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Client sends requests. It follows no redirect, repeats nothing by itself, and bounds
// time and answers, and how many requests are under way to one host: one more is not sent.
type Client struct {
	http, public *http.Client

	mu    sync.Mutex
	hosts map[string]int // requests under way
}

// NewClient returns a Client.
func NewClient() *Client { return NewClientWithin(Timeout) }

// NewClientWithin returns a Client whose requests may take so long, with their answers.
func NewClientWithin(timeout time.Duration) *Client {
	client := func(change func(*http.Transport)) *http.Client {
		transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http says so
		transport.MaxResponseHeaderBytes = 64 << 10
		transport.MaxIdleConnsPerHost = 4
		change(transport)
		return &http.Client{
			Transport:     transport,
			Timeout:       timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &Client{http: client(func(*http.Transport) {}), public: client(publicOnly), hosts: map[string]int{}}
}

// enter reports whether a request to a host may be sent. If so it ends with leave.
func (c *Client) enter(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hosts[host] >= maxAtOnce {
		return false
	}
	c.hosts[host]++
	return true
}

func (c *Client) leave(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hosts[host]--; c.hosts[host] == 0 {
		delete(c.hosts, host)
	}
}

// Do sends r. With an answer that is no success it returns both, the answer and an
// [*Error], since some say more than their status: it is up to the caller to see it
// otherwise.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
	})
	request, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, &Error{Kind: Final, System: r.System, Reason: "its address is wrong"}
	}
	if !c.enter(request.URL.Host) {
		return Answer{}, &Error{
			Kind: NotSent, System: r.System, Retry: minRetry,
			Reason: fmt.Sprintf("%d requests to it are under way, and one more is not sent", maxAtOnce),
		}
	}
	defer c.leave(request.URL.Host)
	request.GetBody = nil // else a lost connection has the transport send it again
	maps.Copy(request.Header, r.Header)
	through := c.http
	if r.Public {
		through = c.forOthers(request)
	}
	response, err := through.Do(request)
	if err != nil {
		return Answer{}, c.failed(ctx, r, err, sent.Load())
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	answer := Answer{Status: response.StatusCode, Header: response.Header, Body: body}
	switch {
	case err != nil:
		return answer, c.failed(ctx, r, err, true)
	case len(body) > maxAnswer:
		return answer, &Error{Kind: Maybe, System: r.System, Status: answer.Status, Reason: fmt.Sprintf("it answers %d with more than %d bytes", answer.Status, maxAnswer)}
	}
	return answer, refused(r, answer)
}

// failed returns what is known of a request without an answer.
func (c *Client) failed(ctx context.Context, r Request, err error, sent bool) *Error {
	// A *url.Error has the address, which may be a secret.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	e := &Error{Kind: NotSent, System: r.System}
	if sent {
		e.Kind = Maybe
	}
	network, isNetwork := errors.AsType[net.Error](err)
	_, isDial := errors.AsType[*net.OpError](err)
	switch {
	case ctx.Err() != nil:
		e.Reason = "the request was given up"
	case errors.Is(err, errPrivate):
		e.Kind, e.Reason = Final, errPrivate.Error()+", which is not allowed: look at "+r.Variable
	case isNetwork && network.Timeout():
		e.Reason = fmt.Sprintf("no answer within %s", c.http.Timeout)
	case isDial && !sent:
		e.Reason = "it cannot be reached"
	case !sent:
		e.Reason = "no connection: " + text.Shorten(text.Line(err.Error()), maxReason)
	default:
		e.Reason = "the connection broke before the answer was there"
	}
	return e
}

// refused returns what the status of an answer says, nil for a success.
func refused(r Request, a Answer) error {
	e := &Error{System: r.System, Status: a.Status, Retry: retryAfter(a.Header, time.Now())}
	switch {
	case a.Status >= 200 && a.Status < 300:
		return nil
	case a.Status == http.StatusTooManyRequests:
		e.Kind, e.Reason = NotSent, "it answers 429: too many requests"
	case a.Status >= 300 && a.Status < 400:
		e.Kind, e.Reason = Final, fmt.Sprintf("it answers %d, which leads elsewhere and is not followed: look at the address", a.Status)
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		e.Kind, e.Reason = Final, fmt.Sprintf("it answers %d: look at %s", a.Status, r.Variable)
	case a.Status == http.StatusRequestTimeout, a.Status >= 500:
		e.Kind, e.Reason = Maybe, fmt.Sprintf("it answers %d", a.Status)
	default:
		e.Kind, e.Reason = Final, fmt.Sprintf("it answers %d", a.Status)
	}
	return e
}

// Quote returns what a system says as part of a [Error.Reason]: one line, bounded, without
// the secrets of the request, which some answers repeat.
func Quote(said string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			said = strings.ReplaceAll(said, secret, "(secret)")
		}
	}
	return text.Shorten(text.Line(text.Cut(said, 4*maxReason)), maxReason)
}

// retryAfter returns what Retry-After says, in seconds or as a date, within bounds.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	var after time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		after = at.Sub(now)
	} else {
		return 0
	}
	return min(max(after, minRetry), maxRetry)
}
