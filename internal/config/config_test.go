package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/config"
)

// hush is what no error may repeat.
const hush = "hush-4c1d0a7e"

// token is one for the admin address.
const token = "0123456789abcdef"

// ours are the variables that the configuration may look at, and the bare names
// that it must not.
var ours = regexp.MustCompile(`^(INTEGRATIONS|LISTEN_ADDR|ADMIN_.*|WORKER_ADMIN_ADDR|MAX_BODY_BYTES|JOURNAL_.*|SHUTDOWN_DELAY|LOG_.*|TRIAGE_.*|DESTINATIONS_FILE|(.*_)?TEMPORAL_.*|(.*_)?(CLIENT_SECRET|CLIENT_SECRET_FILE|TASK_QUEUE|NAMESPACE|MAX_STARTS_PER_SECOND|API_TOKEN|API_TOKEN_FILE|API_URL|ORGANIZATION))$`)

// environment makes vars, written NAME=value, the only variables that the
// configuration sees.
func environment(t *testing.T, vars ...string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); ours.MatchString(name) {
			t.Setenv(name, "") // restores it afterwards
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "none.toml")) // not the developer's own
	for _, entry := range vars {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
}

// file returns the path of a new file with the text.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantProblems wants an error that names the variables, each with a problem of
// its own, and repeats nothing that is hush.
func wantProblems(t *testing.T, err error, variables ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, variable := range variables {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(variable) + `: `).MatchString(err.Error()) {
			t.Errorf("no problem of %s in: %v", variable, err)
		}
	}
	if strings.Contains(err.Error(), hush) {
		t.Errorf("a secret is in: %v", err)
	}
}

