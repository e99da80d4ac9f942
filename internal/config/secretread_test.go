package config_test

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"sentry-temporal/internal/config"
)

// hex is a secret as Sentry makes them.
var hex = strings.Repeat("0123456789abcdef", 4)

// asUTF16 encodes text as an editor on Windows does.
func asUTF16(text string, order binary.AppendByteOrder) string {
	var encoded []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		encoded = order.AppendUint16(encoded, unit)
	}
	return string(encoded)
}

func TestATextThatIsNoSecretIsAProblemThatSaysWhatIsOdd(t *testing.T) {
	secret := hush + hex
	for name, test := range map[string]struct{ text, says string }{
		"byte order mark":             {"\ufeff" + secret, "byte order mark"},
		"UTF-16, little":              {asUTF16("\ufeff"+secret, binary.LittleEndian), "UTF-16"},
		"UTF-16, big":                 {asUTF16("\ufeff"+secret, binary.BigEndian), "UTF-16"},
		"UTF-16 without its mark":     {asUTF16(secret, binary.LittleEndian), "UTF-16"},
		"big UTF-16 without its mark": {asUTF16(secret, binary.BigEndian), "UTF-16"},
		"quotes":                      {`"` + secret + `"`, "in quotes"},
		"single quotes":               {"'" + secret + "'", "in quotes"},
		"half a quote":                {secret + `"`, "in quotes"},
		"a quote inside":              {hush + `"` + hex, "quote at place 14"},
		"typographic quotes":          {"\u201c" + secret + "\u201d", "place 1 that is not ASCII"},
		"a variable":                  {"SENTRY_CLIENT_SECRET=" + secret, "KEY=value"},
		"a variable of a shell":       {"export SENTRY_CLIENT_SECRET=" + secret, "KEY=value"},
		"a variable without value":    {"SENTRY_CLIENT_SECRET=", "KEY=value"},
		"a variable in lower case":    {"client_secret=" + secret, "KEY=value"},
		"YAML":                        {"client_secret: " + secret, "blank at place 15"},
		"JSON":                        {`{"secret":"` + secret + `"}`, "quote at place 2"},
		"two words":                   {hush + " " + hex, "blank at place 14"},
		"a tab":                       {hush + "\t" + hex, "blank at place 14"},
		"a blank that is none":        {hush + "\u00a0" + hex, "invisible character at place 14"},
		"of no width":                 {"hu\u200b" + hex, "invisible character at place 3"},
		"NUL":                         {hush + "\x00" + hex, "invisible character at place 14"},
		"an escape":                   {hush + "\x1b[0m" + hex, "invisible character at place 14"},
		"another alphabet":            {"h\u0443sh" + hex, "place 2 that is not ASCII"},
		"no text":                     {hush + "\xff" + hex, "place 14 that is not ASCII"},
		"the second of three":         {hex + "\n'" + secret + "'\n" + hex, "secret 2 of 3 is in quotes"},
		"dots":                        {"...", "placeholder"},
		"crosses":                     {"XXXXXXXX", "placeholder"},
		"angle brackets":              {"<the client secret>"[:4] + ">", "placeholder"},
		"a variable left as it is":    {"${SENTRY_CLIENT_SECRET}", "placeholder"},
		"a template left as it is":    {"{{secret}}", "placeholder"},
		"the word":                    {"secret", "placeholder"},
		"changeme":                    {"ChangeMe", "placeholder"},
		"words":                       {"your-client-secret", "placeholder"},
		"that of make dev":            {config.DevelopmentSecret, "make dev"},
		"empty":                       {" \r\n", "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, "SENTRY_CLIENT_SECRET_FILE="+file(t, test.text))
			_, err := config.LoadIngress()
			wantProblems(t, err, "SENTRY_CLIENT_SECRET_FILE")
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q is not in: %v", test.says, err)
			}
			for _, part := range []string{hush[:4], hex[:8], "change", "your"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("a piece of it is in: %v", err)
				}
			}
			if strings.ContainsRune(test.text, 0) {
				return
			}
			environment(t, "SENTRY_CLIENT_SECRET="+test.text)
			_, err = config.LoadIngress()
			wantProblems(t, err, "SENTRY_CLIENT_SECRET")
			if _, err := config.ReadSecrets(file(t, test.text)); err == nil {
				t.Error("it is taken when the file is read again")
			}
		})
	}
}

