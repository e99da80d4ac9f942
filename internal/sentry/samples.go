package sentry

import (
	"embed"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// The samples are one delivery's body each, of our own making and in the exact
// form that Sentry sends: compact, all ASCII, its key order.
//
//go:embed samples/*.json
var samples embed.FS

// SampleNames returns the names of all samples, "<resource>.<action>", sorted.
// There is one for each event that Sentry sends.
func SampleNames() []string {
	entries, err := samples.ReadDir("samples")
	if err != nil {
		panic(err) // the directory is embedded
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".json")
	}
	slices.Sort(names)
	return names
}

// Sample returns the body of the sample called name, "<resource>.<action>",
// byte for byte the same each time.
func Sample(name string) ([]byte, error) {
	body, err := samples.ReadFile("samples/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("no sample is called %q", name)
	}
	return body, nil
}

// The ids that stand in the samples, wherever the thing is meant.
const (
	sampleIssueID  = "6702149985"
	sampleShortID  = "BACKEND-1A"
	sampleEventID  = "4be1c7a09d5e4f8fa2d36c0b9e7715f2"
	sampleComment  = "90417733"
	sampleSeerRun  = "51880264"
	sampleBuildID  = "77310452"
	sampleMetricID = "33190871"
)

// FreshIDs returns body, a sample, with random ids in place of its own: another
// issue, event and so on, consistently throughout the body.
func FreshIDs(body []byte) []byte {
	number := func(digits int) string {
		low := int64(1)
		for range digits - 1 {
			low *= 10
		}
		return fmt.Sprint(low + rand.Int64N(9*low))
	}
	return []byte(strings.NewReplacer(
		sampleIssueID, number(16),
		sampleShortID, "BACKEND-"+strings.ToUpper(strconv.FormatUint(rand.Uint64N(1<<40), 36)),
		sampleEventID, NewRequestID(),
		sampleComment, number(12),
		sampleSeerRun, number(12),
		sampleBuildID, number(12),
		sampleMetricID, number(12),
	).Replace(string(body)))
}

// NewRequestID returns a value for [HeaderRequestID] in Sentry's form: 32 lower
// case hex digits at random.
func NewRequestID() string {
	return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
}
