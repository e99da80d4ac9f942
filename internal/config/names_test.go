package config_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	temporalenv "go.temporal.io/sdk/contrib/envconfig"

	"sentry-temporal/internal/config"
)

// refused reports whether an integration cannot have the name.
func refused(t *testing.T, name string) bool {
	t.Helper()
	environment(t, "INTEGRATIONS="+name)
	_, err := config.LoadWorker()
	return err != nil
}

// Each variable that the programs read keeps integrations away whose own
// variables would begin like it.
func TestNoIntegrationTakesOverAVariable(t *testing.T) {
	variables := slices.Concat(config.Variables(), readInTheSource(t), []string{
		// What is not read by name: by the SDK as headers, by Go, by systemd's clients.
		"TEMPORAL_GRPC_META_X", "TEMPORAL_DEBUG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "LISTEN_FDS", "NOTIFY_SOCKET",
	})
	if len(variables) < 40 {
		t.Fatalf("these cannot be all: %v", variables)
	}
	for _, variable := range variables {
		for i, r := range variable {
			if name := strings.ToLower(variable[:i]); r == '_' && len(name) <= 32 && !refused(t, name) {
				t.Errorf("an integration %q would share %s", name, variable)
			}
		}
	}
	for _, name := range []string{"temporal_grpc_meta", "temporal_grpc_meta_x", "temporal_team", "otel_team", "public", "journal", "log", "admin"} {
		if !refused(t, name) {
			t.Errorf("an integration %q would share variables", name)
		}
	}
	for _, name := range []string{"sentry", "backend", "sentry_client", "public_web", "go", "a"} {
		if refused(t, name) {
			t.Errorf("an integration %q shares nothing and is refused", name)
		}
	}
}

