package activities

import (
	"context"
	"os"
	"slices"
)

// All is made when it is known what for.
func All(token string) []any {
	all := []any{ParseIssue, Generic[string]}
	all = append(append(all, NewChat(token)), more...)
	return slices.Concat(all, []any{Mail{}})
}

var more = []any{hidden}

var hidden any = &Pager{}

func ParseIssue(context.Context, string) (string, error) { return "", nil }

func InAField(context.Context, string) (string, error) { return "", nil }

func InARange(context.Context, string) (string, error) { return "", nil }

func Generic[T any](_ context.Context, in T) (T, error) { return in, nil }

type post struct{ host string }

func (p *post) Post(context.Context, string) (string, error) { return os.Getenv("HOST"), nil }

// Chat has its method from what is part of it.
type Chat struct{ post }

func NewChat(string) *Chat { return &Chat{} }

type Mail struct{}

func (Mail) Send(context.Context, string) (string, error) { return "", nil }

type Pager struct{}

func (*Pager) Page(context.Context, string) (string, error) { return "", nil }
