// Package sentry is the wire format of Sentry's integration platform
// webhooks: headers, signatures, event names, the [Envelope] a delivery
// travels in, and sample payloads. It knows HTTP header names but no HTTP
// server, and nothing of Temporal.
package sentry

// Header names of a webhook request. Only the body is covered by the
// signature: every other header can be changed by whoever holds one delivery.
const (
	HeaderSignature = "Sentry-Hook-Signature" // hex HMAC-SHA256 of the body
	HeaderResource  = "Sentry-Hook-Resource"  // first half of the event name
	HeaderTimestamp = "Sentry-Hook-Timestamp" // unix seconds of this attempt
	HeaderRequestID = "Request-ID"            // new for each attempt, 32 hex digits
	// The same in all attempts, 32 hex digits: Sentry is about to send it.
	HeaderIdempotencyKey = "Idempotency-Key"
)
