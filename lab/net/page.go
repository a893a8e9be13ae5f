package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// page is a headless Chromium with one page, driven by its DevTools protocol over a pipe, one question after the other.
type page struct {
	to      *os.File
	from    *bufio.Reader
	next    int
	session string
}

// pageMain has a real Chromium watch the title, and tells of it as a native viewer does.
func pageMain(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("page", flag.ContinueOnError)
	server := flags.String("server", serviceURL, "the service")
	share := flags.Bool("share", true, "exchange pieces with others")
	profile := flags.String("profile", "", "folder of the browser's profile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	browser, p, err := startPage(*profile)
	if err != nil {
		return err
	}
	defer func() {
		_ = browser.Process.Kill() // its helpers end with it
		_ = browser.Wait()
	}()
	defer context.AfterFunc(ctx, func() { _ = browser.Process.Kill() })() // a question under way ends too
	answer := map[bool]string{true: "yes", false: "no"}[*share]
	type m map[string]any
	for _, say := range []struct {
		method string
		params m
	}{
		{"Page.enable", m{}},
		{"Page.addScriptToEvaluateOnNewDocument", m{"source": `try { localStorage.setItem("essaim.share", "` + answer + `") } catch {}`}},
		{"Page.navigate", m{"url": *server + "/watch/" + title + "?debug=1"}},
	} {
		if err := p.call(say.method, say.params, nil); err != nil {
			return err
		}
	}
	for pause(ctx, reportEvery) == nil {
		var r struct {
			Result struct {
				Value *pageState `json:"value"` // null while the page loads
			} `json:"result"`
		}
		const ask = `(() => { const d = window.essaimDebug; return d ? { ...d.stats(), phase: d.player.phase } : null })()`
		if err := p.call("Runtime.evaluate", m{"expression": ask, "returnByValue": true}, &r); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if s := r.Result.Value; s != nil {
			if err := json.NewEncoder(out).Encode(s.report()); err != nil {
				return err
			}
			if s.Phase == "failed" {
				return errors.New("the page could not play the film")
			}
		}
	}
	return nil
}

// pageState is what the page's player says of itself.
type pageState struct {
	StartupMs     float64 `json:"startupMs"`
	Stalls        int     `json:"stalls"`
	StalledMs     float64 `json:"stalledMs"`
	PositionMs    float64 `json:"positionMs"`
	BufferedEndMs float64 `json:"bufferedEndMs"`
	OriginBytes   int64   `json:"originBytes"`
	PeerBytes     int64   `json:"peerBytes"`
	SentBytes     int64   `json:"sentBytes"`
	BadBlocks     int     `json:"badBlocks"`
	Phase         string  `json:"phase"`
}

func (s *pageState) report() report {
	r := report{
		PositionMs: int64(s.PositionMs), AheadMs: int64(max(s.BufferedEndMs-s.PositionMs, 0)), StartupMs: -1,
		Stalls: s.Stalls, StalledMs: int64(s.StalledMs), Dry: s.Phase == "buffering", Finished: s.Phase == "ended",
		Origin: s.OriginBytes, Peer: s.PeerBytes, Sent: s.SentBytes, Bad: s.BadBlocks,
	}
	if s.StartupMs > 0 {
		r.StartupMs = int64(s.StartupMs)
	}
	return r
}

// startPage starts the browser, and attaches to a page of its own.
func startPage(profile string) (_ *exec.Cmd, _ *page, err error) {
	name := "chromium"
	if own := os.Getenv("ESSAIM_CHROMIUM"); own != "" {
		name = own
	}
	commands, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	out, answers, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	c := exec.Command(name, "--headless", "--remote-debugging-pipe", "--user-data-dir="+profile, "--no-first-run", "--no-default-browser-check",
		"--no-sandbox", // it does not work for root
		"--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--mute-audio", "--autoplay-policy=no-user-gesture-required", "--ignore-certificate-errors", // the service vouches for itself here
		"--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding", "about:blank")
	c.ExtraFiles = []*os.File{commands, answers} // 3 and 4, as the flag means them
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	_ = commands.Close()
	_ = answers.Close()
	p := &page{to: in, from: bufio.NewReaderSize(out, 1<<20)}
	var made struct {
		Target  string `json:"targetId"`
		Session string `json:"sessionId"`
	}
	err = p.call("Target.createTarget", map[string]any{"url": "about:blank", "newWindow": true, "width": 1280, "height": 800}, &made)
	if err == nil {
		err = p.call("Target.attachToTarget", map[string]any{"targetId": made.Target, "flatten": true}, &made)
	}
	if err != nil {
		_ = c.Process.Kill()
		_ = c.Wait()
		return nil, nil, err
	}
	p.session = made.Session
	return c, p, nil
}

// call says one thing and reads the answer. Events in between are nobody's.
func (p *page) call(method string, params, result any) error {
	p.next++
	line, err := json.Marshal(map[string]any{"id": p.next, "method": method, "params": params, "sessionId": p.session})
	if p.session == "" {
		line, err = json.Marshal(map[string]any{"id": p.next, "method": method, "params": params})
	}
	if err != nil {
		return err
	}
	if _, err := p.to.Write(append(line, 0)); err != nil {
		return fmt.Errorf("the browser is gone: %w", err)
	}
	for {
		text, err := p.from.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("the browser is gone: %w", err)
		}
		var m struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := json.Unmarshal(bytes.TrimRight(text, "\x00"), &m); err != nil || m.ID != p.next {
			continue
		}
		if m.Error != nil {
			return fmt.Errorf("browser: %s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	}
}
