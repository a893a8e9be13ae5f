package rehearse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Bounds of a browser.
const (
	answerMax   = 64 << 20 // bytes of one message
	answerTime  = 30 * time.Second
	closingTime = 5 * time.Second
)

var errBrowserGone = errors.New("the browser ended")

// browser is a headless Chromium, driven by its DevTools protocol over a pipe: no port that others could connect to.
type browser struct {
	cmd    *exec.Cmd
	dir    string // its profile, removed in the end
	in     *os.File
	ended  chan struct{} // closed when it says nothing more
	mu     sync.Mutex
	next   int
	waits  map[int]chan<- message
	listen map[string]func(message) // by session: must not block
}

// message is one of the protocol's, of whichever kind.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// startBrowser runs the program at path.
func startBrowser(path string) (_ *browser, err error) {
	b := &browser{ended: make(chan struct{}), waits: map[int]chan<- message{}, listen: map[string]func(message){}}
	if b.dir, err = os.MkdirTemp("", "essaim-rehearse-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start %s: %w", path, err), os.RemoveAll(b.dir))
		}
	}()
	commands, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer commands.Close()
	out, answers, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	defer answers.Close()
	args := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + b.dir, "--no-first-run", "--no-default-browser-check",
		"--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-extensions", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
		// All viewers are watching, though one window covers another.
		"--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
	}
	if os.Geteuid() == 0 { // its sandbox does not work for root
		args = append(args, "--no-sandbox")
	}
	b.cmd = exec.Command(path, append(args, "about:blank")...)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for us, who end the browser
	b.cmd.Env = append(os.Environ(), "TMPDIR="+b.dir)       // what it leaves there when it is killed goes with the rest
	b.cmd.ExtraFiles = []*os.File{commands, answers}        // 3 and 4, as the flag means them
	if err := b.cmd.Start(); err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	b.in = in
	go b.hear(out)
	return b, nil
}

// hear takes what the browser says, to its end.
func (b *browser) hear(out *os.File) {
	defer out.Close()
	defer close(b.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, answerMax)
	lines.Split(func(data []byte, _ bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue
		}
		b.mu.Lock()
		wait, heard := b.waits[m.ID], b.listen[m.Session]
		if m.ID != 0 {
			delete(b.waits, m.ID)
		}
		b.mu.Unlock()
		switch {
		case m.ID != 0 && wait != nil:
			wait <- m // has room for one
		case m.ID == 0 && heard != nil:
			heard(m)
		}
	}
}

// call says one thing to the browser, or to the page of a session, and reads the answer into result, if that is not nil.
func (b *browser) call(ctx context.Context, session, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waits[id] = answer
	line, err := json.Marshal(message{ID: id, Session: session, Method: method, Params: raw})
	if err == nil {
		_, err = b.in.Write(append(line, 0))
	}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.waits, id)
		b.mu.Unlock()
	}()
	if err != nil {
		return fmt.Errorf("%w: %w", errBrowserGone, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("browser: %s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-b.ended:
		return errBrowserGone
	case <-ctx.Done():
		return fmt.Errorf("browser: %s: %w", method, ctx.Err())
	}
}

// on has f told of a session's events, one after the other; nil: nobody any more.
func (b *browser) on(session string, f func(message)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f == nil {
		delete(b.listen, session)
	} else {
		b.listen[session] = f
	}
}

// close ends the browser, by force if it does not go by itself, and removes what it left.
func (b *browser) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	_ = b.call(ctx, "", "Browser.close", struct{}{}, nil) // a browser that is gone already is as well
	_ = b.in.Close()
	select {
	case <-b.ended:
	case <-ctx.Done():
	}
	_ = b.cmd.Process.Kill() // its helpers may still write to the profile: they end with it
	_ = b.cmd.Wait()         // its status says only how it ended
	return os.RemoveAll(b.dir)
}
