package standin

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// SlackOptions are what a Slack is to be like.
type SlackOptions struct {
	Token string // of the bot
	// Scopes are what the token may do; nil is all that there is.
	Scopes   []string
	Channels []SlackChannel
	// Hooks are the incoming webhooks, path and name of the channel, as in
	// "/services/T0/B0/xyz" and "sentry".
	Hooks map[string]string
	// Page bounds what conversations.history and conversations.replies return at once,
	// as Slack does for some apps; 0 is Slack's usual bound.
	Page int
	// Deduplicate has a client_msg_id that was there return the message of then. Slack
	// documents its answer, and not when it does so.
	Deduplicate bool
	// Limited has a second message to a channel within a second answered 429.
	Limited bool
}

// SlackChannel is a channel.
type SlackChannel struct {
	ID       string // made up if it is empty
	Name     string // without #
	Private  bool
	Archived bool
	Without  bool // the bot is not in it
}

// SlackPosted is a message that is in a channel.
type SlackPosted struct {
	Channel    string // name
	ChannelID  string
	Timestamp  string
	Thread     string // timestamp of the message that it replies to
	Text       string
	Blocks     json.RawMessage
	EventType  string // of its metadata
	Payload    json.RawMessage
	Bot        string // ID
	Hook       bool   // by an incoming webhook
	Edited     int
	Mrkdwn     bool // Text is formatted
	Autolink   bool // addresses in Text become links
	clientID   string
	postedTime time.Time
}

// Slack stands in for Slack's Web API and for its incoming webhooks.
type Slack struct {
	*Server

	// BotID is whom messages of the token are by.
	BotID string

	options SlackOptions
	mu      sync.Mutex
	posted  []*SlackPosted // the oldest first
	last    int64          // of the timestamps, in microseconds
}

// slackScopes are all that the methods here ask for.
var slackScopes = []string{"chat:write", "chat:write.public", "channels:read", "channels:history", "groups:read", "groups:history"}

const (
	slackUser   = "U0SENTRYBOT"
	maxMessages = 2000 // that are remembered
)

// StartSlack starts one.
func StartSlack(options SlackOptions) (*Slack, error) {
	s := &Slack{options: options, BotID: "B0SENTRYBOT"}
	if options.Scopes == nil {
		s.options.Scopes = slackScopes
	}
	s.options.Channels = slices.Clone(options.Channels)
	for i, channel := range s.options.Channels {
		if channel.ID == "" {
			s.options.Channels[i].ID = fmt.Sprintf("C0%07d", i+1)
		}
	}
	router := http.NewServeMux()
	for name, method := range map[string]slackMethod{
		"auth.test":             {do: s.authTest},
		"chat.postMessage":      {do: s.postMessage, writes: true},
		"chat.update":           {do: s.update, writes: true},
		"chat.getPermalink":     {do: s.permalink},
		"conversations.history": {do: s.history},
		"conversations.replies": {do: s.replies},
		"conversations.list":    {do: s.list},
		"conversations.info":    {do: s.info},
	} {
		router.HandleFunc("/api/"+name, func(w http.ResponseWriter, r *http.Request) { s.call(w, r, method) })
	}
	router.HandleFunc("POST /services/", s.hook)
	router.HandleFunc("GET /{$}", s.people)
	var err error
	s.Server, err = start(router)
	return s, err
}

// Messages returns what is in a channel, with replies, the oldest first; in all channels
// if the name is empty.
func (s *Slack) Messages(channel string) []SlackPosted {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []SlackPosted
	for _, m := range s.posted {
		if channel == "" || m.Channel == channel {
			all = append(all, *m)
		}
	}
	return all
}

// Delete takes a message away, as people may.
func (s *Slack) Delete(timestamp string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posted = slices.DeleteFunc(s.posted, func(m *SlackPosted) bool { return m.Timestamp == timestamp })
}

// Say has a person say something in a channel.
func (s *Slack) Say(channel, text string) SlackPosted {
	return s.Put(SlackPosted{Channel: channel, Text: text, Mrkdwn: true, Autolink: true})
}

// Put puts a message into its channel as it is.
func (s *Slack) Put(m SlackPosted) SlackPosted {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, _ := s.channel(m.Channel)
	m.Channel, m.ChannelID = c.Name, c.ID
	return *s.keep(m)
}

