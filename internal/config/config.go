// Package config reads the environment into the structs that the programs run
// on. It reads all of it before it reports, so that one start tells everything
// that is wrong, by variable name and without the value of any secret.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/kelseyhightower/envconfig"
)

// Ingress is the configuration of the ingress.
type Ingress struct {
	Common
	ListenAddr      string   // where Sentry posts to
	AdminAddr       string   // status page, health and metrics; not for the public
	AdminHosts      []string // in lower case, that the admin address answers to, too
	PublicURL       string   // base address that Sentry posts to, no trailing slash; empty if unknown
	MaxBodyBytes    int64    // of a webhook's body
	JournalDir      string   // where deliveries are kept until Temporal has them
	JournalMaxBytes int64    // of the deliveries that are kept
	Development     bool     // nothing can be harmed: a page may send samples
	RoutesFile      string   // says which workflows run for which deliveries; "" is none
}

// Worker is the configuration of the worker.
type Worker struct {
	Common
	AdminAddr  string   // page, health and metrics; not for the public
	AdminHosts []string // in lower case, that the admin address answers to, too
	Outside    Outside  // what workflows act on
}

// Common is what ingress and worker both need.
type Common struct {
	Integrations []Integration // at least one, in the order of INTEGRATIONS
	Temporal     Temporal
	AdminToken   Secret // for the admin address; "" is none, and only on loopback
	Log          Log
	// ShutdownDelay is how long a program goes on, not ready any more, when it is
	// to stop.
	ShutdownDelay time.Duration
	Warnings      []Problem // what keeps no program from starting, and may still be wrong
}

// Integration is a Sentry integration that posts to /webhooks/<Name>.
type Integration struct {
	Name    string
	Secrets []Secret // newest first, all valid at once; none in a Worker
	// SecretFile is the file that they come from, to be read again by
	// [ReadSecrets]; "" if they come from a variable.
	SecretFile string
	Profile    string // its connection in [Temporal.Profiles]; "" is the common one
	Namespace  string // Temporal namespace of its runs
	TaskQueue  string // Temporal task queue of its runs
	// MaxStartsPerSecond bounds the starts of its runs; 0: nothing does. It is 0
	// in a Worker.
	MaxStartsPerSecond float64
}

// Log is how to log.
type Log struct {
	JSON  bool
	Level slog.Level
}

// raw are the variables as they stand. All are strings: a wrong one must not
// keep envconfig from reading the others, nor print the value of a secret.
type raw struct {
	Integrations string `envconfig:"INTEGRATIONS" default:"sentry"`
	ListenAddr   string `envconfig:"LISTEN_ADDR" default:":8080"`
	AdminAddr    string `envconfig:"ADMIN_ADDR" default:"127.0.0.1:8081"`
	AdminHosts   string `envconfig:"ADMIN_HOSTS"`
	AdminToken   string `envconfig:"ADMIN_TOKEN"`
	AdminFile    string `envconfig:"ADMIN_TOKEN_FILE"`
	PublicURL    string `envconfig:"PUBLIC_URL"`
	WorkerAdmin  string `envconfig:"WORKER_ADMIN_ADDR" default:"127.0.0.1:8082"`
	MaxBodyBytes string `envconfig:"MAX_BODY_BYTES" default:"8388608"`
	JournalDir   string `envconfig:"JOURNAL_DIR" default:"journal"`
	JournalMax   string `envconfig:"JOURNAL_MAX_BYTES" default:"1073741824"`
	RoutesFile   string `envconfig:"ROUTES_FILE"`
	APIKeyFile   string `envconfig:"TEMPORAL_API_KEY_FILE"`
	UIURL        string `envconfig:"TEMPORAL_UI_URL"`
	Delay        string `envconfig:"SHUTDOWN_DELAY" default:"0"`
	LogFormat    string `envconfig:"LOG_FORMAT" default:"json"`
	LogLevel     string `envconfig:"LOG_LEVEL" default:"info"`
	Development  string `envconfig:"DEVELOPMENT" default:"0"`

	// What workflows act on: the worker reads it. The secrets are read by
	// [EnvironmentSecret].
	DestinationsFile string `envconfig:"DESTINATIONS_FILE"`
	SlackToken       string `envconfig:"TRIAGE_SLACK_TOKEN"`
	SlackTokenFile   string `envconfig:"TRIAGE_SLACK_TOKEN_FILE"`
	SlackChannel     string `envconfig:"TRIAGE_SLACK_CHANNEL"`
	SlackWebhook     string `envconfig:"TRIAGE_SLACK_WEBHOOK_URL"`
	SlackWebhookFile string `envconfig:"TRIAGE_SLACK_WEBHOOK_URL_FILE"`
	SlackAPI         string `envconfig:"TRIAGE_SLACK_API_URL" default:"https://slack.com/api"`
	PagerDuty        string `envconfig:"TRIAGE_PAGERDUTY_ROUTING_KEY"`
	PagerDutyFile    string `envconfig:"TRIAGE_PAGERDUTY_ROUTING_KEY_FILE"`
	PagerDutyURL     string `envconfig:"TRIAGE_PAGERDUTY_URL" default:"https://events.pagerduty.com/v2/enqueue"`
	GitHubToken      string `envconfig:"TRIAGE_GITHUB_TOKEN"`
	GitHubTokenFile  string `envconfig:"TRIAGE_GITHUB_TOKEN_FILE"`
	GitHubRepo       string `envconfig:"TRIAGE_GITHUB_REPO"`
	GitHubAPI        string `envconfig:"TRIAGE_GITHUB_API_URL" default:"https://api.github.com"`
	Webhook          string `envconfig:"TRIAGE_WEBHOOK_URL"`
	WebhookFile      string `envconfig:"TRIAGE_WEBHOOK_URL_FILE"`
	WebhookKey       string `envconfig:"TRIAGE_WEBHOOK_SECRET"`
	WebhookKeyFile   string `envconfig:"TRIAGE_WEBHOOK_SECRET_FILE"`
}

