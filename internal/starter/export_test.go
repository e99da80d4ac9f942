package starter

import (
	"go.temporal.io/sdk/client"
)

// ConnectionsTo returns the connections of an integration "sentry" whose
// namespace is reached by c.
func ConnectionsTo(c client.Client, namespace string) *Connections {
	return &Connections{
		places:       map[place]*connected{{namespace: namespace}: {client: c}},
		environments: map[string]Environment{"sentry": {Client: c, Namespace: namespace}},
	}
}
