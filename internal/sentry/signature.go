package sentry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// What can be wrong with a signature. None of these errors says what was
// expected.
var (
	ErrNoSecret           = errors.New("no client secret is configured")
	ErrSignatureMissing   = errors.New(HeaderSignature + " is missing")
	ErrSignatureMalformed = errors.New(HeaderSignature + " is not 64 hex digits")
	ErrSignatureMismatch  = errors.New(HeaderSignature + " does not match the body")
)

// Verify reports, as a nil error, that signature is the lower or upper case
// hex HMAC-SHA256 of body under one of secrets. A secret is the integration's
// Client Secret exactly as Sentry displays it. All secrets are tried, so that
// an old and a new one are valid at once during a rotation; empty ones never
// match, and without any other the answer is [ErrNoSecret].
//
// body must be the raw bytes of the request: re-encoded JSON does not verify.
func Verify(secrets []string, body []byte, signature string) error {
	given, err := parseSignature(signature)
	if err != nil {
		return err
	}
	usable, match := false, false
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		usable = true
		if hmac.Equal(given[:], sum(secret, body)) {
			match = true
		}
	}
	switch {
	case !usable:
		return ErrNoSecret
	case !match:
		return ErrSignatureMismatch
	}
	return nil
}

// CheckSignature reports, as a nil error, that signature could be one, which can
// be known without the body. Otherwise the answer is [ErrSignatureMissing] or
// [ErrSignatureMalformed].
func CheckSignature(signature string) error {
	_, err := parseSignature(signature)
	return err
}

func parseSignature(signature string) (given [sha256.Size]byte, err error) {
	if signature == "" {
		return given, ErrSignatureMissing
	}
	if len(signature) != hex.EncodedLen(len(given)) {
		return given, ErrSignatureMalformed
	}
	if _, err := hex.Decode(given[:], []byte(signature)); err != nil {
		return given, ErrSignatureMalformed
	}
	return given, nil
}

// Sign returns the value of [HeaderSignature] that Sentry sends with body.
func Sign(secret string, body []byte) string {
	return hex.EncodeToString(sum(secret, body))
}

func sum(secret string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body) // never fails
	return mac.Sum(nil)
}