// loadIngress loads what has to be right.
func loadIngress(t *testing.T) config.Ingress {
	t.Helper()
	cfg, err := config.LoadIngress()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// loadWorker loads what has to be right.
func loadWorker(t *testing.T) config.Worker {
	t.Helper()
	cfg, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func check[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestAnIngressNeedsNothingButASecret(t *testing.T) {
	environment(t, "SENTRY_CLIENT_SECRET=s")
	cfg := loadIngress(t)

	check(t, "ListenAddr", cfg.ListenAddr, ":8080")
	check(t, "AdminAddr", cfg.AdminAddr, "127.0.0.1:8081")
	check(t, "MaxBodyBytes", cfg.MaxBodyBytes, 8<<20)
	check(t, "Integrations", cfg.Integrations, []config.Integration{
		{Name: "sentry", Secrets: []config.Secret{"s"}, Namespace: "default", TaskQueue: "sentry"},
	})
	check(t, "address of Temporal", cfg.Temporal.Client.HostPort, "localhost:7233")
	check(t, "namespace", cfg.Temporal.Client.Namespace, "default")
	check(t, "TLS", cfg.Temporal.Client.ConnectionOptions.TLS, nil)
	check(t, "UIURL", cfg.Temporal.UIURL, "http://localhost:8233")
	check(t, "Log", cfg.Log, config.Log{JSON: true, Level: slog.LevelInfo})
}

func TestAWorkerNeedsNoSecret(t *testing.T) {
	environment(t)
	cfg := loadWorker(t)
	check(t, "AdminAddr", cfg.AdminAddr, "127.0.0.1:8082")
	check(t, "Integrations", cfg.Integrations, []config.Integration{{Name: "sentry", Namespace: "default", TaskQueue: "sentry"}})

	t.Run("and has an admin address of its own", func(t *testing.T) {
		environment(t, "ADMIN_ADDR=:81", "WORKER_ADMIN_ADDR=:82", "ADMIN_TOKEN="+token)
		check(t, "AdminAddr", loadWorker(t).AdminAddr, ":82")

		environment(t, "WORKER_ADMIN_ADDR=localhost")
		_, err := config.LoadWorker()
		wantProblems(t, err, "WORKER_ADMIN_ADDR")
	})

	t.Run("and does not look at one that is there", func(t *testing.T) {
		environment(t, "SENTRY_CLIENT_SECRET="+hush, "SENTRY_CLIENT_SECRET_FILE=/no/such/file")
		cfg := loadWorker(t)
		check(t, "Secrets", cfg.Integrations[0].Secrets, nil)
	})
}

func TestEveryVariableIsHeeded(t *testing.T) {
	environment(t,
		"INTEGRATIONS= backend , mobile_2 ",
		"BACKEND_CLIENT_SECRET=b", "BACKEND_TASK_QUEUE=urgent", "BACKEND_NAMESPACE=backend-team", "BACKEND_MAX_STARTS_PER_SECOND=2.5",
		"MOBILE_2_CLIENT_SECRET=m",
		"LISTEN_ADDR=127.0.0.1:80", "ADMIN_ADDR=:81", "ADMIN_TOKEN="+token, "ADMIN_HOSTS=Admin.example.com, ingress.sentry.svc", "PUBLIC_URL=https://hooks.example.com/in/", "MAX_BODY_BYTES=1024",
		"JOURNAL_DIR=/var/lib/kept", "SHUTDOWN_DELAY=1m30s", "LOG_FORMAT=text", "LOG_LEVEL=debug",
		"TEMPORAL_ADDRESS=temporal.internal:7233", "TEMPORAL_NAMESPACE=shared", "TEMPORAL_UI_URL=https://ui.internal/temporal/",
	)
	cfg := loadIngress(t)

	check(t, "Integrations", cfg.Integrations, []config.Integration{
		{Name: "backend", Secrets: []config.Secret{"b"}, Namespace: "backend-team", TaskQueue: "urgent", MaxStartsPerSecond: 2.5},
		{Name: "mobile_2", Secrets: []config.Secret{"m"}, Namespace: "shared", TaskQueue: "sentry"},
	})
	check(t, "ListenAddr", cfg.ListenAddr, "127.0.0.1:80")
	check(t, "AdminAddr", cfg.AdminAddr, ":81")
	check(t, "AdminToken", cfg.AdminToken.Reveal(), token)
	check(t, "AdminHosts", cfg.AdminHosts, []string{"admin.example.com", "ingress.sentry.svc"})
	check(t, "PublicURL", cfg.PublicURL, "https://hooks.example.com/in")
	check(t, "MaxBodyBytes", cfg.MaxBodyBytes, 1024)
	check(t, "JournalDir", cfg.JournalDir, "/var/lib/kept")
	check(t, "ShutdownDelay", cfg.ShutdownDelay, 90*time.Second)
	check(t, "Log", cfg.Log, config.Log{Level: slog.LevelDebug})
	check(t, "address of Temporal", cfg.Temporal.Client.HostPort, "temporal.internal:7233")
	check(t, "namespace", cfg.Temporal.Client.Namespace, "shared")
	check(t, "UIURL", cfg.Temporal.UIURL, "https://ui.internal/temporal")
}

func TestAnIntegrationIgnoresBareNames(t *testing.T) {
	environment(t,
		"INTEGRATIONS=backend", "TEMPORAL_NAMESPACE=shared",
		"NAMESPACE=bare", "TASK_QUEUE=bare", "MAX_STARTS_PER_SECOND=1", "CLIENT_SECRET="+hush, "CLIENT_SECRET_FILE="+file(t, hush))

	worker := loadWorker(t)
	check(t, "Integrations", worker.Integrations, []config.Integration{{Name: "backend", Namespace: "shared", TaskQueue: "sentry"}})

	_, err := config.LoadIngress()
	wantProblems(t, err, "BACKEND_CLIENT_SECRET")
}

func TestSecretsAreReadInTheOrderOfTheirRotation(t *testing.T) {
	for name, vars := range map[string][]string{
		"from the variable":                  {"SENTRY_CLIENT_SECRET= newest , older,,oldest,"},
		"from a file":                        {"SENTRY_CLIENT_SECRET_FILE=" + file(t, "newest,older,oldest")},
		"from a file that ends with newline": {"SENTRY_CLIENT_SECRET_FILE=" + file(t, "newest,\nolder,\r\noldest\n")},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, vars...)
			cfg := loadIngress(t)
			if got := cfg.Integrations[0].Secrets; !slices.Equal(got, []config.Secret{"newest", "older", "oldest"}) {
				t.Errorf("%d secrets are not the three in their order", len(got))
			}
		})
	}
}

