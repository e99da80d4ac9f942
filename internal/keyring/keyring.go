// Package keyring has the Client Secrets of the integrations. It reads those
// that are in files again, knows whose signatures used to match, and holds
// deliveries of these that match no more until a secret comes that they match.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
)

// ErrKnownInstallation is [sentry.ErrSignatureMismatch] of a delivery that says
// it is from an installation whose signatures matched before. It has the same
// words: a sender need not know what is known.
var ErrKnownInstallation = fmt.Errorf("%w", sentry.ErrSignatureMismatch)

const (
	// pollEvery is how often files are read again and what is held is looked at.
	pollEvery = 2 * time.Second
	// rereadEvery is how often a file is read at most, whoever sends what.
	rereadEvery = time.Second
	// patience is how long a delivery waits for a file: its disk may hang.
	patience = 200 * time.Millisecond
	// complainEvery is how often the log says at most that what is known does
	// not match.
	complainEvery = time.Minute
)

// Keyring has the Client Secrets. Its methods may be called concurrently.
type Keyring struct {
	rings []*ring
	of    map[string]*ring // by integration
	path  string           // of the installations that are known; "": they are not written
	log   *slog.Logger

	mu        sync.Mutex // of what rings have of installations, and hold
	held      int64      // bytes that all rings hold
	seq       uint64     // of the delivery that was held last
	unwritten bool       // there are installations that are not in the file

	writing string // why the file could not be written the last time
}

// ring is what there is of an integration.
type ring struct {
	name    string
	file    string // that the secrets are from; "": a variable
	log     *slog.Logger
	valid   atomic.Pointer[[]string] // secrets, newest first; another pointer is another set
	changed chan struct{}            // has an element after a change of them

	reading struct {
		sync.Mutex
		began   time.Time     // of the last time
		done    chan struct{} // is closed at its end; nil: it is not under way
		problem string        // of the last time
		changed time.Time     // when it had other secrets
	}

	installations // under the mutex of the Keyring, as all below
	holding
	mismatches int64     // of installations that are known
	mismatched time.Time // the last of them
	complained struct {
		at                  time.Time
		mismatches, dropped int64 // so far
	}
}

// New returns the keyring of the integrations. It remembers in the file at path
// which installations are known, or "" for not at all; what is in the file is of
// no consequence but for that.
func New(integrations []config.Integration, path string, log *slog.Logger) *Keyring {
	k := &Keyring{of: map[string]*ring{}, path: path, log: log}
	for _, integration := range integrations {
		r := &ring{
			name: integration.Name, file: integration.SecretFile,
			log:     log.With(telemetry.KeyIntegration, integration.Name),
			changed: make(chan struct{}, 1),
		}
		r.valid.Store(reveal(integration.Secrets))
		k.rings = append(k.rings, r)
		k.of[integration.Name] = r
	}
	k.load()
	return k
}

func reveal(all []config.Secret) *[]string {
	texts := make([]string, len(all))
	for i, secret := range all {
		texts[i] = secret.Reveal()
	}
	return &texts
}

// Has reports whether there is such an integration.
func (k *Keyring) Has(integration string) bool { return k.of[integration] != nil }

// Verify reports, as a nil error, that signature is that of body under one of
// the integration's secrets, see [sentry.Verify]. Before it says that it is not,
// it has a file read that was not read for a second. The error is
// [ErrKnownInstallation] if the installation in body is one whose deliveries
// have matched.
func (k *Keyring) Verify(integration string, body []byte, signature string) error {
	r := k.of[integration]
	if r == nil {
		return sentry.ErrNoSecret
	}
	before := r.valid.Load()
	err := sentry.Verify(*before, body, signature)
	if errors.Is(err, sentry.ErrSignatureMismatch) {
		r.reread()
		if now := r.valid.Load(); now != before {
			err = sentry.Verify(*now, body, signature)
		}
	}
	switch {
	case err == nil:
		k.learn(r, sentry.InstallationOf(body))
	case errors.Is(err, sentry.ErrSignatureMismatch) && k.mismatch(r, sentry.InstallationOf(body)):
		return ErrKnownInstallation
	}
	return err
}

// mismatch notes it if installation is known, and reports whether it is.
func (k *Keyring) mismatch(r *ring, installation string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !r.knows(installation) {
		return false
	}
	r.mismatches++
	r.mismatched = time.Now()
	return true
}

