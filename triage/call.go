package triage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"runtime"
	"strings"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Local runs activity inside the workflow's own task, under [LocalOptions]: for
// work that is quick and reaches nothing outside, such as parsing. It leaves
// only its result in the history.
//
// activity must be a function with a name of its own. Of a method only the name
// would count: what ran is the method of that name which the worker has registered,
// of whatever struct, and without one the method of the value that the workflow holds.
// A function literal is called after its place among others, which changes, and the
// name is in the history. With either, the run fails for good.
func Local[In, Out any](ctx workflow.Context, activity func(context.Context, In) (Out, error), in In) (Out, error) {
	var out Out
	if name, ok := plain(activity); !ok {
		return out, mistaken(ctx, "", "triage.Local is given "+name+", which is no function with a name of its own: "+
			"declare one, or call a method by triage.Do", nil)
	}
	options := LocalOptions()
	options.Summary = summary(ctx)
	ctx = workflow.WithLocalActivityOptions(ctx, options)
	err := workflow.ExecuteLocalActivity(ctx, activity, in).Get(ctx, &out)
	return out, err
}

// Do runs activity on the worker's activity side, under [RemoteOptions] unless
// limits say otherwise: for calls to other systems. Engineers see each attempt in the
// Temporal UI.
//
// activity may be a method of a nil pointer, since only its name travels:
//
//	var chat *activities.Chat
//	posted, err := triage.Do(ctx, chat.PostMessage, message)
//
// One that is not registered, neither with the worker that runs the workflow nor with
// the one that is to run the activity, fails the run for good. While a release is being
// rolled out, the one may know it and the other not yet: that is repeated.
func Do[In, Out any](ctx workflow.Context, activity func(context.Context, In) (Out, error), in In, limits ...Limit) (Out, error) {
	var out Out
	options, err := limited(limits)
	if err != nil {
		return out, mistaken(ctx, "", "triage.Do: "+err.Error(), nil)
	}
	if activity == nil {
		return out, mistaken(ctx, "", "triage.Do is given no activity", nil)
	}
	options.Summary = summary(ctx)
	ctx = workflow.WithActivityOptions(ctx, options)
	err = workflow.ExecuteActivity(ctx, activity, in).Get(ctx, &out)
	if refused, ok := errors.AsType[*temporal.ApplicationError](err); ok && refused.Type() == typeUnregistered {
		err = mistaken(ctx, typeUnregistered, "triage.Do: "+refused.Message(), err)
	}
	return out, err
}

// limited returns [RemoteOptions] with limits.
func limited(limits []Limit) (workflow.ActivityOptions, error) {
	options := RemoteOptions()
	for _, limit := range limits {
		if err := limit(&options); err != nil {
			return options, err
		}
	}
	return options, nil
}

// The types of errors that say that code is wrong.
const (
	typeMistake      = "Mistake"
	typeUnregistered = "NotRegistered"
)

// mistake is what is wrong with the code of a run, which then fails with it even if
// the code passes over it.
type mistake struct {
	err    error
	thrown bool // a panic ends the run's function
}

type (
	mistakeKey   struct{}
	coroutineKey struct{} // of the context in a coroutine of a run
)

// mistaken ends a run whose code is wrong at the call of the function that calls this,
// with an error that says where. A coroutine beside the run's function, which a panic
// must not leave, gets the error, and the run fails when its function ends. The text is
// in the run's last event at most, so it may differ when the run is replayed.
func mistaken(ctx workflow.Context, kind, what string, cause error) error {
	if kind == "" {
		kind = typeMistake
	}
	const caller = 2 // of the function that calls this
	err := temporal.NewNonRetryableApplicationError(place(caller)+": "+what, kind, cause)
	m, ok := ctx.Value(mistakeKey{}).(*mistake)
	if !ok {
		return err
	}
	if m.err == nil {
		m.err = err
	}
	if ctx.Value(coroutineKey{}) == nil {
		m.thrown = true
		panic(err)
	}
	return err
}

// place returns the file and line of a caller of the function that calls it, as in
// sentry-temporal/workflows/triageissue/triageissue.go:30: wherever it was built.
func place(skip int) string {
	pc, file, line, ok := runtime.Caller(skip + 1)
	if !ok {
		return "an unknown place"
	}
	folder, function := path.Split(runtime.FuncForPC(pc).Name())
	name, _, _ := strings.Cut(function, ".")
	return fmt.Sprintf("%s%s/%s:%d", folder, name, path.Base(file), line)
}

