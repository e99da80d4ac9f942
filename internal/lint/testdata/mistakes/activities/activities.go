package activities

import "context"

var All = []any{
	ParseIssue,
	&Chat{},
}

func ParseIssue(context.Context, string) (string, error) { return "", nil }

func ParseTags(context.Context, string) (string, error) { return "", nil }

// Chat is registered.
type Chat struct{ Token string }

func (*Chat) Post(context.Context, string) (string, error) { return "", nil }

// Pager is not registered.
type Pager struct{}

func (*Pager) Page(context.Context, string) (string, error) { return "", nil }