func TestSecretsOfAFileAreReadAgainAsTheyWereRead(t *testing.T) {
	path := file(t, "newest,older")
	environment(t, "INTEGRATIONS=sentry,backend", "SENTRY_CLIENT_SECRET_FILE="+path, "BACKEND_CLIENT_SECRET=b")
	cfg := loadIngress(t)
	check(t, "SecretFile", cfg.Integrations[0].SecretFile, path)
	check(t, "SecretFile of another", cfg.Integrations[1].SecretFile, "")
	again, err := config.ReadSecrets(path)
	if err != nil || !slices.Equal(again, cfg.Integrations[0].Secrets) {
		t.Errorf("%d secrets are read again: %v", len(again), err)
	}
	for _, path := range []string{file(t, " \n"), hush} {
		if again, err := config.ReadSecrets(path); err == nil || len(again) > 0 || strings.Contains(err.Error(), hush) {
			t.Errorf("%d secrets are read: %v", len(again), err)
		}
	}
}

func TestASecretThatCannotBeReadIsAProblem(t *testing.T) {
	for name, test := range map[string]struct {
		vars    []string
		problem string
	}{
		"not set":              {nil, "SENTRY_CLIENT_SECRET"},
		"empty":                {[]string{"SENTRY_CLIENT_SECRET="}, "SENTRY_CLIENT_SECRET"},
		"nothing but commas":   {[]string{"SENTRY_CLIENT_SECRET= ,, "}, "SENTRY_CLIENT_SECRET"},
		"set in both ways":     {[]string{"SENTRY_CLIENT_SECRET=" + hush, "SENTRY_CLIENT_SECRET_FILE=" + file(t, hush)}, "SENTRY_CLIENT_SECRET"},
		"missing file":         {[]string{"SENTRY_CLIENT_SECRET_FILE=/no/such/file"}, "SENTRY_CLIENT_SECRET_FILE"},
		"secret as file name":  {[]string{"SENTRY_CLIENT_SECRET_FILE=" + hush}, "SENTRY_CLIENT_SECRET_FILE"},
		"directory":            {[]string{"SENTRY_CLIENT_SECRET_FILE=" + t.TempDir()}, "SENTRY_CLIENT_SECRET_FILE"},
		"empty file":           {[]string{"SENTRY_CLIENT_SECRET_FILE=" + file(t, "\n")}, "SENTRY_CLIENT_SECRET_FILE"},
		"file that is too big": {[]string{"SENTRY_CLIENT_SECRET_FILE=" + file(t, hush+strings.Repeat(" ", 64<<10))}, "SENTRY_CLIENT_SECRET_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, test.vars...)
			_, err := config.LoadIngress()
			wantProblems(t, err, test.problem)
		})
	}
}

