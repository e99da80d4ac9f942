package seglog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Disk is the directory of a log, and all that the log asks of it. What was created,
// renamed or removed is durable once Sync has returned without an error.
type Disk interface {
	List() (names []string, err error)
	Create(name string, size int64) (File, error) // a new file, of this size and with all of its blocks
	Open(name string) (File, error)
	Rename(from, to string) error
	Link(from, to string) error
	Remove(name string) error
	Sync() error
}

// File is a file on a [Disk]. What was written is durable, at this size, once Sync has
// returned without an error.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Size() (int64, error)
	Allocate(size int64) error // more than it has
}

// ErrLocked means that a directory is open already, as a rule by another process.
var ErrLocked = errors.New("another process is using it")

// Directory is the [Disk] that there really is. It is locked until it is closed.
type Directory struct{ dir *os.File }

// OpenDirectory creates dir if it is missing and locks it.
func OpenDirectory(dir string) (Directory, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return Directory{}, err
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return Directory{}, err
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return Directory{}, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return Directory{}, errors.Join(err, f.Close())
	}
	return Directory{f}, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d Directory) path(name string) string { return filepath.Join(d.dir.Name(), name) }

// List implements [Disk].
func (d Directory) List() ([]string, error) {
	entries, err := os.ReadDir(d.dir.Name())
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Create implements [Disk].
func (d Directory) Create(name string, size int64) (File, error) {
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if size > 0 {
		err = allocate(f, size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return onDisk{f}, nil
}

// Open implements [Disk].
func (d Directory) Open(name string) (File, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
	return onDisk{f}, err
}

// Rename implements [Disk].
func (d Directory) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

// Link implements [Disk].
func (d Directory) Link(from, to string) error { return os.Link(d.path(from), d.path(to)) }

// Remove implements [Disk].
func (d Directory) Remove(name string) error { return os.Remove(d.path(name)) }

// Sync implements [Disk].
func (d Directory) Sync() error { return d.dir.Sync() }

// onDisk is a file that there really is.
type onDisk struct{ *os.File }

// Sync implements [File].
func (f onDisk) Sync() error { return datasync(f.File) }

// Allocate implements [File].
func (f onDisk) Allocate(size int64) error { return allocate(f.File, size) }

// Size implements [File].
func (f onDisk) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close lets others open the directory.
func (d Directory) Close() error { return d.dir.Close() }

// CheckDisk writes a file where a log in dir is or would be, syncs it and
// takes it away again, and returns the bytes that a log there finds: those
// that are free, and those of a log that is there, which it neither reads nor
// locks. They are -1 where this system does not tell. A directory that is missing
// is not made.
func CheckDisk(dir string) (bytes int64, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	var own int64
	files, _ := filepath.Glob(filepath.Join(dir, prefix+"*"+extension)) // the pattern is sound
	for _, path := range files {
		if info, err := os.Stat(path); err == nil {
			own += info.Size()
		}
	}
	for {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir) // the root is always there
	}
	if err := tryDisk(dir); err != nil {
		return 0, err
	}
	bytes, err = freeBytes(dir)
	if bytes >= 0 {
		bytes += own
	}
	return bytes, err
}

// tryDisk writes a file and syncs it and its directory, as commits do.
func tryDisk(dir string) error {
	f, err := os.CreateTemp(dir, ".check-")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()), syncDir(dir))
}

// fill appends zeros, for want of a faster way to have blocks.
func fill(f *os.File, size int64) error {
	at, err := f.Seek(0, io.SeekEnd)
	for zeros := make([]byte, 1<<20); err == nil && at < size; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
	}
	return err
}
