package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// limits of one program. Zero is none.
type limits struct {
	wall   time.Duration // from start to end
	idle   time.Duration // without a word on stdout or of progress
	cpu    time.Duration // processor time
	memory int64         // bytes of address space
	file   int64         // bytes of each file that it writes
}

const (
	tryWall = 20 * time.Second
	// arenas bounds the C library's heaps, each of which reserves 64 MiB of addresses.
	arenas = "4"
	// filesMax bounds open files.
	filesMax = 256
	// threadsMax bounds processes and threads; the kernel does not hold root to it, the filter allows nobody processes.
	threadsMax = 1024
	// killWait is how long a killed program's pipes may stay open.
	killWait = 5 * time.Second
)

// options are the limits in prlimit's words. Hard and soft are one: what runs over is killed.
func (l limits) options() []string {
	o := []string{"--core=0", "--nofile=" + strconv.Itoa(filesMax), "--nproc=" + strconv.Itoa(threadsMax)}
	if l.cpu > 0 {
		o = append(o, fmt.Sprintf("--cpu=%d", int64(l.cpu.Seconds()+0.999)))
	}
	if l.memory > 0 {
		o = append(o, fmt.Sprintf("--as=%d", l.memory))
	}
	if l.file > 0 {
		o = append(o, fmt.Sprintf("--fsize=%d", l.file))
	}
	return o
}

// What ends a program's run beside itself.
var (
	errSlow    = errors.New("it took too long")
	errStill   = errors.New("it stood still for too long")
	errCPU     = errors.New("it took more processor time than a film may")
	errMemory  = errors.New("it took more memory than a film may")
	errOutput  = errors.New("it made more output than a film may")
	errKilled  = errors.New("ffmpeg was killed")
	errCrashed = errors.New("ffmpeg crashed")
	// ErrDiskFull is returned when the disk has no room for what is made of a film.
	ErrDiskFull = errors.New("the disk is full: make room")
)

// A programError is what a program said when it failed of itself.
type programError struct{ messages string }

func (e *programError) Error() string { return strings.Trim(because(e.messages), " ()") }

// alive tells a watch that the program did something, and keeps why its output was refused.
type alive struct {
	w   io.Writer
	at  *atomic.Int64
	err error
}

// Write hands p on.
func (a *alive) Write(p []byte) (n int, err error) {
	a.at.Store(time.Now().UnixNano())
	if a.w == nil {
		return len(p), nil
	}
	n, a.err = a.w.Write(p)
	return n, a.err
}

// run runs a program to its end, in the sandbox unless there is none. Its error is one clause in plain words: ctx's own, one
// of those above, or a *programError.
func (t tools) run(ctx context.Context, c *call) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var extra, ours []*os.File
	defer func() {
		for _, f := range append(extra, ours...) {
			f.Close()
		}
	}()
	pipe := func() (*os.File, *os.File, error) {
		r, w, err := os.Pipe()
		if err != nil {
			err = fmt.Errorf("make a pipe: %w", err)
		}
		return r, w, err
	}
	var said *os.File
	if c.progress != nil {
		r, w, err := pipe()
		if err != nil {
			return err
		}
		said, extra, ours = r, append(extra, w), append(ours, r)
	}
	filterAt := 3 + len(extra)
	if t.bwrap != "" {
		r, w, err := pipe()
		if err != nil {
			return err
		}
		extra = append(extra, r)
		_, err = w.Write(filter()) // a pipe holds far more
		w.Close()
		if err != nil {
			return fmt.Errorf("hand over the filter: %w", err)
		}
	}
	name, args := t.command(c, filterAt)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = killWait
	cmd.ExtraFiles = extra
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "MALLOC_ARENA_MAX=" + arenas}
	cmd.SysProcAttr = dieWithParent()
	var at atomic.Int64
	at.Store(time.Now().UnixNano())
	msg := limited{max: messagesMax}
	cmd.Stderr = &msg
	sink := &alive{w: c.stdout, at: &at}
	cmd.Stdout = sink
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	for _, f := range extra {
		f.Close()
	}
	extra = nil
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		if said == nil {
			return
		}
		for lines := bufio.NewScanner(io.TeeReader(said, &alive{at: &at})); lines.Scan(); {
			c.progress(lines.Text())
		}
	}()
	over := make(chan struct{})
	go c.limits.watch(began, &at, over, cancel)
	err := cmd.Wait()
	close(over)
	if said != nil {
		_ = said.SetReadDeadline(time.Now().Add(killWait)) // whoever else holds the other end
	}
	<-heard
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if sink.err != nil {
		return sink.err
	}
	film, _ := t.see(c.film, "")
	words := strings.ReplaceAll(msg.String(), film, "")
	if c.messages != nil {
		*c.messages = words
	}
	if err == nil {
		return nil
	}
	return c.limits.verdict(cmd.ProcessState, err, words)
}

