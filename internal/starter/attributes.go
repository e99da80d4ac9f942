package starter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"sentry-temporal/internal/telemetry"
)

// attributeRecheck is how long a namespace that lacks attributes is not asked
// again.
const attributeRecheck = time.Minute

// registered knows which of [Attributes] a namespace takes: a start with any
// other would fail.
type registered struct {
	namespace string
	client    client.Client
	log       *slog.Logger

	mu     sync.Mutex
	asked  time.Time
	usable map[string]bool
	warned string // the warning that was logged last
}

// get returns which attributes can be used. It asks Temporal the first time,
// and again every minute while one is missing. It fails only when Temporal does
// not answer.
func (r *registered) get(ctx context.Context) (map[string]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.usable) == len(Attributes) || !r.asked.IsZero() && time.Since(r.asked) < attributeRecheck {
		return r.usable, nil
	}
	lacks, err := lackingAttributes(ctx, r.client, r.namespace)
	if unreachable(err) {
		if !r.asked.IsZero() {
			return r.usable, nil
		}
		return nil, fmt.Errorf("list the search attributes of namespace %s: %w", r.namespace, err)
	}
	r.asked = time.Now()
	r.usable = map[string]bool{}
	warning := lacks.String()
	if err != nil { // Temporal does not tell, for example because we may not ask
		warning = err.Error()
	} else {
		for _, name := range Attributes {
			if !slices.Contains(lacks.absent, name) && !slices.Contains(lacks.otherType, name) {
				r.usable[name] = true
			}
		}
	}
	if warning != "" && warning != r.warned {
		r.log.WarnContext(ctx, "runs cannot be found by some search attributes: the setup command adds them",
			telemetry.KeyNamespace, r.namespace, telemetry.KeyReason, warning, "command", AttributesCommand(r.namespace))
	}
	r.warned = warning
	return r.usable, nil
}

// forget has the next get ask again.
func (r *registered) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.usable = time.Time{}, nil
}

// unreachable reports whether err says that Temporal may answer later.
func unreachable(err error) bool {
	if err == nil {
		return false
	}
	_, unavailable := errors.AsType[*serviceerror.Unavailable](err)
	_, deadline := errors.AsType[*serviceerror.DeadlineExceeded](err)
	_, exhausted := errors.AsType[*serviceerror.ResourceExhausted](err)
	_, canceled := errors.AsType[*serviceerror.Canceled](err)
	_, namespace := errors.AsType[*serviceerror.NamespaceNotFound](err)
	return unavailable || deadline || exhausted || canceled || namespace ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// lacking is which of [Attributes] a namespace cannot take, and why.
type lacking struct{ absent, otherType []string }

// String says what is lacking; it is empty when nothing is.
func (l lacking) String() string {
	var parts []string
	if len(l.absent) > 0 {
		parts = append(parts, "missing: "+strings.Join(l.absent, ", "))
	}
	if len(l.otherType) > 0 {
		parts = append(parts, "of another type than Keyword: "+strings.Join(l.otherType, ", "))
	}
	return strings.Join(parts, "; ")
}

func lackingAttributes(ctx context.Context, c client.Client, namespace string) (lacking, error) {
	var l lacking
	list, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return l, err
	}
	for _, name := range Attributes {
		switch kind, there := list.GetCustomAttributes()[name]; {
		case !there:
			l.absent = append(l.absent, name)
		case kind != enumspb.INDEXED_VALUE_TYPE_KEYWORD:
			l.otherType = append(l.otherType, name)
		}
	}
	return l, nil
}

// AttributesCommand returns the Temporal CLI's command that adds [Attributes] to
// a namespace of an own cluster.
func AttributesCommand(namespace string) string {
	var b strings.Builder
	b.WriteString("temporal operator search-attribute create --namespace " + namespace)
	for _, name := range Attributes {
		b.WriteString(" --name " + name + " --type Keyword")
	}
	return b.String()
}

// AddAttributes adds those of [Attributes] that are missing to the namespace of
// each integration, waits until they can be used and returns what it added, by
// namespace. It does not change one that is there with another type: that is an
// error.
func (c *Connections) AddAttributes(ctx context.Context) (map[string][]string, error) {
	added := map[string][]string{}
	for namespace, cl := range c.clients {
		names, err := addAttributes(ctx, cl, namespace)
		if err != nil {
			return added, fmt.Errorf("add search attributes to namespace %s: %w", namespace, err)
		}
		added[namespace] = names
	}
	return added, nil
}

func addAttributes(ctx context.Context, c client.Client, namespace string) (added []string, err error) {
	lacks, err := lackingAttributes(ctx, c, namespace)
	switch {
	case err != nil:
		return nil, err
	case len(lacks.otherType) > 0:
		return nil, errors.New(lacks.String())
	case len(lacks.absent) == 0:
		return nil, nil
	}
	request := &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: map[string]enumspb.IndexedValueType{}}
	for _, name := range lacks.absent {
		request.SearchAttributes[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	}
	if _, err := c.OperatorService().AddSearchAttributes(ctx, request); err != nil {
		return nil, err
	}
	added = lacks.absent
	for { // the servers take some seconds to know
		lacks, err := lackingAttributes(ctx, c, namespace)
		if err != nil {
			return nil, err
		}
		if lacks.String() == "" {
			return added, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
