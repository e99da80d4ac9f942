package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lock creates dir if it is missing and locks it until the result is closed. A
// lock on the directory, unlike bbolt's own on the file, also covers putting
// another file in its place.
func lock(dir string) (*os.File, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// load makes the index from the file, if there is one.
func (j *Journal) load() error {
	j.index = newIndex()
	clear(j.held)
	j.memory = memory{ran: make(map[digest]ran)}
	file, err := os.Open(j.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return nil // a new file, for bbolt
	}
	return inspect(file, info.Size(), func(bucket []byte, seq uint64, value []byte) error {
		switch {
		case bytes.Equal(bucket, parkedBucket):
			j.index.park(seq, parkedEntryOf(value))
			return nil
		case bytes.Equal(bucket, doneBucket):
			if at, r, err := unsealDone(value); err == nil { // else it is forgotten
				j.memory.add(at, r, seq)
			}
			return nil
		}
		e, err := entryOf(value)
		if err != nil { // it is parked when its turn comes
			e = entry{received: time.Now(), size: int64(len(value))}
		}
		j.index.add(seq, e)
		j.held[e.of.Integration] += e.size
		return nil
	})
}

// openFile opens the bbolt file at path, which is sound or new. Mapping all
// that it may grow to at once takes address space only, and spares mapping it
// again in the middle of a commit.
func openFile(path string, size int64) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         time.Nanosecond, // do not wait for the lock: we hold the directory's
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		PageSize:        pageSize,
		InitialMmapSize: int(size),
		NoStatistics:    true,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, err
	}
	complete := false
	err = db.View(func(tx *bolt.Tx) error {
		release(tx) // opening reads all of it
		complete = tx.Bucket(pendingBucket) != nil && tx.Bucket(parkedBucket) != nil && tx.Bucket(doneBucket) != nil
		return nil
	})
	if err == nil && !complete {
		err = db.Update(func(tx *bolt.Tx) error {
			_, err1 := tx.CreateBucketIfNotExists(pendingBucket)
			_, err2 := tx.CreateBucketIfNotExists(parkedBucket)
			_, err3 := tx.CreateBucketIfNotExists(doneBucket)
			return errors.Join(err1, err2, err3)
		})
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// handle returns the open file. If it was given up it is opened again.
func (j *Journal) handle() (*bolt.DB, error) {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	if j.file != nil {
		return j.file, nil
	}
	select {
	case <-j.stopped:
		return nil, ErrClosed
	default:
	}
	db, err := openFile(j.path, j.maxBytes)
	if err != nil {
		return nil, fmt.Errorf("open journal again: %w", err)
	}
	j.file = db
	return db, nil
}

// giveUp closes db, which does not work any more.
func (j *Journal) giveUp(db *bolt.DB) {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	if j.file == db {
		j.file = nil
		_ = db.Close() // what there is to say the next opening says
	}
}

// view reads.
func (j *Journal) view(read func(b buckets) error) error {
	db, err := j.handle()
	if err != nil {
		return err
	}
	tx, err := db.Begin(false)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it is open
	defer release(tx)
	return guard(func() error { return read(bucketsOf(tx)) })
}

// guard makes an error of a panic in read. A page that the disk does not give
// faults in the memory map: that need not be the end of the process.
func guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read journal: %v", p)
		}
	}()
	return read()
}

// buckets are the buckets within a transaction.
type buckets struct {
	pending, parked, done *bolt.Bucket
	written               *written // nil when reading
}

// written counts the records of a commit.
type written struct{ added, deleted int }

func bucketsOf(tx *bolt.Tx) buckets {
	b := buckets{pending: tx.Bucket(pendingBucket), parked: tx.Bucket(parkedBucket), done: tx.Bucket(doneBucket)}
	// Sequences only grow: leave no room in pages for any between.
	b.pending.FillPercent = 1
	b.parked.FillPercent = 1
	b.done.FillPercent = 1
	return b
}

func (b buckets) put(bucket *bolt.Bucket, seq uint64, record []byte) error {
	if bucket == b.pending {
		b.written.added++
	}
	return bucket.Put(keyOf(seq), record)
}

func (b buckets) delete(bucket *bolt.Bucket, seq uint64) error {
	if bucket == b.pending {
		b.written.deleted++
	}
	return bucket.Delete(keyOf(seq))
}

func keyOf(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }
