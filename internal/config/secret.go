package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that prints as "[redacted]", also inside other values:
// through fmt with any verb, log/slog, encoding/json. It is not asked, and so
// prints, in two places to keep it out of: unexported fields of structs, for
// fmt, and keys of maps, for JSON.
type Secret string

const redacted = "[redacted]"

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// String implements [fmt.Stringer].
func (Secret) String() string { return redacted }

// Format implements [fmt.Formatter]: a Stringer alone is not asked for %d.
func (Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
