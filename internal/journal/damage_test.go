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

	"sentry-temporal/internal/sentry"
)

// rewrite changes the bytes of a file in place.
func rewrite(t testing.TB, path string, do func([]byte)) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer file.Close()
	data, err := os.ReadFile(path)
	must(t, err)
	do(data)
	_, err = file.WriteAt(data, 0)
	must(t, err)
}

// flip changes one byte in each copy of text in a journal's files.
func flip(t testing.TB, dir, text string) {
	t.Helper()
	for _, path := range segments(t, dir) {
		rewrite(t, path, func(data []byte) {
			for from := 0; ; {
				i := bytes.Index(data[from:], []byte(text))
				if i < 0 {
					return
				}
				from += i
				data[from] ^= 1
			}
		})
	}
}

// closedJournal makes a journal with n pending deliveries of 2,000 bytes, each with its own
// commit, and returns its directory and the file that they are in.
func closedJournal(t testing.TB, n int) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	j := openJournal(t, dir, Options{MaxBytes: small})
	for _, key := range keys(n) {
		must(t, appendTo(t.Context(), j, deliveryOfSize(key, 2000)))
	}
	must(t, j.Close())
	for _, path := range segments(t, dir) {
		data, err := os.ReadFile(path)
		must(t, err)
		if bytes.Contains(data, []byte(keys(1)[0])) {
			return dir, path
		}
	}
	t.Fatal("nothing is kept")
	return "", ""
}

// small is how much a journal holds whose segments have a mebibyte.
const small = 64 << 20

func TestDamageCostsWhatIsInItAndIsSetAsideAndTold(t *testing.T) {
	const n = 100
	fill := func(from, to int, with func() byte) func([]byte) {
		return func(data []byte) {
			for i := from; i < to; i++ {
				data[i] = with()
			}
		}
	}
	zero, any := func() byte { return 0 }, func() byte { return byte(rand.Uint32()) }
	for name, damage := range map[string]struct {
		do   func([]byte)
		lost int // at most
	}{
		"the first page is zero":        {fill(0, 4096, zero), 3},
		"a page is zero":                {fill(20*4096, 21*4096, zero), 3},
		"some pages are garbage":        {fill(20*4096, 24*4096, any), 8},
		"one bit":                       {func(d []byte) { d[100_000] ^= 4 }, 1},
		"a bit of the header":           {func(d []byte) { d[25] ^= 4 }, 0},
		"a bit of the header's salt":    {func(d []byte) { d[3] ^= 4 }, 0},
		"a bit of the header's length":  {func(d []byte) { d[12] ^= 4 }, 0},
		"the last record is zero":       {func(d []byte) { clear(d[bytes.LastIndex(d, d[:8]):]) }, 1},
		"the end is zero":               {func(d []byte) { clear(d[200_000:]) }, n},
		"zeros in place of all":         {func(d []byte) { clear(d) }, n},
		"not ours at all":               {func(d []byte) { copy(d, strings.Repeat("no journal\n", len(d)/11)) }, n},
		"records in another order, too": {func(d []byte) { copy(d[150_000:160_000], d[50_000:60_000]) }, 6},
	} {
		t.Run(name, func(t *testing.T) {
			dir, path := closedJournal(t, n)
			rewrite(t, path, damage.do)
			damaged, err := os.ReadFile(path)
			must(t, err)
			var log bytes.Buffer
			j := openJournal(t, dir, Options{MaxBytes: small, Log: slog.New(slog.NewTextHandler(&log, nil))})

			aside := setAside(t, dir)
			equal(t, len(aside), 1)
			kept, err := os.ReadFile(aside[0])
			must(t, err)
			equal(t, bytes.Equal(kept, damaged), true)
			contains(t, log.String(), "level=ERROR")
			contains(t, log.String(), path)
			contains(t, log.String(), aside[0])

			found := pendingKeys(t, j)
			within(t, len(found), n-damage.lost, n)
			equal(t, slices.IsSorted(found), true)
			equal(t, j.Stats().Pending, len(found))

			appendAll(t, j, "later")
			must(t, j.Close())
			log.Reset()
			j = openJournal(t, dir, Options{MaxBytes: small, Log: slog.New(slog.NewTextHandler(&log, nil))})
			equal(t, pendingKeys(t, j), append(found, "later"))
			equal(t, len(setAside(t, dir)), 1)
			equal(t, log.String(), "") // it is told once
		})
	}
}

