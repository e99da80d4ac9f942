package sentry

import (
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"fmt"
	"hash/crc32"
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
func FreshIDs(body []byte) []byte { return WithIDs(body, NewRequestID()) }

// WithIDs is like [FreshIDs] with ids that follow from seed: under one seed, the same
// in each body of each process, so that samples are about one issue.
func WithIDs(body []byte, seed string) []byte {
	random := rand.New(rand.NewChaCha8(sha256.Sum256([]byte(seed))))
	number := func() string {
		const low = 1e11 // of those with 12 digits
		return fmt.Sprint(low + random.Int64N(9*low))
	}
	issue := issueID(number())
	return []byte(strings.NewReplacer(
		sampleIssueID, issue,
		sampleShortID, shortID(issue),
		sampleEventID, fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()),
		sampleComment, number(),
		sampleSeerRun, number(),
		sampleBuildID, number(),
		sampleMetricID, number(),
	).Replace(string(body)))
}

// issueID returns one of [WithIDs], which can be told by its last 4 digits.
func issueID(digits string) string {
	return fmt.Sprintf("%s%04d", digits, crc32.ChecksumIEEE([]byte(digits))%1e4)
}

func shortID(issue string) string {
	sum := sha256.Sum256([]byte(issue))
	return "BACKEND-" + strings.ToUpper(strconv.FormatUint(binary.BigEndian.Uint64(sum[:])>>24, 36))
}

// SampleIssue returns the delivery that made the issue of samples, which may have other ids,
// see [WithIDs], and nil if id is that of no sample.
func SampleIssue(id string) []byte {
	body, err := Sample("issue.created")
	if err != nil {
		panic(err) // it is compiled in
	}
	const digits = 12
	switch {
	case id == sampleIssueID:
		return body
	case len(id) <= digits || id != issueID(id[:digits]):
		return nil
	}
	return []byte(strings.NewReplacer(sampleIssueID, id, sampleShortID, shortID(id)).Replace(string(body)))
}

// NewRequestID returns a value for [HeaderRequestID] in Sentry's form: 32 lower
// case hex digits at random.
func NewRequestID() string {
	return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
}
