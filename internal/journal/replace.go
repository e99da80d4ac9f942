package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"sentry-temporal/internal/telemetry"
)

// replace puts a new file in the place of the damaged one. The new one has each
// record that can be reached from a valid meta page and is whole; the damaged
// one stays, under another name. Stopped at any point, it can be repeated.
func (j *Journal) replace(found *damage) error {
	fresh := j.path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	defer os.Remove(fresh) // what is left of it after an error
	salvaged, lost, err := salvage(j.path, fresh)
	if err != nil {
		return fmt.Errorf("salvage from the damaged file: %w", err)
	}
	aside := j.path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Link(j.path, aside); err != nil {
		return fmt.Errorf("set the damaged file aside: %w", err)
	}
	if err := os.Rename(fresh, j.path); err != nil {
		return err
	}
	if err := j.dir.Sync(); err != nil {
		return err
	}
	j.log.Error("the journal was damaged: deliveries may be lost",
		keyPath, j.path, "set_aside", aside, "salvaged", salvaged, "unreadable", lost, telemetry.KeyError, found.Error())
	return nil
}

// salvage copies what is whole in the file at from to a new one at to. It
// returns how many records it copied and how many more it came across.
func salvage(from, to string) (salvaged, lost int, err error) {
	file, err := os.Open(from)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, 0, err
	}
	db, err := openFile(to, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.NoSync = true // there is one at the end

	tx, err := db.Begin(true)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, rollback(tx)) }()
	size := 0
	err = inspect(file, info.Size(), func(bucket []byte, seq uint64, value []byte) error {
		if _, err := whole(value); errors.Is(err, errDamagedRecord) {
			lost++
			return nil
		}
		if size += len(value); size > maxBatchBytes { // bounds the memory it takes
			size = 0
			if err := tx.Commit(); err != nil {
				return err
			}
			if tx, err = db.Begin(true); err != nil {
				return err
			}
		}
		if !bytes.Equal(bucket, doneBucket) {
			salvaged++
		}
		b := bucketsOf(tx)
		into := b.pending
		switch {
		case bytes.Equal(bucket, parkedBucket):
			into = b.parked
		case bytes.Equal(bucket, doneBucket):
			into = b.done
		}
		if err := into.Put(keyOf(seq), bytes.Clone(value)); err != nil {
			return err
		}
		return b.pending.SetSequence(max(seq, b.pending.Sequence()))
	})
	if broken := (*damage)(nil); err != nil && !errors.As(err, &broken) {
		return 0, 0, err
	}
	if err := tx.Commit(); err != nil {
		return 0, 0, err
	}
	return salvaged, lost, db.Sync()
}

// rollback ends a transaction that may have ended already.
func rollback(tx *bolt.Tx) error {
	if tx == nil || tx.DB() == nil {
		return nil
	}
	return tx.Rollback()
}
