package journal

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
)

// keep appends a delivery of an integration that is about a project.
func keep(t testing.TB, j *Journal, key, integration, project, event string) {
	t.Helper()
	env := deliveryOf(key)
	env.IntegrationID, env.EventType = integration, event
	_, err := j.Append(t.Context(), Arrival{
		Envelope: env, Plan: planOf,
		Subject: sentry.Subject{Project: project, IssueID: "42", ShortID: "BACKEND-1A", Title: "TypeError: x"},
	})
	must(t, err)
}

func idsOf(items []Item) []uint64 {
	var ids []uint64
	for _, item := range items {
		ids = append(ids, item.ID)
	}
	return ids
}

func TestListFiltersByAllThatADeliveryIsKnownBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		keep(t, j, "a", "backend", "shop", "sentry.issue.created")
		keep(t, j, "b", "backend", "pay", "sentry.issue.resolved")
		pass(time.Hour)
		keep(t, j, "c", "mobile", "shop", "sentry.issue.created")
		for id := range uint64(2) {
			keep(t, j, "p"+string(rune('0'+id)), "mobile", "app", "sentry.comment.created")
		}
		must(t, j.ParkFor(t.Context(), 4, TooLarge, "3 MB of at most 2 MB"))
		must(t, j.ParkFor(t.Context(), 5, NotConfigured, "integration mobile: not configured"))

		for name, c := range map[string]struct {
			filter Filter
			want   []uint64
		}{
			"all pending":       {Filter{State: Pending}, []uint64{1, 2, 3}},
			"all parked":        {Filter{State: Parked}, []uint64{4, 5}},
			"integration":       {Filter{State: Pending, Integration: "backend"}, []uint64{1, 2}},
			"project":           {Filter{State: Pending, Project: "shop"}, []uint64{1, 3}},
			"event":             {Filter{State: Pending, Event: "sentry.issue.created"}, []uint64{1, 3}},
			"age":               {Filter{State: Pending, OlderThan: 30 * time.Minute}, []uint64{1, 2}},
			"just that age":     {Filter{State: Pending, OlderThan: time.Hour}, []uint64{1, 2}},
			"any age":           {Filter{State: Pending, OlderThan: time.Hour + 1}, nil},
			"ids":               {Filter{State: Pending, IDs: []uint64{2, 4, 9}}, []uint64{2}},
			"several":           {Filter{State: Pending, Project: "shop", Integration: "mobile"}, []uint64{3}},
			"code":              {Filter{State: Parked, Reason: "too_large"}, []uint64{4}},
			"part of a reason":  {Filter{State: Parked, Reason: "mobile"}, []uint64{5}},
			"parked by project": {Filter{State: Parked, Project: "app"}, []uint64{4, 5}},
			"nothing":           {Filter{State: Parked, Project: "shop"}, nil},
		} {
			items, err := j.List(c.filter, 0, 100)
			must(t, err)
			if got := idsOf(items); len(got) != len(c.want) {
				t.Errorf("%s: %v", name, got)
			} else if len(got) > 0 {
				equal(t, got, c.want)
			}
		}
		page, err := j.List(Filter{State: Pending}, 1, 1)
		must(t, err)
		equal(t, idsOf(page), []uint64{2})
		page, err = j.List(Filter{State: Parked}, 4, 10)
		must(t, err)
		equal(t, idsOf(page), []uint64{5})
	})
}

func TestAnItemSaysWhatADeliveryIsAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, Options{})
		began := time.Now().UTC()
		keep(t, j, "key", "backend", "shop", "sentry.issue.created")
		want := Item{
			ID: 1, State: Pending, Received: began, Integration: "backend", Event: "sentry.issue.created", RequestID: "key", Key: "key",
			Project: "shop", IssueID: "42", ShortID: "BACKEND-1A", Title: "TypeError: x", Namespaces: []string{"default"},
			WorkflowIDs: []string{"triage:backend:key"}, Size: len(deliveryOf("key").Body),
		}
		items, err := j.List(Filter{State: Pending}, 0, 10)
		must(t, err)
		equal(t, items, []Item{want})
		env, err := j.Export(1)
		must(t, err)
		equal(t, env.Body, deliveryOf("key").Body)

		pass(time.Hour)
		park(t, j, 1, "invalid")
		must(t, j.Close())
		j = openJournal(t, dir, Options{})
		want.State, want.ParkedAt, want.ReasonCode, want.Reason = Parked, began.Add(time.Hour), Refused, "invalid"
		equal(t, parkedItems(t, j), []Item{want})
		again, err := j.Export(1)
		must(t, err)
		equal(t, again, env)
		_, err = j.Export(2)
		fails(t, err, ErrNotFound)
	})
}

