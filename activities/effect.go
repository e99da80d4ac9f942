package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"go.temporal.io/sdk/activity"

	"sentry-temporal/internal/outside"
)

// EffectKey names one effect: the same in every attempt, and in the run that takes it
// back. subject is an issue or an alert rule, effect what is done, and episode what tells
// it from the same done to the same again. With an empty part there is no such name: the
// key is empty, which no activity takes, so that nothing is taken for something else.
func EffectKey(integration, subject, effect, episode string) string {
	parts := []string{integration, subject, effect, episode}
	if slices.Contains(parts, "") {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// What is counted of runs, see [outside.CountFromZero].
const (
	MetricNobodyTold    = outside.MetricNobodyTold
	MetricEffectsFailed = outside.MetricEffectsFailed
	LabelEffect         = outside.LabelEffect
)

// What an attempt of an activity can tell the next one, see remember.
const (
	unsent = "unsent" // up to now nothing can have had an effect
	looked = "looked" // what an earlier attempt did is not there, and may come late
)

type memory struct {
	Attempt int32
	What    string
}

// remember tells the next attempt something, and none after that: an attempt that ended
// without a word, as when its worker was killed, can have had its effect.
func remember(ctx context.Context, what string) {
	if activity.IsActivity(ctx) {
		activity.RecordHeartbeat(ctx, memory{activity.GetInfo(ctx).Attempt, what})
	}
}

// remembered returns what the attempt before this one has said, "" if it said nothing.
func remembered(ctx context.Context) string {
	var last memory
	if !activity.IsActivity(ctx) || !activity.HasHeartbeatDetails(ctx) || activity.GetHeartbeatDetails(ctx, &last) != nil || last.Attempt != activity.GetInfo(ctx).Attempt-1 {
		return ""
	}
	return last.What
}

// neverSent reports whether no earlier attempt of the activity can have had its effect.
func neverSent(ctx context.Context) bool {
	return !activity.IsActivity(ctx) || activity.GetInfo(ctx).Attempt == 1 || remembered(ctx) == unsent
}
