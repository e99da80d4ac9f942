package forwarder

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/text"
)

// whole is a delivery with all of its items, one in each lane that it has runs in.
// They go on by themselves, and it is over once each has started or was given up.
// Only [Forwarder.Run] uses it.
type whole struct {
	items   int
	started map[*item][]starter.Run
	lost    []loss
}

// loss is an item that was given up.
type loss struct {
	item  *item
	code  journal.Code
	cause error
}

func newWhole(items int) *whole { return &whole{items: items} }

// won notes that an item has started its runs.
func (w *whole) won(i *item, runs []starter.Run) {
	w.forget(i)
	if w.started == nil {
		w.started = map[*item][]starter.Run{}
	}
	w.started[i] = runs
}

// lose notes that an item was given up.
func (w *whole) lose(i *item, code journal.Code, cause error) {
	w.forget(i)
	w.lost = append(w.lost, loss{i, code, cause})
}

// forget takes back that an item was given up.
func (w *whole) forget(i *item) {
	w.lost = slices.DeleteFunc(w.lost, func(l loss) bool { return l.item == i })
}

func (w *whole) over() bool { return len(w.started)+len(w.lost) == w.items }

// runs returns the runs of all items, in the order of the plan.
func (w *whole) runs() []starter.Run {
	type placed struct {
		place int
		run   starter.Run
	}
	var all []placed
	for i, runs := range w.started {
		for n, run := range runs {
			all = append(all, placed{i.places[n], run})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Compare(a.place, b.place) })
	runs := make([]starter.Run, len(all))
	for n, p := range all {
		runs[n] = p.run
	}
	return runs
}

// maxCauses is what of the causes is told together, in bytes.
const maxCauses = 900

// why returns why the delivery is parked: for all that was given up, and of several
// lanes with the namespace. What is put back by itself is, whatever else there is.
func (w *whole) why() (code journal.Code, cause error) {
	if w.items == 1 {
		return w.lost[0].code, w.lost[0].cause
	}
	code = w.lost[0].code
	var causes []string
	for _, l := range w.lost {
		if l.code == journal.NotConfigured {
			code = l.code
		}
		// None takes the room of another.
		causes = append(causes, "namespace "+l.item.lane.name.Namespace+": "+text.Cut(text.Line(l.cause.Error()), maxCauses/len(w.lost)))
	}
	return code, errors.New(strings.Join(causes, "; "))
}
