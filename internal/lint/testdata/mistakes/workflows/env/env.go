package env

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/config"
	"sentry-temporal/triage"
)

var Workflow = triage.New("read_the_environment", run, triage.On("sentry.issue.created"), triage.When(isOurs))

var Mute = triage.New("mute", (&muter{}).run, triage.On("sentry.issue.created"),
	triage.When(func(d triage.Delivery) bool {
		return d.Level == "fatal" && time.Now().Hour() < 8 // want "time.Now is used here, and the condition of When .*env.go:19. has to be pure"
	}))

var channel = os.Getenv("CHANNEL") // want "os.Getenv is used here, and the workflow read_the_environment .*env.go:16. .*have an activity do it"

var room string

func init() {
	room = os.Getenv("ROOM") // want "os.Getenv is used here"
}

var unused = os.Getenv("UNUSED")

func run(ctx workflow.Context, env triage.Envelope) (string, error) {
	if _, ok := os.LookupEnv("OFF"); ok { // want "os.LookupEnv is used here, and the workflow read_the_environment"
		return "", nil
	}
	_, err := triage.Do(ctx, activity, channel+room) // want "activity activity is not registered.*add `env.activity,`"
	return helper() + now(context.Background()), err
}

func helper() string {
	text, err := os.ReadFile("rules.yaml") // want "os.ReadFile is used here, and the workflow read_the_environment"
	if os.IsNotExist(err) {
		return ""
	}
	return string(text) + os.Args[0] // want "os.Args is used here"
}

// activity may do all of it. It is not registered.
func activity(context.Context, string) (string, error) { return os.Getenv("HOST"), nil }

type muter struct{ until time.Time }

func (m *muter) run(workflow.Context, triage.Envelope) (string, error) {
	cfg, err := config.LoadWorker() // want "config.LoadWorker is used here, and the workflow mute"
	return cfg.AdminAddr, err
}

func isOurs(d triage.Delivery) bool {
	_, err := net.LookupHost(d.Project) // want "net.LookupHost is used here, and the condition"
	return err == nil && sampled()
}

func sampled() bool { return rand.IntN(10) == 0 } // want "rand.IntN is used here, and the condition"

// now is no activity where it is called like this.
func now(context.Context) string { return time.Now().String() } // want "time.Now is used here, and the workflow read_the_environment"
