package sentry_test

import (
	"errors"
	"strings"
	"testing"

	"sentry-temporal/internal/sentry"
)

// Test case 2 of RFC 4231, made by somebody else's HMAC-SHA256.
const (
	rfcSecret    = "Jefe"
	rfcBody      = "what do ya want for nothing?"
	rfcSignature = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
)

func TestSignIsHMACSHA256InLowerCaseHex(t *testing.T) {
	if got := sentry.Sign(rfcSecret, []byte(rfcBody)); got != rfcSignature {
		t.Errorf("Sign = %s, want %s", got, rfcSignature)
	}
}

// other returns another hex digit.
func other(digit string) string {
	if digit == "0" {
		return "1"
	}
	return "0"
}

func TestVerify(t *testing.T) {
	const secret, body = "kept-to-ourselves", `{"action":"created","data":{"comment":"Zürich 🧾"}}`
	signature := sentry.Sign(secret, []byte(body))
	one := []string{secret}

	tests := map[string]struct {
		secrets   []string
		body      string
		signature string
		want      error
	}{
		"the body's signature":                     {one, body, signature, nil},
		"a vector of RFC 4231":                     {[]string{rfcSecret}, rfcBody, rfcSignature, nil},
		"an empty body's signature":                {one, "", sentry.Sign(secret, nil), nil},
		"upper case hex":                           {one, body, strings.ToUpper(signature), nil},
		"the old secret during a rotation":         {[]string{"newer", secret}, body, signature, nil},
		"the new secret during a rotation":         {[]string{secret, "older"}, body, signature, nil},
		"an empty secret beside the right one":     {[]string{"", secret}, body, signature, nil},
		"under no configured secret":               {[]string{"newer", "older"}, body, signature, sentry.ErrSignatureMismatch},
		"one byte of the body is another":          {one, strings.Replace(body, "ü", "ý", 1), signature, sentry.ErrSignatureMismatch},
		"the body is re-encoded":                   {one, strings.Replace(body, "ü", `\u00fc`, 1), signature, sentry.ErrSignatureMismatch},
		"no secret, signed with the empty key":     {nil, body, sentry.Sign("", []byte(body)), sentry.ErrNoSecret},
		"empty secrets, signed with the empty key": {[]string{"", ""}, body, sentry.Sign("", []byte(body)), sentry.ErrNoSecret},
		"one secret, signed with the empty key":    {[]string{secret, ""}, body, sentry.Sign("", []byte(body)), sentry.ErrSignatureMismatch},
		"missing":                                  {one, body, "", sentry.ErrSignatureMissing},
		"one digit short":                          {one, body, signature[1:], sentry.ErrSignatureMalformed},
		"one byte short":                           {one, body, signature[2:], sentry.ErrSignatureMalformed},
		"one byte long":                            {one, body, signature + "00", sentry.ErrSignatureMalformed},
		"a space behind it":                        {one, body, signature + " ", sentry.ErrSignatureMalformed},
		"64 characters, not hex":                   {one, body, strings.Repeat("g", 64), sentry.ErrSignatureMalformed},
		"hex but for its last digit":               {one, body, signature[:63] + "x", sentry.ErrSignatureMalformed},
		"another last digit":                       {one, body, signature[:63] + other(signature[63:]), sentry.ErrSignatureMismatch},
		"another first digit":                      {one, body, other(signature[:1]) + signature[1:], sentry.ErrSignatureMismatch},
		"prefixed with sha256=":                    {one, body, "sha256=" + signature, sentry.ErrSignatureMalformed},
		"prefixed with sha256=, 64 bytes in all":   {one, body, "sha256=" + signature[7:], sentry.ErrSignatureMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := sentry.Verify(tt.secrets, []byte(tt.body), tt.signature)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Verify = %v, want %v", err, tt.want)
			}
			if err == nil {
				return
			}
			for _, s := range tt.secrets {
				if s != "" && (strings.Contains(err.Error(), s) || strings.Contains(err.Error(), sentry.Sign(s, []byte(tt.body)))) {
					t.Errorf("the error gives away a secret or what was expected: %v", err)
				}
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(rfcSecret, []byte(rfcBody), rfcSignature)
	f.Add(rfcSecret, []byte(rfcBody), strings.ToUpper(rfcSignature))
	f.Add(rfcSecret, []byte(rfcBody), "sha256="+rfcSignature)
	f.Add("", []byte(rfcBody), sentry.Sign("", []byte(rfcBody)))
	f.Add("", []byte{}, "")
	eachSample(f, func(name string, body []byte) { f.Add(name, body, sentry.Sign(name, body)) })

	f.Fuzz(func(t *testing.T, secret string, body []byte, signature string) {
		own := sentry.Sign(secret, body)
		want := secret != "" && strings.EqualFold(signature, own)
		if err := sentry.Verify([]string{secret}, body, signature); (err == nil) != want {
			t.Errorf("Verify(%q) = %v, the body's signature is %s", signature, err, own)
		}
		if err := sentry.Verify([]string{"another", secret}, body, own); (err == nil) != (secret != "") {
			t.Errorf("Verify of the body's own signature = %v", err)
		}
	})
}

// eachSample calls use with each sample.
func eachSample(t testing.TB, use func(name string, body []byte)) {
	t.Helper()
	for _, name := range sentry.SampleNames() {
		body, err := sentry.Sample(name)
		if err != nil {
			t.Fatal(err)
		}
		use(name, body)
	}
}
