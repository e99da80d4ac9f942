package process_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

// hostileTexts returns 200 texts: each of 50 alone, within others, many times
// over, and beside another.
func hostileTexts() []string {
	parts := []string{
		// bytes that are no UTF-8
		"\xff", "\xfe\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xf4\x90\x80\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "\x80", "caf\xe9", "\xe2\x82", "\xf0\x9f\xa7",
		// what turns text around, and what nobody sees
		"\u202egnp.exe", "\u2066\u2067\u2068\u2069", "\u202a\u202b\u202c\u202d", "\u200e\u200f\u061c", "\u200b\u2060\ufeff", "pay\u00adpal", "\u180e\u3164\u115f",
		"\U000e0001\U000e0041\U000e007f", "\u2061\u2062\u2063\u2064", "\ufff9a\ufffab\ufffb", "🧾\ufe0f\ufe0e\U000e0101\U000e0102", "\ufffe\uffff\ufdd0",
		// control characters, ends of lines, forged lines
		"\x00", "\x07\x08\x7f", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u009b31m", "\r\nlevel=ERROR msg=forged", "\n{\"level\":\"ERROR\",\"msg\":\"delivery\"}", "\u2028\u2029\u0085\v\f", "\t",
		// markup, scripts, templates
		"<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'--><svg/onload=alert(1)>", "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "</textarea></title><script>alert(1)</script>",
		"[click](javascript:alert(1))", "![i](//evil.example/i.png)", "# h\n- **b** `c` <https://evil.example>", "{{.Style}}", "${7*7}#{7*7}<%= 7*7 %>", "%s%n%x%d", "'; DROP TABLE runs; --", "../../../etc/passwd", "\\u202e\\x00\\",
		// long ones
		strings.Repeat("A", 5000), strings.Repeat("🧾", 2000), strings.Repeat("&\"<", 2000),
	}
	var texts []string
	for i, part := range parts {
		texts = append(texts, part, "before"+part+"behind", strings.Repeat(part, 100), part+parts[(i+7)%len(parts)])
	}
	for i, text := range texts {
		texts[i] = text[:min(len(text), 4_000)]
	}
	return texts
}

// inJSON writes s as Python does: a byte that is no UTF-8 is half a pair.
func inJSON(s string, escaped bool) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == utf8.RuneError && s[i] != "\ufffd"[0]:
			fmt.Fprintf(&b, `\udc%02x`, s[i])
		case r < ' ' || r == '"' || r == '\\' || escaped && r > '~' && r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		case escaped && r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// taking is a Temporal that takes starts, but for some, which it refuses in odd
// words.
type taking struct {
	denying
	odd   []string
	mu    sync.Mutex
	asked map[string]*workflowservice.StartWorkflowExecutionRequest // by workflow ID
	more  chan struct{}                                             // of capacity 1
}

func (s *taking) StartWorkflowExecution(_ context.Context, r *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[r.GetWorkflowId()] == nil { // with its attributes
		s.asked[r.GetWorkflowId()] = r
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
	if n := pick(r.GetWorkflowId()); n%10 == 0 {
		return nil, status.Error(codes.InvalidArgument, s.odd[n%len(s.odd)])
	}
	return &workflowservice.StartWorkflowExecutionResponse{RunId: "a-run"}, nil
}

func pick(workflowID string) int {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(workflowID))
	return int(sum.Sum32() >> 1)
}

// isUnfit reports whether there is something in s that nothing may show.
func isUnfit(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return r != '\n' && r != '\t' && r != '\u200c' && r != '\u200d' &&
			unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point)
	})
}

// wantFit looks at text itself, and if it is JSON at each text in that.
func wantFit(t *testing.T, where, text string) {
	t.Helper()
	if isUnfit(text) {
		t.Errorf("%s: %.300q", where, text)
	}
	var value any
	if json.Unmarshal([]byte(text), &value) == nil {
		wantFitValue(t, where, value)
	}
}

func wantFitValue(t *testing.T, where string, value any) {
	t.Helper()
	switch value := value.(type) {
	case string:
		if isUnfit(value) {
			t.Errorf("%s: %.300q", where, value)
		}
	case []any:
		for _, element := range value {
			wantFitValue(t, where, element)
		}
	case map[string]any:
		for key, element := range value {
			wantFitValue(t, where, key)
			wantFitValue(t, where, element)
		}
	}
}