func TestAFileThatIsCutIsDamaged(t *testing.T) {
	dir, path := closedJournal(t, 100)
	must(t, os.Truncate(path, 100_000))
	j := openJournal(t, dir, Options{MaxBytes: small})
	equal(t, len(setAside(t, dir)), 1)
	found := pendingKeys(t, j)
	within(t, len(found), 30, 50)
	equal(t, found, keys(100)[:len(found)])
}

func TestDamageDoesNotGiveAnIDAgain(t *testing.T) {
	dir, path := closedJournal(t, 10)
	rewrite(t, path, func(data []byte) { clear(data[10_000:]) })
	j := openJournal(t, dir, Options{MaxBytes: small})
	within(t, received(t, j, deliveryOf("later")).ID, 11, 10_000)
}

func TestADeliveryThatGoesBadIsParkedAndHoldsUpNothing(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	for _, key := range keys(10) {
		must(t, appendTo(t.Context(), j, deliveryOfSize(key, 2000)))
	}
	flip(t, dir, `"key":"key-000004"`)
	started := 0
	forwardAll(t.Context(), j, func(sentry.Envelope) bool { started++; return started == 9 })
	equal(t, j.Stats().Pending, 0)
	must(t, j.Close())

	j = openJournal(t, dir, Options{})
	parked := parkedItems(t, j)
	equal(t, len(parked), 1)
	equal(t, parked[0].ID, uint64(5))
	equal(t, parked[0].ReasonCode, Damaged)
	contains(t, parked[0].Reason, ErrDamaged.Error())

	_, err := j.Export(5)
	fails(t, err, ErrDamaged)
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
	sound, path := closedJournal(t, 30)
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		dir := copyJournal(t, sound)
		rewrite(t, filepath.Join(dir, filepath.Base(path)), func(data []byte) {
			for range 1 + r.IntN(8) {
				data[r.IntN(90_000)] ^= 1 << r.IntN(8)
			}
		})
		j := openJournal(t, dir, Options{MaxBytes: small})
		within(t, j.Stats().Pending, 30-8, 30)
		for _, e := range j.Entries(0, 100) {
			d, err := j.Read(e.ID)
			must(t, err)
			equal(t, d.Envelope, deliveryOfSize(d.Envelope.IdempotencyKey, 2000))
		}
		must(t, appendTo(t.Context(), j, deliveryOf("later")))
		must(t, j.Close())
	}
}

func TestPageThatCannotBeReadIsAnErrorAndNoDamage(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	appendAll(t, j, "a")
	must(t, os.Truncate(segments(t, dir)[0], 200))
	_, err := j.Read(1)
	fails(t, err, nil)
	equal(t, errors.Is(err, ErrDamaged), false)
	_, err = j.List(Filter{State: Pending}, 0, 1)
	fails(t, err, nil)
}

func FuzzKept(f *testing.F) {
	f.Add("sentry", "key", "{}", "reason", 0)
	f.Add("", "", "", "", 200)
	f.Fuzz(func(t *testing.T, integration, project, body, reason string, cut int) {
		k := kept{
			id: 1, position: 2, received: 3, parked: 4, identity: identityOf(sentry.Envelope{Body: sentry.Body(body)}), delivery: digestOf(integration, project),
			group: Group{integration, project, integration}.encode(), code: []byte(project), reason: []byte(reason), head: []byte(integration), body: []byte(body),
		}
		payload := k.encode(0)
		got, err := decodeKept(payload)
		must(t, err)
		if !bytes.Equal(got.encode(0), payload) || decodeGroup(got.group) != (Group{integration, project, integration}) || string(got.reason) != reason {
			t.Fatalf("got %+v", got)
		}
		if cut >= 0 && cut < k.bodyAt() {
			_, err = decodeKept(payload[:cut])
			fails(t, err, ErrDamaged)
		}
		_, _ = decodeKept([]byte(body))
		_, _, _, _ = decodeDone([]byte(body))
	})
}
