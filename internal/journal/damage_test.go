package journal

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"sentry-temporal/internal/sentry"
)

// journalFile returns the bytes of a journal with n pending deliveries, up to
// the last page in use. Each has its own commit.
func journalFile(t testing.TB, n int) []byte {
	t.Helper()
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	for _, key := range keys(n) {
		must(t, appendTo(t.Context(), j, deliveryOfSize(key, 2000)))
	}
	must(t, j.Close())
	data, err := os.ReadFile(filepath.Join(dir, fileName))
	must(t, err)
	m, valid := readMeta(bytes.NewReader(data))
	equal(t, valid, 2)
	return data[:m.pages*pageSize]
}

// write puts data in place of a journal's file.
func write(t testing.TB, dir string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, fileName)
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestDamagedFileIsSetAsideWithAllThatIsReadableKept(t *testing.T) {
	const n = 100
	sound := journalFile(t, n)
	newest := 0 // the meta page that counts
	if u64(sound[pageSize+pageHeader+48:]) > u64(sound[pageHeader+48:]) {
		newest = 1
	}
	garbage := func(data []byte, from, to int) []byte {
		for i := from; i < to; i++ {
			data[i] = byte(rand.Uint32())
		}
		return data
	}
	for name, damage := range map[string]struct {
		do   func(data []byte) []byte
		kept int // at least
	}{
		"cut to one page":       {func(d []byte) []byte { return d[:pageSize] }, 0},
		"cut within a page":     {func(d []byte) []byte { return d[:pageSize+100] }, 0},
		"cut to half":           {func(d []byte) []byte { return d[:len(d)/2] }, 0},
		"cut by a byte":         {func(d []byte) []byte { return d[:len(d)-1] }, n - 5},
		"one byte only":         {func(d []byte) []byte { return d[:1] }, 0},
		"newest meta page gone": {func(d []byte) []byte { return garbage(d, newest*pageSize, (newest+1)*pageSize) }, n - 1},
		"oldest meta page gone": {func(d []byte) []byte { return garbage(d, (1-newest)*pageSize, (2-newest)*pageSize) }, n},
		"both meta pages gone":  {func(d []byte) []byte { return garbage(d, 0, 2*pageSize) }, 0},
		"some pages gone":       {func(d []byte) []byte { return garbage(d, 20*pageSize, 24*pageSize) }, 0},
		"pages that overlap":    {overlap, 0},
		"zeros in place of all": {func(d []byte) []byte { return make([]byte, len(d)) }, 0},
		"not ours at all":       {func([]byte) []byte { return []byte(strings.Repeat("no journal\n", 10_000)) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			damaged := damage.do(bytes.Clone(sound))
			path := write(t, dir, damaged)
			var log bytes.Buffer
			j := openJournal(t, dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})

			aside := setAside(t, dir)
			equal(t, len(aside), 1)
			kept, err := os.ReadFile(aside[0])
			must(t, err)
			equal(t, kept, damaged)
			contains(t, log.String(), "level=ERROR")
			contains(t, log.String(), path)
			contains(t, log.String(), aside[0])

			found := pendingKeys(t, j)
			within(t, len(found), damage.kept, n)
			equal(t, slices.IsSorted(found), true)
			equal(t, j.Stats().Pending, len(found))

			appendAll(t, j, "later")
			must(t, j.Close())
			j = openJournal(t, dir, Options{})
			equal(t, pendingKeys(t, j), append(found, "later"))
			equal(t, len(setAside(t, dir)), 1)
		})
	}
}

// overlap makes each page reach into the next one.
func overlap(data []byte) []byte {
	for at := 2 * pageSize; at < len(data); at += pageSize {
		if p := page(data[at:]); p.kind() == leafPage && p.overflow() == 0 {
			p[12] = 1
		}
	}
	return data
}

func TestEmptyFileAndUnusedSpaceAreNoDamage(t *testing.T) {
	sound := journalFile(t, 20)
	for name, c := range map[string]struct {
		data []byte
		want []string
	}{
		"empty":       {nil, nil},
		"more space":  {append(bytes.Clone(sound), make([]byte, 100*pageSize+1)...), keys(20)},
		"exactly all": {sound, keys(20)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, c.data)
			j := openJournal(t, dir, Options{})
			equal(t, pendingKeys(t, j), c.want)
			equal(t, len(setAside(t, dir)), 0)
			appendAll(t, j, "later")
		})
	}
}

