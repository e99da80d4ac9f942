package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"go.temporal.io/sdk/activity"
)

// EffectKey names one effect: the same in every attempt, and in the run that takes it
// back. subject is an issue or an alert rule, effect what is done, and episode what tells
// it from the same done to the same again. No part may be empty.
func EffectKey(integration, subject, effect, episode string) string {
	parts := []string{integration, subject, effect, episode}
	for _, part := range parts {
		if part == "" {
			panic("activities: a key has an empty part")
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// neverSent reports whether no earlier attempt of the activity can have had its effect:
// there is none, or each said so by rememberUnsent. An attempt that ended without a
// word, as when its worker was killed, can have had it.
func neverSent(ctx context.Context) bool {
	attempt := activity.GetInfo(ctx).Attempt
	if attempt == 1 {
		return true
	}
	var last int32
	return activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &last) == nil && last == attempt-1
}

// rememberUnsent tells the next attempt that up to now nothing had an effect.
func rememberUnsent(ctx context.Context) {
	activity.RecordHeartbeat(ctx, activity.GetInfo(ctx).Attempt)
}
