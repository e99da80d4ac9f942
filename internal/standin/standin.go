// Package standin has servers that stand in for the systems that workflows act on, for
// tests, make demo and make dev: they behave as the public APIs document, keep what they
// are given in memory, and can be told to fail.
package standin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// Fault is how requests fail. The first that is left and matches a request is used up by
// it.
type Fault struct {
	// Path is what the path of a request begins with, after its method if there is one,
	// as in "POST /v2/enqueue"; "" is any.
	Path string
	// Times is how many requests fail; 0 is one, and less is all from now on.
	Times int
	// After has the effect take place first. Otherwise there is none.
	After bool
	// Late has the effect take place this much later than the answer.
	Late time.Duration
	// What the answer is: the first of these that is set.
	Cut      bool   // the connection is closed without one
	Hang     bool   // none, until the client goes away
	Endless  bool   // 200 and a body without an end
	Redirect string // 307 to this address
	Status   int    // with Header and Body
	Header   http.Header
	Body     string
}

// Received is a request that came, for people and tests to look at.
type Received struct {
	Time   time.Time
	Method string
	Path   string
	Header http.Header // without credentials
	Body   string      // cut
	Status int         // of the answer; 0 if there was none
	Fault  bool        // it was told to fail
}

const (
	maxBody     = 1 << 20  // of a request, in bytes
	maxReceived = 1000     // requests that are remembered
	maxKept     = 16 << 10 // of the body of a request that is remembered, in bytes
)

// Server is an HTTP server on loopback with faults and a memory of what came.
type Server struct {
	URL string // base address, no slash at the end

	handler  http.Handler
	server   *http.Server
	stopping context.Context //nolint:containedctx // ends what hangs and what is late
	stop     context.CancelFunc

	mu       sync.Mutex
	watch    func(*http.Request)
	late     int // effects that are to come
	settled  *sync.Cond
	faults   []Fault
	received []Received
}

// start serves handler on a free port of loopback until [Server.Close].
func start(handler http.Handler) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{URL: "http://" + listener.Addr().String(), handler: handler}
	s.settled = sync.NewCond(&s.mu)
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(listener) }() // until it is closed
	return s, nil
}

// Close ends the server, and what is under way.
func (s *Server) Close() {
	s.stop()
	_ = s.server.Close()
	s.Settle()
}

// Settle waits for effects that come late.
func (s *Server) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.late > 0 {
		s.settled.Wait()
	}
}

// later has an effect take place after d, unless the server is closed before.
func (s *Server) later(d time.Duration, effect func()) {
	s.mu.Lock()
	s.late++
	s.mu.Unlock()
	go func() {
		select {
		case <-time.After(d):
			effect()
		case <-s.stopping.Done():
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.late--
		s.settled.Broadcast()
	}()
}

// Fail has requests to come fail.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Watch has f be called with each request before it is answered.
func (s *Server) Watch(f func(*http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = f
}

// Heal forgets all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Received returns what came, the oldest first.
func (s *Server) Received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Received(nil), s.received...)
}

// fault takes the fault for a request, nil without one.
func (s *Server) fault(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !strings.HasPrefix(r.URL.Path, f.Path) && !strings.HasPrefix(r.Method+" "+r.URL.Path, f.Path) {
			continue
		}
		switch s.faults[i].Times--; {
		case f.Times < 0:
			s.faults[i].Times = f.Times
		case f.Times <= 1:
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		return &f
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/" { // the page for people
		s.handler.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	seen := Received{Time: time.Now(), Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header.Clone(), Body: string(body[:min(len(body), maxKept)])}
	for _, secret := range []string{"Authorization", "Cookie"} {
		if seen.Header.Get(secret) != "" {
			seen.Header.Set(secret, "(left out)")
		}
	}
	s.mu.Lock()
	watch := s.watch
	s.mu.Unlock()
	if watch != nil {
		watch(r)
	}
	fault := s.fault(r)
	effect := func() *httptest.ResponseRecorder {
		again := r.Clone(context.WithoutCancel(r.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		s.handler.ServeHTTP(answer, again)
		return answer
	}
	if fault == nil {
		answer := effect()
		seen.Status = answer.Code
		s.remember(seen)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // the client may be gone
		return
	}
	switch {
	case fault.After:
		effect()
	case fault.Late > 0:
		s.later(fault.Late, func() { effect() })
	}
	seen.Fault, seen.Status = true, fault.Status
	s.remember(seen)
	s.answer(w, r, fault)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, fault *Fault) {
	switch {
	case fault.Cut:
		panic(http.ErrAbortHandler)
	case fault.Hang:
		select {
		case <-r.Context().Done():
		case <-s.stopping.Done():
		}
		panic(http.ErrAbortHandler)
	case fault.Endless:
		for chunk := bytes.Repeat([]byte("endless "), 1<<10); s.stopping.Err() == nil; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	case fault.Redirect != "":
		http.Redirect(w, r, fault.Redirect, http.StatusTemporaryRedirect)
	default:
		maps.Copy(w.Header(), fault.Header)
		w.WriteHeader(fault.Status)
		_, _ = fmt.Fprint(w, fault.Body) // the client may be gone
	}
}

func (s *Server) remember(r Received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.received = append(s.received, r); len(s.received) > maxReceived {
		s.received = s.received[1:]
	}
}
