package admin_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/web"
)

// facts are what a state is made of; at first all is well.
type facts struct {
	namespace    admin.NamespaceState
	lanes        []admin.LaneState
	queues       []admin.QueueState
	journal      journal.Stats
	journalError error
	secrets      keyring.State
	routes       routes.State
}

// polled is a kind of tasks that workers take.
func polled() admin.KindState {
	now := time.Now()
	return admin.KindState{Counted: true, Pollers: 2, LastPoll: now.Add(-time.Second), Since: now.Add(-time.Hour)}
}

func wellFacts() facts {
	now := time.Now()
	return facts{
		namespace: admin.NamespaceState{Namespace: "default", Status: admin.StatusOK, Asked: now},
		queues:    []admin.QueueState{{Namespace: "default", TaskQueue: "sentry", Workflow: polled(), Activity: polled(), Asked: now}},
		journal:   journal.Stats{MaxBytes: 1000, MaxParkedBytes: 100},
		secrets:   keyring.State{Integration: "sentry", Secrets: 2},
	}
}

// stateOf asks GET /api/state of an ingress in which all is as f says.
func stateOf(t *testing.T, f facts) admin.StateRecord {
	t.Helper()
	w := newWatched(t, nil, func(o *admin.Options) {
		o.Temporal = func() []admin.NamespaceState { return []admin.NamespaceState{f.namespace} }
		o.Status.Instance = "host:8080"
		o.Status.Integrations = o.Status.Integrations[:1]
		o.Status.Lanes = func() []admin.LaneState { return f.lanes }
		o.Status.Queues = func() []admin.QueueState { return f.queues }
		o.Status.Journal = func() journal.Stats { return f.journal }
		o.Status.JournalReady = func() error { return f.journalError }
		o.Status.Secrets = func() []keyring.State { return []keyring.State{f.secrets} }
		o.Status.Routes = func() routes.State { return f.routes }
	})
	return w.state(t)
}

// state asks GET /api/state.
func (w *watched) state(t *testing.T) admin.StateRecord {
	t.Helper()
	status, text, _ := ask(t, http.MethodGet, w.admin+"/api/state", nil)
	var record admin.StateRecord
	if err := json.Unmarshal(text, &record); err != nil || status != http.StatusOK {
		t.Fatalf("answered %d %s: %v", status, text, err)
	}
	return record
}

