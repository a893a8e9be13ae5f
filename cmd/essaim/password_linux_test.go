package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo terminal: the side of who types, and the program's.
func terminal(t *testing.T) (typing, in *os.File) {
	t.Helper()
	typing, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	t.Cleanup(func() { typing.Close() })
	if err := unix.IoctlSetPointerInt(int(typing.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(typing.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	in, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	t.Cleanup(func() { in.Close() })
	return typing, in
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Error(err)
		return false
	}
	return s.Lflag&unix.ECHO != 0
}

func TestPasswordIsTypedUnseenAndTwice(t *testing.T) {
	typing, in := terminal(t)
	if _, err := io.WriteString(typing, "correct horse\ncorrect horse\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := newPassword(t.Context(), in, io.Discard); err != nil || got != "correct horse" || !echoes(t, in) {
		t.Errorf("%q, %v, echo %v", got, err, echoes(t, in))
	}
}

func TestInterruptEndsThePromptAndRestoresTheTerminal(t *testing.T) {
	typing, in := terminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		defer interrupt()
		for ctx.Err() == nil && echoes(t, in) { // until the prompt has turned it off
			runtime.Gosched()
		}
	}()
	var asked strings.Builder
	if _, err := readPassword(ctx, in, &asked); err == nil || !echoes(t, in) || !strings.HasSuffix(asked.String(), "\n") {
		t.Errorf("%v, echo %v, asked %q", err, echoes(t, in), asked.String())
	}
	if _, err := io.WriteString(typing, "\n"); err != nil { // lets the reader go
		t.Fatal(err)
	}
}