func TestNoSinkShowsTextFromOutsideAsItCame(t *testing.T) {
	collected := collect(t)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20000")
	texts := hostileTexts()
	temporal := &taking{odd: texts, asked: map[string]*workflowservice.StartWorkflowExecutionRequest{}, more: make(chan struct{}, 1)}
	l := listen(t)
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, temporal)
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)

	inLines, inText := &lines{}, &lines{}
	log := slog.New(slog.NewMultiHandler(telemetry.NewLogger(inLines, true, slog.LevelDebug).Handler(), telemetry.NewLogger(inText, false, slog.LevelDebug).Handler()))
	p, a := listen(t), listen(t)
	stop := inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(l.Addr().String()), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
		cfg.Integrations = integrations[:1]
		return process.Ingress(ctx, cfg, p, a, log)
	})
	public, admin := "http://"+p.Addr().String(), "http://"+a.Addr().String()

	bodies := map[string]bool{}
	for i, text := range texts {
		x := inJSON(text, i%2 == 0)
		issue := fmt.Sprintf(`{"id":%s,"shortId":%[1]s,"title":%[1]s,"culprit":%[1]s,"level":%[1]s,"status":%[1]s,"project":{"slug":%[1]s},"firstSeen":%[1]s,"web_url":%[1]s}`, x)
		header := strings.Map(func(r rune) rune { // what HTTP does not carry, but for bytes
			if r < ' ' && r != '\t' || r == 0x7f {
				return -1
			}
			return r
		}, strings.ReplaceAll(text[:min(len(text), 1500)], "\xff", "\x80"))
		for resource, body := range map[string]string{
			"issue":   fmt.Sprintf(`{"action":"created","n":%d,"data":{"issue":%s}}`, i, issue),
			"comment": fmt.Sprintf(`{"action":"created","n":%d,"data":{"comment":%s,"comment_id":%[2]s,"project_slug":%[2]s,"issue":%s},"actor":{"name":%[2]s}}`, i, x, issue),
		} {
			bodies[body] = true
			d := hook.Delivery{URL: public + "/webhooks/sentry", Secret: "s1", Resource: resource, RequestID: header, Body: []byte(body)}
			r, err := d.Request(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("User-Agent", header)
			r.Header.Set(sentry.HeaderTimestamp, header)
			if answer, err := hook.Do(r); err != nil || answer.Code != http.StatusAccepted {
				t.Fatalf("%q was answered %+v, %v", text, answer, err)
			}
		}
		stranger := hook.Delivery{URL: public + "/webhooks/" + url.PathEscape(text[:min(len(text), 1500)]), Secret: "s", Resource: "issue", RequestID: header, Body: []byte("{}")}
		if answer := post(t, stranger); answer.OK() {
			t.Errorf("a stranger was answered %+v", answer)
		}
	}
	for enough := time.After(60 * time.Second); ; {
		temporal.mu.Lock()
		n := len(temporal.asked)
		temporal.mu.Unlock()
		if n == 2*len(texts) {
			break
		}
		select {
		case <-temporal.more:
		case <-enough:
			t.Fatalf("%d runs were asked for", n)
		}
	}

	t.Run("the admin address", func(t *testing.T) {
		for _, path := range []string{"/", "/api/deliveries", "/journal?state=parked&limit=1000", "/readyz", "/metrics", "/?event=" + url.QueryEscape("\xff\u202e<script>alert(1)</script>")} {
			code, text := get(t, admin+path)
			if code != http.StatusOK {
				t.Errorf("%s answered %d", path, code)
			}
			wantFit(t, path, text)
			if strings.HasPrefix(text, "<!") || strings.Contains(text, "<html") {
				wantFit(t, path, html.UnescapeString(text))
				for _, live := range []string{"<script>alert", "<img src=x", "<svg/onload", `href="javascript:`, `<a href="data:`} {
					if strings.Contains(text, live) {
						t.Errorf("%s has %s", path, live)
					}
				}
			}
			if path == "/metrics" && strings.Contains(text, "alert(1)") {
				t.Error("senders make up metrics")
			}
		}
	})
	stop()

	t.Run("logs", func(t *testing.T) {
		taken := 0
		for line := range strings.Lines(inLines.all.String()) {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			if fields["msg"] == "delivery" && fields["outcome"] == "accepted" {
				taken++
			}
			wantFit(t, "a line of JSON", line)
		}
		if taken != 2*len(texts) {
			t.Errorf("%d lines of deliveries", taken)
		}
		form := regexp.MustCompile(`^time=\S+ level=[A-Z]+ msg=`)
		for line := range strings.Lines(inText.all.String()) {
			if !form.MatchString(line) || isUnfit(line) {
				t.Errorf("a line of text: %q", line)
			}
		}
	})
	t.Run("traces", func(t *testing.T) {
		collected.mu.Lock()
		defer collected.mu.Unlock()
		taken := 0
		for _, span := range collected.all {
			if attribute(span, "sentry.outcome") == "accepted" {
				taken++
			}
			text, err := protojson.Marshal(span)
			if err != nil {
				t.Fatal(err)
			}
			wantFit(t, "a span", string(text))
		}
		if collected.refused != 0 || taken != 2*len(texts) {
			t.Errorf("%d batches refused, %d spans of deliveries", collected.refused, taken)
		}
	})
	t.Run("Temporal", func(t *testing.T) {
		escaped := regexp.MustCompile(`\\[[:punct:]]`)
		decode := func(p *commonpb.Payload, to any) {
			if err := starter.DataConverter().FromPayload(p, to); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range temporal.asked {
			var summary, details string
			decode(r.GetUserMetadata().GetSummary(), &summary)
			decode(r.GetUserMetadata().GetDetails(), &details)
			wantFit(t, "a summary", summary)
			wantFit(t, "details", details)
			if n, m := r.GetUserMetadata().GetSummary().Size(), r.GetUserMetadata().GetDetails().Size(); n > 400 || m > 20_000 {
				t.Errorf("the summary has %d bytes, the details have %d", n, m)
			}
			if left := escaped.ReplaceAllString(details, ""); strings.ContainsAny(left, "<>`#![") || strings.ContainsAny(summary, "<>`[") {
				t.Errorf("there is markup in %q or %q", summary, details)
			}
			for name, attribute := range r.GetSearchAttributes().GetIndexedFields() {
				var value string
				decode(attribute, &value)
				wantFit(t, name, value)
			}
			wantFit(t, "a fairness key", r.GetPriority().GetFairnessKey())
			wantFit(t, "a workflow ID", r.GetWorkflowId())

			var env sentry.Envelope
			decode(r.GetInput().GetPayloads()[0], &env)
			if !bodies[string(env.Body)] {
				t.Errorf("the body is changed: %q", env.Body)
			}
			for name, value := range env.Headers {
				wantFit(t, name, value)
			}
			issue, _ := activities.ParseIssue(t.Context(), env)
			comment, _ := activities.ParseComment(t.Context(), env)
			parsed, err := json.Marshal([]any{issue, comment})
			if err != nil {
				t.Fatal(err)
			}
			wantFit(t, "what was parsed", string(parsed))
		}
	})
}
