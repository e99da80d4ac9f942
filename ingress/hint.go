package ingress

import (
	"errors"
	"net/http"

	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/sentry"
)

// Hints say what may be wrong to the engineers who run this, in their words.
// The sender, who may be anyone, is told less.
const (
	hintUnknown  = "Nobody here has this name: compare the Webhook URL in Sentry with those of the integrations here, and INTEGRATIONS."
	hintPath     = "No Webhook URL is like this: compare that in Sentry with those of the integrations here, and how a proxy on the way changes it."
	hintTooLarge = "If it came from Sentry, raise MAX_BODY_BYTES."
	hintCutOff   = "The sender hung up, or the connections here became too many."
	hintLate     = "The sender took more than 1.5 s to send it; Sentry gives up after 1 s. Is a proxy on the way slow?"
	hintBusy     = "Bodies that are not verified yet take all the memory that there is for those of this size: is somebody flooding this?"
	hintNotKept  = "Neither the journal nor Temporal took it in time: see their state here, and the log."
	hintBug      = "A bug: the log has its cause, under this Request-ID."
	hintHeld     = "Answered 401 when it came, held, and taken when its secret came."
	hintForUI    = "Signed in Sentry-App-Signature only, as requests of UI components are (issue links, selects, alert actions): this takes webhooks."
)

// headerUISignature is what Sentry signs the requests of UI components in.
const headerUISignature = "Sentry-App-Signature"

// hints are those for what [keyring.Keyring.Verify] and [sentry.EventName] find wrong.
var hints = []struct {
	err  error
	hint string
}{
	{keyring.ErrKnownInstallation, "Others like it did match: was the Client Secret rotated in Sentry? Put the new one in front of the others here; with a file, what is held until then is taken."},
	{sentry.ErrSignatureMismatch, "Is it the integration's Client Secret? If so, something on the way changes the body."},
	{sentry.ErrSignatureMissing, "Not signed, as by the legacy WebHooks plugin: create an internal integration in Sentry instead."},
	{sentry.ErrSignatureMalformed, "Sentry's signature is 64 hex digits and nothing else: does something on the way sign anew?"},
	{sentry.ErrNoSecret, "No Client Secret is configured for this integration."},
	{sentry.ErrNotJSONObject, "Signed with the right secret, but no webhook of Sentry: who else has the secret?"},
	{sentry.ErrNoAction, "Signed with the right secret, but no webhook of Sentry: who else has the secret?"},
	{sentry.ErrMalformedName, "No webhook of Sentry has such a resource or action: who else has the secret?"},
	{sentry.ErrResourceUnknown, "Does a proxy on the way drop the header Sentry-Hook-Resource?"},
	{sentry.ErrResourceMismatch, "Does something on the way change the header Sentry-Hook-Resource, or replay another delivery's body?"},
}

// hintFor returns the hint for err, which a request with this header had.
func hintFor(err error, header http.Header) string {
	if errors.Is(err, sentry.ErrSignatureMissing) && header.Get(headerUISignature) != "" {
		return hintForUI
	}
	for _, row := range hints {
		if errors.Is(err, row.err) {
			return row.hint
		}
	}
	return ""
}