func TestDeliveriesAreParkedPutBackAndDiscardedInBulk(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	const each = maxBatch + 10 // more than a page
	for i := range each {
		key := keys(each)[i]
		keep(t, j, "bad-"+key, "backend", "shop", "sentry.issue.created")
		if i < 5 {
			keep(t, j, "good-"+key, "mobile", "app", "sentry.issue.created")
		}
	}
	n, err := j.Park(t.Context(), Filter{Integration: "backend"})
	must(t, err)
	equal(t, n, each)
	equal(t, []int{j.Stats().Pending, j.Stats().Parked}, []int{5, each})
	equal(t, parkedItems(t, j)[0].ReasonCode, ByHand)

	n, err = j.PutBack(t.Context(), Filter{IDs: idsOf(parkedItems(t, j))[:100]})
	must(t, err)
	equal(t, n, 100)
	n, err = j.Discard(t.Context(), Filter{State: Parked, Project: "shop"})
	must(t, err)
	equal(t, n, each-100)
	n, err = j.Discard(t.Context(), Filter{State: Pending, Integration: "mobile"})
	must(t, err)
	equal(t, n, 5)
	must(t, j.Close())

	j = openJournal(t, dir, Options{})
	equal(t, []int{j.Stats().Pending, j.Stats().Parked}, []int{100, 0})
	// What is discarded is forgotten: sent again it is a new delivery.
	env := deliveryOf("good-key-000000")
	env.IntegrationID = "mobile"
	equal(t, received(t, j, env).Entered, true)
}

// Only the record tells an event and a reason.
func TestABulkChangeIsOfWhatTheRecordSays(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	for i, event := range []string{"sentry.issue.created", "sentry.comment.created", "sentry.issue.created", "sentry.issue.created"} {
		keep(t, j, keys(4)[i], "backend", "shop", event)
	}
	must(t, j.ParkFor(t.Context(), 3, TooLarge, "3 MB of at most 2 MB"))
	must(t, j.ParkFor(t.Context(), 4, Refused, "bad"))

	n, err := j.Discard(t.Context(), Filter{State: Parked, Reason: string(TooLarge)})
	must(t, err)
	equal(t, n, 1)
	equal(t, idsOf(parkedItems(t, j)), []uint64{4})
	n, err = j.Park(t.Context(), Filter{Event: "sentry.comment.created"})
	must(t, err)
	equal(t, n, 1)
	left, err := j.List(Filter{State: Pending}, 0, 10)
	must(t, err)
	equal(t, idsOf(left), []uint64{1})
}

// Arrivals stand behind what is submitted.
func TestABulkChangeIsMadeInSmallPieces(t *testing.T) {
	var mu sync.Mutex
	most := 0
	j := openJournal(t, t.TempDir(), Options{OnCommit: func(_ time.Duration, _, deleted int) {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, deleted)
	}})
	for _, key := range keys(12) {
		must(t, appendTo(t.Context(), j, deliveryOfSize(key, 300_000)))
	}
	n, err := j.Park(t.Context(), Filter{})
	must(t, err)
	equal(t, n, 12)
	mu.Lock()
	defer mu.Unlock()
	within(t, most, 1, 4) // the first that reach 1 MiB together
}

func TestAPieceOfABulkChangeEndsWhenItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := sizeOf(t, keys(1)[0], 1<<19-int64(len(ByHand)+len("parked by hand"))) // half of a piece
		var pieces []int
		j := openJournal(t, t.TempDir(), Options{OnCommit: func(_ time.Duration, _, deleted int) {
			if deleted > 0 {
				pieces = append(pieces, deleted)
			}
		}})
		for _, key := range keys(4) {
			must(t, appendTo(t.Context(), j, deliveryOfSize(key, size)))
		}
		_, err := j.Park(t.Context(), Filter{})
		must(t, err)
		must(t, j.Close())
		equal(t, pieces, []int{2, 2})
	})
}

func TestManyThatAreMeantAreAllFound(t *testing.T) {
	const many = 2*4096 + 1
	j := openJournal(t, t.TempDir(), Options{})
	var group errgroup.Group
	group.SetLimit(maxBatch)
	for _, key := range keys(many) {
		group.Go(func() error { return appendTo(t.Context(), j, deliveryOf(key)) })
	}
	must(t, group.Wait())
	items, err := j.List(Filter{State: Pending}, 1, many)
	must(t, err)
	equal(t, len(items), many-1)
}

func TestWhatIsConfiguredAgainGoesBackByItself(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	for i, integration := range []string{"gone", "back", "back", "back"} {
		keep(t, j, keys(4)[i], integration, "shop", "sentry.issue.created")
	}
	for id := range uint64(3) {
		must(t, j.ParkFor(t.Context(), id+1, NotConfigured, "not configured"))
	}
	must(t, j.ParkFor(t.Context(), 4, Refused, "not configured, as somebody says"))
	must(t, j.Close())
	j = openJournal(t, dir, Options{})
	n, err := j.PutBackConfigured(t.Context(), func(integration, namespace string) bool {
		return integration == "back" && namespace == "default"
	})
	must(t, err)
	equal(t, n, 2)
	equal(t, idsOf(parkedItems(t, j)), []uint64{1, 4})
	equal(t, j.Entries(0, 10)[0].Group, Group{Integration: "back", Namespaces: "default", Project: "shop"})
}

func TestADeliveryThatIsDoneIsNotParked(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	appendAll(t, j, "a", "b")
	j.Done(1, nil)
	fails(t, j.ParkFor(t.Context(), 1, Refused, "too late"), ErrNotFound)
	_, err := j.Read(1)
	fails(t, err, ErrNotFound)
	equal(t, j.Stats().Parked, 0)
}

