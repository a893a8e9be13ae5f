package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// keeper is a process that outlives the laboratory where that ends without tidying up, by a panic or by force: it is told of
// each namespace before it is made, and removes them all, with what runs in them, when it hears no more.
type keeper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// keeperDone is what the keeper is told when nothing is left to do.
const keeperDone = "done"

// startKeeper starts one, which also removes a folder.
func startKeeper(self, folder string) (*keeper, error) {
	k := &keeper{cmd: exec.Command(self, "keeper", folder)}
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is not for it
	var err error
	if k.in, err = k.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return k, k.cmd.Start()
}

// remember says that a namespace is about to be made.
func (k *keeper) remember(namespace string) error {
	_, err := fmt.Fprintln(k.in, namespace)
	return err
}

// dismiss says that all is gone.
func (k *keeper) dismiss() error {
	_, err := fmt.Fprintln(k.in, keeperDone)
	return errors.Join(err, k.in.Close(), k.cmd.Wait())
}

// keeperMain is the keeper's life.
func keeperMain(in io.Reader) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var made []string
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == keeperDone {
			return
		}
		made = append(made, lines.Text())
	}
	for _, ns := range made {
		_ = empty(ns) // the last may never have come to be
	}
	for _, ns := range made {
		_ = remove(ns)
	}
	if len(os.Args) > 2 && strings.Contains(os.Args[2], "essaim-lab-") {
		_ = removeFolder(os.Args[2])
	}
}

// empty ends what still runs in one of our namespaces: whatever is in it is ours.
func empty(namespace string) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	out, err := command(ctx, "", "ip", "netns", "pids", namespace)
	if err != nil {
		return err
	}
	for _, id := range strings.Fields(string(out)) {
		if n, err := strconv.Atoi(id); err == nil && n > 1 && n != os.Getpid() {
			_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended meanwhile
		}
	}
	return nil
}

// remove removes a namespace, and with it all links that end in it.
func remove(namespace string) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	_, err := command(ctx, "", "ip", "netns", "delete", namespace)
	return err
}

// removeFolder tries again for a second: a browser's helpers may still be writing as they end.
func removeFolder(dir string) (err error) {
	for range 20 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}
