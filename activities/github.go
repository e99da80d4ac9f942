package activities

import "context"

// GitHub keeps tickets. Its zero value is ready.
type GitHub struct{}

// Ticket is an issue to create.
type Ticket struct {
	Repo string `json:"repo"` // as in acme/pay
	Key  string `json:"key"`  // see EffectKey
	Card Card   `json:"card"`
}

// TicketRef names an issue.
type TicketRef struct {
	Repo   string `json:"repo"`
	Number int    `json:"number"`
}

// TicketComment is a comment to write.
type TicketComment struct {
	Repo   string `json:"repo"`
	Number int    `json:"number"`
	Key    string `json:"key"`
	Text   string `json:"text"`
}

// Ticketed is an issue that is there.
type Ticketed struct {
	Number int    `json:"number"`
	URL    string `json:"url,omitempty"`
	Note   string `json:"note,omitempty"`
}

// CreateTicket creates an issue once, however often it is attempted.
func (*GitHub) CreateTicket(ctx context.Context, ticket Ticket) (Ticketed, error) {
	return Ticketed{}, errMissing
}

// CommentOnTicket writes a comment once, however often it is attempted.
func (*GitHub) CommentOnTicket(ctx context.Context, comment TicketComment) (Ticketed, error) {
	return Ticketed{}, errMissing
}

// CloseTicket closes an issue.
func (*GitHub) CloseTicket(ctx context.Context, ref TicketRef) (Ticketed, error) {
	return Ticketed{}, errMissing
}
