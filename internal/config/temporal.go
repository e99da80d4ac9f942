package config

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"go.temporal.io/sdk/client"
	temporalenv "go.temporal.io/sdk/contrib/envconfig"
)

// Temporal is how to reach Temporal.
type Temporal struct {
	Client client.Options // connection and default namespace
	UIURL  string         // base address of the Temporal UI, no trailing slash; empty if unknown
	// TLS returns the TLS configuration with what is in its files now; nil: the
	// one of Client is all there is.
	TLS func() (*tls.Config, error)
	// APIKey is the file that the API key is in; the zero value: in none.
	APIKey APIKeyFile
	// Profiles are the connections of the integrations that do not use this one,
	// by the name of the profile.
	Profiles map[string]Temporal
}

// APIKeyFile is a file that an API key is in.
type APIKeyFile struct {
	Path string
	// Profile is the one that has the key, if the file is the configuration file
	// of Temporal's CLI; with "" the key is all that is in the file.
	Profile string
}

// Read returns the text of the file.
func (f APIKeyFile) Read() ([]byte, error) {
	text, err := readSmall(f.Path)
	return text, withoutValues(err)
}

// Key returns the API key in the text of the file. No error repeats any of it.
func (f APIKeyFile) Key(text []byte) (Secret, error) {
	key := string(text)
	if f.Profile != "" {
		// No text at all would have the loader look for a file.
		profile, err := temporalenv.LoadClientConfigProfile(temporalenv.LoadClientConfigProfileOptions{
			ConfigFileData: append(text, '\n'), ConfigFileProfile: f.Profile, DisableEnv: true,
		})
		if err != nil {
			return "", withoutValues(err)
		}
		key = profile.APIKey
	}
	return parseSecret(key)
}

// origin is where a connection is described.
type origin struct {
	profile string // by this of the CLI's configuration file alone; "": as the CLI goes about it, by the environment first
	keyFile string // and the API key is in this file; "": it is not
}

// load returns what is there now.
func (o origin) load() (client.Options, APIKeyFile, error) {
	profile, err := temporalenv.LoadClientConfigProfile(temporalenv.LoadClientConfigProfileOptions{
		ConfigFileProfile: o.profile,
		DisableEnv:        o.profile != "",
	})
	if err != nil {
		return client.Options{}, APIKeyFile{}, withoutValues(err)
	}
	var key APIKeyFile
	_, fromEnvironment := os.LookupEnv("TEMPORAL_API_KEY")
	switch {
	case o.keyFile != "":
		key = APIKeyFile{Path: o.keyFile}
		profile.APIKey = "" // set by whoever connects
		if profile.TLS == nil {
			profile.TLS = &temporalenv.ClientConfigTLS{} // as for any API key
		}
	case profile.APIKey != "" && (o.profile != "" || !fromEnvironment):
		key = APIKeyFile{
			Path:    cmp.Or(os.Getenv("TEMPORAL_CONFIG_FILE"), temporalenv.DefaultConfigFilePath()),
			Profile: cmp.Or(o.profile, os.Getenv("TEMPORAL_PROFILE"), temporalenv.DefaultConfigFileProfile),
		}
	}
	options, err := profile.ToClientOptions(temporalenv.ToClientOptionsRequest{})
	options.HostPort = cmp.Or(options.HostPort, client.DefaultHostPort)
	options.Namespace = cmp.Or(options.Namespace, client.DefaultNamespace)
	return options, key, withoutValues(err)
}

// tls returns the TLS configuration that is there now.
func (o origin) tls() (*tls.Config, error) {
	options, _, err := o.load()
	if err == nil && options.ConnectionOptions.TLS == nil {
		err = errors.New("it is now without TLS, which needs a restart")
	}
	return options.ConnectionOptions.TLS, err
}

