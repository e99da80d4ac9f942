package ingress_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
)

// plausible is a signature that matches nothing.
var plausible = sentry.Sign("another", []byte("another"))

// pipes is a network whose time is that of a test's bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	mine, theirs := net.Pipe()
	p.conns <- theirs
	t.Cleanup(func() { mine.Close() })
	return mine
}

// inBubble has test send to an ingress whose largest body is 8 MiB, in time that
// passes only while nothing happens.
func inBubble(t *testing.T, test func(t *testing.T, to *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		to := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{
			ReadHeaderTimeout: time.Minute,
			Handler: ingress.New(ingress.Options{
				Keyring:      keys(config.Integration{Name: "sentry", Secrets: []config.Secret{secret}}),
				MaxBodyBytes: 8 << 20,
				Inbox:        &starts{},
				Log:          slog.New(slog.DiscardHandler),
			}),
		}
		t.Cleanup(func() {
			server.Close()
			<-time.After(time.Minute) // all goroutines end
		})
		go func() { _ = server.Serve(to) }()
		test(t, to)
	})
}

// head is the head of a delivery.
func head(signature string, size int) string {
	return fmt.Sprintf("POST /webhooks/sentry HTTP/1.1\r\nHost: x\r\nSentry-Hook-Resource: issue\r\nSentry-Hook-Signature: %s\r\nContent-Length: %d\r\n\r\n", signature, size)
}

// delivery is one of about so many bytes, from Sentry.
func delivery(size int) (signature, body string) {
	body = issueBody + strings.Repeat(" ", size-len(issueBody))
	return sentry.Sign(secret, []byte(body)), body
}

// exchange sends what there is to send, and returns the answer and the time that
// it took. The server may answer before all is sent.
func exchange(t *testing.T, conn net.Conn, parts ...string) (status int, closing bool, took time.Duration) {
	t.Helper()
	began := time.Now()
	go func() {
		for _, part := range parts {
			if _, err := io.WriteString(conn, part); err != nil {
				return
			}
		}
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("no answer: %v", err)
		return 0, false, time.Since(began)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Close, time.Since(began)
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

func (unread) Close() error { return nil }

func TestWhatIsSurelyNotFromSentryIsRefusedWithoutItsBody(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"not signed":        {header(sentry.HeaderSignature, ""), 401},
		"signed oddly":      {header(sentry.HeaderSignature, "sha256="+plausible), 401},
		"of another name":   {path("/webhooks/nobody"), 404},
		"with a slash":      {path("/webhooks/sentry/"), 404},
		"of no webhook":     {path("/"), 404},
		"not POST":          {method(http.MethodPut), 405},
		"larger than taken": {func(r *http.Request) { r.ContentLength = maxBody + 1 }, 413},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, &starts{})
			r := s.signed(t, "sentry", issueBody, header(sentry.HeaderSignature, plausible), test.change)
			r.Body, r.RequestURI = unread{t}, r.URL.Path
			w := httptest.NewRecorder()
			s.Config.Handler.ServeHTTP(w, r)
			if w.Code != test.status || w.Header().Get("Connection") != "close" {
				t.Errorf("answered %d, Connection: %s", w.Code, w.Header().Get("Connection"))
			}
		})
	}
}

func TestWhoIsRefusedWithoutHisBodyIsHungUpOn(t *testing.T) {
	for name, size := range map[string]int{"a small body": 100, "a large one": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, to *pipes) {
				conn := to.dial(t)
				status, closing, took := exchange(t, conn, head("", size))
				if status != 401 || !closing || took > 0 {
					t.Errorf("answered %d after %s, closing: %t", status, took, closing)
				}
				began := time.Now()
				_, _ = io.Copy(io.Discard, conn)
				if took := time.Since(began); took > 500*time.Millisecond {
					t.Errorf("hung up after %s", took)
				}
			})
		})
	}
}

func TestABodyThatIsNotThereInTimeIsCutOff(t *testing.T) {
	for name, test := range map[string]struct {
		pause  time.Duration
		status int
	}{
		"silence":             {pause: time.Hour, status: 408},
		"a byte now and then": {pause: 100 * time.Millisecond, status: 408},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, to *pipes) {
				conn := to.dial(t)
				go func() {
					for {
						<-time.After(test.pause)
						if _, err := conn.Write([]byte("x")); err != nil {
							return
						}
					}
				}()
				status, closing, took := exchange(t, conn, head(plausible, 60<<10))
				if status != test.status || !closing || took != 1500*time.Millisecond {
					t.Errorf("answered %d after %s, closing: %t", status, took, closing)
				}
				conn.Close()
				<-time.After(test.pause) // the sender notices
			})
		})
	}
}

