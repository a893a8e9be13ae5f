package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// options are the command line's.
type options struct {
	essaim  string
	seconds int
	kbps    int
	page    bool
	alone   bool
	link    string
	others  int
	verbose bool
}

// uplinkDelay is the way into a provider, one way.
const uplinkDelay = 10 * time.Millisecond

// stopTime is how long a program may take to end after it was asked to.
const stopTime = 5 * time.Second

// lab is one run: all that it made and started, so that all of it goes.
type lab struct {
	options
	log    io.Writer
	dir    string
	self   string
	plan   *plan
	film   *film
	mu     sync.Mutex
	made   []string // namespaces
	cables []*cable
	procs  []*proc
	keeper *keeper
	closed bool
}

// openLab makes a folder, and nothing of the network yet.
func openLab(o options, log io.Writer) (*lab, error) {
	for _, tool := range []string{"ip", "tc", "nft", "curl", "ffmpeg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing: apt-get install iproute2 nftables curl ffmpeg", tool)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "essaim-lab-")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, log: log, dir: dir, self: self, plan: &plan{suffix: strings.ToLower(rand.Text()[:6])}}
	if l.keeper, err = startKeeper(self, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return l, nil
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) say(format string, args ...any) { fmt.Fprintf(l.log, "lab: "+format+"\n", args...) }

// build makes the planned internet.
func (l *lab) build(ctx context.Context) error {
	begun := time.Now()
	for _, ns := range l.plan.namespaces() {
		if err := l.keeper.remember(ns); err != nil {
			return err
		}
		if _, err := command(ctx, "", "ip", "netns", "add", ns); err != nil {
			return err
		}
		l.mu.Lock()
		l.made = append(l.made, ns)
		l.mu.Unlock()
		if err := inside(ns, func() error {
			if err := setting("net/ipv6/conf/all/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return setting("net/ipv4/ip_forward", "1")
		}); err != nil {
			return fmt.Errorf("%s: %w", ns, err)
		}
	}
	if err := l.plan.links().do(ctx); err != nil {
		return err
	}
	for i := range 2 {
		if err := l.lay(l.plan.core(), fmt.Sprintf("p%c", 'a'+i), l.plan.provider(i), "road"); err != nil {
			return err
		}
	}
	if l.plan.direct {
		if err := l.lay(l.plan.origin(), "direct", l.plan.provider(0), "direct"); err != nil {
			return err
		}
	}
	for _, list := range [][]script{l.plan.addresses(), l.plan.shapers(), l.plan.filters()} {
		for _, s := range list {
			if err := s.do(ctx); err != nil {
				return err
			}
		}
	}
	l.say("%d namespaces stand after %s", len(l.made), time.Since(begun).Round(time.Millisecond))
	return nil
}

// lay connects two namespaces by a cable.
func (l *lab) lay(ns1, name1, ns2, name2 string) error {
	near, err := openTap(ns1, name1)
	if err != nil {
		return err
	}
	far, err := openTap(ns2, name2)
	if err != nil {
		return errors.Join(err, near.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cables = append(l.cables, newCable(near, far, uplinkDelay))
	return nil
}

// throttle changes the rate of the link into A, in kbit/s.
func (l *lab) throttle(ctx context.Context, kbps int) error {
	ns, dev := l.plan.narrow()
	return shaper(ns, dev, kbps, queueTime).do(ctx)
}

// count reads a provider's counters.
func (l *lab) count(ctx context.Context, provider int) (counters, error) {
	text, err := command(ctx, "", "ip", "netns", "exec", l.plan.provider(provider), "nft", "-j", "list", "counters")
	if err != nil {
		return counters{}, err
	}
	return readCounters(text)
}

// proc is a program that was started, in a process group of its own.
type proc struct {
	cmd   *exec.Cmd
	name  string
	stdin io.Closer // helpers end when it is closed
	log   string    // file of what it complained about
	done  chan struct{}
	err   error // once done
}

// start runs a program in a namespace. Each line that it prints is given to heard, on a goroutine of its own.
func (l *lab) start(namespace, name string, env []string, heard func(line []byte), args ...string) (*proc, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.New("the laboratory is closed")
	}
	p := &proc{name: name, done: make(chan struct{}), log: l.path(fmt.Sprintf("%03d-%s.log", len(l.procs), name))}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", namespace}, args...)...)
	p.cmd.Dir, p.cmd.Stderr = l.dir, log
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "TMPDIR=" + l.dir, "SSL_CERT_FILE=" + l.path("cert.pem")}, env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for us, who end it
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	l.procs = append(l.procs, p)
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if heard != nil {
				heard(lines.Bytes())
			}
		}
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// end asks a program to end, waits, and ends it by force where it does not.
func (p *proc) end() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // its own group
		<-p.done
	}
}

// complaint is the end of what a program wrote to standard error.
func (p *proc) complaint() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(b))
	return text[max(0, len(text)-2000):]
}

// endAll ends programs, all at once.
func endAll(list []*proc) {
	var all sync.WaitGroup
	for _, p := range list {
		all.Go(p.end)
	}
	all.Wait()
}

// close ends and removes everything. It may be called twice.
func (l *lab) close() error {
	l.mu.Lock()
	l.closed = true
	procs, made, cables := l.procs, l.made, l.cables
	l.procs, l.made, l.cables = nil, nil, nil
	l.mu.Unlock()
	endAll(procs)
	var errs []error
	for _, ns := range made {
		errs = append(errs, empty(ns))
	}
	for _, c := range cables {
		errs = append(errs, c.close())
	}
	for _, ns := range made {
		errs = append(errs, remove(ns))
	}
	if os.Getenv("LAB_KEEP") == "" { // else its logs are read afterwards
		errs = append(errs, removeFolder(l.dir))
	}
	errs = append(errs, l.keeper.dismiss())
	return errors.Join(errs...)
}

// machine says what kind of machine this is, for figures to be read with.
func machine() string {
	return fmt.Sprintf("%d processor cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
}