func TestASecretWithAnythingElseInItIsTaken(t *testing.T) {
	for _, text := range []string{hex, strings.ToUpper(hex), "a", "c2VjcmV0IG9uZQ==", "AAAABBBBCCCC+/==", "a=b", `!#$%&()*+-./:;<=>?@[\]^_{|}~`, "secret-of-backend"} {
		environment(t, "SENTRY_CLIENT_SECRET="+text)
		if got := loadIngress(t).Integrations[0].Secrets; !slices.Equal(got, []config.Secret{config.Secret(text)}) {
			t.Errorf("%q is read as %d others", text, len(got))
		}
	}
}

func TestALineOfAFileIsASecretOfItsOwn(t *testing.T) {
	for name, text := range map[string]string{
		"line ends":            "newest\nolder\noldest",
		"of Windows":           "newest\r\nolder\r\noldest\r\n",
		"with blanks and gaps": "  newest  \n\n\tolder\n\n\noldest ,\n",
		"and commas":           "newest,older\noldest",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.ReadSecrets(file(t, text))
			if err != nil || !slices.Equal(got, []config.Secret{"newest", "older", "oldest"}) {
				t.Errorf("%d secrets are read, %v", len(got), err)
			}
		})
	}
}

func TestKnownSecretsAreForDevelopment(t *testing.T) {
	for _, text := range []string{config.DevelopmentSecret, "changeme", "..."} {
		environment(t, "DEVELOPMENT=1", "SENTRY_CLIENT_SECRET="+text)
		cfg := loadIngress(t)
		check(t, "Secrets", cfg.Integrations[0].Secrets, []config.Secret{config.Secret(text)})
		wantWarnings(t, cfg.Warnings, "SENTRY_CLIENT_SECRET")

		environment(t, "DEVELOPMENT=0", "SENTRY_CLIENT_SECRET="+text)
		_, err := config.LoadIngress()
		wantProblems(t, err, "SENTRY_CLIENT_SECRET")
	}
	for _, value := range []string{"", "yes", "true"} {
		environment(t, "DEVELOPMENT="+value)
		_, err := config.LoadWorker()
		wantProblems(t, err, "DEVELOPMENT")
	}
}

// wantWarnings wants one for each of the variables, and no other.
func wantWarnings(t *testing.T, warnings []config.Problem, variables ...string) {
	t.Helper()
	var got []string
	for _, w := range warnings {
		got = append(got, w.Variable)
		if w.Text == "" || strings.Contains(w.String(), hush) || strings.Contains(w.String(), hex[:8]) {
			t.Errorf("of %s it says: %s", w.Variable, w)
		}
	}
	if !slices.Equal(got, variables) {
		t.Errorf("warnings are %v, not of %v", warnings, variables)
	}
}

func TestASecretThatSentryHasNotMadeIsTakenWithAWarning(t *testing.T) {
	environment(t, "SENTRY_CLIENT_SECRET=a")
	wantWarnings(t, loadIngress(t).Warnings, "SENTRY_CLIENT_SECRET")
	environment(t, "SENTRY_CLIENT_SECRET_FILE="+file(t, hex+"\n"+hush+"\n"+hex[1:]+"\n"))
	wantWarnings(t, loadIngress(t).Warnings, "SENTRY_CLIENT_SECRET_FILE", "SENTRY_CLIENT_SECRET_FILE")
	environment(t, "SENTRY_CLIENT_SECRET="+hex)
	wantWarnings(t, loadIngress(t).Warnings)
}

