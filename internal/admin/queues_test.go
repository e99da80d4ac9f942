package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/starter"
)

// watchQueues runs a QueueWatch for as long as the test.
func watchQueues(t *testing.T, log *slog.Logger, queues ...admin.TaskQueue) *admin.QueueWatch {
	t.Helper()
	w := admin.NewQueueWatch(log)
	w.Set(queues)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return w
}

// told is a task queue of which Temporal says of both kinds what tasks returns.
func told(name string, tasks func() (starter.Tasks, error)) admin.TaskQueue {
	return admin.TaskQueue{Namespace: "default", Name: name, Ask: func(context.Context) (workflow, activity starter.Tasks, err error) {
		said, err := tasks()
		return said, said, err
	}}
}

// server is what says of a task queue what a test has set last.
type server struct {
	mu    sync.Mutex
	tasks starter.Tasks
}

func (s *server) tell() (starter.Tasks, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tasks, nil
}

func (s *server) set(tasks starter.Tasks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = tasks
}

func idle() (starter.Tasks, error) {
	return starter.Tasks{Counted: true, Polls: []time.Time{time.Now()}}, nil
}

func TestATaskQueueThatHangsNeitherDelaysNorHidesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchQueues(t, slog.New(slog.DiscardHandler), told("answers", idle),
			admin.TaskQueue{Namespace: "default", Name: "hangs", Ask: func(ctx context.Context) (workflow, activity starter.Tasks, err error) {
				return workflow, activity, hang(ctx)
			}})
		synctest.Wait() // takes no time
		if states := w.States(); states[0].Asked != time.Now() || states[0].Workflow.Pollers != 1 || !states[1].Asked.IsZero() || states[1].Problem != "" {
			t.Errorf("at first: %+v", states)
		}
		pass(2 * time.Second)
		if states := w.States(); states[0].Asked != time.Now() || !states[1].Asked.IsZero() || states[1].Problem == "" {
			t.Errorf("after 2 s: %+v", states)
		}
	})
}

func TestTaskQueuesJoinAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]*atomic.Int64{"old": {}, "both": {}, "new": {}}
		queue := func(name string) admin.TaskQueue {
			return told(name, func() (starter.Tasks, error) {
				asked[name].Add(1)
				return idle()
			})
		}
		w := watchQueues(t, slog.New(slog.DiscardHandler), queue("old"), queue("both"), queue("both"))
		synctest.Wait()
		before := w.States()
		if len(before) != 2 || asked["both"].Load() != 1 {
			t.Fatalf("at first: %+v", before)
		}
		w.Set([]admin.TaskQueue{queue("new"), queue("both")})
		synctest.Wait()
		if states := w.States(); len(states) != 2 || states[0] != before[0] || states[1].TaskQueue != "new" || states[1].Workflow.Pollers != 1 {
			t.Errorf("then: %+v", states)
		}
		pass(9 * time.Second)
		if old, both := asked["old"].Load(), asked["both"].Load(); old != 1 || both != 5 {
			t.Errorf("within 9 s one that has left was asked about %d times, and one that stayed %d times", old, both)
		}
	})
}

func TestTemporalIsNotAskedAboutTooManyTaskQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var queues []admin.TaskQueue
		for i := range 201 {
			queues = append(queues, told(fmt.Sprint(i), func() (starter.Tasks, error) {
				asked.Add(1)
				return idle()
			}))
		}
		w := watchQueues(t, slog.New(slog.DiscardHandler), queues...)
		pass(99 * time.Second)
		if n := asked.Load(); n != 200*10 {
			t.Errorf("asked %d times within 99 s", n)
		}
		left := 0
		for _, state := range w.States() {
			if state.Asked.IsZero() && strings.Contains(state.Problem, "200") {
				left++
			}
		}
		if left != 1 {
			t.Errorf("%d say that they are left out", left)
		}
		w.Set(queues[100:])
		synctest.Wait()
		for _, state := range w.States() {
			if state.Asked.IsZero() {
				t.Errorf("still left out: %+v", state)
			}
		}
	})
}

