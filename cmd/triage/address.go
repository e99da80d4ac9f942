package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"sentry-temporal/internal/config"
)

// ingressAt is the admin address of an ingress.
type ingressAt struct {
	base  string // without a slash at the end
	token config.Secret
}

// ingressOf is the one at an address, or where that is "" at ADMIN_ADDR, with the
// token of the environment.
func ingressOf(address string) (ingressAt, error) {
	listens, token, err := config.IngressAdmin()
	if err != nil {
		return ingressAt{}, err
	}
	if address != "" {
		return ingressAt{strings.TrimRight(address, "/"), token}, nil
	}
	host, port, err := net.SplitHostPort(listens)
	if err != nil {
		return ingressAt{}, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return ingressAt{"http://" + net.JoinHostPort(host, port), token}, nil
}

// isAdminAddress says what is wrong with an address that --url gives.
func isAdminAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return fmt.Errorf("--url %q is not an address like http://ingress-0:8081", address)
	}
	return nil
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 64 << 20

// asking posts no token to where a redirect leads.
var asking = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// open sends a request with these parameters, in the query or, if it is a POST, in a
// form. The answer is one with the status 200.
func (a ingressAt) open(ctx context.Context, method, path string, given url.Values) (*http.Response, error) {
	address, body := a.base+path, io.Reader(nil)
	if method == http.MethodPost {
		body = strings.NewReader(given.Encode())
	} else if len(given) > 0 {
		address += "?" + given.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token.Reveal())
	}
	response, err := asking.Do(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	refused := refusal{says: shown(r.URL.Redacted() + " answered " + response.Status)}
	refused.body, _ = io.ReadAll(io.LimitReader(response.Body, 64<<10)) // what comes of it
	var answer struct{ Error string }
	if json.Unmarshal(refused.body, &answer) == nil && answer.Error != "" {
		refused.says += ": " + shown(answer.Error)
	}
	return nil, refused
}

// refusal is an answer with another status than 200.
type refusal struct {
	says string
	body []byte
}

func (r refusal) Error() string { return r.says }

// ask sends a request and decodes the answer, also one that says how far it came
// before it failed.
func (a ingressAt) ask(ctx context.Context, method, path string, given url.Values, answer any) error {
	response, err := a.open(ctx, method, path, given)
	if refused, ok := errors.AsType[refusal](err); ok {
		_ = json.Unmarshal(refused.body, answer) // if it says so
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", a.base+path, err)
	}
	return nil
}