func TestTheStateHasALevelAndWords(t *testing.T) {
	now := time.Now()
	temporal := func(s admin.StateRecord) admin.Verdict { return s.Temporal.Verdict }
	workers := func(s admin.StateRecord) admin.Verdict { return s.Workers.Verdict }
	kept := func(s admin.StateRecord) admin.Verdict { return s.Journal.Verdict }
	secrets := func(s admin.StateRecord) admin.Verdict { return s.Integrations[0].Secrets.Verdict }
	for name, test := range map[string]struct {
		change func(*facts)
		of     func(admin.StateRecord) admin.Verdict
		level  admin.Level
		says   []string
	}{
		"Temporal answers": {func(*facts) {}, temporal, admin.LevelGood, []string{"Answers"}},
		"Temporal does not answer": {func(f *facts) {
			f.namespace.Status, f.namespace.Problem = admin.StatusUnreachable, "no answer within 2s"
			f.lanes = []admin.LaneState{{Namespace: "default", Waiting: 3, Failing: "unavailable", Since: now.Add(-time.Minute)}}
		}, temporal, admin.LevelBad, []string{"Does not answer", "no answer within 2s", "3 deliveries wait for 1 min"}},
		"Temporal refuses": {func(f *facts) {
			f.namespace.Status, f.namespace.Problem = admin.StatusRefused, "namespace is not found"
		}, temporal, admin.LevelBad, []string{"Refuses", "default: namespace is not found"}},
		"Temporal was not asked so far": {func(f *facts) {
			f.namespace = admin.NamespaceState{Namespace: "default", Status: admin.StatusUnknown}
		}, temporal, admin.LevelUnknown, []string{"Is being asked"}},
		"Temporal was asked too long ago": {func(f *facts) { f.namespace.Asked = now.Add(-16 * time.Second) },
			temporal, admin.LevelUnknown, []string{"Not known", "asked 16 s ago"}},
		"starts fail for a moment": {func(f *facts) {
			f.lanes = []admin.LaneState{{Namespace: "default", Waiting: 1, Failing: "no such attribute", Since: now.Add(-time.Second)}}
		}, temporal, admin.LevelBusy, []string{"Starts are repeated", "no such attribute"}},
		"starts fail": {func(f *facts) {
			f.namespace.Status, f.namespace.Problem = admin.StatusRefused, "starts fail: no such attribute"
			f.lanes = []admin.LaneState{{Namespace: "default", Waiting: 1, Failing: "no such attribute", Since: now.Add(-10 * time.Second)}}
		}, temporal, admin.LevelBad, []string{"Takes no starts", "no such attribute", "1 delivery waits for 10 s"}},
		"another namespace's starts fail": {func(f *facts) {
			f.lanes = []admin.LaneState{{Namespace: "other", Waiting: 1, Failing: "no such attribute", Since: now.Add(-10 * time.Second)}}
		}, temporal, admin.LevelGood, []string{"Answers"}},

		"workers ask": {func(*facts) {}, workers, admin.LevelGood, []string{"Poll for work"}},
		"a run waits and nobody has asked, however short that is": {func(f *facts) {
			f.queues[0].Workflow = admin.KindState{Counted: true, Backlog: 1, Since: now.Add(-time.Minute)}
		}, workers, admin.LevelBad, []string{"1 run waits and no worker polls", "default, sentry: none has for 6 min at least"}},
		"runs wait and no worker that may be there takes any": {func(f *facts) {
			k := &f.queues[0].Workflow
			k.Backlog, k.BacklogAgeSeconds, k.Untaken, k.LastPoll = 2, 5.5, true, now.Add(-40*time.Second)
		}, workers, admin.LevelBad, []string{"2 runs wait and no worker takes any", "the first for 5 s", "the last one did 40 s ago"}},
		"a run has not waited for long": {func(f *facts) {
			k := &f.queues[0].Workflow
			k.Backlog, k.BacklogAgeSeconds, k.Untaken = 1, 4.5, true
		}, workers, admin.LevelGood, nil},
		"workers are behind": {func(f *facts) {
			f.queues[0].Workflow.Backlog, f.queues[0].Workflow.BacklogAgeSeconds = 20, 10
		}, workers, admin.LevelBusy, []string{"20 runs wait for 10 s"}},
		"workers are far behind": {func(f *facts) {
			f.queues[0].Workflow.Backlog, f.queues[0].Workflow.BacklogAgeSeconds = 2000, 70
		}, workers, admin.LevelBad, []string{"2000 runs wait for 1 min", "too few"}},
		"nobody asks and nothing waits": {func(f *facts) {
			f.queues[0].Workflow.Pollers, f.queues[0].Workflow.LastPoll = 0, now.Add(-2*time.Minute)
			f.queues[0].Activity.Pollers, f.queues[0].Activity.LastPoll = 0, now.Add(-2*time.Minute)
		}, workers, admin.LevelBusy, []string{"No worker polls", "the last one did 2 min ago"}},
		"workers take runs only": {func(f *facts) { f.queues[0].Activity.Pollers = 0 },
			workers, admin.LevelGood, []string{"take runs and no activities"}},
		"an activity waits and nobody asks": {func(f *facts) {
			f.queues[0].Activity = admin.KindState{Counted: true, Backlog: 1, Since: now}
		}, workers, admin.LevelBad, []string{"1 activity waits and no worker polls"}},
		"a server that does not count": {func(f *facts) { f.queues[0].Workflow.Counted = false },
			workers, admin.LevelUnknown, []string{"does not say"}},
		"nobody asks a server that does not count": {func(f *facts) {
			f.queues[0].Workflow = admin.KindState{Since: now}
		}, workers, admin.LevelBusy, []string{"No worker polls", "none has for 5 min at least"}},
		"a task queue of which Temporal says nothing": {func(f *facts) {
			f.queues[0].Asked, f.queues[0].Problem = now.Add(-20*time.Second), "permission denied"
		}, workers, admin.LevelUnknown, []string{"Not known", "asked 20 s ago", "permission denied"}},
		"a task queue that was not asked about so far": {func(f *facts) { f.queues[0].Asked = time.Time{} },
			workers, admin.LevelUnknown, []string{"Is being asked"}},
		"one of two task queues": {func(f *facts) {
			f.queues = append(f.queues, admin.QueueState{Connection: "eu", Namespace: "default", TaskQueue: "sales", Asked: now})
		}, workers, admin.LevelBusy, []string{"Well for 1 of 2 task queues", "eu, default, sales: no worker polls"}},

		"the journal is empty": {func(*facts) {}, kept, admin.LevelGood, []string{"0 pending"}},
		"the journal has something": {func(f *facts) { f.journal.Pending, f.journal.PendingBytes, f.journal.OldestAge = 1, 100, time.Second },
			kept, admin.LevelBusy, []string{"1 pending", "100 B of 1000 B, the oldest for 1 s"}},
		"something is in the journal for long": {func(f *facts) { f.journal.Pending, f.journal.OldestAge = 1, 121*time.Second },
			kept, admin.LevelBad, []string{"1 pending"}},
		"the journal is nearly full": {func(f *facts) { f.journal.Pending, f.journal.PendingBytes = 7, 701 },
			kept, admin.LevelBad, []string{"Nearly full"}},
		"the journal is full": {func(f *facts) { f.journal.Pending, f.journal.PendingBytes, f.journalError = 9, 990, journal.ErrFull },
			kept, admin.LevelBad, []string{"Full", "deliveries are refused", "9 pending"}},
		"the disk fails": {func(f *facts) { f.journalError = errors.New("input/output error") },
			kept, admin.LevelBad, []string{"Keeps nothing", "input/output error"}},

		"nothing is parked": {func(*facts) {}, func(s admin.StateRecord) admin.Verdict { return s.Parked.Verdict }, admin.LevelGood, []string{"None"}},
		"something is parked": {func(f *facts) { f.journal.Parked, f.journal.ParkedBytes = 2, 50 },
			func(s admin.StateRecord) admin.Verdict { return s.Parked.Verdict }, admin.LevelBad, []string{"2", "50 B"}},

		"secrets match": {func(*facts) {}, secrets, admin.LevelGood, []string{"2 secrets are valid"}},
		"a secret does not match any more": {func(f *facts) { f.secrets.Mismatches, f.secrets.Mismatched = 3, now.Add(-time.Minute) },
			secrets, admin.LevelBad, []string{"Does not match any more", "3 refused", "in its variable"}},
		"a secret did not match long ago": {func(f *facts) { f.secrets.Mismatches, f.secrets.Mismatched = 3, now.Add(-11*time.Minute) },
			secrets, admin.LevelGood, nil},
		"there are other secrets since one did not match": {func(f *facts) {
			f.secrets.Mismatches, f.secrets.Mismatched, f.secrets.Changed = 3, now.Add(-time.Minute), now.Add(-time.Second)
		}, secrets, admin.LevelGood, nil},
		"other secrets do not match either": {func(f *facts) {
			f.secrets.Mismatches, f.secrets.Mismatched, f.secrets.Changed = 3, now.Add(-time.Second), now.Add(-time.Minute)
		}, secrets, admin.LevelBad, []string{"Does not match any more"}},
		"deliveries are held": {func(f *facts) { f.secrets.Held, f.secrets.FromFile = 3, true },
			secrets, admin.LevelBad, []string{"3 held", "in its file"}},
		"the file of the secrets": {func(f *facts) { f.secrets.Problem = "it is empty" },
			secrets, admin.LevelBad, []string{"Its file cannot be used", "it is empty"}},

		"the file of the routes": {func(f *facts) { f.routes.Problem = "line 3: no such workflow" },
			func(s admin.StateRecord) admin.Verdict { return s.Routes.Verdict }, admin.LevelBad, []string{"Cannot be used", "line 3: no such workflow"}},
		"nothing came so far": {func(*facts) {}, func(s admin.StateRecord) admin.Verdict { return s.Integrations[0].Last.Verdict },
			admin.LevelUnknown, []string{"None since the start"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := wellFacts()
			test.change(&f)
			state := stateOf(t, f)
			got := test.of(state)
			if got.Level != test.level {
				t.Errorf("level %s, want %s: %+v", got.Level, test.level, got)
			}
			said := strings.Join(append([]string{got.Title}, got.Notes...), "\n")
			for _, says := range test.says {
				if !strings.Contains(said, says) {
					t.Errorf("it does not say %q: %s", says, said)
				}
			}
			if levels := []admin.Level{admin.LevelGood, admin.LevelUnknown, admin.LevelBusy, admin.LevelBad}; slices.Index(levels, state.Level) < slices.Index(levels, got.Level) {
				t.Errorf("all in all it is %s", state.Level)
			}
		})
	}
}

