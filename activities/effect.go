package activities

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
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