func TestAPlanOfALaterBuildIsKept(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	_, err := j.Append(t.Context(), Arrival{Envelope: deliveryOf("a"), Plan: func(env sentry.Envelope) []routes.Operation {
		plan := planOf(env)
		plan[0].Kind = "signal_with_start" // of a later build
		return plan
	}})
	must(t, err)
	must(t, j.Close())
	j = openJournal(t, dir, Options{})
	d, err := j.Read(1)
	must(t, err)
	equal(t, d.Operations[0].Kind, "signal_with_start")
}

// planIn plans a run in each of the namespaces.
func planIn(namespaces ...string) func(sentry.Envelope) []routes.Operation {
	return func(env sentry.Envelope) []routes.Operation {
		var plan []routes.Operation
		for _, namespace := range namespaces {
			o := planOf(env)[0]
			o.Namespace = namespace
			plan = append(plan, o)
		}
		return plan
	}
}

func TestADeliveryBelongsToEachOfItsNamespaces(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	for key, namespaces := range map[string][]string{"a": {"default", "payments", "default"}, "b": {"payments"}} {
		_, err := j.Append(t.Context(), Arrival{Envelope: deliveryOf(key), Plan: planIn(namespaces...)})
		must(t, err)
	}
	said := func() map[string][]string {
		all := map[string][]string{}
		for _, e := range j.Entries(0, 10) {
			d, err := j.Read(e.ID)
			must(t, err)
			all[d.Envelope.IdempotencyKey] = e.Namespaces
		}
		return all
	}
	want := map[string][]string{"a": {"default", "payments", "default"}, "b": {"payments"}}
	equal(t, said(), want)
	must(t, j.Close())
	j = openJournal(t, dir, Options{})
	equal(t, said(), want)
	items, err := j.List(Filter{State: Pending}, 0, 10)
	must(t, err)
	for _, item := range items {
		equal(t, item.Namespaces, map[string][]string{"a": {"default", "payments"}, "b": {"payments"}}[item.Key])
	}

	// One comes back by itself once all of them are configured.
	for _, e := range j.Entries(0, 10) {
		must(t, j.ParkFor(t.Context(), e.ID, NotConfigured, "payments"))
	}
	for _, step := range []struct {
		configured []string
		n          int
	}{{[]string{"default"}, 0}, {[]string{"payments"}, 1}, {[]string{"default", "payments"}, 1}} {
		n, err := j.PutBackConfigured(t.Context(), func(_, namespace string) bool { return slices.Contains(step.configured, namespace) })
		must(t, err)
		equal(t, n, step.n)
	}
	equal(t, said(), want)
}

func TestWhatIsParkedIsNotStarted(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	appendAll(t, j, "a", "b")
	park(t, j, 1, "reason")
	_, err := j.Read(1)
	fails(t, err, ErrNotFound)
	j.Done(1, nil)
	equal(t, []int{j.Stats().Pending, j.Stats().Parked}, []int{1, 1})
}

// An ID is a delivery's for as long as it is kept; what is put back is at the end.
func TestWhatIsPutBackIsTheSameDeliveryAtTheEndOfTheQueue(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	appendAll(t, j, "a", "b", "c")
	park(t, j, 1, "reason")
	_, err := j.PutBack(t.Context(), only(Parked, 1))
	must(t, err)
	for range 2 {
		equal(t, pendingKeys(t, j), []string{"b", "c", "a"})
		var ids []uint64
		for _, e := range j.Entries(j.Entries(0, 1)[0].Position, 10) {
			ids = append(ids, e.ID)
		}
		equal(t, ids, []uint64{3, 1})
		items, err := j.List(Filter{State: Pending}, 0, 10)
		must(t, err)
		equal(t, idsOf(items), []uint64{1, 2, 3})
		equal(t, items[0].ReasonCode, "")
		must(t, j.Close())
		j = openJournal(t, dir, Options{})
	}
}

func TestOneChangeOfADeliveryGoesByTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, release := t.TempDir(), make(chan struct{})
		j := openJournal(t, dir, Options{OnCommit: func(_ time.Duration, added, _ int) {
			if added > 0 {
				<-release
			}
		}})
		go func() { _ = appendTo(t.Context(), j, deliveryOf("a")) }()
		synctest.Wait()
		release <- struct{}{}
		synctest.Wait()
		go func() { _ = appendTo(t.Context(), j, deliveryOf("b")) }() // the disk is busy with it
		synctest.Wait()
		results := make(chan error, 2)
		for _, reason := range []string{"one", "another"} {
			go func() { results <- j.ParkFor(t.Context(), 1, Refused, reason) }()
			synctest.Wait()
		}
		close(release)
		one, another := <-results, <-results
		equal(t, (one == nil) != (another == nil), true)
		fails(t, errors.Join(one, another), ErrNotFound)
		must(t, j.Close())
		equal(t, parkedItems(t, openJournal(t, dir, Options{}))[0].Reason, "one")
	})
}
