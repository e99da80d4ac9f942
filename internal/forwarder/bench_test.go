package forwarder

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

func init() {
	// Opens, prints the time it took in ms and the memory of the process in MB,
	// forwards all, and prints the most memory meanwhile.
	roles["backlog"] = func(dir string) {
		log := slog.New(slog.DiscardHandler)
		began := time.Now()
		j, err := journal.Open(dir, journal.Options{Log: log})
		check(err)
		fmt.Println("open-ms", time.Since(began).Milliseconds())
		fmt.Println("pending", j.Stats().Pending)
		runtime.GC()
		fmt.Println("anon-MB", memory("RssAnon"))
		fmt.Println("rss-MB", memory("VmRSS"))
		fmt.Println("peak-MB", memory("VmHWM"))
		began = time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		most := 0
		go func() {
			defer cancel()
			for range time.Tick(10 * time.Millisecond) {
				most = max(most, memory("VmRSS"))
				if j.Stats().Pending == 0 {
					return
				}
			}
		}()
		none := func(context.Context) ([]starter.Run, error) { return nil, nil }
		New(j, func(sentry.Envelope, []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
			return none, nil
		}, Options{Log: log}).Run(ctx)
		fmt.Println("forward-ms", time.Since(began).Milliseconds())
		fmt.Println("forward-rss-MB", most)
		check(j.Close())
	}
}

// memory returns a value of /proc/self/status, or 0 where there is none.
func memory(name string) int {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kb >> 10
		}
	}
	return 0
}

// BenchmarkBacklog measures a process that starts with 100,000 deliveries of
// 2 KiB pending, of 10 integrations with 100 projects each:
//
//	go test -run - -bench Backlog -benchtime 1x ./internal/forwarder/
func BenchmarkBacklog(b *testing.B) {
	const n = 100_000
	body := sentry.Body(strings.Repeat("x", 2<<10))
	for range b.N {
		dir := b.TempDir()
		j := openJournal(b, dir, journal.Options{})
		var next atomic.Int64
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() {
				for i := next.Add(1); i <= n; i = next.Add(1) {
					env := deliveryOf(fmt.Sprintf("%032x", i))
					env.IntegrationID = fmt.Sprintf("integration%d", i%10)
					env.Headers["sentry-hook-timestamp"] = "1733337600"
					env.Headers["user-agent"] = "sentry/26.7.0 (https://sentry.io)"
					env.Body = body
					if err := appendTo(context.Background(), j, env, fmt.Sprintf("project%d", i/10%100)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		must(b, j.Close())
		b.ResetTimer()
		answer, err := child(b, "backlog", dir).Output()
		must(b, err)
		contains(b, string(answer), fmt.Sprint("pending ", n))
		for line := range strings.Lines(string(answer)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				b.ReportMetric(v, name)
			}
		}
	}
}