// rawIntegration are the variables of one integration, read under its prefix.
// The fields have no names of their own in their tags, because envconfig would
// then fall back to the bare name: NAMESPACE for BACKEND_NAMESPACE.
type rawIntegration struct {
	ClientSecret       string `split_words:"true"`
	ClientSecretFile   string `split_words:"true"`
	TaskQueue          string `split_words:"true" default:"sentry"`
	Namespace          string
	TemporalProfile    string `split_words:"true"`
	TemporalAPIKeyFile string `split_words:"true"`
	MaxStartsPerSecond string `split_words:"true"`
	APIToken           string `split_words:"true"` // this and the next three: of Sentry's API, for the worker
	APITokenFile       string `split_words:"true"`
	Organization       string
	APIUrl             string `split_words:"true" default:"https://sentry.io"` // envconfig makes API_URL of it
}

// LoadIngress reads the configuration of the ingress from the environment. The
// error is a [ProblemsError].
func LoadIngress() (Ingress, error) {
	l, vars := newLoader()
	cfg := Ingress{
		Common:          l.common(vars, true),
		ListenAddr:      l.address("LISTEN_ADDR", vars.ListenAddr),
		AdminAddr:       l.address("ADMIN_ADDR", vars.AdminAddr),
		AdminHosts:      l.hosts("ADMIN_HOSTS", vars.AdminHosts),
		PublicURL:       l.baseURL("PUBLIC_URL", vars.PublicURL),
		MaxBodyBytes:    l.bytes("MAX_BODY_BYTES", vars.MaxBodyBytes, 1<<10, 32<<20),
		JournalDir:      l.directory("JOURNAL_DIR", vars.JournalDir),
		JournalMaxBytes: l.bytes("JOURNAL_MAX_BYTES", vars.JournalMax, 64<<20, 1<<40),
		Development:     vars.Development == "1",
		RoutesFile:      vars.RoutesFile,
	}
	l.guarded("ADMIN_ADDR", cfg.AdminAddr, vars)
	return cfg, l.err()
}

// LoadWorker reads the configuration of the worker from the environment. The
// error is a [ProblemsError].
func LoadWorker() (Worker, error) {
	l, vars := newLoader()
	cfg := Worker{
		Common:     l.common(vars, false),
		AdminAddr:  l.address("WORKER_ADMIN_ADDR", vars.WorkerAdmin),
		AdminHosts: l.hosts("ADMIN_HOSTS", vars.AdminHosts),
	}
	l.guarded("WORKER_ADMIN_ADDR", cfg.AdminAddr, vars)
	cfg.Outside = l.outside(vars, cfg.Integrations)
	cfg.Warnings = l.warnings
	return cfg, l.err()
}

// IngressAdminAddr reads where the admin address of the ingress is, and nothing
// else.
func IngressAdminAddr() (string, error) {
	l, vars := newLoader()
	return l.address("ADMIN_ADDR", vars.AdminAddr), l.err()
}