// watch ends a program that runs too long or does nothing.
func (l limits) watch(began time.Time, at *atomic.Int64, over <-chan struct{}, end context.CancelCauseFunc) {
	if l.wall == 0 && l.idle == 0 {
		return
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case now := <-tick.C:
			switch {
			case l.wall > 0 && now.Sub(began) > l.wall:
				end(errSlow)
				return
			case l.idle > 0 && now.Sub(time.Unix(0, at.Load())) > l.idle:
				end(errStill)
				return
			}
		}
	}
}

// verdict says in words why a program failed.
func (l limits) verdict(state *os.ProcessState, err error, messages string) error {
	if state == nil {
		return err
	}
	signal := syscall.Signal(0)
	if s, ok := state.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		signal = s.Signal()
	} else if code := state.ExitCode(); code > 128 && code < 160 {
		signal = syscall.Signal(code - 128) // as bubblewrap tells it
	}
	lower := strings.ToLower(messages)
	says := func(signs ...string) bool {
		for _, sign := range signs {
			if strings.Contains(lower, sign) {
				return true
			}
		}
		return false
	}
	switch {
	case says("no space left on device"):
		return ErrDiskFull
	case signal == syscall.SIGXFSZ || says("file too large"):
		return errOutput
	case signal == syscall.SIGXCPU || signal == syscall.SIGKILL && l.cpu > 0 && state.SystemTime()+state.UserTime() >= l.cpu-time.Second:
		return errCPU
	case says("max_streams", "too many streams"):
		return fmt.Errorf("it has more than %d streams", streamsMax)
	case says("max_pixels", "picture size", "exceeds specified max pixel"):
		return errors.New("its picture is larger than a film's may be")
	case says("cannot allocate memory", "failed to allocate", "error allocating", "malloc of size", "out of memory", "bad_alloc", "failed to map segment"):
		return errMemory
	case signal == syscall.SIGSEGV, signal == syscall.SIGABRT, signal == syscall.SIGBUS, signal == syscall.SIGILL, signal == syscall.SIGFPE:
		return fmt.Errorf("%w (signal %d)", errCrashed, int(signal))
	case signal == syscall.SIGSYS:
		return fmt.Errorf("%w: it asked the kernel for what no film needs", errKilled)
	case signal != 0:
		return fmt.Errorf("%w (signal %d)", errKilled, int(signal))
	case strings.TrimSpace(messages) == "":
		return fmt.Errorf("it ended with status %d and without a word", state.ExitCode())
	}
	return &programError{messages}
}

// because is the last message of a program, as the tail of a sentence, without the name that it repeats.
func because(messages string) string {
	lines := strings.FieldsFunc(messages, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return ""
	}
	last := strings.TrimSpace(lines[len(lines)-1])
	last = strings.TrimSpace(strings.TrimPrefix(last, "file:"))
	last = strings.TrimSpace(strings.TrimPrefix(last, ":"))
	if last == "" {
		return ""
	}
	if len(last) > 200 {
		last = strings.ToValidUTF8(last[:200], "") + "…"
	}
	return " (" + strings.ToLower(last[:1]) + last[1:] + ")"
}

// limited keeps what is written to it up to max bytes: the latest.
type limited struct {
	bytes.Buffer
	max int
}

// Write keeps p, and drops from the front what is over the limit.
func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p)
	if over := l.Len() - l.max; over > 0 {
		l.Next(over)
	}
	return len(p), nil
}