// slackError is an answer that says no. With code 429 it is one by status, too.
type slackError struct {
	code   string
	needed string   // scope
	detail []string // of invalid_blocks
	after  int      // seconds, of ratelimited
}

func slackNo(code string) *slackError { return &slackError{code: code} }

type slackMethod struct {
	do     func(slackArgs) (map[string]any, *slackError)
	writes bool // takes JSON
}

// slackArgs are the arguments of a call. Those that are no strings are JSON, as they
// are in a form.
type slackArgs map[string]string

func (a slackArgs) isTrue(name string) bool { return a[name] == "true" || a[name] == "1" }

func (s *Slack) call(w http.ResponseWriter, r *http.Request, method slackMethod) {
	args, err := readSlackArgs(r, method.writes)
	var said map[string]any
	switch token := s.tokenOf(r, args); {
	case token == "":
		err = slackNo("not_authed")
	case subtle.ConstantTimeCompare([]byte(token), []byte(s.options.Token)) != 1:
		err = slackNo("invalid_auth")
	case err == nil:
		w.Header().Set("X-Oauth-Scopes", strings.Join(s.options.Scopes, ","))
		s.mu.Lock()
		said, err = method.do(args)
		s.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	switch {
	case err != nil:
		said = map[string]any{"ok": false, "error": err.code}
		if err.needed != "" {
			said["needed"], said["provided"] = err.needed, strings.Join(s.options.Scopes, ",")
		}
		if err.detail != nil {
			said["response_metadata"] = map[string]any{"messages": err.detail}
		}
		if err.code == "ratelimited" {
			w.Header().Set("Retry-After", strconv.Itoa(max(err.after, 1)))
			w.WriteHeader(http.StatusTooManyRequests)
		}
	default:
		said["ok"] = true
	}
	_ = json.NewEncoder(w).Encode(said) // the client may be gone
}

func (*Slack) tokenOf(r *http.Request, args slackArgs) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	return args["token"]
}

func readSlackArgs(r *http.Request, json bool) (slackArgs, *slackError) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/json" && r.Method == http.MethodPost {
		if !json {
			return nil, slackNo("invalid_arguments")
		}
		return readSlackJSON(r.Body)
	}
	if err := r.ParseForm(); err != nil {
		return nil, slackNo("invalid_form_data")
	}
	args := slackArgs{}
	for name := range r.Form {
		args[name] = r.Form.Get(name)
	}
	return args, nil
}

func readSlackJSON(text io.Reader) (slackArgs, *slackError) {
	values := map[string]json.RawMessage{}
	if err := json.NewDecoder(text).Decode(&values); err != nil {
		return nil, slackNo("invalid_json")
	}
	args := slackArgs{}
	for name, value := range values {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		args[name] = text
	}
	return args, nil
}

func (s *Slack) may(scope string) bool { return slices.Contains(s.options.Scopes, scope) }

// channel finds a channel by ID or name.
func (s *Slack) channel(name string) (SlackChannel, bool) {
	for _, c := range s.options.Channels {
		if c.ID == name || c.Name == strings.TrimPrefix(name, "#") {
			return c, true
		}
	}
	return SlackChannel{}, false
}

func (s *Slack) authTest(slackArgs) (map[string]any, *slackError) {
	return map[string]any{
		"url": "https://acme.slack.com/", "team": "Acme", "user": "sentry", "team_id": "T0ACME", "user_id": slackUser, "bot_id": s.BotID, "is_enterprise_install": false,
	}, nil
}

