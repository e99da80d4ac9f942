package journal

import (
	"errors"
	"os"
	"path/filepath"
)

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
	if info, err := os.Stat(filepath.Join(dir, fileName)); err == nil {
		own = info.Size()
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
	_, err = f.Write(make([]byte, pageSize))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()), syncDir(dir))
}
