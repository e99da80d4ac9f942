package starter

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestASharedRunIsForgottenAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, run := newLately(), sharedRun{workflowID: "a"}
		l.know(run, "run")
		<-time.After(knownFor - 1)
		if id, known := l.runID(run); !known || id != "run" {
			t.Errorf("before its time it is %q, %t", id, known)
		}
		<-time.After(1)
		if id, known := l.runID(run); known {
			t.Errorf("it is %q still", id)
		}
	})
}

func TestSharedRunsAreForgottenWhenThereAreVeryMany(t *testing.T) {
	l := newLately()
	for n := range maxKnown + 1 {
		l.know(sharedRun{workflowID: fmt.Sprint(n)}, "run")
	}
	if _, known := l.runID(sharedRun{workflowID: "0"}); known {
		t.Error("the first one is known still")
	}
	if _, known := l.runID(sharedRun{workflowID: "1"}); !known || l.runs.Len() != maxKnown {
		t.Errorf("%d are known", l.runs.Len())
	}
}

func TestThoseWhoAskForARunTakeTurnsAndOneWhoGivesUpIsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, run := newLately(), sharedRun{workflowID: "a"}
		leave, err := l.take(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		other, err := l.take(t.Context(), sharedRun{workflowID: "b"})
		if err != nil {
			t.Fatal(err)
		}
		other()
		impatient, cancel := context.WithCancel(t.Context())
		gaveUp, got := make(chan error), make(chan func())
		go func() {
			_, err := l.take(impatient, run)
			gaveUp <- err
		}()
		go func() {
			leave, err := l.take(t.Context(), run)
			if err != nil {
				t.Error(err)
			}
			got <- leave
		}()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("who has given up is told %v", err)
		}
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("two have it at the same time")
		default:
		}
		leave()
		(<-got)()
		if len(l.asking) != 0 {
			t.Errorf("%d are left", len(l.asking))
		}
	})
}