func TestAnAdminAddressBeyondLoopbackNeedsAToken(t *testing.T) {
	for address, needs := range map[string]bool{
		"127.0.0.1:8081": false, "127.0.0.2:0": false, "[::1]:8081": false, "localhost:8081": false,
		":8081": true, "0.0.0.0:8081": true, "[::]:8081": true, "10.0.0.7:8081": true, "ingress:8081": true, "localhost.example.com:8081": true,
	} {
		for variable, load := range map[string]func() error{
			"ADMIN_ADDR":        func() error { _, err := config.LoadIngress(); return err },
			"WORKER_ADMIN_ADDR": func() error { _, err := config.LoadWorker(); return err },
		} {
			t.Run(variable+"="+address, func(t *testing.T) {
				environment(t, "SENTRY_CLIENT_SECRET=s", variable+"="+address)
				if err := load(); needs {
					wantProblems(t, err, "ADMIN_TOKEN")
				} else if err != nil {
					t.Error(err)
				}
				for _, entry := range []string{"ADMIN_TOKEN=" + token, "ADMIN_TOKEN_FILE=" + file(t, token+"\n")} {
					environment(t, "SENTRY_CLIENT_SECRET=s", variable+"="+address, entry)
					if err := load(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

func TestAnAdminTokenThatNobodyCouldSendOrAnybodyGuessIsAProblem(t *testing.T) {
	for name, test := range map[string]struct {
		vars    []string
		problem string
	}{
		"short":              {[]string{"ADMIN_TOKEN=0123456789abcde"}, "ADMIN_TOKEN"},
		"long":               {[]string{"ADMIN_TOKEN=" + strings.Repeat("x", 257)}, "ADMIN_TOKEN"},
		"with a space":       {[]string{"ADMIN_TOKEN=" + hush + " " + hush}, "ADMIN_TOKEN"},
		"with quotes":        {[]string{`ADMIN_TOKEN="` + hush + hush + `"`}, "ADMIN_TOKEN"},
		"two of them":        {[]string{"ADMIN_TOKEN=" + token + "," + token}, "ADMIN_TOKEN"},
		"with an umlaut":     {[]string{"ADMIN_TOKEN=" + hush + hush + "ü"}, "ADMIN_TOKEN"},
		"set in both ways":   {[]string{"ADMIN_TOKEN=" + token, "ADMIN_TOKEN_FILE=" + file(t, token)}, "ADMIN_TOKEN"},
		"file of two lines":  {[]string{"ADMIN_TOKEN_FILE=" + file(t, hush+"\n"+hush+"\n")}, "ADMIN_TOKEN_FILE"},
		"empty file":         {[]string{"ADMIN_TOKEN_FILE=" + file(t, "")}, "ADMIN_TOKEN_FILE"},
		"token as file name": {[]string{"ADMIN_TOKEN_FILE=" + hush}, "ADMIN_TOKEN_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, append(test.vars, "SENTRY_CLIENT_SECRET=s", "ADMIN_ADDR=:81")...)
			_, err := config.LoadIngress()
			wantProblems(t, err, test.problem)
			_, err = config.LoadWorker()
			wantProblems(t, err, test.problem)
		})
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	environment(t,
		"INTEGRATIONS=backend,mobile,web,Desktop",
		"BACKEND_CLIENT_SECRET="+hush, "BACKEND_CLIENT_SECRET_FILE="+file(t, hush), "BACKEND_NAMESPACE=two words",
		"MOBILE_CLIENT_SECRET_FILE="+filepath.Join(t.TempDir(), hush), "MOBILE_TASK_QUEUE=",
		"WEB_CLIENT_SECRET="+hush, "WEB_TASK_QUEUE="+strings.Repeat("q", 201),
		"LISTEN_ADDR=8080", "ADMIN_ADDR=localhost", "PUBLIC_URL=hooks.example.com", "MAX_BODY_BYTES=8MiB",
		"LOG_FORMAT=xml", "LOG_LEVEL=loud",
		"TEMPORAL_ADDRESS=localhost:grpc", "TEMPORAL_NAMESPACE=two words", "TEMPORAL_API_KEY="+hush,
		"TEMPORAL_TLS_CLIENT_KEY_DATA="+hush, "TEMPORAL_UI_URL=ui.internal",
	)
	_, err := config.LoadIngress()
	wantProblems(t, err,
		"INTEGRATIONS",
		"BACKEND_CLIENT_SECRET", "BACKEND_NAMESPACE",
		"MOBILE_CLIENT_SECRET_FILE", "MOBILE_TASK_QUEUE",
		"WEB_TASK_QUEUE",
		"LISTEN_ADDR", "ADMIN_ADDR", "PUBLIC_URL", "MAX_BODY_BYTES",
		"LOG_FORMAT", "LOG_LEVEL",
		"TEMPORAL_*", "TEMPORAL_UI_URL",
	)
	if strings.Contains(err.Error(), "WEB_CLIENT_SECRET") {
		t.Errorf("WEB_CLIENT_SECRET is right, but: %v", err)
	}
}

func TestAValueThatIsNotUsableIsAProblem(t *testing.T) {
	for _, entry := range []string{
		"LISTEN_ADDR=", "LISTEN_ADDR=:http", "LISTEN_ADDR=:65536", "ADMIN_ADDR=127.0.0.1", "PUBLIC_URL=hooks.example.com",
		"ADMIN_HOSTS=https://admin.example.com", "ADMIN_HOSTS=admin.example.com:8081", "ADMIN_HOSTS=a,,b", "ADMIN_HOSTS=*.example.com", "ADMIN_HOSTS=.",
		"TEMPORAL_API_KEY_FILE=/no/such/file", "TEMPORAL_API_KEY_FILE=" + hush, "SENTRY_TEMPORAL_API_KEY_FILE=" + hush, "SENTRY_TEMPORAL_PROFILE=two words",
		"MAX_BODY_BYTES=", "MAX_BODY_BYTES=1023", "MAX_BODY_BYTES=67108865", "MAX_BODY_BYTES=1e6", "MAX_BODY_BYTES=-1",
		"LOG_FORMAT=", "LOG_FORMAT=JSON", "LOG_LEVEL=", "LOG_LEVEL=INFO+2",
		"JOURNAL_DIR=", "SHUTDOWN_DELAY=", "SHUTDOWN_DELAY=10", "SHUTDOWN_DELAY=-1s", "SHUTDOWN_DELAY=5m1s",
		"SENTRY_MAX_STARTS_PER_SECOND=0", "SENTRY_MAX_STARTS_PER_SECOND=-1", "SENTRY_MAX_STARTS_PER_SECOND=10000.1",
		"SENTRY_MAX_STARTS_PER_SECOND=1e3", "SENTRY_MAX_STARTS_PER_SECOND=NaN", "SENTRY_MAX_STARTS_PER_SECOND=many",
		"SENTRY_TASK_QUEUE=", "SENTRY_TASK_QUEUE=two words", "SENTRY_NAMESPACE=", "SENTRY_NAMESPACE=naïve",
		"TEMPORAL_ADDRESS=localhost", "TEMPORAL_NAMESPACE=two words",
		"TEMPORAL_UI_URL=ui.internal", "TEMPORAL_UI_URL=ftp://ui.internal", "TEMPORAL_UI_URL=http://", "TEMPORAL_UI_URL=http://%zz",
		"TEMPORAL_TLS=yes", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION=yes",
	} {
		t.Run(entry, func(t *testing.T) {
			environment(t, "SENTRY_CLIENT_SECRET="+hush, entry)
			_, err := config.LoadIngress()
			variable, _, _ := strings.Cut(entry, "=")
			wantProblems(t, err, variable)
		})
	}
}

func TestANameThatIsNoIntegrationIsAProblem(t *testing.T) {
	for name, list := range map[string]string{
		"upper case":                         "Backend",
		"dash":                               "back-end",
		"slash":                              "back/end",
		"leading digit":                      "2nd",
		"too long":                           "i" + strings.Repeat("n", 32),
		"empty list":                         "",
		"empty name":                         "backend,,mobile",
		"twice":                              "backend,mobile,backend",
		"prefix of the Temporal connection":  "temporal",
		"beside others that can be accepted": "backend,MOBILE",
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, "INTEGRATIONS="+list)
			_, err := config.LoadWorker()
			wantProblems(t, err, "INTEGRATIONS")
		})
	}
}

func TestATemporalConnectionThatCannotBeMadeIsAProblemWithoutValues(t *testing.T) {
	for name, vars := range map[string][]string{
		"certificate without key":      {"TEMPORAL_TLS_CLIENT_CERT_DATA=" + hush},
		"key without certificate":      {"TEMPORAL_TLS_CLIENT_KEY_DATA=" + hush},
		"key and certificate not PEM":  {"TEMPORAL_TLS_CLIENT_CERT_DATA=" + hush, "TEMPORAL_TLS_CLIENT_KEY_DATA=" + hush},
		"authority not PEM":            {"TEMPORAL_TLS_SERVER_CA_CERT_DATA=" + hush},
		"key where its path belongs":   {"TEMPORAL_TLS_CLIENT_CERT_PATH=" + file(t, ""), "TEMPORAL_TLS_CLIENT_KEY_PATH=" + hush},
		"certificate file not there":   {"TEMPORAL_TLS_CLIENT_CERT_PATH=" + hush, "TEMPORAL_TLS_CLIENT_KEY_PATH=" + hush},
		"authority file not there":     {"TEMPORAL_TLS_SERVER_CA_CERT_PATH=" + hush},
		"profile not there":            {"TEMPORAL_PROFILE=production"},
		"API key without its quotes":   {"TEMPORAL_CONFIG_FILE=" + file(t, "[profile.default]\napi_key = "+hush)},
		"configuration file not there": {"TEMPORAL_CONFIG_FILE=" + t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, append(vars, "TEMPORAL_API_KEY="+hush)...)
			_, err := config.LoadWorker()
			wantProblems(t, err, "TEMPORAL_*")
			for word := range strings.SplitSeq(hush, "-") {
				if strings.Contains(err.Error(), word) {
					t.Errorf("a part of a secret is in: %v", err)
				}
			}
		})
	}
}

func TestAnAPIKeyTurnsTLSOn(t *testing.T) {
	environment(t, "TEMPORAL_API_KEY="+hush)
	cfg := loadWorker(t)
	if options := cfg.Temporal.Client; options.Credentials == nil || options.ConnectionOptions.TLS == nil {
		t.Error("there are no credentials or no TLS")
	}
}

func TestTheAddressOfTheUI(t *testing.T) {
	for name, test := range map[string]struct {
		address, ui string
		want        string
	}{
		"of a dev server by name":          {address: "localhost:7233", want: "http://localhost:8233"},
		"of a dev server by IPv4 address":  {address: "127.0.0.1:7233", want: "http://localhost:8233"},
		"of a dev server by IPv6 address":  {address: "[::1]:7233", want: "http://localhost:8233"},
		"of Temporal Cloud by namespace":   {address: "team.a2dd6.tmprl.cloud:7233", want: "https://cloud.temporal.io"},
		"of Temporal Cloud by region":      {address: "eu-central-1.aws.api.temporal.io:7233", want: "https://cloud.temporal.io"},
		"of a server of one's own unknown": {address: "temporal.internal:7233", want: ""},
		"of a name that only looks alike":  {address: "nottmprl.cloud:7233", want: ""},
		"as it is set":                     {address: "localhost:7233", ui: "https://ui.internal", want: "https://ui.internal"},
		"without the slash at its end":     {address: "localhost:7233", ui: "https://ui.internal/", want: "https://ui.internal"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, "TEMPORAL_ADDRESS="+test.address, "TEMPORAL_UI_URL="+test.ui)
			cfg := loadWorker(t)
			check(t, "UIURL", cfg.Temporal.UIURL, test.want)
		})
	}
}

