package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/seglog"
	"sentry-temporal/internal/sentry"
)

// received appends env and returns what the sender is told.
func received(t testing.TB, j *Journal, env sentry.Envelope) Receipt {
	t.Helper()
	receipt, err := j.Append(t.Context(), Arrival{Envelope: env, Plan: planOf})
	must(t, err)
	return receipt
}

// others are deliveries that come under one Request-ID and are not the same.
func others(key string) []sentry.Envelope {
	first, body, event := deliveryOf(key), deliveryOf(key), deliveryOf(key)
	body.Body = `{"action":"created","another":true}`
	event.EventType = "sentry.issue.resolved"
	return []sentry.Envelope{first, body, event}
}

func TestAnotherEventOrBodyUnderAKnownKeyIsKeptUnderAKeyOfItsOwn(t *testing.T) {
	for name, become := range map[string]func(t *testing.T, j *Journal, id uint64){
		"pending": func(*testing.T, *Journal, uint64) {},
		"parked":  func(t *testing.T, j *Journal, id uint64) { park(t, j, id, "reason") },
		"started": func(_ *testing.T, j *Journal, id uint64) {
			j.Done(id, []Ran{{Namespace: "default", WorkflowID: "triage:sentry:key", RunID: "run"}})
		},
	} {
		t.Run("while the first is "+name, func(t *testing.T) {
			dir := t.TempDir()
			j := openJournal(t, dir, Options{})
			seen := map[string]bool{}
			var first []Receipt
			for i, env := range others("key") {
				receipt := received(t, j, env)
				equal(t, receipt.Entered, true)
				equal(t, seen[receipt.Key], false)
				seen[receipt.Key] = true
				equal(t, receipt.Operations[0].WorkflowID, "triage:sentry:"+receipt.Key)
				switch {
				case i == 0:
					equal(t, receipt.Key, "key")
				case len(receipt.Key) != len("key-0123456789abcdef") || !strings.HasPrefix(receipt.Key, "key-"):
					t.Errorf("the key is %q", receipt.Key)
				}
				d, err := j.Read(receipt.ID)
				must(t, err)
				env.IdempotencyKey = receipt.Key
				equal(t, d.Envelope, env)
				become(t, j, receipt.ID)
				first = append(first, receipt)
			}
			must(t, j.Close())
			j = openJournal(t, dir, Options{})
			for i, env := range others("key") {
				again := received(t, j, env)
				equal(t, again.Entered, false)
				equal(t, again.Key, first[i].Key)
				if name == "started" {
					equal(t, again.Runs, []Ran{{Namespace: "default", WorkflowID: "triage:sentry:key", RunID: "run"}})
				} else {
					equal(t, again.Operations, first[i].Operations)
				}
			}
		})
	}
}

func TestARepetitionIsToldWhatWasPlannedThen(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	first := received(t, j, deliveryOf("a"))
	other := func(env sentry.Envelope) []routes.Operation {
		plan := planOf(env)
		plan[0].Workflow, plan[0].WorkflowID = "renamed", "renamed:sentry:a"
		return plan
	}
	again, err := j.Append(t.Context(), Arrival{Envelope: deliveryOf("a"), Plan: other})
	must(t, err)
	equal(t, again.Operations, first.Operations)
	equal(t, again.ID, first.ID)

	ran := []Ran{{"default", "triage:sentry:a", "run-1", false}, {"default", "log:sentry:a", "run-2", true}}
	j.Done(first.ID, ran)
	again = received(t, j, deliveryOf("a"))
	equal(t, again, Receipt{Key: "a", Runs: ran})
	equal(t, j.Stats().Pending, 0)
}

func TestNobodyCanTakeAKeyInAdvance(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	victim := others("key")[1]
	received(t, j, deliveryOf("key"))
	taken := deliveryOf(identityOf(victim).keys("key")[1])
	equal(t, received(t, j, taken).Entered, true)
	receipt := received(t, j, victim)
	equal(t, receipt.Entered, true)
	contains(t, receipt.Key, "sha256-")
	equal(t, received(t, j, victim).Entered, false)
	equal(t, j.Stats().Pending, 3)
}

func TestDifferentBodiesAtOnceUnderOneKeyAreAllKept(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			env := deliveryOf("key")
			env.Body = sentry.Body(fmt.Sprintf(`{"action":"created","n":%d}`, i%16))
			if _, err := j.Append(t.Context(), Arrival{Envelope: env, Plan: planOf}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	ids, bodies := map[string]bool{}, map[sentry.Body]bool{}
	for _, e := range j.Entries(0, 100) {
		d, err := j.Read(e.ID)
		must(t, err)
		ids[d.Operations[0].WorkflowID], bodies[d.Envelope.Body] = true, true
	}
	equal(t, []int{len(ids), len(bodies), j.Stats().Pending}, []int{16, 16, 16})
}

func TestMemoryOfWhatWasStartedIsBounded(t *testing.T) {
	m, segment := memory{ran: map[digest]ran{}}, &seglog.Segment{}
	for i := range maxMemory + 10 {
		at := digestOf("", fmt.Sprint(i))
		for id := range uint64(2) { // again
			m.add(at, ran{id: id + 1})
			m.written(at, id+1, seglog.Place{Segment: segment, Size: 1})
		}
	}
	equal(t, len(m.ran), maxMemory)
	equal(t, segment.Use, int64(maxMemory))
	for i, there := range map[int]bool{0: false, 9: false, 10: true, maxMemory + 9: true} {
		_, ok := m.ran[digestOf("", fmt.Sprint(i))]
		equal(t, ok, there)
	}
}

func TestWhatCannotBeKeptIsDoneInstead(t *testing.T) {
	ran := []Ran{{Namespace: "default", WorkflowID: "triage:sentry:b", RunID: "run"}}
	j := openJournal(t, t.TempDir(), Options{MaxBytes: 4000})
	received(t, j, deliveryOfSize("a", 1500))
	calls := 0
	instead := func(err error) Arrival {
		return Arrival{
			Envelope: deliveryOfSize("b", 1500), Plan: planOf,
			Instead: func(_ context.Context, env sentry.Envelope, plan []routes.Operation) ([]Ran, error) {
				calls++
				equal(t, plan, planOf(env))
				return ran, err
			},
		}
	}
	_, err := j.Append(t.Context(), instead(errors.New("Temporal is away")))
	fails(t, err, ErrFull)
	receipt, err := j.Append(t.Context(), instead(nil))
	must(t, err)
	equal(t, receipt.Runs, ran)
	again, err := j.Append(t.Context(), instead(nil))
	must(t, err)
	equal(t, again, Receipt{Key: "b", Runs: ran})
	equal(t, calls, 2)
	equal(t, j.Stats().Pending, 1)
}
