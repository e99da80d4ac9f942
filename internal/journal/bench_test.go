package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// BenchmarkAppend measures appends next to what the disk can do at all, one
// write and one fsync for each delivery:
//
//	go test -run - -bench Append ./internal/journal/
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{2 << 10, 33 << 10} {
		body := strings.Repeat("x", size)
		for _, callers := range []int{1, 16, 200} {
			name := fmt.Sprintf("%dKiB/%d", size>>10, callers)
			b.Run("journal/"+name, func(b *testing.B) {
				j := openJournal(b, b.TempDir(), Options{MaxBytes: 8 << 30})
				concurrently(b, callers, func(i int64) error {
					return j.Append(context.Background(), backlogged(i, body))
				})
			})
			b.Run("fsync/"+name, func(b *testing.B) {
				file, err := os.Create(filepath.Join(b.TempDir(), "log"))
				must(b, err)
				defer file.Close()
				var mu sync.Mutex
				concurrently(b, callers, func(int64) error {
					mu.Lock()
					defer mu.Unlock()
					if _, err := file.WriteString(body); err != nil {
						return err
					}
					return file.Sync()
				})
			})
		}
	}
}

func concurrently(b *testing.B, callers int, do func(i int64) error) {
	var n atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range callers {
		group.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

func backlogged(i int64, body string) sentry.Envelope {
	id := fmt.Sprintf("%032x", i)
	env := deliveryOf(id)
	env.Headers = map[string]string{
		"sentry-hook-resource": "issue", "request-id": id, "sentry-hook-timestamp": "1733337600", "user-agent": "sentry/26.7.0 (https://sentry.io)",
	}
	env.Body = sentry.Body(body)
	return env
}

func init() {
	// Opens, prints the time it took in ms and the memory of the process in MB,
	// forwards all, and prints the most memory meanwhile.
	roles["backlog"] = func(dir string) {
		began := time.Now()
		j, err := Open(dir, Options{})
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
		NewForwarder(j, func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, nil }, ForwarderOptions{}).Run(ctx)
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
// 2 KiB pending:
//
//	go test -run - -bench Backlog -benchtime 1x ./internal/journal/
func BenchmarkBacklog(b *testing.B) {
	const n = 100_000
	body := strings.Repeat("x", 2<<10)
	for range b.N {
		dir := b.TempDir()
		j := openJournal(b, dir, Options{})
		var next atomic.Int64
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() {
				for i := next.Add(1); i <= n; i = next.Add(1) {
					if err := j.Append(context.Background(), backlogged(i, body)); err != nil {
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
