// Package logcomment logs every new comment on a Sentry issue.
package logcomment

import (
	"cmp"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
)

// Workflow runs once for each new comment, but for those that programs write.
var Workflow = triage.New("log_sentry_comment", run, triage.On("sentry.comment.created"), triage.When(triage.NoEcho))

// Result is what the Temporal UI shows as the run's output.
type Result struct {
	Author  string `json:"author"`
	Issue   string `json:"issue"`   // short id if the body has one, else the id
	Comment string `json:"comment"` // at most 16 KiB
}

// maxLogged is what a log line has of a comment, in characters.
const maxLogged = 200

func run(ctx workflow.Context, env triage.Envelope) (Result, error) {
	comment, err := triage.Local(ctx, activities.ParseComment, env)
	if err != nil {
		return Result{}, err
	}
	result := Result{
		Author:  comment.Author,
		Issue:   cmp.Or(comment.IssueShortID, comment.IssueID),
		Comment: comment.Text,
	}
	workflow.GetLogger(ctx).Info("sentry comment created",
		"author", result.Author, "comment", firstChars(comment.Text, maxLogged))
	return result, nil
}

// firstChars returns the first n characters of s, all of it if there are fewer.
func firstChars(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
