package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// inside runs f on a thread of its own in a network namespace. The thread ends with it, so that nothing else of this program ever
// runs there.
func inside(namespace string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: Go ends the thread with the goroutine
		ns, err := os.Open("/run/netns/" + namespace)
		if err != nil {
			result <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter %s: %w", namespace, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// setting writes a sysctl of the namespace that the calling thread is in: "net/ipv4/ip_forward".
func setting(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0)
}

// openTap makes a TAP interface in a namespace. It is there as long as the file is open; each Read and Write is one frame.
func openTap(namespace, name string) (file *os.File, err error) {
	err = inside(namespace, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq(name)
		if err == nil {
			request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("make tap %s: %w", strings.TrimSpace(name), err)
		}
		file = os.NewFile(uintptr(fd), name)
		return nil
	})
	return file, err
}
