package triage

import (
	"fmt"
	"regexp"
	"time"
)

// The shortest and the longest window of [PerIssue].
const (
	MinWindow = time.Second
	MaxWindow = 30 * 24 * time.Hour
)

// Keying is what makes two deliveries one run. The zero value is the Request-ID,
// which repetitions of a delivery share.
type Keying struct{ window time.Duration }

// Key has another keying than the Request-ID decide what is one run.
func Key(k Keying) Option {
	return func(s *settings) {
		if s.keying != nil {
			s.twice = "Key"
		}
		s.keying = &k
	}
}

// PerIssue makes all deliveries about one issue within a window one run, so that
// a storm of one issue is one run a window. Windows follow each other without a
// gap, cut by the time that the signed body has, see [Delivery]: a repetition
// falls into the same one whenever it comes. That of an issue is when it was seen
// last, whatever is done to it later. What has no issue or no time is keyed
// by its Request-ID.
//
// It panics when window is not from [MinWindow] to [MaxWindow]. One longer than
// the namespace retains closed runs may see a second run.
func PerIssue(window time.Duration) Keying {
	if err := CheckWindow(window); err != nil {
		panic("triage: " + err.Error())
	}
	return Keying{window}
}

// CheckWindow returns an error if [PerIssue] does not take window.
func CheckWindow(window time.Duration) error {
	if window < MinWindow || window > MaxWindow {
		return fmt.Errorf("a window of %s is not from %s to %s", window, MinWindow, MaxWindow)
	}
	return nil
}

// Window is how long the deliveries of one issue are one run, and 0 if the
// Request-ID decides.
func (k Keying) Window() time.Duration { return k.window }

// validIssue is what of an issue's id is fit to be part of a workflow ID.
var validIssue = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Of returns the key of a delivery, and false if that is its Request-ID:
// issue~<id>~<start of the window>. No Request-ID holds a "~".
func (k Keying) Of(d Delivery) (key string, ok bool) {
	if k.window == 0 || d.Time.IsZero() || !validIssue.MatchString(d.IssueID) {
		return "", false
	}
	return "issue~" + d.IssueID + "~" + d.Time.UTC().Truncate(k.window).Format("20060102T150405Z"), true
}
