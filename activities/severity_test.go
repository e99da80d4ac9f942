package activities_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"sentry-temporal/activities"
)

// The table in docs/triage.md is that of the code.
func TestSeverityIsAsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/triage.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| alert | level | priority |")
	seen := 0
	for line := range strings.Lines(table) {
		if line == "\n" {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 8 || strings.HasPrefix(cells[0], "---") {
			continue
		}
		users, _ := strconv.Atoi(cells[3])
		f := activities.Facts{Alert: cells[0], Level: cells[1], Priority: cells[2], Users: users, Environment: cells[4], Change: cells[5]}
		if severity, why := activities.Severity(f); severity != cells[6] || why != cells[7] {
			t.Errorf("%+v is %s: %s, and documented as %s: %s", f, severity, why, cells[6], cells[7])
		}
		seen++
	}
	if seen < 15 {
		t.Errorf("there are %d rows", seen)
	}
}

func TestNobodyIsWokenByAnEnvironmentThatNobodyUses(t *testing.T) {
	for environment, severity := range map[string]string{
		"": activities.Critical, "production": activities.Critical, "prod": activities.Critical, "live": activities.Critical,
		"developers-live": activities.Critical, "testimonials": activities.Critical, "production-dev": activities.Critical,
		"dev": activities.Medium, "Development": activities.Medium, "STAGING": activities.Medium, "staging-eu-1": activities.Medium,
		"qa_2": activities.Medium, "ci": activities.Medium, "local": activities.Medium,
	} {
		if got, _ := activities.Severity(activities.Facts{Level: "fatal", Environment: environment}); got != severity {
			t.Errorf("what is fatal is %s in %q", got, environment)
		}
	}
}