func (s *Slack) postMessage(args slackArgs) (map[string]any, *slackError) {
	if !s.may("chat:write") {
		return nil, &slackError{code: "missing_scope", needed: "chat:write"}
	}
	c, ok := s.channel(args["channel"])
	switch {
	case !ok, c.Private && c.Without:
		return nil, slackNo("channel_not_found")
	case c.Archived:
		return nil, slackNo("is_archived")
	case c.Without && !s.may("chat:write.public"):
		return nil, slackNo("not_in_channel")
	}
	m := SlackPosted{
		Channel: c.Name, ChannelID: c.ID, Thread: args["thread_ts"], Text: args["text"], Bot: s.BotID, clientID: args["client_msg_id"],
		Mrkdwn: args["mrkdwn"] != "false", Autolink: args["parse"] != "none",
	}
	if s.options.Deduplicate && m.clientID != "" {
		for _, old := range s.posted {
			if old.clientID == m.clientID && old.ChannelID == m.ChannelID {
				return map[string]any{"channel": c.ID, "ts": old.Timestamp, "is_duplicate": true, "message": old.json(true)}, nil
			}
		}
	}
	if m.Thread != "" && s.message(c.ID, m.Thread) == nil {
		return nil, slackNo("thread_not_found")
	}
	if err := m.content(args["blocks"]); err != nil {
		return nil, err
	}
	if s.options.Limited {
		for _, old := range s.posted {
			if old.ChannelID == c.ID && time.Since(old.postedTime) < time.Second {
				return nil, &slackError{code: "ratelimited", after: 1}
			}
		}
	}
	said := map[string]any{}
	if metadata := args["metadata"]; metadata != "" && !m.metadata(metadata) {
		said["warning"] = "invalid_metadata_format"
		said["response_metadata"] = map[string]any{"warnings": []string{"invalid_metadata_format"}}
	}
	kept := s.keep(m)
	maps.Copy(said, map[string]any{"channel": c.ID, "ts": kept.Timestamp, "message": kept.json(true)})
	return said, nil
}

// keep posts a message.
func (s *Slack) keep(m SlackPosted) *SlackPosted {
	m.postedTime = time.Now()
	s.last = max(s.last+1, m.postedTime.UnixMicro())
	m.Timestamp = fmt.Sprintf("%d.%06d", s.last/1e6, s.last%1e6)
	s.posted = append(s.posted, &m)
	if len(s.posted) > maxMessages {
		s.posted = s.posted[1:]
	}
	return &m
}

const maxSlackText = 4000 // characters

// content checks and takes the text and the blocks of a message.
func (m *SlackPosted) content(blocks string) *slackError {
	if blocks != "" {
		problems, size := checkBlocks([]byte(blocks))
		switch {
		case problems != nil:
			return &slackError{code: "invalid_blocks", detail: problems}
		case size > maxSlackBlocks:
			return slackNo("msg_blocks_too_long")
		}
		m.Blocks = json.RawMessage(blocks)
	}
	switch {
	case utf8.RuneCountInString(m.Text) > maxSlackText:
		return slackNo("msg_too_long")
	case strings.TrimSpace(m.Text) == "" && m.Blocks == nil:
		return slackNo("no_text")
	}
	return nil
}

var slackEventType = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// metadata takes the metadata of a message, and reports whether Slack would.
func (m *SlackPosted) metadata(text string) bool {
	var given struct {
		EventType string          `json:"event_type"`
		Payload   json.RawMessage `json:"event_payload"`
	}
	if json.Unmarshal([]byte(text), &given) != nil || !slackEventType.MatchString(given.EventType) || !strings.HasPrefix(string(given.Payload), "{") {
		return false
	}
	m.EventType, m.Payload = given.EventType, given.Payload
	return true
}

// message returns one of a channel, nil if it is not there.
func (s *Slack) message(channel, timestamp string) *SlackPosted {
	for _, m := range s.posted {
		if m.ChannelID == channel && m.Timestamp == timestamp {
			return m
		}
	}
	return nil
}

// json is how Slack tells of a message.
func (m *SlackPosted) json(withPayload bool) map[string]any {
	said := map[string]any{"type": "message", "ts": m.Timestamp, "text": m.Text}
	if m.Bot != "" {
		said["bot_id"], said["user"] = m.Bot, slackUser
	} else {
		said["user"] = "U0PERSON"
	}
	if m.Thread != "" {
		said["thread_ts"] = m.Thread
	}
	if m.Blocks != nil {
		said["blocks"] = m.Blocks
	}
	if m.EventType != "" {
		metadata := map[string]any{"event_type": m.EventType}
		if withPayload {
			metadata["event_payload"] = m.Payload
		}
		said["metadata"] = metadata
	}
	if m.Edited > 0 {
		said["edited"] = map[string]any{"user": slackUser, "ts": m.Timestamp}
	}
	return said
}

