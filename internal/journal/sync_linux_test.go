package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"sentry-temporal/internal/seglog"
)

// refuse has the kernel answer EIO to a system call, from now on and in all of
// this process, as if the disk could not be written. Nothing else shows whether
// the disk was asked: what is only in the page cache reads the same.
func refuse(call uint32) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EIO)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread() // the second call goes by what the first one set
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return errno
	}
	return nil
}

// needsSync is what a role prints that did something to its journal while the
// disk could not be synchronized.
func needsSync(err error) {
	if errors.Is(err, syscall.EIO) {
		err = syscall.EIO
	}
	fmt.Println(err)
}

func init() {
	roles["delivery without fsync"] = func(dir string) {
		j, err := Open(dir, Options{})
		check(err)
		check(appendTo(context.Background(), j, deliveryOf("a")))
		check(refuse(unix.SYS_FDATASYNC))
		needsSync(appendTo(context.Background(), j, deliveryOf("b")))
	}
	roles["file without fsync of its directory"] = func(dir string) {
		j, err := Open(dir, Options{})
		check(err)
		check(j.Close())
		check(refuse(unix.SYS_FSYNC)) // which is for directories
		_, err = Open(dir, Options{})
		needsSync(err)
	}
	roles["new directory without fsync of its parent"] = func(dir string) {
		check(refuse(unix.SYS_FSYNC))
		_, err := seglog.OpenDirectory(filepath.Join(dir, "new"))
		needsSync(err)
	}
}

func TestNothingIsTakenForDurableThatTheDiskHasNotConfirmed(t *testing.T) {
	for _, role := range []string{
		"delivery without fsync", "file without fsync of its directory", "new directory without fsync of its parent",
	} {
		t.Run(role, func(t *testing.T) {
			answer, err := child(t, role, t.TempDir()).Output()
			must(t, err)
			equal(t, string(answer), syscall.EIO.Error()+"\n")
		})
	}
}
