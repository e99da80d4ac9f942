package forwarder

import (
	"context"
	"errors"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/starter"
)

// disposition is what happens to a delivery whose starts have failed.
type disposition int

const (
	// alone repeats the delivery later, while its lane goes on. One that fails
	// again and again while others of its lane do not is parked in the end.
	alone disposition = iota
	// withLane has the whole lane wait, and repeats the delivery with it:
	// another one would fail, too.
	withLane
	// parked parks the delivery at once: it would fail for ever.
	parked
)

// dispose is the one table from error to what happens. code is why it is parked.
//
// Of several failures the one that may end decides, and the lane's first: what
// others wait for must not be parked.
func dispose(err error) (d disposition, code journal.Code) {
	if failures, several := errors.AsType[starter.StartErrors](err); several {
		found := map[disposition]journal.Code{}
		for _, failure := range slices.Backward(failures) { // the first one's code
			d, code := dispose(failure)
			found[d] = code
		}
		for _, d := range []disposition{withLane, alone, parked} {
			if code, ok := found[d]; ok {
				return d, code
			}
		}
	}
	for _, row := range dispositions {
		if row.is(err) {
			return row.disposition, row.code
		}
	}
	return alone, ""
}

// dispositions are looked through from the top. What is in none of them, as
// Internal or DataLoss, may be the fault of one delivery, or of one shard of
// Temporal: alone.
var dispositions = []struct {
	what        string
	is          func(error) bool
	disposition disposition
	code        journal.Code
}{
	{"its record is damaged", is(journal.ErrDamaged), parked, journal.Damaged},
	{"a panic", isA[*starter.PanicError], parked, journal.Bug},
	{"over Temporal's size", is(starter.ErrTooLarge), parked, journal.TooLarge},
	{"integration or namespace not configured", is(starter.ErrNotConfigured), parked, journal.NotConfigured},
	{"a plan that this build cannot carry out", is(starter.ErrUnknownPlan), parked, journal.Refused},
	{"InvalidArgument", isA[*serviceerror.InvalidArgument], parked, journal.Refused},

	{"one run is busy", isBusyRun, alone, ""},

	{"ResourceExhausted", isA[*serviceerror.ResourceExhausted], withLane, ""},
	{"Unavailable", isA[*serviceerror.Unavailable], withLane, ""},
	{"Aborted", isA[*serviceerror.Aborted], withLane, ""},
	{"DeadlineExceeded", isA[*serviceerror.DeadlineExceeded], withLane, ""},
	{"Canceled", isA[*serviceerror.Canceled], withLane, ""},
	{"no answer in time", is(context.DeadlineExceeded), withLane, ""},
	{"cancelled here", is(context.Canceled), withLane, ""},
	{"no such namespace", isA[*serviceerror.NamespaceNotFound], withLane, ""},
	{"namespace not active", isA[*serviceerror.NamespaceNotActive], withLane, ""},
	{"namespace in a wrong state", isA[*serviceerror.NamespaceInvalidState], withLane, ""},
	{"namespace unavailable", isA[*serviceerror.NamespaceUnavailable], withLane, ""},
	{"NotFound, as some servers say of a namespace", isA[*serviceerror.NotFound], withLane, ""},
	{"PermissionDenied", isA[*serviceerror.PermissionDenied], withLane, ""},
	{"Unauthenticated", isUnauthenticated, withLane, ""},
	{"Unimplemented", isA[*serviceerror.Unimplemented], withLane, ""},
	{"a server too old", isA[*serviceerror.ServerVersionNotSupported], withLane, ""},
	{"a client too old", isA[*serviceerror.ClientVersionNotSupported], withLane, ""},
}

// keepsTrying reports whether a delivery that fails with err is never given up,
// not even if it is alone with that: Temporal has said that it is busy.
func keepsTrying(err error) bool {
	return isA[*serviceerror.ResourceExhausted](err) || isA[*serviceerror.Unavailable](err) || isA[*serviceerror.Aborted](err)
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isUnauthenticated(err error) bool { return status.Code(err) == codes.Unauthenticated }

func isBusyRun(err error) bool {
	exhausted, ok := errors.AsType[*serviceerror.ResourceExhausted](err)
	return ok && exhausted.Cause == enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
}