func (s *Slack) update(args slackArgs) (map[string]any, *slackError) {
	if !s.may("chat:write") {
		return nil, &slackError{code: "missing_scope", needed: "chat:write"}
	}
	m := s.message(args["channel"], args["ts"])
	switch c, ok := s.channel(args["channel"]); {
	case !ok || c.ID != args["channel"]:
		return nil, slackNo("channel_not_found")
	case c.Archived:
		return nil, slackNo("is_inactive")
	case m == nil:
		return nil, slackNo("message_not_found")
	case m.Bot != s.BotID:
		return nil, slackNo("cant_update_message")
	}
	changed := *m
	changed.Text, changed.Blocks = args["text"], nil
	if err := changed.content(args["blocks"]); err != nil {
		return nil, err
	}
	if metadata := args["metadata"]; metadata != "" {
		changed.metadata(metadata)
	}
	changed.Edited++
	*m = changed
	return map[string]any{"channel": m.ChannelID, "ts": m.Timestamp, "text": m.Text, "message": m.json(true)}, nil
}

func (s *Slack) permalink(args slackArgs) (map[string]any, *slackError) {
	m := s.message(args["channel"], args["message_ts"])
	if m == nil {
		return nil, slackNo("message_not_found")
	}
	return map[string]any{"channel": m.ChannelID, "permalink": "https://acme.slack.com/archives/" + m.ChannelID + "/p" + strings.ReplaceAll(m.Timestamp, ".", "")}, nil
}

func (s *Slack) history(args slackArgs) (map[string]any, *slackError) {
	c, err := s.readable(args["channel"])
	if err != nil {
		return nil, err
	}
	var all []*SlackPosted
	for _, m := range slices.Backward(s.posted) {
		if m.ChannelID == c.ID && m.Thread == "" && within(m.Timestamp, args) {
			all = append(all, m)
		}
	}
	return s.pageOf(all, args)
}

func (s *Slack) replies(args slackArgs) (map[string]any, *slackError) {
	c, err := s.readable(args["channel"])
	if err != nil {
		return nil, err
	}
	parent := s.message(c.ID, args["ts"])
	if parent == nil {
		return nil, slackNo("thread_not_found")
	}
	all := []*SlackPosted{parent}
	for _, m := range s.posted {
		if m.ChannelID == c.ID && m.Thread == parent.Timestamp && within(m.Timestamp, args) {
			all = append(all, m)
		}
	}
	return s.pageOf(all, args)
}

// readable returns the channel with an ID, if its messages can be read.
func (s *Slack) readable(id string) (SlackChannel, *slackError) {
	c, ok := s.channel(id)
	scope := "channels:history"
	if c.Private {
		scope = "groups:history"
	}
	switch {
	case !ok || c.ID != id, c.Private && c.Without:
		return c, slackNo("channel_not_found")
	case !s.may(scope):
		return c, &slackError{code: "missing_scope", needed: scope}
	case c.Without:
		return c, slackNo("not_in_channel")
	}
	return c, nil
}

// within reports whether a timestamp is between oldest and latest. Those that Slack makes
// have the same number of digits.
func within(timestamp string, args slackArgs) bool {
	oldest, latest := args["oldest"], args["latest"]
	if args.isTrue("inclusive") && (timestamp == oldest || timestamp == latest) {
		return true
	}
	return timestamp > oldest && (latest == "" || timestamp < latest)
}

func (s *Slack) pageOf(all []*SlackPosted, args slackArgs) (map[string]any, *slackError) {
	from, to, next, err := slackPage(len(all), args, 100, 999, s.options.Page)
	if err != nil {
		return nil, err
	}
	messages := []map[string]any{}
	for _, m := range all[from:to] {
		messages = append(messages, m.json(args.isTrue("include_all_metadata")))
	}
	return map[string]any{"messages": messages, "has_more": next != "", "response_metadata": map[string]any{"next_cursor": next}}, nil
}

