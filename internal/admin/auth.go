package admin

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed" // the login page
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
)

const (
	// sessionCookie is what a browser has instead of the token.
	sessionCookie = "sentry_temporal_admin"
	// sessionLife is how long it is taken.
	sessionLife = 30 * 24 * time.Hour
	// maxLogin bounds the form, in bytes.
	maxLogin = 4 << 10

	// So many wrong tokens at once, and then a second, are answered 401. Who sends
	// more is told to stop.
	wrongAtOnce    = 20
	wrongPerSecond = 2
	// The same of log lines about requests that are refused.
	linesAtOnce    = 20
	linesPerSecond = 1
)

// Keys of log attributes: who asked, as far as that is known.
const (
	keyRemote     = "remote"        // address and port of the connection
	keyForwarded  = "forwarded_for" // as a proxy, or whoever asked, says
	keyUserAgent  = "user_agent"    // as whoever asked says
	keyCredential = "credential"    // token, cookie, or none where none is needed
	keyLeftOut    = "left_out"      // lines like this one that were left out before it
)

var (
	errNoToken    = errors.New("no token")
	errWrongToken = errors.New("the token is not the right one")
	errTooMany    = errors.New("too many wrong tokens: try again in a moment")
)

var (
	//go:embed status/login.html
	loginText     string
	loginTemplate = template.Must(template.New("login").Parse(loginText))
)

// guard tells who may ask.
type guard struct {
	token   config.Secret // "" lets everybody in
	wrong   *rate.Limiter // tokens
	lines   *rate.Limiter // about what was refused
	skipped atomic.Int64
}

func newGuard(token config.Secret) *guard {
	return &guard{
		token: token,
		wrong: rate.NewLimiter(wrongPerSecond, wrongAtOnce),
		lines: rate.NewLimiter(linesPerSecond, linesAtOnce),
	}
}

// admit returns how a request shows that it may be answered.
func (g *guard) admit(r *http.Request) (credential string, err error) {
	if g.token == "" {
		return "none", nil
	}
	if cookie, err := r.Cookie(sessionCookie); err == nil && g.isSession(cookie.Value) {
		return "cookie", nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	return "token", g.check(token)
}

// check compares a token that was given. The right one is taken whoever sends
// how many wrong ones: it is too long to be guessed.
func (g *guard) check(token string) error {
	given, right := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(g.token.Reveal()))
	switch {
	case hmac.Equal(given[:], right[:]):
		return nil
	case !g.wrong.Allow():
		return errTooMany
	}
	return errWrongToken
}

// session returns a cookie's value that is taken until then, by each process
// with the same token.
func (g *guard) session(until time.Time) string {
	expires := strconv.FormatInt(until.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(g.token.Reveal()))
	mac.Write([]byte("session until " + expires))
	return expires + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (g *guard) isSession(value string) bool {
	expires, _, _ := strings.Cut(value, ".")
	seconds, err := strconv.ParseInt(expires, 10, 64)
	until := time.Unix(seconds, 0)
	return err == nil && time.Now().Before(until) && hmac.Equal([]byte(value), []byte(g.session(until)))
}

// authenticate lets those through who have the token, or the cookie that it is
// exchanged for.
func (a *admin) authenticate(c *gin.Context) {
	credential, err := a.guard.admit(c.Request)
	if err != nil {
		c.Abort()
		a.refuse(c, err)
		return
	}
	c.Set(keyCredential, credential)
}

// refuse answers one who may not ask: people with the form to log in.
func (a *admin) refuse(c *gin.Context, reason error) {
	level, status := slog.LevelWarn, http.StatusUnauthorized
	switch {
	case errors.Is(reason, errNoToken):
		level = slog.LevelInfo // so begins every login
	case errors.Is(reason, errTooMany):
		status = http.StatusTooManyRequests
		c.Header("Retry-After", "1")
	}
	if a.guard.lines.Allow() {
		a.who(c).Log(c.Request.Context(), level, "admin request not authenticated",
			telemetry.KeyReason, reason.Error(), "url_path", c.FullPath(), keyLeftOut, a.guard.skipped.Swap(0))
	} else {
		a.guard.skipped.Add(1)
	}
	if status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="sentry-temporal"`)
	}
	switch {
	case !forPeople(c):
		web.Refuse(c, status, "this needs the admin token: "+reason.Error())
	case errors.Is(reason, errNoToken):
		a.showLogin(c, status, "")
	default:
		a.showLogin(c, status, reason.Error())
	}
}

// forPeople reports whether a browser asks for a page, or sends a form of one.
func forPeople(c *gin.Context) bool { return strings.Contains(c.GetHeader("Accept"), "text/html") }

// showLogin answers with the login page, and with what was wrong.
func (a *admin) showLogin(c *gin.Context, status int, wrong string) {
	var text bytes.Buffer
	err := loginTemplate.Execute(&text, map[string]any{
		"Style": template.CSS(styleText), //nolint:gosec // our own
		"Wrong": wrong,
		// Who comes by a link of another site is sent without the cookie, and
		// with it when the page loads itself again.
		"Again": c.GetHeader("Sec-Fetch-Site") == "cross-site",
	})
	if err != nil {
		a.fail(c, fmt.Errorf("fill the login page: %w", err))
		return
	}
	c.Data(status, "text/html; charset=utf-8", text.Bytes())
}

// loginPage answers GET /login.
func (a *admin) loginPage(c *gin.Context) {
	if _, err := a.guard.admit(c.Request); err == nil {
		c.Redirect(http.StatusSeeOther, "/")
		return
	}
	a.showLogin(c, http.StatusOK, "")
}

// login answers POST /login: it takes the token once, and gives the cookie.
func (a *admin) login(c *gin.Context) {
	if a.guard.token != "" {
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxLogin)
		if err := a.guard.check(c.PostForm("token")); err != nil {
			a.refuse(c, err)
			return
		}
		until := time.Now().Add(sessionLife)
		http.SetCookie(c.Writer, &http.Cookie{ //nolint:gosec // Secure would lock out who comes by a tunnel
			Name: sessionCookie, Value: a.guard.session(until), Path: "/", MaxAge: int(sessionLife.Seconds()),
			HttpOnly: true, SameSite: http.SameSiteStrictMode,
			Secure: strings.HasPrefix(c.GetHeader("Origin"), "https://"), // a proxy has ended TLS
		})
		c.Set(keyCredential, "token")
		a.who(c).InfoContext(c.Request.Context(), "logged in to the admin address")
	}
	c.Redirect(http.StatusSeeOther, "/")
}

// who is a log that tells who asked.
func (a *admin) who(c *gin.Context) *slog.Logger {
	log := a.Log.With(keyRemote, c.Request.RemoteAddr, keyUserAgent, cut(c.Request.UserAgent()))
	if by := c.GetHeader("X-Forwarded-For"); by != "" {
		log = log.With(keyForwarded, cut(by))
	}
	if credential := c.GetString(keyCredential); credential != "" {
		log = log.With(keyCredential, credential)
	}
	return log
}
