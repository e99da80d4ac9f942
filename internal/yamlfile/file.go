package yamlfile

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"
)

// pollEvery is how often a file is read again.
const pollEvery = time.Second

// Read reads a little more of the file at path than [Reader.List] takes. It waits for
// nobody: a pipe is no file.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path) // to open a pipe waits for ever
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, MaxFile+1))
}

// Digest tells what [Read] returned from anything else that it may return.
type Digest [sha256.Size]byte

// DigestOf returns the digest of what [Read] returned.
func DigestOf(text []byte, err error) Digest {
	if err != nil {
		text = append([]byte("\x00"), err.Error()...) // no YAML
	}
	return sha256.Sum256(text)
}

// Follow reads the file at path again and again until ctx is done, and calls take with
// what [Read] returns whenever that is something else than before; opened is what it
// was at first. It is the content that counts: however a file is put in the place of
// another, and whatever its time is.
//
// What is new counts when it was read twice, so that a file which is being written
// is not taken for whole.
func Follow(ctx context.Context, path string, opened Digest, take func(text []byte, err error)) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	now, last := opened, opened // of what was read, and of what was taken
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		text, err := Read(path)
		before := now
		if now = DigestOf(text, err); now != before || now == last {
			continue
		}
		last = now
		take(text, err)
	}
}
