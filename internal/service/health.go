package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// askHealth asks the program of the same environment whether it lives. An answer
// other than 200 is an error, with what it says, and so is none within 3 s.
func askHealth(adminAddr func() (string, error)) error {
	address, err := adminAddr()
	if err != nil {
		return err
	}
	asks := http.Client{
		Timeout: 3 * time.Second,
		// An address without a host is this machine, to a dialer as to a listener.
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}},
	}
	answer, err := asks.Get("http://localhost/healthz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // a part of it is better than nothing
		return fmt.Errorf("%s: %s", answer.Status, said)
	}
	return nil
}
