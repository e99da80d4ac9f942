package admin

import (
	"bytes"
	"fmt"
	"html/template"
	"reflect"
	"slices"
	"sync"
	"time"
)

// rows are those of deliveries as they are on the page. One that is as it was is not
// made anew, however many look: that is most of what the page costs. The zero value
// has none.
type rows struct {
	mu   sync.Mutex
	made map[uint64]row // by the number of the delivery
}

type row struct {
	of    DeliveryRecord
	since []time.Time // of its runs, which depends on the time
	html  template.HTML
}

// of returns the rows of deliveries, in their order.
func (r *rows) of(deliveries []DeliveryRecord) ([]template.HTML, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.made) > 2*maxRecent {
		clear(r.made) // most of them are not remembered any more
	}
	if r.made == nil {
		r.made = map[uint64]row{}
	}
	all := make([]template.HTML, len(deliveries))
	for i, d := range deliveries {
		now := row{of: d}
		for _, run := range d.Runs {
			now.since = append(now.since, run.Since())
		}
		made, there := r.made[d.Number]
		if !there || !slices.Equal(made.since, now.since) || !reflect.DeepEqual(made.of, now.of) {
			var text bytes.Buffer
			if err := pageTemplate.ExecuteTemplate(&text, "row", d); err != nil {
				return nil, fmt.Errorf("fill a row: %w", err)
			}
			now.html = template.HTML(text.String()) //nolint:gosec // a template has made it
			r.made[d.Number], made = now, now
		}
		all[i] = made.html
	}
	return all, nil
}
