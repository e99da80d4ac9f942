package journal

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// tiny has segments of the least size, so that there are many.
var tiny = Options{MaxBytes: 2 << 20}

// played returns a scene in which users have done so many things, and then all have ended.
func played(t *testing.T, seed uint64, things int, o Options) (s *scene) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s = newScene(t, seed, o)
		defer s.drop()
		for range things {
			s.play()
		}
		must(t, s.close())
	})
	s.t = t
	return s
}

func TestAPowerCutLosesNothingAndBringsNothingBack(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := played(t, seed, 120, tiny)
			cuts := s.check(func(int) bool { return true })
			t.Logf("%d calls, %d deliveries, %d power cuts", len(s.disk.calls), len(s.actors), cuts)
			if cuts < 1000 || s.refused > 0 {
				t.Errorf("%d power cuts, %d deliveries refused", cuts, s.refused)
			}
		})
	}
}

// failing are the ways in which a call can fail.
var failing = []struct {
	name  string
	ops   []string
	err   error
	times int     // in a row
	part  float64 // of a write is done
}{
	{"EIO", []string{"create", "allocate", "write", "sync", "rename", "link", "remove", "sync names"}, syscall.EIO, 1, 0},
	{"ENOSPC", []string{"create", "allocate", "write"}, syscall.ENOSPC, 1, 0},
	{"a short write", []string{"write"}, syscall.ENOSPC, 1, 0.5},
	{"a write that is whole", []string{"write"}, syscall.EIO, 1, 1},
	{"EIO for a while", []string{"create", "allocate", "write", "sync", "rename", "remove", "sync names"}, syscall.EIO, 12, 0},
}

func TestACallThatFailsLosesNothingAndTakesNoRestart(t *testing.T) {
	const seed, things = 7, 50
	whole := played(t, seed, things, tiny)
	for way, f := range failing {
		t.Run(f.name, func(t *testing.T) {
			for at, c := range whole.disk.calls {
				if !slices.Contains(f.ops, c.op) || at > 20 && at%4 != way%4 && c.op != "sync names" { // it takes long to have each call fail in each way
					continue
				}
				var s *scene
				synctest.Test(t, func(t *testing.T) {
					defer func() { s.drop() }()
					s = newFaultyScene(t, seed, tiny, at, func(c ramCall) (int, error) { return int(f.part * float64(len(c.data))), f.err }, f.times, f.ops)
					for range things {
						s.play()
					}
					s.recovers(t)
					if err := s.close(); err != nil {
						t.Errorf("close: %v", err)
					}
				})
				s.t = t
				calls := len(s.disk.calls)
				s.check(func(i int) bool { return i >= at-1 && i < at+f.times+4 && i%2 == at%2 || i == calls-1 })
				if t.Failed() {
					t.Fatalf("%s of call %d, %v", f.name, at, c)
				}
			}
		})
	}
}

// newFaultyScene has calls fail, so many in a row from the one with the number at.
func newFaultyScene(t *testing.T, seed uint64, o Options, at int, how func(ramCall) (int, error), times int, ops []string) *scene {
	t.Helper()
	s := prepareScene(t, seed, o)
	s.faulty = true
	failed := 0
	s.disk.before = func(c ramCall) (int, error) {
		if len(s.disk.calls) < at || failed == times || !slices.Contains(ops, c.op) {
			return 0, nil
		}
		failed++
		return how(c)
	}
	s.open()
	return s
}

// drop ends what a scene has running, should its test have failed.
func (s *scene) drop() {
	if s != nil && s.j != nil {
		s.process.kill()
		_ = s.j.Close()
	}
}

// recovers wants a journal to take deliveries again, with nobody doing anything for it.
func (s *scene) recovers(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	s.disk.mu.Lock()
	s.disk.before = nil
	s.disk.mu.Unlock()
	s.mu.Unlock()
	for range 60 {
		pass(time.Second)
		if s.j.Ready() == nil {
			break
		}
	}
	must(t, s.j.Ready())
	refused := s.refused
	s.append(s.castSome(1)...)
	equal(t, s.refused, refused)
	must(t, s.sync())
}

// A disk that is full keeps what it has, takes what is done, and then deliveries again.
func TestADiskThatIsFullDrains(t *testing.T) {
	for _, capacity := range []int64{5 << 16, 7 << 16} {
		t.Run(fmt.Sprint(capacity), func(t *testing.T) {
			var s *scene
			synctest.Test(t, func(t *testing.T) {
				s = prepareScene(t, uint64(capacity), Options{MaxBytes: 4 << 20})
				defer s.drop()
				s.faulty = true
				s.disk.capacity = capacity // five or seven segments
				s.open()
				for round := range 3 {
					for before := s.refused; s.refused == before; {
						s.append(s.cast(deliveryOfSize(fmt.Sprintf("key-%06d", len(s.actors)), 4000)))
					}
					if round == 1 {
						s.process.kill()
						_ = s.j.Close()
						s.open()
					}
					for {
						key, found := s.any(isPending)
						if !found {
							break
						}
						s.done(key)
					}
					for range 60 { // it tries again by itself
						if s.sync() == nil && s.j.Ready() == nil {
							break
						}
						pass(time.Second)
					}
					must(t, s.j.Ready())
					refused := s.refused
					s.append(s.castSome(1)...)
					equal(t, s.refused, refused)
				}
				must(t, s.close())
			})
			s.t = t
			calls := len(s.disk.calls)
			s.check(func(i int) bool { return i%7 == 0 || i == calls-1 })
		})
	}
}

func TestAReadErrorIsNoEmptyJournal(t *testing.T) {
	s := played(t, 3, 60, tiny)
	files := s.disk.contents()
	for _, op := range []string{"list", "open", "read"} {
		calls := 0
		d := ramOf(files)
		d.before = func(c ramCall) (int, error) {
			if c.op == op {
				calls++
			}
			return 0, nil
		}
		j, err := Open("sound", Options{disk: d})
		must(t, err)
		must(t, j.Close())
		within(t, calls, 1, 10_000)
		for n := range calls {
			d := ramOf(files)
			seen := 0
			d.before = func(c ramCall) (int, error) {
				if c.op == op {
					if seen++; seen == n+1 {
						return 0, syscall.EIO
					}
				}
				return 0, nil
			}
			j, err := Open("unreadable", Options{disk: d})
			if err == nil { // it could do without
				_, wrong := s.end().verify(j)
				if len(wrong) > 0 {
					t.Errorf("%s number %d fails, and nobody is told: %v", op, n, wrong)
				}
				must(t, j.Close())
				continue
			}
			fails(t, err, syscall.EIO)
			d.before = nil // and nothing is lost by having tried
			j, err = Open("readable again", Options{disk: d})
			must(t, err)
			if _, wrong := s.end().verify(j); len(wrong) > 0 {
				t.Errorf("after %s number %d had failed: %v", op, n, wrong)
			}
			must(t, j.Close())
		}
	}
}

// end returns what must hold at the end of a scene.
func (s *scene) end() expected {
	want := expected{actors: map[string]actor{}, maxBytes: s.options.MaxBytes}
	for key, a := range s.actors {
		want.actors[key] = *a
		want.lastID = max(want.lastID, a.id)
	}
	return want
}