// readInTheSource returns the variables that the programs ask for by name.
func readInTheSource(t *testing.T) []string {
	t.Helper()
	ask := regexp.MustCompile(`(?:Getenv|LookupEnv)\("([A-Z0-9_]+)"\)`)
	var variables []string
	for _, folder := range []string{"internal", "ingress", "activities", "cmd/ingress", "cmd/worker", "cmd/internal/process"} {
		err := filepath.WalkDir(filepath.Join("../..", folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "devserver") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range ask.FindAllStringSubmatch(string(text), -1) {
				variables = append(variables, m[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(variables, "OTEL_TRACES_EXPORTER") || !slices.Contains(variables, "TEMPORAL_API_KEY") {
		t.Fatalf("these cannot be all: %v", variables)
	}
	return variables
}

// What begins like that goes to Temporal with each call.
func TestTheSDKReadsHeadersByTheBeginningOfTheirNames(t *testing.T) {
	environment(t, "TEMPORAL_GRPC_META_CLIENT_SECRET=shown")
	profile, err := temporalenv.LoadClientConfigProfile(temporalenv.LoadClientConfigProfileOptions{})
	if err != nil || profile.GRPCMeta["client-secret"] != "shown" {
		t.Errorf("the headers are %v, %v: is the name still to be refused?", profile.GRPCMeta, err)
	}
}

// Two integrations would share a variable if what one adds to its name ended in
// what another adds.
func TestNoTwoIntegrationsShareAVariable(t *testing.T) {
	of := config.VariablesOf("A")
	for _, one := range of {
		for _, other := range of {
			if strings.HasSuffix(one, strings.TrimPrefix(other, "A")) && one != other {
				t.Errorf("the integrations a and %s share %s", strings.ToLower(strings.TrimSuffix(one, strings.TrimPrefix(other, "A"))), one)
			}
		}
	}
}

func TestAVariableThatNothingReadsIsAWarningIfItIsSpelledAlmostRight(t *testing.T) {
	for name, meant := range map[string]string{
		"SENTRY_CLIENT_SECRETS":             "SENTRY_CLIENT_SECRET",
		"SENTRY_CLIENTSECRET":               "SENTRY_CLIENT_SECRET",
		"SENTRY_CLIENT_SECRET_PATH":         "SENTRY_CLIENT_SECRET",
		"SENTRY_TASKQUEUE":                  "SENTRY_TASK_QUEUE",
		"SENTRY_NAME_SPACE":                 "SENTRY_NAMESPACE",
		"SENTRY_MAX_STARTS_PER_SECONDS":     "SENTRY_MAX_STARTS_PER_SECOND",
		"SENTRY_TEMPORAL_PROFILE_NAME":      "SENTRY_TEMPORAL_PROFILE",
		"TEMPORAL_HADDRESS":                 "TEMPORAL_ADDRESS",
		"TEMPORAL_TLS_CLIENT_CERTS_PATH":    "TEMPORAL_TLS_CLIENT_CERT_PATH",
		"INTEGRATION":                       "INTEGRATIONS",
		"JOURNAL_MAX_BYTE":                  "JOURNAL_MAX_BYTES",
		"PUBLIC_URI":                        "PUBLIC_URL",
		"sentry_client_secret":              "SENTRY_CLIENT_SECRET",
		"PUBLIC_UR":                         "PUBLIC_URL",
		"SENTRY_APITOKEN":                   "SENTRY_API_TOKEN",
		"SENTRY_ORGANISATION":               "SENTRY_ORGANIZATION",
		"TRIAGE_SLAK_TOKEN":                 "TRIAGE_SLACK_TOKEN",
		"TRIAGE_PAGERDUTY_ROUTINGKEY":       "TRIAGE_PAGERDUTY_ROUTING_KEY",
		"TRIAGE_GITHUB_REPOS":               "TRIAGE_GITHUB_REPO",
		"DESTINATION_FILE":                  "DESTINATIONS_FILE",
		"TRIAGE_OTHER":                      "",
		"GITHUB_API_URL":                    "",
		"SLACK_TOKEN":                       "",
		"SENTRY_DSN":                        "",
		"SENTRY_AUTH_TOKEN":                 "",
		"SENTRY_ORG":                        "",
		"SENTRY_PROJECT":                    "",
		"SENTRY_URL":                        "",
		"SENTRY_ENVIRONMENT":                "",
		"SENTRY_RELEASE":                    "",
		"SENTRY_LOG_LEVEL":                  "",
		"SENTRY_SECRET_KEY":                 "",
		"SENTRY_TRACES_SAMPLE_RATE":         "",
		"SENTRY_SERVICE_HOST":               "",
		"TEMPORAL_GRPC_META_X":              "",
		"TEMPORAL_DEBUG":                    "",
		"OTEL_SERVICE_NAME":                 "",
		"KUBERNETES_SERVICE_HOST":           "",
		"TEMPORAL_TLS_CLIENT_KEY_DATA_FILE": "",
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, name+"=x")
			warnings := loadWorker(t).Warnings
			if meant == "" {
				wantWarnings(t, warnings)
				return
			}
			wantWarnings(t, warnings, name)
			if !strings.Contains(warnings[0].Text, meant+"?") {
				t.Errorf("it does not name %s: %s", meant, warnings[0])
			}
		})
	}
}

func TestAVariableOfAnIntegrationThatIsNotListedIsAWarning(t *testing.T) {
	for name, owner := range map[string]string{
		"BACKEND_CLIENT_SECRET":         "backend",
		"BACKEND_2_CLIENT_SECRET_FILE":  "backend_2",
		"MOBILE_MAX_STARTS_PER_SECOND":  "mobile",
		"MOBILE_TASK_QUEUE":             "mobile",
		"POD_NAMESPACE":                 "",
		"CLOUDFLARE_API_TOKEN":          "",
		"GITHUB_API_URL":                "",
		"TF_CLOUD_ORGANIZATION":         "",
		"TEMPORAL_TASK_QUEUE":           "",
		"2ND_CLIENT_SECRET":             "",
		"CLIENT_SECRET":                 "",
		"SENTRY_CLIENT_SECRET_ROTATION": "",
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, name+"="+hush)
			for _, w := range loadWorker(t).Warnings {
				if w.Variable != name || strings.Contains(w.Text, hush) {
					t.Errorf("a warning is %s", w)
				}
				if named := strings.Contains(w.Text, owner+" is not in INTEGRATIONS"); named != (owner != "") {
					t.Errorf("a warning is %s", w)
				}
				owner = "-"
			}
			if owner != "" && owner != "-" {
				t.Errorf("nothing is said of %s", owner)
			}
		})
	}
	t.Run("a token of an API beside an organization", func(t *testing.T) {
		environment(t, "BACKEND_API_TOKEN="+hush, "BACKEND_ORGANIZATION=acme")
		wantWarnings(t, loadWorker(t).Warnings, "BACKEND_API_TOKEN")
	})
}
