package starter

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
)

// withFiles has options go by what is in the files of certificates and keys when
// it is needed, not when the process began.
func withFiles(options client.Options, of config.Temporal, log *slog.Logger) client.Options {
	log = log.With("temporal_address", options.HostPort)
	if of.APIKey.Path != "" {
		key := &apiKey{file: of.APIKey, log: log}
		options.Credentials = client.NewAPIKeyDynamicCredentials(key.now)
	}
	if of.TLS != nil {
		fresh := &freshTLS{
			TransportCredentials: credentials.NewTLS(options.ConnectionOptions.TLS),
			read:                 of.TLS,
			last:                 options.ConnectionOptions.TLS,
			log:                  log,
		}
		// Options of the caller come after the SDK's own, and the last one counts.
		options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, grpc.WithTransportCredentials(fresh))
	}
	return options
}

// freshTLS reads certificates again for every handshake. A connection that is
// there goes on with those that it began with.
type freshTLS struct {
	credentials.TransportCredentials
	read func() (*tls.Config, error)
	log  *slog.Logger

	mu        sync.Mutex
	last      *tls.Config // that could be read
	complaint complaint
}

// ClientHandshake implements [credentials.TransportCredentials].
func (f *freshTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(f.now(ctx)).ClientHandshake(ctx, authority, conn)
}

// Clone implements [credentials.TransportCredentials].
func (f *freshTLS) Clone() credentials.TransportCredentials { return f }

// now returns the configuration as it is in the files, or as it was when it
// could last be read: half of a new certificate may be there.
func (f *freshTLS) now(ctx context.Context) *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	read, err := f.read()
	if err == nil {
		f.last = read
	}
	if f.complaint.isNew(err) {
		f.log.WarnContext(ctx, "the TLS certificates cannot be read again, those from before are used", telemetry.KeyError, err.Error())
	}
	return f.last
}

// apiKey is an API key that is read again when its file changes.
type apiKey struct {
	file config.APIKeyFile
	log  *slog.Logger

	mu        sync.Mutex
	text      []byte // that was in the file last
	key       config.Secret
	complaint complaint
}

// now returns the key that is in the file, or the one that was there when it
// could last be read. A few kilobytes are read faster than Temporal is asked.
func (k *apiKey) now(ctx context.Context) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, err := k.file.Read()
	if err == nil && (k.key == "" || !bytes.Equal(text, k.text)) {
		var key config.Secret
		if key, err = k.file.Key(text); err == nil {
			if k.key != "" && k.key != key {
				k.log.InfoContext(ctx, "there is a new API key")
			}
			k.key, k.text = key, text
		}
	}
	if err != nil && k.key == "" {
		return "", err
	}
	if k.complaint.isNew(err) {
		k.log.WarnContext(ctx, "the API key cannot be read again, the one from before is used", telemetry.KeyError, err.Error())
	}
	return k.key.Reveal(), nil
}

// complaint is what went wrong last with something that is done over and over.
type complaint string

// isNew reports whether err, which may be nil, is to be logged: it is an error,
// and not the one from before.
func (c *complaint) isNew(err error) bool {
	var now complaint
	if err != nil {
		now = complaint(err.Error())
	}
	before := *c
	*c = now
	return now != "" && now != before
}