// profiles is a configuration file of the CLI.
const profiles = `
[profile.default]
address = "common.internal:7233"

[profile.cloud]
address = "team.a2dd6.tmprl.cloud:7233"
namespace = "team.a2dd6"
api_key = "` + hush + `"

[profile.plain]
address = "plain.internal:7233"

[profile.broken]
address = "no-port"
namespace = "two words"

[profile.badtls]
address = "plain.internal:7233"
[profile.badtls.tls]
client_cert_data = "` + hush + `"
client_key_data = "` + hush + `"
`

func TestAProfileIsTheWholeConnectionOfAnIntegration(t *testing.T) {
	environment(t,
		"INTEGRATIONS=sentry,backend,mobile,web", "TEMPORAL_CONFIG_FILE="+file(t, profiles),
		"BACKEND_TEMPORAL_PROFILE=cloud", "MOBILE_TEMPORAL_PROFILE=cloud", "MOBILE_NAMESPACE=mobile.a2dd6", "WEB_TEMPORAL_PROFILE=plain",
		// These are of the common connection, and of no other.
		"TEMPORAL_ADDRESS=temporal.internal:7233", "TEMPORAL_NAMESPACE=shared", "TEMPORAL_API_KEY=common", "TEMPORAL_TLS_SERVER_NAME=common",
		"TEMPORAL_UI_URL=https://ui.internal",
	)
	cfg := loadWorker(t)
	check(t, "Integrations", cfg.Integrations, []config.Integration{
		{Name: "sentry", Namespace: "shared", TaskQueue: "sentry"},
		{Name: "backend", Profile: "cloud", Namespace: "team.a2dd6", TaskQueue: "sentry"},
		{Name: "mobile", Profile: "cloud", Namespace: "mobile.a2dd6", TaskQueue: "sentry"},
		{Name: "web", Profile: "plain", Namespace: "default", TaskQueue: "sentry"},
	})
	check(t, "address", cfg.Temporal.Client.HostPort, "temporal.internal:7233")
	check(t, "number of profiles", len(cfg.Temporal.Profiles), 2)
	cloud, plain := cfg.Temporal.Profiles["cloud"], cfg.Temporal.Profiles["plain"]
	check(t, "address of cloud", cloud.Client.HostPort, "team.a2dd6.tmprl.cloud:7233")
	check(t, "address of plain", plain.Client.HostPort, "plain.internal:7233")
	if tls := cloud.Client.ConnectionOptions.TLS; tls == nil || tls.ServerName != "" {
		t.Errorf("the TLS of cloud is %v", tls)
	}
	if plain.Client.ConnectionOptions.TLS != nil || plain.Client.Credentials != nil {
		t.Error("plain has TLS or an API key")
	}
	check(t, "UIURL of cloud", cloud.UIURL, "https://cloud.temporal.io")
	check(t, "UIURL of plain", plain.UIURL, "https://ui.internal")
}

