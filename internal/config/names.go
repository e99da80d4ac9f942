package config

import (
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/kelseyhightower/envconfig"
	temporalenv "go.temporal.io/sdk/contrib/envconfig"

	"sentry-temporal/internal/text"
)

// others are variables that are not read here: those of what the programs are
// built with and run under, and those that a version to come may read. One that
// ends in _ stands for all that begin with it.
var others = []string{
	"TEMPORAL_", "OTEL_", "GRPC_", "GIN_MODE", "BBOLT_VERIFY",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
	"TRIAGE_", "ARCHIVE_URL",
}

// takenBy returns the variable, or the variables as in TEMPORAL_*, that would be
// mixed up with those of an integration of that name; "" without any.
func takenBy(name string) string {
	prefix := strings.ToUpper(name) + "_"
	for _, variable := range slices.Concat(ownVariables(), others) {
		if family := strings.HasSuffix(variable, "_"); family && strings.HasPrefix(prefix, variable) {
			return variable + "*"
		}
		if strings.HasPrefix(variable, prefix) {
			return variable
		}
	}
	return ""
}

// What is read, and what is read with the name of an integration in front.
var (
	ownVariables         = sync.OnceValue(func() []string { return variablesOf("", &raw{}) })
	integrationVariables = sync.OnceValue(func() []string { return variablesOf("", &rawIntegration{}) })
)

// variablesOf returns the variables that are read into spec.
func variablesOf(prefix string, spec any) []string {
	var usage strings.Builder
	if err := envconfig.Usagef(prefix, spec, &usage, "{{range .}}{{usage_key .}}\n{{end}}"); err != nil {
		panic(err) // spec is no struct
	}
	return strings.Fields(usage.String())
}

// lookAround warns of variables that nothing reads and that were surely meant to
// be read: they are spelled almost like one that is, or are those of an
// integration that is not in the list.
func (l *loader) lookAround(integrations []Integration) {
	read := slices.Concat(ownVariables(), temporalVariables())
	common := len(read)
	for _, integration := range integrations {
		read = append(read, variablesOf(strings.ToUpper(integration.Name), &rawIntegration{})...)
	}
	entries := os.Environ()
	slices.Sort(entries)
	for _, entry := range entries {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(read, name) {
			continue
		}
		before := len(l.warnings)
		if meant := meant(name, read[:common], read[common:]); meant != "" {
			l.warn(name, "is not read; did you mean %s?", meant)
		} else if of := ownerOf(name); of != "" {
			l.warn(name, "is not read: %s is not in INTEGRATIONS", of)
		}
		l.misspelled = append(l.misspelled, l.warnings[before:]...)
	}
}

// meant returns the variable that name is almost spelled like, "" if it is like
// none. What goes on after one of an integration's is so, too.
func meant(name string, common, ofIntegrations []string) string {
	const most = 2 // wrong characters
	found := text.Nearest(strings.ToUpper(name), slices.Concat(common, ofIntegrations), most)
	for _, variable := range ofIntegrations {
		if found == "" && strings.HasPrefix(name, variable) {
			return variable
		}
	}
	return found
}

// ownerOf returns the name of the integration that a variable would be one of, ""
// if it would be one of none.
func ownerOf(variable string) string {
	for _, suffix := range integrationVariables() {
		prefix, is := strings.CutSuffix(variable, "_"+suffix)
		name := strings.ToLower(prefix)
		// Many programs have variables called like these.
		common := slices.Contains([]string{"NAMESPACE", "API_URL", "ORGANIZATION"}, suffix) ||
			strings.HasPrefix(suffix, "API_TOKEN") && os.Getenv(prefix+"_ORGANIZATION") == ""
		if is && !common && prefix == strings.ToUpper(name) && validIntegration.MatchString(name) && takenBy(name) == "" {
			return name
		}
	}
	return ""
}

// temporalVariables returns those that the SDK reads.
func temporalVariables() []string {
	var asked lookups
	_, _ = temporalenv.LoadClientConfigProfile(temporalenv.LoadClientConfigProfileOptions{EnvLookup: &asked})
	return asked
}

// lookups is an environment that has nothing and notes what it is asked for.
type lookups []string

// Environ implements [temporalenv.EnvLookup].
func (*lookups) Environ() []string { return nil }

// LookupEnv implements [temporalenv.EnvLookup].
func (l *lookups) LookupEnv(name string) (string, bool) {
	*l = append(*l, name)
	if name == "TEMPORAL_CONFIG_FILE" {
		return os.DevNull, true // not the user's own
	}
	return "", false
}