// slackPage returns what of n a call is answered with, and the cursor of what follows.
func slackPage(n int, args slackArgs, usual, most, bound int) (from, to int, next string, _ *slackError) {
	limit := usual
	if given := args["limit"]; given != "" && given != "0" {
		var err error
		if limit, err = strconv.Atoi(given); err != nil || limit < 1 || limit > most {
			return 0, 0, "", slackNo("invalid_limit")
		}
	}
	if bound > 0 {
		limit = min(limit, bound)
	}
	if cursor := args["cursor"]; cursor != "" {
		text, err := base64.StdEncoding.DecodeString(cursor)
		at, isNumber := strings.CutPrefix(string(text), "next:")
		if err == nil {
			from, err = strconv.Atoi(at)
		}
		if err != nil || !isNumber || from < 0 {
			return 0, 0, "", slackNo("invalid_cursor")
		}
	}
	from = min(from, n)
	to = min(from+limit, n)
	if to < n {
		next = base64.StdEncoding.EncodeToString([]byte("next:" + strconv.Itoa(to)))
	}
	return from, to, next, nil
}

func (c SlackChannel) json() map[string]any {
	return map[string]any{"id": c.ID, "name": c.Name, "is_channel": !c.Private, "is_group": c.Private, "is_private": c.Private, "is_archived": c.Archived, "is_member": !c.Without}
}

func (s *Slack) list(args slackArgs) (map[string]any, *slackError) {
	types := args["types"]
	if types == "" {
		types = "public_channel"
	}
	wanted := map[bool]bool{} // by whether they are private
	for kind := range strings.SplitSeq(types, ",") {
		switch strings.TrimSpace(kind) {
		case "public_channel":
			wanted[false] = true
		case "private_channel":
			wanted[true] = true
		default:
			return nil, slackNo("invalid_types")
		}
	}
	for private, scope := range map[bool]string{false: "channels:read", true: "groups:read"} {
		if wanted[private] && !s.may(scope) {
			return nil, &slackError{code: "missing_scope", needed: scope}
		}
	}
	var all []SlackChannel
	for _, c := range s.options.Channels {
		hidden := c.Private && c.Without || c.Archived && args.isTrue("exclude_archived")
		if wanted[c.Private] && !hidden {
			all = append(all, c)
		}
	}
	from, to, next, err := slackPage(len(all), args, 100, 1000, 0)
	if err != nil {
		return nil, err
	}
	channels := []map[string]any{}
	for _, c := range all[from:to] {
		channels = append(channels, c.json())
	}
	return map[string]any{"channels": channels, "response_metadata": map[string]any{"next_cursor": next}}, nil
}

func (s *Slack) info(args slackArgs) (map[string]any, *slackError) {
	c, ok := s.channel(args["channel"])
	scope := "channels:read"
	if c.Private {
		scope = "groups:read"
	}
	switch {
	case !ok || c.ID != args["channel"], c.Private && c.Without:
		return nil, slackNo("channel_not_found")
	case !s.may(scope):
		return nil, &slackError{code: "missing_scope", needed: scope}
	}
	return map[string]any{"channel": c.json()}, nil
}

// hook takes a message to an incoming webhook. What it says is text, of one word.
func (s *Slack) hook(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	code := s.hooked(r)
	status, ok := map[string]int{
		"ok": http.StatusOK, "invalid_payload": http.StatusBadRequest, "invalid_blocks": http.StatusBadRequest, "no_text": http.StatusBadRequest, "msg_too_long": http.StatusBadRequest, "msg_blocks_too_long": http.StatusBadRequest,
		"no_service": http.StatusNotFound, "channel_not_found": http.StatusNotFound, "channel_is_archived": http.StatusGone,
	}[code]
	if !ok {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, code) //nolint:gosec // it is one of the words above
}

func (s *Slack) hooked(r *http.Request) string {
	name, ok := s.options.Hooks[r.URL.Path]
	if !ok {
		return "no_service"
	}
	var payload io.Reader = r.Body
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		payload = strings.NewReader(r.PostFormValue("payload"))
	}
	args, err := readSlackJSON(payload)
	if err != nil {
		return "invalid_payload"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.channel(name)
	switch {
	case !ok:
		return "channel_not_found"
	case c.Archived:
		return "channel_is_archived"
	}
	m := SlackPosted{Channel: c.Name, ChannelID: c.ID, Text: args["text"], Bot: "B0WEBHOOK", Hook: true, Mrkdwn: args["mrkdwn"] != "false", Autolink: args["parse"] != "none"}
	if err := m.content(args["blocks"]); err != nil {
		return err.code
	}
	s.keep(m)
	return "ok"
}