// IngressAdmin reads where the admin address of the ingress is and the token that
// it wants to see, "" for none, and nothing else.
func IngressAdmin() (address string, token Secret, err error) {
	l, vars := newLoader()
	address, token = l.address("ADMIN_ADDR", vars.AdminAddr), l.adminToken(vars)
	return address, token, l.err()
}

// WorkerAdminAddr reads where the admin address of the worker is, and nothing
// else.
func WorkerAdminAddr() (string, error) {
	l, vars := newLoader()
	return l.address("WORKER_ADMIN_ADDR", vars.WorkerAdmin), l.err()
}

// RoutesFile reads where the file of the routes is, and nothing else.
func RoutesFile() string {
	_, vars := newLoader()
	return vars.RoutesFile
}

// loader collects what is wrong.
type loader struct {
	problems ProblemsError
	warnings []Problem
	// misspelled are those of the warnings that are about variables which nothing reads.
	misspelled []Problem
}

func newLoader() (*loader, raw) {
	l := &loader{}
	var vars raw
	if err := envconfig.Process("", &vars); err != nil {
		l.bad("environment", "%w", err) // only strings: never, but for a bug in raw
	}
	return l, vars
}

func (l *loader) err() error {
	if len(l.problems) == 0 {
		return nil
	}
	return append(l.problems, l.misspelled...) // what is missing may be there under another name
}

func (l *loader) bad(variable, format string, args ...any) {
	l.problems = append(l.problems, Problem{Variable: variable, Text: fmt.Errorf(format, args...).Error()})
}

func (l *loader) warn(variable, format string, args ...any) {
	l.warnings = append(l.warnings, Problem{Variable: variable, Text: fmt.Sprintf(format, args...)})
}

func (l *loader) common(vars raw, ofIngress bool) Common {
	cfg := Common{
		Log: l.log(vars), Temporal: l.temporal(vars), AdminToken: l.adminToken(vars), ShutdownDelay: l.delay("SHUTDOWN_DELAY", vars.Delay),
	}
	cfg.Integrations = l.integrations(vars.Integrations, cfg.Temporal, ofIngress)
	if vars.Development != "0" && vars.Development != "1" {
		l.bad("DEVELOPMENT", "%q is neither 0 nor 1", clip(vars.Development))
	}
	l.lookAround(cfg.Integrations)
	cfg.Warnings = l.warnings
	return cfg
}

// Names of integrations are part of workflow IDs, so they are short; they stand
// in URLs and, in upper case, in front of variables.
var validIntegration = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func (l *loader) integrations(list string, temporal Temporal, ofIngress bool) []Integration {
	var all []Integration
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		switch {
		case !validIntegration.MatchString(name):
			l.bad("INTEGRATIONS", "%q is not a name of at most 32 lower case letters, digits and _", clip(name))
			continue
		case takenBy(name) != "":
			l.bad("INTEGRATIONS", "%q cannot be a name: its variables would be mixed up with %s", name, takenBy(name))
			continue
		case slices.ContainsFunc(all, func(i Integration) bool { return i.Name == name }):
			l.bad("INTEGRATIONS", "%q stands there twice", name)
			continue
		}
		all = append(all, l.integration(name, temporal, ofIngress))
	}
	l.warnOfShared(all)
	return all
}

// integration adds the connection of the integration to temporal's profiles, if
// it has one.
func (l *loader) integration(name string, temporal Temporal, ofIngress bool) Integration {
	prefix := strings.ToUpper(name)
	vars := rawIntegration{}
	if err := envconfig.Process(prefix, &vars); err != nil {
		l.bad(prefix, "%w", err)
	}
	connection := temporal
	switch {
	case vars.TemporalProfile != "":
		connection = l.profile(prefix, vars, temporal)
		temporal.Profiles[vars.TemporalProfile] = connection
	case vars.TemporalAPIKeyFile != "":
		l.bad(prefix+"_TEMPORAL_API_KEY_FILE", "goes with a %s_TEMPORAL_PROFILE, which is not set", prefix)
	}
	namespace := connection.Client.Namespace
	if _, set := os.LookupEnv(prefix + "_NAMESPACE"); set {
		namespace = l.temporalName(prefix+"_NAMESPACE", vars.Namespace)
	}
	cfg := Integration{
		Name:      name,
		Profile:   vars.TemporalProfile,
		Namespace: namespace,
		TaskQueue: l.temporalName(prefix+"_TASK_QUEUE", vars.TaskQueue),
	}
	if ofIngress {
		cfg.MaxStartsPerSecond = l.rate(prefix+"_MAX_STARTS_PER_SECOND", vars.MaxStartsPerSecond)
		cfg.Secrets = l.clientSecrets(prefix+"_CLIENT_SECRET", vars.ClientSecret, vars.ClientSecretFile)
		cfg.SecretFile = vars.ClientSecretFile
	}
	return cfg
}