func TestSalvageKeepsParkedDeliveriesAndDoesNotUseAnIDAgain(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	appendAll(t, j, "a", "b", "c")
	park(t, j, 3, "reason")
	must(t, j.Close())
	data, err := os.ReadFile(filepath.Join(dir, fileName))
	must(t, err)
	m, _ := readMeta(bytes.NewReader(data))
	path := write(t, dir, append(data[:m.pages*pageSize-1], 1)) // no harm yet
	must(t, os.Truncate(path, int64(m.pages-1)*pageSize))

	j = openJournal(t, dir, Options{})
	equal(t, len(setAside(t, dir)), 1)
	equal(t, pendingKeys(t, j), []string{"a", "b"})
	parked := parkedItems(t, j)
	equal(t, len(parked), 1)
	equal(t, parked[0].Reason, "reason")
	_, err = j.PutBack(t.Context(), only(Parked, 3))
	must(t, err)
	equal(t, pendingKeys(t, j), []string{"a", "b", "c"})
	equal(t, j.Entries(0, 3)[2].ID, uint64(4))
}

func TestSalvageThatWasCutShortIsRepeated(t *testing.T) {
	sound := journalFile(t, 20)
	dir := t.TempDir()
	path := write(t, dir, sound[:len(sound)-pageSize])
	must(t, os.WriteFile(path+".new", sound[:3*pageSize], 0o600))
	openJournal(t, dir, Options{})
	equal(t, len(setAside(t, dir)), 1)
	_, err := os.Stat(path + ".new")
	fails(t, err, os.ErrNotExist)
}

func TestManyDeliveriesAreSalvagedInParts(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	want := keys(5)
	for _, key := range want {
		must(t, appendTo(t.Context(), j, deliveryOfSize(key, maxBatchBytes/3)))
	}
	must(t, j.Close())
	path := filepath.Join(dir, fileName)
	to := filepath.Join(t.TempDir(), fileName)
	salvaged, lost, err := salvage(path, to)
	must(t, err)
	equal(t, []int{salvaged, lost}, []int{5, 0})
	equal(t, pendingKeys(t, openJournal(t, filepath.Dir(to), Options{})), want)
}

func TestDamagedRecordIsNotSalvaged(t *testing.T) {
	data := journalFile(t, 10)
	flip(data, `"key":"key-000004"`)
	to := filepath.Join(t.TempDir(), fileName)
	salvaged, lost, err := salvage(write(t, t.TempDir(), data), to)
	must(t, err)
	equal(t, []int{salvaged, lost}, []int{9, 1})
	equal(t, len(pendingKeys(t, openJournal(t, filepath.Dir(to), Options{}))), 9)
}

// flip changes one byte in each copy of text, also in pages that are not in use.
func flip(data []byte, text string) {
	for from := 0; ; {
		i := bytes.Index(data[from:], []byte(text))
		if i < 0 {
			return
		}
		from += i
		data[from] ^= 1
	}
}

func TestDamagedRecordIsParkedAndHoldsUpNothing(t *testing.T) {
	data := journalFile(t, 10)
	flip(data, `"key":"key-000004"`)
	dir := t.TempDir()
	write(t, dir, data)
	j := openJournal(t, dir, Options{})
	started := 0
	forwardAll(t.Context(), j, func(sentry.Envelope) bool { started++; return started == 9 })
	equal(t, j.Stats().Pending, 0)
	must(t, j.Close())
	j = openJournal(t, dir, Options{})
	parked := parkedItems(t, j)
	equal(t, len(parked), 1)
	equal(t, parked[0].ID, uint64(5))
	contains(t, parked[0].Reason, errDamagedRecord.Error())
	within(t, parked[0].Size, 2000, 3000)

	_, err := j.Export(5)
	fails(t, err, errDamagedRecord)
	n, err := j.PutBack(t.Context(), Filter{})
	must(t, err)
	equal(t, n, 0)
	must(t, j.Close())

	j = openJournal(t, dir, Options{})
	equal(t, j.Stats().Parked, 1)
	_, err = j.Discard(t.Context(), only(Parked, 5))
	must(t, err)
	left := j.Stats()
	left.Committed, left.Commit = time.Time{}, 0
	equal(t, left, Stats{MaxBytes: 3 << 28, MaxParkedBytes: 1 << 28})
}