func TestTheStateNamesWhomItIsAbout(t *testing.T) {
	state := stateOf(t, wellFacts())
	if state.Instance != "host:8080" || time.Since(state.Time) > time.Minute {
		t.Errorf("%+v", state)
	}
}

// At the end of the test nothing has come for a day and a bit.
func TestAnIntegrationThatSendsNothingForADayIsWorthALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		integrations := []config.Integration{{Name: "sentry"}, {Name: "mobile"}}
		recent := admin.NewRecent(integrations)
		handler := admin.New(admin.Options{
			Temporal: func() []admin.NamespaceState { return nil },
			Log:      slog.New(slog.DiscardHandler),
			Status: &admin.Status{
				Integrations: integrations, Recent: recent,
				Routes:  func() routes.State { return routes.State{} },
				Journal: func() journal.Stats { return journal.Stats{} },
				Secrets: func() []keyring.State { return make([]keyring.State, 2) },
			},
		})
		expect := func(levels ...admin.Level) {
			t.Helper()
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://localhost/api/state", nil))
			var state admin.StateRecord
			if err := json.Unmarshal(answer.Body.Bytes(), &state); err != nil {
				t.Fatal(err)
			}
			for i, level := range levels {
				if last := state.Integrations[i].Last; last.Level != level {
					t.Errorf("of the %dth: %+v", i, last)
				}
			}
		}
		recent.Observe(t.Context(), web.Delivery{Integration: "sentry", Verified: true, Time: time.Now(), Outcome: "accepted"})
		expect(admin.LevelGood, admin.LevelUnknown)
		// One that was held since yesterday is taken now.
		recent.Observe(t.Context(), web.Delivery{Integration: "sentry", Verified: true, Time: time.Now().Add(-25 * time.Hour), Outcome: "accepted"})
		expect(admin.LevelGood, admin.LevelUnknown)
		pass(24 * time.Hour)
		expect(admin.LevelGood, admin.LevelUnknown)
		pass(time.Second)
		expect(admin.LevelBusy, admin.LevelBusy)
	})
}
