package sentry

import "github.com/tidwall/gjson"

// InstallationOf returns the uuid of the installation that a body is from, or ""
// if there is none of at most 64 letters, digits, _ and -. Of a body that is not
// verified it says no more than what the sender claims.
func InstallationOf(body []byte) string {
	uuid := gjson.GetBytes(body, "installation.uuid")
	if uuid.Type != gjson.String || !isName(uuid.Str) {
		return ""
	}
	return uuid.Str
}
