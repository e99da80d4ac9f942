package standin

import "net/http"

var slackPageTemplate = page("slack.html")

type slackPageChannel struct {
	Name     string
	Messages []slackPageMessage
}

type slackPageMessage struct {
	SlackPosted
	Parts        []slackPart
	Notification [][]slackSpan
	Clock        string
	Replies      []slackPageMessage
}

// people answers with the channels as Slack shows them.
func (s *Slack) people(w http.ResponseWriter, _ *http.Request) {
	s.show(w, slackPageTemplate, "Slack", s.shown())
}

func (s *Slack) shown() []slackPageChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	var channels []slackPageChannel
	for _, c := range s.options.Channels {
		channel := slackPageChannel{Name: c.Name}
		at := map[string]int{} // of the messages, by timestamp
		for _, m := range s.posted {
			if m.ChannelID != c.ID {
				continue
			}
			shown := slackPageMessage{SlackPosted: *m, Parts: m.partsOf(), Notification: m.textLines(), Clock: m.postedTime.Format("15:04")}
			if i, ok := at[m.Thread]; ok {
				channel.Messages[i].Replies = append(channel.Messages[i].Replies, shown)
				continue
			}
			at[m.Timestamp] = len(channel.Messages)
			channel.Messages = append(channel.Messages, shown)
		}
		channels = append(channels, channel)
	}
	return channels
}
