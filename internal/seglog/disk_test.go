package seglog

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestADiskIsTriedWithoutATrace(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"a directory that is there": dir,
		"one that is missing":       filepath.Join(dir, "not", "there", "yet"),
	} {
		bytes, err := CheckDisk(path)
		if err != nil || runtime.GOOS == "linux" && bytes <= 0 {
			t.Errorf("%s has %d bytes, %v", name, bytes, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left is %v, %v", left, err)
	}
}

func TestADiskThatCannotHoldALogIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "journal")} {
		if _, err := CheckDisk(path); err == nil {
			t.Errorf("%s is taken for one", path)
		}
	}
}

func TestADiskIsTriedBesideALogThatIsOpen(t *testing.T) {
	dir := t.TempDir()
	kept, err := OpenDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CheckDisk(dir); err != nil {
		t.Error(err)
	}
	if names, err := kept.List(); err != nil || len(names) > 0 {
		t.Errorf("it is disturbed: %v %v", names, err)
	}
	if err := kept.Close(); err != nil {
		t.Error(err)
	}
}
