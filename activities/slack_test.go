package activities_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
)

const (
	slackToken = "xoxb-" + secretPart + "-0123456789"
	slackHook  = "/services/T0/B0/" + secretPart
)

var (
	slackDo  *activities.Slack
	slackKey = activities.EffectKey("sentry", "issue:1", "message", "1")
	card     = activities.Card{
		Integration: "sentry", Event: "sentry.issue.created", Headline: "New issue", Title: "TypeError: x is undefined", URL: "https://acme.sentry.io/issues/4711/", ShortID: "BACKEND-1A", Severity: "critical",
		Level: "fatal", Project: "backend", Environment: "production", Release: "1.2.3", Users: "42", Count: "99", FirstSeen: "2026-11-25T17:03:00Z", Culprit: "checkout.views", Frame: "checkout/views.py:17 in pay",
	}
)

func init() {
	var at string // of the message that is there, in the test that runs
	post := func(ctx workflow.Context) error {
		_, err := triage.Do(ctx, slackDo.PostMessage, activities.SlackPost{Channel: "#sentry", Key: slackKey, Card: card})
		return err
	}
	effects = append(effects, effect{
		name: "Slack: post", variable: config.SlackToken, once: true, path: "/api/chat.postMessage",
		serve: func(t *testing.T) served {
			t.Helper()
			s, cfg := slack(t, standin.SlackOptions{})
			return served{Server: s.Server, cfg: cfg, effects: func() int { return len(s.Messages("sentry")) }}
		},
		do: post,
	}, effect{
		name: "Slack: reply", variable: config.SlackToken, once: true, path: "/api/chat.postMessage",
		serve: func(t *testing.T) served {
			t.Helper()
			s, cfg := slack(t, standin.SlackOptions{})
			at = s.Say("sentry", "something").Timestamp
			return served{Server: s.Server, cfg: cfg, effects: func() int { return len(s.Messages("sentry")) - 1 }}
		},
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, slackDo.ReplyInThread, activities.SlackReply{Channel: slackChannel, Timestamp: at, Key: slackKey, Text: "resolved"})
			return err
		},
	}, effect{
		name: "Slack: update", variable: config.SlackToken, once: true, late: true, path: "/api/chat.update",
		serve: func(t *testing.T) served {
			t.Helper()
			s, cfg := slack(t, standin.SlackOptions{})
			_, o := runOne(t, cfg, slackDo.PostMessage, activities.SlackPost{Channel: "#sentry", Key: slackKey, Card: card})
			require.NoError(t, o.err)
			at = s.Messages("sentry")[0].Timestamp
			return served{Server: s.Server, cfg: cfg, effects: func() int { return min(s.Messages("sentry")[0].Edited, 1) }}
		},
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, slackDo.UpdateMessage, activities.SlackUpdate{Channel: slackChannel, Timestamp: at, Card: card})
			return err
		},
	}, effect{
		name: "Slack: incoming webhook", variable: config.SlackWebhookURL, path: "/services/",
		serve: func(t *testing.T) served {
			t.Helper()
			s, cfg := slack(t, standin.SlackOptions{})
			return served{Server: s.Server, cfg: cfg, effects: func() int { return len(s.Messages("sentry")) }}
		},
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, slackDo.PostToIncomingWebhook, activities.SlackHookPost{Variable: config.SlackWebhookURL, Card: card})
			return err
		},
	})
}

// slackChannel is the ID of the channel sentry.
const slackChannel = "C0SENTRY01"

// slack starts a stand-in with the channel sentry, unless it has others.
func slack(t *testing.T, options standin.SlackOptions) (*standin.Slack, config.Outside) {
	t.Helper()
	options.Token = slackToken
	if options.Channels == nil {
		options.Channels = []standin.SlackChannel{{Name: "general"}, {Name: "sentry", ID: slackChannel}}
	}
	options.Hooks = map[string]string{slackHook: "sentry"}
	s, err := standin.StartSlack(options)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s, config.Outside{SlackAPIURL: s.URL + "/api", Secret: secretsOf(map[string]string{config.SlackToken: slackToken, config.SlackWebhookURL: s.URL + slackHook})}
}