func TestAProfileThatIsNoConnectionIsAProblemWithoutValues(t *testing.T) {
	there := "TEMPORAL_CONFIG_FILE=" + file(t, profiles)
	keyFile := file(t, hush)
	for name, test := range map[string]struct {
		vars    []string
		problem string
	}{
		"no such profile":      {[]string{there, "SENTRY_TEMPORAL_PROFILE=staging"}, "SENTRY_TEMPORAL_PROFILE"},
		"no such file":         {[]string{"SENTRY_TEMPORAL_PROFILE=staging"}, "SENTRY_TEMPORAL_PROFILE"},
		"a file that is none":  {[]string{"TEMPORAL_CONFIG_FILE=" + file(t, "[profile.staging]\napi_key = "+hush), "SENTRY_TEMPORAL_PROFILE=staging"}, "SENTRY_TEMPORAL_PROFILE"},
		"no host and port":     {[]string{there, "SENTRY_TEMPORAL_PROFILE=broken"}, "SENTRY_TEMPORAL_PROFILE"},
		"certificate not PEM":  {[]string{there, "SENTRY_TEMPORAL_PROFILE=badtls"}, "SENTRY_TEMPORAL_PROFILE"},
		"no file of the key":   {[]string{there, "SENTRY_TEMPORAL_PROFILE=plain", "SENTRY_TEMPORAL_API_KEY_FILE=" + hush}, "SENTRY_TEMPORAL_API_KEY_FILE"},
		"a key of a profile":   {[]string{"TEMPORAL_CONFIG_FILE=" + file(t, "[profile.own]\napi_key = \"...\"\n"), "SENTRY_TEMPORAL_PROFILE=own"}, "SENTRY_TEMPORAL_PROFILE"},
		"a key of the common":  {[]string{"TEMPORAL_CONFIG_FILE=" + file(t, "[profile.default]\napi_key = \"two words\"\n")}, "TEMPORAL_*"},
		"a key of two lines":   {[]string{there, "SENTRY_TEMPORAL_PROFILE=plain", "SENTRY_TEMPORAL_API_KEY_FILE=" + file(t, hush+"\n"+hush)}, "SENTRY_TEMPORAL_API_KEY_FILE"},
		"a key without more":   {[]string{there, "SENTRY_TEMPORAL_API_KEY_FILE=" + keyFile}, "SENTRY_TEMPORAL_API_KEY_FILE"},
		"two keys of one":      {[]string{there, "INTEGRATIONS=sentry,web", "SENTRY_TEMPORAL_PROFILE=plain", "WEB_TEMPORAL_PROFILE=plain", "WEB_TEMPORAL_API_KEY_FILE=" + keyFile}, "WEB_TEMPORAL_API_KEY_FILE"},
		"two of the common":    {[]string{"TEMPORAL_API_KEY=" + hush, "TEMPORAL_API_KEY_FILE=" + keyFile}, "TEMPORAL_API_KEY"},
		"no key in the common": {[]string{"TEMPORAL_API_KEY_FILE=" + file(t, "\n")}, "TEMPORAL_API_KEY_FILE"},
		"a file that is a lot": {[]string{"TEMPORAL_API_KEY_FILE=" + file(t, hush+strings.Repeat(" ", 64<<10))}, "TEMPORAL_API_KEY_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, test.vars...)
			_, err := config.LoadWorker()
			wantProblems(t, err, test.problem)
		})
	}
}