func TestTheTimeOfABodyIsNotThatOfTheNextRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		conn := to.dial(t)
		signature, body := delivery(2 << 10)
		for range 2 {
			if status, closing, took := exchange(t, conn, head(signature, len(body)), body); status != 202 || closing || took > 0 {
				t.Fatalf("answered %d after %s, closing: %t", status, took, closing)
			}
			<-time.After(10 * time.Second)
		}
	})
}

// attack opens connections that send all but the last byte of so many, and stall.
func attack(t *testing.T, to *pipes, connections, size int) {
	t.Helper()
	body := []byte(strings.Repeat("x", size-1))
	for range connections {
		conn := to.dial(t)
		go func() {
			_, _ = io.WriteString(conn, head(plausible, size))
			_, _ = conn.Write(body)
		}()
		go func() { _, _ = io.Copy(io.Discard, conn) }()
	}
	synctest.Wait()
}

func TestBodiesOfStrangersTakeBoundedMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		before := heap()
		attack(t, to, 20, 8<<20)
		attack(t, to, 20, 4<<20)
		attack(t, to, 50, 1<<20)
		attack(t, to, 500, 60<<10)
		if grown := heap() - before; grown > (28+2*8)<<20+36<<20 { // and the bodies that are sent, and what connections take
			t.Errorf("%d MiB are held", grown>>20)
		}
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Nobody is kept out, or even kept waiting, by bodies of strangers of another
// size.
func TestSmallerDeliveriesPassLargerOnesOfStrangers(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		attack(t, to, 40, 8<<20)
		attack(t, to, 300, 60<<10)
		for _, size := range []int{2 << 10, 1 << 20, 2 << 20} {
			signature, body := delivery(size)
			if status, _, took := exchange(t, to.dial(t), head(signature, size), body); status != 202 || took > 0 {
				t.Errorf("one of %d bytes is answered %d after %s", size, status, took)
			}
		}
	})
}

// What is declared takes nothing until it arrives.
func TestWhoSendsNothingTakesNothing(t *testing.T) {
	for _, size := range []int{60 << 10, 2 << 20, 8 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			inBubble(t, func(t *testing.T, to *pipes) {
				for range 300 {
					conn := to.dial(t)
					go func() { _, _ = io.WriteString(conn, head(plausible, size)+"x") }()
					go func() { _, _ = io.Copy(io.Discard, conn) }()
				}
				synctest.Wait()
				signature, body := delivery(size)
				if status, _, took := exchange(t, to.dial(t), head(signature, size), body); status != 202 || took > 0 {
					t.Errorf("answered %d after %s", status, took)
				}
			})
		})
	}
}

func TestASlowDeliveryIsNotCutOffForLargerOnes(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		signature, body := delivery(2 << 10)
		conn := to.dial(t)
		if _, err := io.WriteString(conn, head(signature, len(body))+body[:100]); err != nil {
			t.Fatal(err)
		}
		attack(t, to, 500, 60<<10)
		<-time.After(700 * time.Millisecond)
		if status, _, _ := exchange(t, conn, body[100:]); status != 202 {
			t.Errorf("answered %d", status)
		}
	})
}

// What strangers hold is taken from them for one that waits, and not sooner.
func TestADeliveryWaitsForStrangersOfItsSizeNoLongerThanTheirPatience(t *testing.T) {
	for size, strangers := range map[int]int{60 << 10: 136, 4 << 20: 3, 8 << 20: 2} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			inBubble(t, func(t *testing.T, to *pipes) {
				attack(t, to, strangers, size)
				signature, body := delivery(size)
				if status, _, took := exchange(t, to.dial(t), head(signature, size), body); status != 202 || took > 300*time.Millisecond {
					t.Errorf("answered %d after %s", status, took)
				}
			})
		})
	}
}

// Of many at once that are too many, those that cannot wait any longer are told to
// come again, well within Sentry's second.
func TestWhoFindsNoMemoryIsToldToComeAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		answers := make(chan int, 20)
		var slowest time.Duration
		var mu sync.Mutex
		body := strings.Repeat("x", (8<<20)-1)
		for range 20 {
			conn := to.dial(t)
			go func() {
				status, _, took := exchange(t, conn, head(plausible, 8<<20), body)
				mu.Lock()
				defer mu.Unlock()
				if status == 500 {
					slowest = max(slowest, took)
				}
				answers <- status
			}()
		}
		counts := map[int]int{}
		for range 20 {
			counts[<-answers]++
		}
		if counts[500] == 0 || counts[500]+counts[408] != 20 || slowest > 800*time.Millisecond {
			t.Errorf("answered %v, 500 after %s", counts, slowest)
		}
	})
}

// For a body no smaller one is cut off, so that it may wait in vain.
func TestWhoWaitsInVainIsToldBeforeSentryGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		attack(t, to, 1000, 10<<10)
		signature, body := delivery(60 << 10)
		if status, closing, took := exchange(t, to.dial(t), head(signature, len(body)), body); status != 500 || !closing || took != 800*time.Millisecond {
			t.Errorf("answered %d after %s, closing: %t", status, took, closing)
		}
	})
}

