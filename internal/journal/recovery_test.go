package journal

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
)

// afterDamage opens files of a scene in which the bytes from from to to of a file are not
// what they were, and wants all to be as it was but for what had a record there, and the
// log to name the file.
func (s *scene) afterDamage(t testing.TB, files map[string][]byte, name string, from, to int) {
	t.Helper()
	want := s.end()
	hit, told := map[string]bool{}, false
	for _, w := range walk(s.disk.contents()) {
		if w.name != name {
			continue
		}
		for _, r := range w.records {
			if r.from >= to || r.to <= from {
				continue
			}
			told = told || r.from > 0         // the first one only repeats what is known
			for key, a := range want.actors { // what it is about is in it, in one form or another
				digest := digestOf("sentry", key)
				if bytes.Contains(r.payload, digest[:]) || a.id != 0 && len(r.payload) > 9 && order.Uint64(r.payload[1:]) == a.id {
					hit[key] = true
				}
			}
		}
	}
	for key := range hit { // what was before the record that is lost may be again
		a := want.actors[key]
		a.can, a.place = absent|isPending|isParked|isDone, 0
		want.actors[key] = a
	}
	var log bytes.Buffer
	d := ramOf(files)
	j, err := Open("damaged", Options{MaxBytes: want.maxBytes, disk: d, Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	if _, wrong := want.verify(j); len(wrong) > 0 {
		t.Errorf("%s from %d to %d: %s", name, from, to, strings.Join(wrong, "\n"))
	}
	must(t, j.Close())
	if told && !strings.Contains(log.String(), name) {
		t.Errorf("nobody is told of %s from %d to %d: %s", name, from, to, log.String())
	}
}

func TestDamageCostsTheRecordsInIt(t *testing.T) {
	s := played(t, 11, 100, tiny)
	sound := s.disk.contents()
	for _, name := range slices.Sorted(maps.Keys(sound)) {
		for from := 0; from < len(sound[name]); from += ramPageSize {
			files := maps.Clone(sound)
			files[name] = slices.Clone(sound[name])
			page := files[name][from:min(from+ramPageSize, len(files[name]))]
			if clear(page); bytes.Equal(files[name], sound[name]) {
				continue
			}
			s.afterDamage(t, files, name, from, from+ramPageSize)
			files[name] = slices.Clone(sound[name])
			at := from + s.r.IntN(len(page))
			files[name][at] ^= 1 << s.r.IntN(8)
			s.afterDamage(t, files, name, at, at+1)
		}
		if t.Failed() {
			return
		}
	}
}

// FuzzRecovery damages a journal anywhere and in any way.
func FuzzRecovery(f *testing.F) {
	for i := range 4 {
		f.Add(i, i*5000, []byte(fmt.Sprint("damage ", i)))
	}
	var s *scene
	f.Fuzz(func(t *testing.T, file, at int, damage []byte) {
		if s == nil {
			s = played(t, 12, 60, tiny)
		}
		sound := s.disk.contents()
		names := slices.Sorted(maps.Keys(sound))
		name := names[(file%len(names)+len(names))%len(names)]
		if at < 0 || at >= len(sound[name]) || len(damage) == 0 {
			t.Skip()
		}
		files := maps.Clone(sound)
		files[name] = slices.Clone(sound[name])
		n := copy(files[name][at:], damage)
		if bytes.Equal(files[name], sound[name]) {
			t.Skip()
		}
		s.t = t
		s.afterDamage(t, files, name, at, at+n)
	})
}
