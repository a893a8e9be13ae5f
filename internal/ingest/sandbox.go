package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// A film may come from anyone, and ffmpeg reads a hundred formats in C. So ffmpeg and ffprobe run in a sandbox
// (bubblewrap): they see /usr and its libraries read-only, the one film under a neutral name, the working folder, and
// nothing else of the machine; no network, no environment, no privilege and none to be had, no other process. A seccomp
// filter refuses sockets, processes, mounts and the kernel's back rooms, and limits bound time, memory and what is written.

var (
	// ErrNoFfmpeg is returned when ffmpeg or ffprobe cannot be found.
	ErrNoFfmpeg = errors.New("ffmpeg and ffprobe are needed to take in a film; on Debian: apt-get install ffmpeg")

	// ErrNoSandbox is returned when ffmpeg cannot be shut in, and Request.NoSandbox does not say to do without.
	ErrNoSandbox = errors.New("films are read in a sandbox, and there is none")
)

// Where things are inside.
const (
	insideFilm = "/film/film"
	insideWork = "/work"
	insideApp  = "/app/"
)

// tools are the external programs.
type tools struct {
	ffmpeg, ffprobe string
	prlimit         string // empty: no limits
	bwrap           string // empty: no sandbox
}

// findTools finds the programs, and makes sure that the sandbox works here unless it is to be done without.
func findTools(ctx context.Context, noSandbox bool) (tools, error) {
	m, err1 := exec.LookPath("ffmpeg")
	p, err2 := exec.LookPath("ffprobe")
	if err1 != nil || err2 != nil {
		return tools{}, ErrNoFfmpeg
	}
	t := tools{ffmpeg: resolved(m), ffprobe: resolved(p)}
	var lerr, berr error
	t.prlimit, lerr = exec.LookPath("prlimit")
	if noSandbox {
		return t, nil
	}
	t.bwrap, berr = exec.LookPath("bwrap")
	if lerr != nil || berr != nil {
		return tools{}, fmt.Errorf("%w: on Debian: apt-get install bubblewrap util-linux; or, for a film of your own alone, --no-sandbox", ErrNoSandbox)
	}
	t.prlimit = resolved(t.prlimit)
	if filter() == nil {
		return tools{}, fmt.Errorf("%w for this kind of processor; for a film of your own alone there is --no-sandbox", ErrNoSandbox)
	}
	return t, t.tryOut(ctx)
}

// resolved is the program's file behind its links, which may lead out of what the sandbox shows.
func resolved(program string) string {
	if p, err := filepath.EvalSymlinks(program); err == nil {
		return p
	}
	return program
}

// tryOut makes a sandbox with nothing to do in it.
func (t tools) tryOut(ctx context.Context) error {
	err := t.run(ctx, &call{program: t.prlimit, args: []string{"--version"}, limits: limits{wall: tryWall}})
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w. Unprivileged user namespaces must be allowed: see `sysctl kernel.unprivileged_userns_clone user.max_user_namespaces "+
		"kernel.apparmor_restrict_unprivileged_userns`; a container must allow them too (docker run --security-opt seccomp=unconfined); "+
		"or, for a film of your own alone, --no-sandbox", ErrNoSandbox, err)
}

// A call is one run of a program.
type call struct {
	program string // on this machine
	args    []string
	film    string // file that it may read, empty for none; inside it is called insideFilm
	work    string // folder that it may write to, empty for none; inside it is called insideWork
	limits
	stdout   io.Writer         // nil drops it; one that refuses ends the program
	messages *string           // what it said, also where it did not fail; may be nil
	progress func(line string) // what it writes to its file descriptor 3; nil gives it none
}

// see is how a program is told of a film and of a folder.
func (t tools) see(film, work string) (string, string) {
	if t.bwrap == "" {
		return film, work
	}
	return insideFilm, insideWork
}

// command is the command line of a call; the seccomp filter is expected at that file descriptor.
func (t tools) command(c *call, filterAt int) (name string, args []string) {
	program := c.program
	var box []string
	if t.bwrap != "" {
		// The cgroup and user namespaces are made where that is allowed; as root bubblewrap does without the latter.
		box = append(box, t.bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "film", "--clearenv",
			"--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LC_ALL", "C.UTF-8", "--setenv", "MALLOC_ARENA_MAX", arenas, "--ro-bind", "/usr", "/usr")
		for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
			if target, err := os.Readlink(dir); err == nil {
				box = append(box, "--symlink", target, dir)
			} else {
				box = append(box, "--ro-bind-try", dir, dir)
			}
		}
		for _, file := range []string{"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/nix/store"} {
			box = append(box, "--ro-bind-try", file, file)
		}
		for _, device := range []string{"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"} {
			box = append(box, "--dev-bind-try", device, device)
		}
		if !strings.HasPrefix(program, "/usr/") && !strings.HasPrefix(program, "/nix/store/") {
			inside := insideApp + filepath.Base(program)
			box = append(box, "--ro-bind", program, inside)
			program = inside
		}
		if c.film != "" {
			box = append(box, "--ro-bind", c.film, insideFilm)
		}
		if c.work != "" {
			box = append(box, "--bind", c.work, insideWork, "--chdir", insideWork)
		} else {
			box = append(box, "--chdir", "/usr")
		}
		box = append(box, "--remount-ro", "/", "--seccomp", strconv.Itoa(filterAt), "--")
	}
	if t.prlimit != "" {
		box = append(box, t.prlimit)
		box = append(box, c.limits.options()...)
		box = append(box, "--")
	}
	box = append(append(box, program), c.args...)
	return box[0], box[1:]
}