var identifier = regexp.MustCompile(`^[\p{L}_][\p{L}\p{Nd}_]*$`)

// plain reports whether f is a function that its package declares, no method, literal
// or instance of a generic one, and returns what it is called.
func plain(f any) (name string, ok bool) {
	v := reflect.ValueOf(f)
	if v.IsNil() {
		return "nil", false
	}
	name = path.Base(runtime.FuncForPC(v.Pointer()).Name())
	_, inPackage, _ := strings.Cut(name, ".")
	return strings.TrimSuffix(name, "-fm"), identifier.MatchString(inPackage)
}

// activityNames returns what the activities are called, as the SDK calls them.
func activityNames(activities []any) map[string]bool {
	names := map[string]bool{}
	for _, a := range activities {
		v := reflect.ValueOf(a)
		if v.Kind() == reflect.Func {
			name := runtime.FuncForPC(v.Pointer()).Name()
			names[strings.TrimSuffix(name[strings.LastIndex(name, ".")+1:], "-fm")] = true
			continue
		}
		for i := range v.NumMethod() {
			names[v.Type().Method(i).Name] = true
		}
	}
	return names
}

// headerUnknown marks a call of an activity that the worker which makes it does not
// have registered either. headerAbout has what the calling run is about, as the keys and
// values of a log line.
const (
	headerUnknown = "sentry-triage-unknown-activity"
	headerAbout   = "sentry-triage-about"
)

type (
	unknownKey      struct{}
	aboutTheCallKey struct{}
)

type activityInbound struct {
	interceptor.ActivityInboundInterceptorBase
}

// Init implements [interceptor.ActivityInboundInterceptor].
func (a *activityInbound) Init(next interceptor.ActivityOutboundInterceptor) error {
	return a.Next.Init(&activityOutbound{interceptor.ActivityOutboundInterceptorBase{Next: next}})
}

// ExecuteActivity implements [interceptor.ActivityInboundInterceptor].
func (a *activityInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (result any, err error) {
	header := interceptor.Header(ctx)
	_, unknown := header[headerUnknown]
	ctx = context.WithValue(ctx, unknownKey{}, unknown)
	if payload, ok := header[headerAbout]; ok {
		var about []any
		if err := converter.GetDefaultDataConverter().FromPayload(payload, &about); err == nil {
			ctx = context.WithValue(ctx, aboutTheCallKey{}, about)
		}
	}
	defer func() {
		// The SDK, which logs a panic with its stack, does not know what it is about.
		if p := recover(); p != nil {
			activity.GetLogger(ctx).Error("an attempt of an activity panics", "error", fmt.Sprint(p))
			panic(p)
		}
	}()
	result, err = a.Next.ExecuteActivity(ctx, in)
	if err != nil && !errors.Is(err, activity.ErrResultPending) {
		activity.GetLogger(ctx).Error("an attempt of an activity fails", "error", err)
	}
	return result, err
}

type activityOutbound struct {
	interceptor.ActivityOutboundInterceptorBase
}

// GetLogger implements [interceptor.ActivityOutboundInterceptor].
func (o *activityOutbound) GetLogger(ctx context.Context) log.Logger {
	logger := o.Next.GetLogger(ctx)
	if about, ok := ctx.Value(aboutTheCallKey{}).([]any); ok {
		logger = log.With(logger, about...)
	}
	return logger
}

// metricUnregistered is what the SDK counts where nothing stands in.
const metricUnregistered = "temporal_unregistered_activity_invocation"

// unregistered stands in for each activity that is not registered. Without it the SDK
// has the call repeated as one that may succeed on another worker, and that is right
// only if the caller knows the activity: else nobody does.
func unregistered(ctx context.Context, _ converter.EncodedValues) (any, error) {
	name := activity.GetInfo(ctx).ActivityType.Name
	activity.GetMetricsHandler(ctx).Counter(metricUnregistered).Inc(1)
	if unknown, _ := ctx.Value(unknownKey{}).(bool); !unknown {
		return nil, temporal.NewApplicationError("the activity "+name+" is not registered with this worker, which may be of an older release",
			typeUnregistered+"Here")
	}
	return nil, temporal.NewNonRetryableApplicationError("the activity "+name+" is not registered: add it, or a pointer to the struct that has it, "+
		"to the activities that worker.Main or worker.Run is given, those of activities.All in this repository", typeUnregistered, nil)
}