func TestRandomDamageNeverGivesAWrongDelivery(t *testing.T) {
	sound := journalFile(t, 30)
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		data := bytes.Clone(sound)
		for range 1 + r.IntN(8) {
			at := r.IntN(len(data))
			if r.IntN(2) == 0 {
				at = at&^(pageSize-1) + r.IntN(256) // where the structure is
			}
			data[min(at, len(data)-1)] ^= 1 << r.IntN(8)
		}
		dir := t.TempDir()
		write(t, dir, data)
		j := openJournal(t, dir, Options{})
		for _, e := range j.Entries(0, 100) {
			if d, err := j.Read(e.ID); err == nil {
				equal(t, d.Envelope, deliveryOfSize(d.Envelope.IdempotencyKey, 2000))
			}
		}
		must(t, appendTo(t.Context(), j, deliveryOf("later")))
		must(t, j.Close())
	}
}

func TestPageThatCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	appendAll(t, j, "a")
	must(t, os.Truncate(filepath.Join(dir, fileName), 2*pageSize))
	_, err := j.Read(1)
	fails(t, err, nil)
	equal(t, errors.Is(err, ErrDamaged), false)
	_, err = j.List(Filter{State: Pending}, 0, 1)
	fails(t, err, nil)
	must(t, j.Close())
}

func TestInspectionAgreesWithBbolt(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	r := rand.New(rand.NewPCG(1, 1))
	for i, key := range keys(300) {
		must(t, appendTo(t.Context(), j, deliveryOfSize(key, r.IntN(20_000))))
		if seq := uint64(r.IntN(i+1) + 1); i%2 == 0 {
			done(j, seq)
		}
		if seq := uint64(r.IntN(i+1) + 1); i%5 == 0 && !j.index.gone(seq) {
			park(t, j, seq, "reason")
		}
	}
	must(t, j.Sync())
	count := map[string]int{}
	must(t, j.file.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	}))
	must(t, j.Close())
	file, err := os.Open(filepath.Join(dir, fileName))
	must(t, err)
	defer file.Close()
	info, err := file.Stat()
	must(t, err)
	must(t, inspect(file, info.Size(), func(bucket []byte, _ uint64, value []byte) error {
		count[string(bucket)]++
		_, err := whole(value)
		return err
	}))
	within(t, count["done"], 1, 300)
	delete(count, "done")
	equal(t, count, map[string]int{"pending": j.Stats().Pending, "parked": j.Stats().Parked})
}

// FuzzInspect looks for a file that passes and is not safe for bbolt all the
// same, which may take the process with it.
func FuzzInspect(f *testing.F) {
	sound := journalFile(f, 12)
	f.Add(0, []byte{0})
	f.Add(pageSize+pageHeader+8, []byte{1})
	f.Add(len(sound)-pageSize, []byte("garbage"))
	f.Fuzz(func(t *testing.T, at int, overwrite []byte) {
		data := bytes.Clone(sound)
		if at < 0 || at >= len(data) {
			t.Skip()
		}
		for i := range min(len(overwrite), len(data)-at) {
			data[at+i] ^= overwrite[i]
		}
		if err := inspect(bytes.NewReader(data), int64(len(data)), func([]byte, uint64, []byte) error { return nil }); err != nil {
			return
		}
		db, err := openFile(write(t, t.TempDir(), data), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	received := time.Unix(1733337600, 0).UTC()
	record, err := arrival{Envelope: deliveryOf("key"), Received: received, Operations: planOf(deliveryOf("key"))}.seal()
	must(f, err)
	f.Add("sentry", "key", "{}", 0, byte(0))
	f.Add("", "", "", len(record)-1, byte(1))
	f.Fuzz(func(t *testing.T, integration, key, body string, at int, change byte) {
		integration, key = strings.ToValidUTF8(integration, ""), strings.ToValidUTF8(key, "")
		env := sentry.Envelope{IntegrationID: integration, IdempotencyKey: key, Body: sentry.Body(body)}
		a := arrival{
			Received: received, Envelope: env, Identity: identityOf(env), About: aboutOf(sentry.Subject{Project: key}),
			Operations: planOf(env), Trace: "a trace",
		}
		record, err := a.seal()
		must(t, err)
		got, err := unsealArrival(record)
		must(t, err)
		equal(t, got, a)
		e, err := entryOf(record)
		must(t, err)
		equal(t, e, entry{
			delivery: digestOf(integration, key), identity: a.Identity, received: received, size: int64(len(record)),
			of: Group{Integration: integration, Namespaces: "default", Project: a.About.Project},
		})

		if at < 0 || at >= len(record) || change == 0 {
			return
		}
		record[at] ^= change
		_, err = unsealArrival(record)
		fails(t, err, errDamagedRecord)
		_, err = unsealArrival(record[:at])
		fails(t, err, errDamagedRecord)
		_, err = unsealArrival([]byte(body))
		fails(t, err, errDamagedRecord)
	})
}
