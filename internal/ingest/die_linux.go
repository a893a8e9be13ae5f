package ingest

import "syscall"

// dieWithParent has the kernel kill a program when this process dies, so that nobody writes into the folder of a job that
// is taken up again.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
