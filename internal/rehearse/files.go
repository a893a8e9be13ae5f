package rehearse

import (
	"fmt"
	"net"
	"syscall"
)

// What a native viewer's sockets are: one for each address of this machine to each of its neighbours, which are about so
// many in a crowd, and those to the service.
const (
	neighbours   = 24
	serviceFiles = 8
	ownFiles     = 64 // the process's own
)

// viewersFor is how many native viewers a process may have that may open so many files, on a machine with so many addresses.
func viewersFor(files uint64, addresses int) int {
	free := max(int64(min(files, 1<<40))-ownFiles, 0)
	alone := int64(max(addresses, 1))
	if n := free / (neighbours*alone + serviceFiles); n > neighbours {
		return int(min(n, ViewersMax))
	}
	n := int64(1) // a small crowd: everyone is everyone's neighbour
	for n < neighbours+1 && (n+1)*(n*alone+serviceFiles) <= free {
		n++
	}
	return int(n)
}

// checkFiles refuses a crowd for which this process may not open enough files: viewers who cannot reach one another
// would look like a fault of the service.
func checkFiles(viewers int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil // then what happens will tell
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	if n := viewersFor(limit.Cur, len(addresses)); viewers > n {
		return fmt.Errorf("%d viewers need more open files than the %d that this process may have: raise the limit (ulimit -n), or ask for at most %d viewers here", viewers, limit.Cur, n)
	}
	return nil
}