func TestASecretOfTwoIntegrationsIsTakenWithAWarning(t *testing.T) {
	other := strings.ToUpper(hex)
	environment(t, "INTEGRATIONS=backend,mobile", "BACKEND_CLIENT_SECRET="+other+","+hex, "MOBILE_CLIENT_SECRET="+hex)
	wantWarnings(t, loadIngress(t).Warnings, "MOBILE_CLIENT_SECRET")
	environment(t, "INTEGRATIONS=backend,mobile", "BACKEND_CLIENT_SECRET="+other+","+other, "MOBILE_CLIENT_SECRET="+hex)
	wantWarnings(t, loadIngress(t).Warnings)
}

func TestAnAPIKeyWithoutTLSIsTakenWithAWarning(t *testing.T) {
	key := file(t, hush+"\n")
	profile := file(t, "[profile.own]\naddress = \"localhost:7233\"\napi_key = \""+hush+"\"\n[profile.own.tls]\ndisabled = true\n")
	for name, test := range map[string]struct{ vars, warnings []string }{
		"of the variable": {[]string{"TEMPORAL_API_KEY=" + hush, "TEMPORAL_TLS=false"}, []string{"TEMPORAL_*"}},
		"of a file":       {[]string{"TEMPORAL_API_KEY_FILE=" + key, "TEMPORAL_TLS=false"}, []string{"TEMPORAL_*"}},
		"of a profile":    {[]string{"TEMPORAL_CONFIG_FILE=" + profile, "SENTRY_TEMPORAL_PROFILE=own"}, []string{"SENTRY_TEMPORAL_PROFILE"}},
		"with TLS":        {[]string{"TEMPORAL_API_KEY=" + hush}, nil},
		"TLS alone":       {[]string{"TEMPORAL_TLS=true"}, nil},
		"neither":         {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, test.vars...)
			wantWarnings(t, loadWorker(t).Warnings, test.warnings...)
		})
	}
}

func TestATextThatIsNoAPIKeyIsAProblem(t *testing.T) {
	for name, key := range map[string]string{
		"byte order mark": "\ufeff" + hush,
		"UTF-16":          asUTF16("\ufeff"+hush, binary.LittleEndian),
		"quotes":          `"` + hush + `"`,
		"a variable":      "TEMPORAL_API_KEY=" + hush,
		"two":             hush + "\n" + hush,
		"a placeholder":   "...",
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, "TEMPORAL_API_KEY_FILE="+file(t, key))
			_, err := config.LoadWorker()
			wantProblems(t, err, "TEMPORAL_API_KEY_FILE")
			if strings.ContainsRune(key, 0) {
				return
			}
			environment(t, "TEMPORAL_API_KEY="+key)
			_, err = config.LoadWorker()
			wantProblems(t, err, "TEMPORAL_API_KEY")
		})
	}
	environment(t, "TEMPORAL_API_KEY="+hush+"\n")
	_, err := config.LoadWorker()
	wantProblems(t, err, "TEMPORAL_API_KEY")
}

func TestTheErrorIsAListOfProblems(t *testing.T) {
	environment(t, "SENTRY_CLIENT_SECRET='"+hush+"'", "LISTEN_ADDR=8080")
	_, err := config.LoadIngress()
	problems, ok := err.(config.ProblemsError) //nolint:errorlint // it is not wrapped, which is what is tested
	if !ok || len(problems) != 2 {
		t.Fatalf("it is %#v", err)
	}
	for _, p := range problems {
		if !strings.Contains(err.Error(), "\n"+p.String()) || p.Variable == "" || p.Text == "" {
			t.Errorf("%+v is not in: %v", p, err)
		}
	}
	if _, there := os.LookupEnv("SENTRY_CLIENT_SECRET"); !there {
		t.Error("the variable is gone")
	}
}
