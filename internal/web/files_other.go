//go:build !unix

package web

// maxFiles returns 0: there is no such limit here.
func maxFiles() int { return 0 }
