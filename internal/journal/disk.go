package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// disk is the directory of a journal, and all that the journal asks of it. What was
// created, renamed or removed is durable once sync has returned without an error, and
// what was written to a file once that file's Sync has.
type disk interface {
	list() (names []string, err error)
	create(name string, size int64) (file, error) // a new file, of this size and with all of its blocks
	open(name string) (file, error)
	rename(from, to string) error
	remove(name string) error
	sync() error
}

// file is a file on a [disk].
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error // fdatasync
	Size() (int64, error)
}

// directory is the disk that there really is. The file is locked until it is closed.
type directory struct{ *os.File }

// openDirectory creates dir if it is missing and locks it.
func openDirectory(dir string) (directory, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return directory{}, err
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return directory{}, err
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return directory{}, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return directory{}, errors.Join(err, f.Close())
	}
	return directory{f}, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d directory) path(name string) string { return filepath.Join(d.Name(), name) }

func (d directory) list() ([]string, error) {
	entries, err := os.ReadDir(d.Name())
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (d directory) create(name string, size int64) (file, error) {
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := allocate(f, size); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return onDisk{f}, nil
}

func (d directory) open(name string) (file, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
	return onDisk{f}, err
}

func (d directory) rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d directory) remove(name string) error     { return os.Remove(d.path(name)) }
func (d directory) sync() error                  { return d.Sync() }

// onDisk is a file that there really is.
type onDisk struct{ *os.File }

func (f onDisk) Sync() error { return datasync(f.File) }

func (f onDisk) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// CheckDisk writes a file where a journal in dir is or would be, syncs it and
// takes it away again, and returns the bytes that a journal there finds: those
// that are free, and those of a journal that is there, which it neither reads nor
// locks. They are -1 where this system does not tell. A directory that is missing
// is not made.
func CheckDisk(dir string) (bytes int64, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	var own int64
	files, _ := filepath.Glob(filepath.Join(dir, "journal-*"+extension)) // the pattern is sound
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

// fill writes zeros, for want of a faster way to have blocks.
func fill(f *os.File, size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