// temporalName checks the name of a namespace, a task queue or a profile.
func (l *loader) temporalName(variable, value string) string {
	if value == "" || len(value) > 200 || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		l.bad(variable, "%q is not a name of 1 to 200 printable ASCII characters", clip(value))
	}
	return value
}

const maxSecretFile = 64 << 10

// guarded wants a token where others than this machine reach the admin address.
func (l *loader) guarded(variable, address string, vars raw) {
	if vars.AdminToken == "" && vars.AdminFile == "" && !loopback(address) {
		l.bad("ADMIN_TOKEN", "is needed, since %s is an address that other machines may reach: set it, or listen on 127.0.0.1", variable)
	}
}

// loopback reports whether nobody but this machine reaches an address, as far as
// it says so itself. What is not host:port is wrong anyway.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err != nil || host == "localhost" || ip != nil && ip.IsLoopback()
}

var validHost = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// hosts checks a list of host names, which may be empty.
func (l *loader) hosts(variable, list string) []string {
	if list == "" {
		return nil
	}
	var all []string
	for host := range strings.SplitSeq(list, ",") {
		host = strings.ToLower(strings.TrimSpace(host))
		if len(host) > 253 || !validHost.MatchString(host) {
			l.bad(variable, "%q is not the name of a host, without scheme and port", clip(host))
			continue
		}
		all = append(all, host)
	}
	return all
}

// baseURL checks an address that others are appended to, which may be empty,
// and returns it without a slash at the end.
func (l *loader) baseURL(variable, value string) string {
	u, err := url.Parse(value)
	if value != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		l.bad(variable, "%q is not an http or https address", clip(value))
	}
	return strings.TrimRight(value, "/")
}

func (l *loader) log(vars raw) Log {
	var cfg Log
	switch vars.LogFormat {
	case "json":
		cfg.JSON = true
	case "text":
	default:
		l.bad("LOG_FORMAT", "%q is neither json nor text", clip(vars.LogFormat))
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, vars.LogLevel) {
		l.bad("LOG_LEVEL", "%q is none of debug, info, warn, error", clip(vars.LogLevel))
	} else if err := cfg.Level.UnmarshalText([]byte(vars.LogLevel)); err != nil {
		l.bad("LOG_LEVEL", "%w", err)
	}
	return cfg
}

func (l *loader) address(variable, value string) string {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		l.bad(variable, "%q is not host:port", clip(value))
	}
	return value
}

func (l *loader) bytes(variable, value string, lowest, highest int64) int64 {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < lowest || n > highest {
		l.bad(variable, "%q is not a number of bytes from %d to %d", clip(value), lowest, highest)
	}
	return n
}

// delay checks a time to wait.
func (l *loader) delay(variable, value string) time.Duration {
	const longest = 5 * time.Minute
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > longest {
		l.bad(variable, "%q is not a time like 0, 500ms or 10s, of at most %s", clip(value), longest)
	}
	return d
}

func (l *loader) directory(variable, value string) string {
	if value == "" {
		l.bad(variable, "is empty: it takes the path of a directory")
	}
	return value
}

var decimal = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)

// rate checks a number by second, which may be empty: 0.
func (l *loader) rate(variable, value string) float64 {
	const highest = 10_000
	if value == "" {
		return 0
	}
	rate, err := strconv.ParseFloat(value, 64)
	if err != nil || !decimal.MatchString(value) || rate <= 0 || rate > highest {
		l.bad(variable, "%q is not a number over 0, such as 5 or 0.5, and at most %d", clip(value), highest)
		return 0
	}
	return rate
}

// withoutValues returns err without what it may repeat of a secret: a file name,
// which is where a secret is put by mistake, or a piece of the TOML file, which
// may hold an API key.
func withoutValues(err error) error {
	if syntax, ok := errors.AsType[toml.ParseError](err); ok {
		return fmt.Errorf("the configuration file is not TOML at line %d", syntax.Position.Line)
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return errors.New(strings.Replace(err.Error(), file.Error(), file.Op+" the file: "+file.Err.Error(), 1))
	}
	return err
}

// clip bounds a value that an error repeats.
func clip(value string) string {
	const most = 80
	if len(value) > most {
		return value[:most] + "..."
	}
	return value
}