func TestAProfileThatIsNotThereIsNamed(t *testing.T) {
	environment(t, "TEMPORAL_CONFIG_FILE="+file(t, profiles), "SENTRY_TEMPORAL_PROFILE=staging")
	_, err := config.LoadWorker()
	wantProblems(t, err, "SENTRY_TEMPORAL_PROFILE")
	if !strings.Contains(err.Error(), "staging") {
		t.Errorf("it is not in: %v", err)
	}
}

func TestAnAPIKeyFileTurnsTLSOn(t *testing.T) {
	environment(t, "TEMPORAL_API_KEY_FILE="+file(t, hush))
	cfg := loadWorker(t)
	if cfg.Temporal.Client.ConnectionOptions.TLS == nil {
		t.Error("there is no TLS")
	}
	environment(t, "TEMPORAL_API_KEY_FILE="+file(t, hush), "TEMPORAL_TLS=false")
	cfg = loadWorker(t)
	if cfg.Temporal.Client.ConnectionOptions.TLS != nil {
		t.Error("there is TLS where there is to be none")
	}
}

func TestTheAPIKeyOfTheEnvironmentGoesBeforeThatOfTheFile(t *testing.T) {
	there := file(t, "[profile.default]\napi_key = \""+hush+"\"\n")
	environment(t, "TEMPORAL_CONFIG_FILE="+there)
	check(t, "APIKey", loadWorker(t).Temporal.APIKey, config.APIKeyFile{Path: there, Profile: "default"})
	environment(t, "TEMPORAL_CONFIG_FILE="+there, "TEMPORAL_API_KEY=other")
	check(t, "APIKey", loadWorker(t).Temporal.APIKey, config.APIKeyFile{})
}