// What a server says of a backlog is up to five seconds old, and the same until then.
func TestTheFirstOfABacklogGetsOlderAsLongAsNoWorkerPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s server
		s.set(starter.Tasks{Counted: true})
		w := watchQueues(t, slog.New(slog.DiscardHandler), told("sentry", s.tell))
		pass(time.Minute + time.Second)
		at := func(d time.Duration) []time.Time { return []time.Time{time.Now().Add(d)} }
		polls := at(0)
		for _, step := range []struct {
			what    string
			now     starter.Tasks
			polls   bool // a worker does, now
			after   time.Duration
			age     float64
			untaken bool
		}{
			{"a worker polls", starter.Tasks{}, true, 2 * time.Second, 0, false},
			{"a task comes", starter.Tasks{Backlog: 1, Age: time.Second}, false, 2 * time.Second, 1, true},
			{"that is repeated", starter.Tasks{Backlog: 1, Age: time.Second}, false, 4 * time.Second, 5, true},
			{"it is told anew", starter.Tasks{Backlog: 1, Age: 7 * time.Second}, false, 2 * time.Second, 7, true},
			{"another comes", starter.Tasks{Backlog: 2, Age: 7 * time.Second}, false, 2 * time.Second, 7, true},
			{"a worker polls and is given some", starter.Tasks{Backlog: 2, Age: 7 * time.Second, Dispatched: true}, true, 2 * time.Second, 7, false},
			{"that is repeated", starter.Tasks{Backlog: 2, Age: 7 * time.Second, Dispatched: true}, false, 2 * time.Second, 7, false},
			{"a worker polls and is given none", starter.Tasks{Backlog: 2, Age: 8 * time.Second}, true, 2 * time.Second, 8, true},
			{"none is left", starter.Tasks{}, false, 2 * time.Second, 0, false},
		} {
			if step.polls {
				polls = at(0)
			}
			step.now.Counted, step.now.Polls = true, polls
			s.set(step.now)
			pass(step.after)
			if k := w.States()[0].Workflow; k.BacklogAgeSeconds != step.age || k.Untaken != step.untaken || k.Backlog != step.now.Backlog || !k.LastPoll.Equal(polls[0]) {
				t.Errorf("%s: %+v", step.what, k)
			}
		}
	})
}

func TestWhoPolledLastIsRememberedForLongerThanTheServerDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var s server
		s.set(starter.Tasks{Counted: true, Polls: []time.Time{began.Add(-4 * time.Minute), began.Add(-time.Minute)}})
		w := watchQueues(t, slog.New(slog.DiscardHandler), told("sentry", s.tell))
		for _, test := range []struct {
			after   time.Duration
			pollers int
		}{{0, 1}, {14 * time.Second, 1}, {2 * time.Second, 0}} {
			pass(test.after)
			if k := w.States()[0].Workflow; k.Pollers != test.pollers || !k.LastPoll.Equal(began.Add(-time.Minute)) || !k.Since.Equal(began) {
				t.Errorf("after %s: %+v", test.after, k)
			}
		}
		s.set(starter.Tasks{Counted: true})
		pass(10 * time.Minute)
		if k := w.States()[0].Activity; k.Pollers != 0 || !k.LastPoll.Equal(began.Add(-time.Minute)) || !k.Since.Equal(began) {
			t.Errorf("later: %+v", k)
		}
	})
}

// The clock of the server is an hour ahead or behind.
func TestClocksThatDifferMakeNoPollOlderOrNewerThanTheQuestions(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s server
				s.set(starter.Tasks{Counted: true, Polls: []time.Time{time.Now().Add(off)}})
				w := watchQueues(t, slog.New(slog.DiscardHandler), told("sentry", s.tell))
				pass(time.Minute + time.Second)
				polled := time.Now()
				s.set(starter.Tasks{Counted: true, Polls: []time.Time{polled.Add(off)}})
				pass(2 * time.Second)
				if k := w.States()[0].Workflow; k.LastPoll.Sub(polled).Abs() > 2*time.Second || k.Pollers != 1 {
					t.Errorf("it polled at %s: %+v", polled, k)
				}
			})
		})
	}
}

func TestWhatIsKnownOfATaskQueueStaysKnownForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		w := watchQueues(t, slog.New(slog.DiscardHandler), told("sentry", func() (starter.Tasks, error) {
			if away.Load() {
				return starter.Tasks{}, errors.New("away\nfor now")
			}
			return idle()
		}))
		synctest.Wait()
		away.Store(true)
		pass(15 * time.Second)
		if state := w.States()[0]; !state.Known() || state.Workflow.Pollers != 1 || state.Problem != "away for now" {
			t.Errorf("after 15 s: %+v", state)
		}
		pass(2 * time.Second)
		if state := w.States()[0]; state.Known() {
			t.Errorf("after 17 s: %+v", state)
		}
		away.Store(false)
		pass(2 * time.Second)
		if state := w.States()[0]; !state.Known() || state.Problem != "" {
			t.Errorf("when it is back: %+v", state)
		}
	})
}

func TestTheLogSaysOnceThatNoWorkerTakesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var said atomic.Pointer[starter.Tasks]
		say := func(tasks starter.Tasks) {
			said.Store(&tasks)
			pass(time.Minute)
		}
		said.Store(&starter.Tasks{Counted: true})
		watchQueues(t, slog.New(slog.NewTextHandler(&log, nil)), told("sentry", func() (starter.Tasks, error) {
			if said.Load() == nil {
				return starter.Tasks{}, errors.New("away")
			}
			return *said.Load(), nil
		}))
		pass(time.Minute)
		if log.Len() > 0 {
			t.Errorf("at first: %s", &log)
		}
		say(starter.Tasks{Counted: true, Backlog: 1, Age: time.Second})
		said.Store(nil) // unknown, and then as before
		pass(time.Minute)
		say(starter.Tasks{Counted: true, Backlog: 2, Age: time.Minute})
		say(starter.Tasks{Counted: true})
		if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "WARN") || !strings.Contains(lines[0], "task_queue=sentry") || !strings.Contains(lines[1], "INFO") {
			t.Errorf("the log is\n%s", &log)
		}
	})
}
