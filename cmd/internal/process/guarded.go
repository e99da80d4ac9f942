package process

import (
	"errors"
	"net"

	"sentry-temporal/internal/config"
)

// guarded returns an error if others than this machine reach the admin address
// without a token. The configuration has looked at what the address says; this
// is where it has led.
func guarded(private net.Listener, token config.Secret) error {
	address, ok := private.Addr().(*net.TCPAddr)
	if ok && !address.IP.IsLoopback() && token == "" {
		return errors.New("ADMIN_TOKEN: is needed, since other machines may reach the admin address " + address.String() + ": set it, or listen on 127.0.0.1")
	}
	return nil
}
