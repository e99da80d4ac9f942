package journal

import (
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// release takes the pages of the memory map out of the process. Those that are
// needed again come from the page cache. Without it the process seems to need
// as much memory as the file has bytes, because reading maps all around. tx must
// be open: it holds the map in place.
func release(tx *bolt.Tx) {
	// An error changes nothing but that appearance.
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, tx.DB().Info().Data, uintptr(max(tx.Size(), 0)), syscall.MADV_DONTNEED)
}
