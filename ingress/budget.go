package ingress

import (
	"cmp"
	"container/list"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// firstRead is what a body may take before any of it has arrived, and
	// growth how many times more it may take once that is full: so what is held
	// is at most that many times what has arrived, whatever was declared.
	firstRead = 4 << 10
	growth    = 4
	// patience is how long a body is let be that others wait for. An honest one
	// is mostly there by then.
	patience = 300 * time.Millisecond
)

// errBusy is what became of a body that there was no memory for.
var errBusy = errors.New("too much is under way")

// budget bounds the memory of bodies that are not verified yet, of all
// connections together. Bodies share it with those of their size only. One that
// finds its share taken waits; the fewer bytes it lacks, the sooner it has its
// turn. For one that waits, the body of that size or larger that has made no
// way for longest is cut off, if it has had its patience.
type budget struct {
	mu      sync.Mutex
	classes []*sizeClass // the smallest first
}

// sizeClass is a share of a budget.
type sizeClass struct {
	most    int64 // size of the largest body that it is for
	share   int64
	taken   int64
	leaving int64     // of it by what is cut off and not gone yet
	arrive  list.List // of *claim that may be cut off; those that have had what they hold for longest first
	waiting []*claim
}

// newBudget returns a budget for bodies of at most so many bytes. It is 28 MiB
// for those up to 4 MiB, and twice the largest for those beyond.
func newBudget(most int64) *budget {
	return &budget{classes: []*sizeClass{
		{most: 64 << 10, share: 8 << 20},
		{most: 1 << 20, share: 8 << 20},
		{most: 4 << 20, share: 12 << 20},
		{most: most, share: 2 * (most + 1)}, // a byte more shows the end
	}}
}

func (b *budget) classFor(size int64) *sizeClass {
	for _, class := range b.classes {
		if size <= class.most {
			return class
		}
	}
	return b.classes[len(b.classes)-1]
}

// claim is what one body holds of a budget.
type claim struct {
	budget   *budget
	declared int64  // size of the whole body; 0 if it is not known
	cut      func() // ends a read under way; called with the budget's lock

	class   *sizeClass // that held is of; nil: it holds nothing
	held    int64
	since   time.Time     // it holds that
	place   *list.Element // in class.arrive; nil: it may not be cut off
	from    *sizeClass    // that it waits for; nil: it does not wait
	wanted  int64         // of it
	decided chan struct{} // closed once it does not wait any more
	lost    bool          // it was cut off
}

// claim returns a claim that holds nothing. It must be released.
func (b *budget) claim(declared int64, cut func()) *claim {
	return &claim{budget: b, declared: declared, cut: cut}
}

// grow has c hold size bytes instead of what it holds, which is less, and waits
// for them until the time given at most.
func (c *claim) grow(size int64, until time.Time) error {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	if c.lost {
		return errBusy
	}
	class := c.budget.classFor(cmp.Or(c.declared, size))
	c.from, c.wanted, c.decided = class, size, make(chan struct{})
	class.waiting = append(class.waiting, c)
	for {
		again := class.serve()
		left := time.Until(until)
		if c.from == nil || left <= 0 {
			break
		}
		c.budget.mu.Unlock()
		timer := time.NewTimer(min(again, left))
		select {
		case <-c.decided:
		case <-timer.C:
		}
		timer.Stop()
		c.budget.mu.Lock()
	}
	if c.from != nil || c.lost {
		c.stopWaiting()
		return errBusy
	}
	return nil
}

// keep has c hold what it holds until it is released.
func (c *claim) keep() error {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	if c.lost {
		return errBusy
	}
	c.leaveArrivals()
	return nil
}

// release gives back what c holds.
func (c *claim) release() {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	class := c.class
	c.giveBack()
	if class != nil {
		class.serve()
	}
}

// What follows is called with the budget's lock.

// serve gives those that wait what there is, and cuts off for them what has had
// its patience. It returns after how long that may have become more.
func (s *sizeClass) serve() time.Duration {
	for len(s.waiting) > 0 {
		next := slices.MinFunc(s.waiting, func(a, b *claim) int { return cmp.Compare(a.lacks(), b.lacks()) })
		if s.give(next) {
			continue
		}
		if s.taken-s.leaving+next.more(s) <= s.share {
			break // there is room soon
		}
		longest := s.longestFor(next)
		if longest == nil {
			break
		}
		if left := patience - time.Since(longest.since); left > 0 && longest.from == nil {
			return left
		}
		longest.lost = true
		longest.stopWaiting()
		longest.leaveArrivals()
		s.leaving += longest.held
		longest.cut()
	}
	return patience
}

// give gives c what it waits for, if that is there.
func (s *sizeClass) give(c *claim) bool {
	more := c.more(s)
	if s.taken+more > s.share {
		return false
	}
	s.taken += more
	if before := c.class; before != s {
		c.giveBack()
		if before != nil {
			before.serve()
		}
		c.class, c.place = s, s.arrive.PushBack(c)
	} else {
		s.arrive.MoveToBack(c.place)
	}
	c.held, c.since = c.wanted, time.Now()
	c.stopWaiting()
	return true
}

// more is what c has to take of s to hold what it waits for.
func (c *claim) more(s *sizeClass) int64 {
	if c.class == s {
		return c.wanted - c.held
	}
	return c.wanted
}

// longestFor returns what may be cut off for c: of what is not smaller, that
// whose sender has had what it holds for longest. Those that wait, too, are cut
// off only if nobody else is left who may give something back.
func (s *sizeClass) longestFor(c *claim) *claim {
	var waiting *claim
	for e := s.arrive.Front(); e != nil; e = e.Next() {
		switch other := e.Value.(*claim); {
		case other == c || other.size() < c.size():
		case other.from == nil:
			return other
		case waiting == nil || other.lacks() > waiting.lacks():
			waiting = other
		}
	}
	return waiting
}

// size is that of the whole body, as far as it is known.
func (c *claim) size() int64 { return max(c.declared, c.held, c.wanted) }

// lacks is what the body lacks, as far as that is known.
func (c *claim) lacks() int64 { return c.size() - c.held }

func (c *claim) stopWaiting() {
	if c.from == nil {
		return
	}
	c.from.waiting = slices.DeleteFunc(c.from.waiting, func(other *claim) bool { return other == c })
	c.from, c.wanted = nil, 0
	close(c.decided)
}

func (c *claim) leaveArrivals() {
	if c.place != nil {
		c.class.arrive.Remove(c.place)
		c.place = nil
	}
}

func (c *claim) giveBack() {
	if c.class == nil {
		return
	}
	c.leaveArrivals()
	if c.lost {
		c.class.leaving -= c.held
	}
	c.class.taken -= c.held
	c.class, c.held = nil, 0
}
