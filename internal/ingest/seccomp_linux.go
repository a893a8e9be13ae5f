package ingest

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"
)

// An arch is what a filter must know of a processor: how its system calls are told from those of its other modes, and
// which old calls only it has.
type arch struct {
	audit uint32
	alien uint32 // calls from here on belong to another mode, zero for none
	old   []uint32
}

var archs = map[string]arch{
	"amd64":   {unix.AUDIT_ARCH_X86_64, 0x40000000, []uint32{57, 58, 134, 172, 173}}, // fork, vfork, uselib, iopl, ioperm
	"arm64":   {unix.AUDIT_ARCH_AARCH64, 0, nil},
	"riscv64": {unix.AUDIT_ARCH_RISCV64, 0, nil},
}

// forbidden are the calls that no reader of films needs: sockets, other processes, mounts and namespaces, keys, modules,
// and the corners of the kernel in which holes are found. open_tree and what follows are numbered alike everywhere.
var forbidden = []uint32{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT4,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_OPEN,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_FANOTIFY_INIT, unix.SYS_QUOTACTL, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_MEMFD_SECRET,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_ACCT,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_SYSLOG, unix.SYS_VHANGUP, unix.SYS_PERSONALITY, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES,
}

// filter is a seccomp program for bubblewrap: the forbidden calls fail with EPERM, and a process can make threads but no
// process. Nil where this processor's calls are not known.
func filter() []byte {
	a, ok := archs[runtime.GOARCH]
	if !ok {
		return nil
	}
	const (
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		atLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		bits    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		give    = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data; of the first argument the low half, on little-endian processors.
		callAt, archAt, flagsAt = 0, 4, 16
		refuse                  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
		missing                 = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	)
	var p []byte
	add := func(code uint16, jt, jf uint8, k uint32) {
		p = binary.LittleEndian.AppendUint16(p, code)
		p = append(p, jt, jf)
		p = binary.LittleEndian.AppendUint32(p, k)
	}
	add(load, 0, 0, archAt)
	add(equal, 1, 0, a.audit)
	add(give, 0, 0, unix.SECCOMP_RET_KILL_PROCESS)
	add(load, 0, 0, callAt)
	if a.alien != 0 {
		add(atLeast, 0, 1, a.alien)
		add(give, 0, 0, refuse)
	}
	// clone3's flags lie in memory, where no filter sees them; without it the C library takes clone.
	add(equal, 0, 1, unix.SYS_CLONE3)
	add(give, 0, 0, missing)
	for _, n := range append(a.old, forbidden...) {
		add(equal, 0, 1, n)
		add(give, 0, 0, refuse)
	}
	add(equal, 0, 3, unix.SYS_CLONE)
	add(load, 0, 0, flagsAt)
	add(bits, 1, 0, unix.CLONE_THREAD)
	add(give, 0, 0, refuse)
	add(give, 0, 0, unix.SECCOMP_RET_ALLOW)
	return p
}
