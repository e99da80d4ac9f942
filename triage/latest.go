package triage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"
)

// State is what something was at a time.
type State struct {
	Name string    `json:"name"` // as in resolved
	At   time.Time `json:"at"`   // counts in whole seconds
}

// After reports whether s is newer than other. Within one second, which has no order,
// the name does that comes later in the alphabet.
func (s State) After(other State) bool {
	mine, others := s.At.Unix(), other.At.Unix()
	return mine > others || mine == others && s.Name > other.Name
}

// Latest notes what key was at a time, and returns the newest state of it that any run
// of the same namespace and task queue has noted, this one included. What is noted is
// known for two days at least, which is longer than a call of [Do] is repeated; limits are
// as those of [Do].
//
// It is for what two deliveries say of one thing, each of which is a run, since no
// order is promised for either: the one that came later may tell what was earlier. A
// run that opens an alert and one that resolves it must not leave it open for good,
// whichever is first. So the one that opens notes that before and after, and resolves
// what it has opened if it was resolved by then; the one that resolves notes that
// before. Then either the second note of the one comes before the note of the other,
// and the alert was open when the other resolves it; or it comes after, and sees it.
// With the first note alone both could pass each other. See workflows/act.
//
// A workflow keeps the state for each key, on that task queue, where there are workers
// for it as long as there are for the runs: see [LatestID]. It ends two days after the
// last note. A note that is repeated changes nothing.
func Latest(ctx workflow.Context, key string, s State, limits ...Limit) (newest State, err error) {
	options, err := limited(limits)
	switch {
	case err != nil:
	case key == "" || len(key) > maxLatestKey:
		err = fmt.Errorf("a key of %d bytes is not one of 1 to %d", len(key), maxLatestKey)
	case s.Name == "" || len(s.Name) > maxLatestKey || s.At.IsZero():
		err = errors.New("a state has a name and a time")
	}
	if err != nil {
		return State{}, mistaken(ctx, "", "triage.Latest: "+err.Error(), nil)
	}
	options.Summary = summary(ctx)
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), LatestType, Note{key, s}).Get(ctx, &newest)
	return newest, err
}

// LatestType is what the activity of [Latest] is called, and the workflow that it
// notes states with. [New] takes no such name.
const LatestType = "triage-latest"

// LatestID is the ID of the workflow that keeps what runs of a task queue note of key.
func LatestID(taskQueue, key string) string {
	sum := sha256.Sum256([]byte(taskQueue))
	return "latest:" + key + ":" + hex.EncodeToString(sum[:8])
}

// Note is the input of the activity of [Latest].
type Note struct {
	Key   string `json:"key"`
	State State  `json:"state"`
}

const (
	maxLatestKey  = 200 // bytes
	latestUnheard = 48 * time.Hour
	updateNote    = "note"
)

func noteLatest(ctx context.Context, n Note) (newest State, err error) {
	info := activity.GetInfo(ctx)
	c := activity.GetClient(ctx)
	handle, err := c.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: c.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID:                       LatestID(info.TaskQueue, n.Key),
			TaskQueue:                info.TaskQueue,
			WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
			StaticSummary:            "what was noted last, for the runs that ask",
		}, LatestType, State{}),
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID:     info.WorkflowExecution.RunID + ":" + info.ActivityID,
			UpdateName:   updateNote,
			Args:         []any{n.State},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return State{}, fmt.Errorf("note what %s is: %w", n.Key, err)
	}
	if err := handle.Get(ctx, &newest); err != nil {
		return State{}, fmt.Errorf("note what %s is: %w", n.Key, err)
	}
	return newest, nil
}

// keepLatest is the workflow that keeps the newest state of a key, until nobody has
// noted one for two days.
func keepLatest(ctx workflow.Context, newest State) (State, error) {
	heard, full := workflow.Now(ctx), false
	err := workflow.SetUpdateHandler(ctx, updateNote, func(ctx workflow.Context, s State) (State, error) {
		heard = workflow.Now(ctx)
		if s.After(newest) {
			newest = s
		}
		full = workflow.GetInfo(ctx).GetContinueAsNewSuggested() // once the note is taken
		return newest, nil
	})
	if err != nil {
		return State{}, err
	}
	for {
		left := latestUnheard - workflow.Now(ctx).Sub(heard)
		if left <= 0 {
			return newest, nil
		}
		if _, err := workflow.AwaitWithTimeout(ctx, left, func() bool { return full }); err != nil {
			return State{}, err
		}
		if full {
			return State{}, workflow.NewContinueAsNewError(ctx, LatestType, newest)
		}
	}
}
