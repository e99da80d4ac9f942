package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sentry-temporal/internal/sentry"
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
					return appendTo(context.Background(), j, numbered(i, body))
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

func numbered(i int64, body string) sentry.Envelope {
	id := fmt.Sprintf("%032x", i)
	env := deliveryOf(id)
	env.Headers = map[string]string{
		"sentry-hook-resource": "issue", "request-id": id, "sentry-hook-timestamp": "1733337600", "user-agent": "sentry/26.7.0 (https://sentry.io)",
	}
	env.Body = sentry.Body(body)
	return env
}