// reread has the file read again, if it is time for that, and returns when it
// is read, or when that took too long.
func (r *ring) reread() {
	if r.file == "" {
		return
	}
	r.reading.Lock()
	if r.reading.done == nil {
		if time.Since(r.reading.began) < rereadEvery {
			r.reading.Unlock()
			return
		}
		r.reading.began, r.reading.done = time.Now(), make(chan struct{})
		go r.read(r.reading.done)
	}
	done, left := r.reading.done, patience-time.Since(r.reading.began)
	r.reading.Unlock()
	waiting := time.NewTimer(left)
	defer waiting.Stop()
	select {
	case <-done:
	case <-waiting.C:
	}
}

// read reads the file. What cannot be used leaves what was there before.
func (r *ring) read(done chan struct{}) {
	defer close(done)
	all, err := config.ReadSecrets(r.file)
	r.reading.Lock()
	defer r.reading.Unlock()
	r.reading.done = nil
	before := r.reading.problem
	r.reading.problem = ""
	if err != nil {
		r.reading.problem = err.Error()
		if r.reading.problem != before {
			r.log.Warn("the file of the Client Secret cannot be used, the secrets from before are valid", telemetry.KeyError, r.reading.problem)
		}
		return
	}
	if before != "" {
		r.log.Info("the file of the Client Secret can be used again")
	}
	texts := reveal(all)
	if slices.Equal(*texts, *r.valid.Load()) {
		return
	}
	r.valid.Store(texts)
	r.reading.changed = time.Now()
	r.log.Info("the Client Secrets have changed", "secrets", len(*texts))
	if slices.ContainsFunc(all, func(s config.Secret) bool { return !s.MadeBySentry() }) {
		r.log.Warn("one of the Client Secrets is not 64 hex digits, as what Sentry shows is")
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Run reads the files again as they change, and gives what is held to take as
// soon as there is a secret that it matches, until ctx is done. What take fails
// for is given to it again. It is called for one delivery of an integration at a
// time.
func (k *Keyring) Run(ctx context.Context, take func(context.Context, Held) error) {
	var all sync.WaitGroup
	for _, r := range k.rings {
		all.Go(func() { k.run(ctx, r, take) })
	}
	all.Go(func() {
		every(ctx, nil, k.save)
		k.save()
	})
	all.Wait()
}

func (k *Keyring) run(ctx context.Context, r *ring, take func(context.Context, Held) error) {
	every(ctx, r.changed, func() {
		r.reread()
		k.expire(r)
		k.takeHeld(ctx, r, take)
		k.complain(ctx, r)
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(r.items); n > 0 {
		r.log.ErrorContext(ctx, "deliveries are held until a secret comes that they match, and lost now: the ingress stops", "deliveries", n)
	}
}

// every does it each time that sooner has something, and every pollEvery.
func every(ctx context.Context, sooner <-chan struct{}, do func()) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sooner:
		case <-ticker.C:
		}
		do()
	}
}

// complain says that what is known does not match, and what was dropped.
func (k *Keyring) complain(ctx context.Context, r *ring) {
	k.mu.Lock()
	defer k.mu.Unlock()
	of := &r.complained
	mismatches, dropped := r.mismatches-of.mismatches, r.dropped-of.dropped
	if mismatches == 0 && dropped == 0 || time.Since(of.at) < complainEvery {
		return
	}
	remedy := "put the new one in front of the others in the file"
	if r.file == "" {
		remedy = "put the new one in front of the others in the variable and restart the ingress: nothing is held"
	}
	r.log.ErrorContext(ctx, "deliveries of an installation that is known match no Client Secret: was it rotated in Sentry?",
		"remedy", remedy, "deliveries", mismatches, "held", len(r.items), "dropped", dropped)
	of.at, of.mismatches, of.dropped = time.Now(), r.mismatches, r.dropped
}

// State is how it is with the secrets of an integration.
type State struct {
	Integration string
	Secrets     int       // that are valid
	FromFile    bool      // they are read again, and deliveries are held
	Problem     string    // with the file; "": none
	Changed     time.Time // when the file had other secrets; zero: not since the start
	Mismatches  int64     // of installations that are known
	Mismatched  time.Time // the last of them
	Held        int       // deliveries
	HeldBytes   int64     // that they take
	Taken       int64     // of those that were held
	Dropped     int64     // of those that were held
}

// States returns how it is with each integration, in their order.
func (k *Keyring) States() []State {
	all := make([]State, len(k.rings))
	for i, r := range k.rings {
		r.reading.Lock()
		problem, changed := r.reading.problem, r.reading.changed
		r.reading.Unlock()
		k.mu.Lock()
		all[i] = State{
			Integration: r.name, Secrets: len(*r.valid.Load()), FromFile: r.file != "", Problem: problem, Changed: changed,
			Mismatches: r.mismatches, Mismatched: r.mismatched,
			Held: len(r.items), HeldBytes: r.bytes, Taken: r.taken, Dropped: r.dropped,
		}
		k.mu.Unlock()
	}
	return all
}
