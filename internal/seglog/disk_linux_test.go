package seglog

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A log counts what its own file takes as room that it has.
func TestTheRoomOfALogIsWhatIsFreeAndItsOwnFiles(t *testing.T) {
	dir := t.TempDir()
	free, err := CheckDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	if told := int64(disk.Bavail) * disk.Bsize; free < told/2 || free/2 > told {
		t.Errorf("%d bytes are free, and %d are told of", told, free)
	}
	const size = 1 << 42 // of a file with a hole: more than is free
	file, err := os.Create(filepath.Join(dir, (&Segment{number: 1, salt: 2}).name()))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if bytes, err := CheckDisk(dir); err != nil || bytes < size || bytes > size+2*free {
		t.Errorf("with a file of %d there are %d bytes, %v", size, bytes, err)
	}
}