// A burst of honest deliveries that is too large for the memory passes one after
// the other.
func TestABurstOfLargeDeliveriesIsTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		signature, body := delivery(8 << 20)
		answers := make(chan int, 12)
		for range 12 {
			conn := to.dial(t)
			go func() {
				status, _, _ := exchange(t, conn, head(signature, len(body)), body)
				answers <- status
			}()
		}
		counts := map[int]int{}
		for range 12 {
			counts[<-answers]++
		}
		if counts[202] < 6 {
			t.Errorf("answered %v", counts)
		}
	})
}

func TestABodyOfUntoldLengthIsBoundedToo(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		before := heap()
		chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("x", 64<<10))
		for range 40 {
			conn := to.dial(t)
			go func() {
				_, _ = io.WriteString(conn, "POST /webhooks/sentry HTTP/1.1\r\nHost: x\r\nSentry-Hook-Signature: "+plausible+"\r\nTransfer-Encoding: chunked\r\n\r\n")
				for range 127 {
					if _, err := io.WriteString(conn, chunk); err != nil {
						return
					}
				}
			}()
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
		synctest.Wait()
		if grown := heap() - before; grown > 80<<20 {
			t.Errorf("%d MiB are held", grown>>20)
		}
	})
}

func TestAFloodOfStrangersIsNotAllLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &lockedBuffer{}
		webhooks := ingress.New(ingress.Options{
			Keyring:      keys(config.Integration{Name: "sentry", Secrets: []config.Secret{secret}}),
			MaxBodyBytes: maxBody,
			Inbox:        &starts{},
			Log:          telemetry.NewLogger(logs, true, slog.LevelDebug),
		})
		for range 1000 {
			deliver(t, webhooks, "nobody", issueBody)
		}
		deliver(t, webhooks, "sentry", issueBody)
		if lines := strings.Count(logs.String(), "\n"); lines != 51 || !strings.Contains(logs.String(), `"outcome":"started"`) {
			t.Errorf("%d lines of 1000 strangers and one delivery", lines)
		}
		<-time.After(11 * time.Second)
		if !strings.Contains(logs.String(), `"deliveries":950`) {
			t.Error("nothing is told of the lines that were left out")
		}
		if lines := strings.Count(logs.String(), "\n"); lines != 52 {
			t.Errorf("%d lines in all: what was left out is told of once", lines)
		}
	})
}

func TestWhatIsSentToAWrongPathIsSeen(t *testing.T) {
	s := newServer(t, &starts{})
	do(t, s.signed(t, "sentry", issueBody, path("/webhooks/sentry/")))
	s.Close()
	if logged := s.logs.String(); !strings.Contains(logged, "/webhooks/sentry/") || !strings.Contains(logged, requestID) {
		t.Errorf("logged is %s", logged)
	}
}

// However many connections there are, one whose delivery is verified is kept.
func TestAVerifiedDeliveryMakesRoomForNoConnection(t *testing.T) {
	underWay, finish := make(chan struct{}), make(chan struct{})
	webhooks := newServer(t, &starts{start: func(context.Context, sentry.Envelope) ([]starter.Run, error) {
		close(underWay)
		<-finish
		return nil, nil
	}}).Config.Handler
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = web.Serve(t.Context(), l, webhooks, slog.New(slog.DiscardHandler)) }()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	signature, body := delivery(2 << 10)
	conn := dial()
	if _, err := io.WriteString(conn, head(signature, len(body))+body); err != nil {
		t.Fatal(err)
	}
	<-underWay
	most, _ := web.Connections()
	for range most + 10 {
		dial()
	}
	answered, err := http.Post("http://"+l.Addr().String()+"/", "", nil) // all of them have been accepted
	if err != nil {
		t.Fatal(err)
	}
	answered.Body.Close()
	close(finish)
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != 202 {
		t.Errorf("answered %v, %v", response, err)
	}
}

// What a sender holds is his for as long as the patience with him is, whoever waits.
func TestASenderWithinHisPatienceIsNotCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, to *pipes) {
		const size = 8 << 20 // there is room for two
		signature, body := delivery(size)
		conn := to.dial(t)
		if _, err := io.WriteString(conn, head(signature, size)+body[:size-10]); err != nil {
			t.Fatal(err)
		}
		attack(t, to, 1, size)
		third := make(chan int)
		go func() {
			status, _, _ := exchange(t, to.dial(t), head(signature, size), body)
			third <- status
		}()
		<-time.After(250 * time.Millisecond)
		if status, _, _ := exchange(t, conn, body[size-10:]); status != 202 {
			t.Errorf("answered %d", status)
		}
		if status := <-third; status != 202 {
			t.Errorf("the one that waited was answered %d", status)
		}
	})
}