// connection reads a connection; what is wrong is a problem of variable, but for
// a file that has only the API key.
func (l *loader) connection(variable string, o origin, keyVariable string) Temporal {
	options, key, err := o.load()
	switch {
	case err != nil && o.profile != "" && strings.Contains(err.Error(), "unable to find profile"):
		l.bad(variable, "%q is no profile in %s: add a section [profile.%s] with its address there, or set TEMPORAL_CONFIG_FILE to the file that has it",
			o.profile, cmp.Or(os.Getenv("TEMPORAL_CONFIG_FILE"), temporalenv.DefaultConfigFilePath()), o.profile)
		return Temporal{Client: options}
	case err != nil:
		l.bad(variable, "%w", err)
		return Temporal{Client: options}
	}
	cfg := Temporal{Client: options, APIKey: key}
	if options.ConnectionOptions.TLS != nil {
		cfg.TLS = o.tls
	} else if options.Credentials != nil || key.Path != "" {
		l.warn(variable, "has an API key and no TLS: whoever is on the way to Temporal can read the key")
	}
	if o.keyFile == "" {
		keyVariable = variable
	}
	if key.Path != "" {
		text, err := key.Read()
		if err == nil {
			_, err = key.Key(text)
		}
		if err != nil {
			l.bad(keyVariable, "%w", err)
		}
	}
	return cfg
}

// temporal reads the common connection.
func (l *loader) temporal(vars raw) Temporal {
	if vars.APIKeyFile != "" && os.Getenv("TEMPORAL_API_KEY") != "" {
		l.bad("TEMPORAL_API_KEY", "is set, and so is TEMPORAL_API_KEY_FILE: set one of them")
	}
	if key := os.Getenv("TEMPORAL_API_KEY"); key != "" {
		only, err := parseSecret(key)
		if err == nil && only.Reveal() != key { // the SDK takes it as it is
			err = errors.New("has blanks, commas or line ends around the key")
		}
		if err != nil {
			l.bad("TEMPORAL_API_KEY", "%w", err)
		}
	}
	cfg := l.connection("TEMPORAL_*", origin{keyFile: vars.APIKeyFile}, "TEMPORAL_API_KEY_FILE")
	for _, variable := range []string{"TEMPORAL_TLS", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION"} {
		// The SDK's loader passes over what it does not understand here.
		if !slices.Contains([]string{"", "true", "false", "1", "0"}, strings.ToLower(os.Getenv(variable))) {
			l.bad(variable, "is none of true, false, 1, 0")
		}
	}
	cfg.Client.HostPort = l.address("TEMPORAL_ADDRESS", cmp.Or(cfg.Client.HostPort, client.DefaultHostPort))
	cfg.Client.Namespace = l.temporalName("TEMPORAL_NAMESPACE", cmp.Or(cfg.Client.Namespace, client.DefaultNamespace))
	cfg.UIURL = l.baseURL("TEMPORAL_UI_URL", cmp.Or(vars.UIURL, defaultUI(cfg.Client.HostPort)))
	cfg.Profiles = map[string]Temporal{}
	return cfg
}

// profile reads the connection that the integration with the prefix has to
// itself or shares with others that name the same profile.
func (l *loader) profile(prefix string, vars rawIntegration, common Temporal) Temporal {
	variable, keyVariable := prefix+"_TEMPORAL_PROFILE", prefix+"_TEMPORAL_API_KEY_FILE"
	name := l.temporalName(variable, vars.TemporalProfile)
	before := len(l.problems)
	cfg := l.connection(variable, origin{profile: name, keyFile: vars.TemporalAPIKeyFile}, keyVariable)
	if len(l.problems) > before {
		return cfg
	}
	if shared, there := common.Profiles[name]; there && shared.APIKey != cfg.APIKey {
		l.bad(keyVariable, "is not that of the other integration with the profile %q", clip(name))
	}
	l.address(variable, cfg.Client.HostPort)
	l.temporalName(variable, cfg.Client.Namespace)
	cfg.UIURL = cmp.Or(defaultUI(cfg.Client.HostPort), common.UIURL)
	return cfg
}

// defaultUI knows where the UI is for a dev server and for Temporal Cloud.
func defaultUI(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return ""
	}
	switch ip := net.ParseIP(host); {
	case host == "localhost" || ip != nil && ip.IsLoopback():
		return "http://localhost:8233"
	case strings.HasSuffix(host, ".tmprl.cloud") || strings.HasSuffix(host, ".api.temporal.io"):
		return "https://cloud.temporal.io"
	}
	return ""
}

// readSmall returns what is in a file of at most maxSecretFile bytes.
func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the environment says which
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err == nil && len(text) > maxSecretFile {
		err = fmt.Errorf("the file has more than %d bytes", maxSecretFile)
	}
	return text, err
}
