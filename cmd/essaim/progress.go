package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progressEvery is how often progress is told where there is no terminal to draw on.
const progressEvery = 5 * time.Second

// drawProgress draws a bar with a line beside it on a terminal, and otherwise writes the line every few seconds, and at once when
// told to. done removes the bar.
func drawProgress(to *os.File) (show func(line string, current, total int64, atOnce bool), done func()) {
	if !isatty.IsTerminal(to.Fd()) {
		var last time.Time
		return func(line string, _, _ int64, atOnce bool) {
			if time.Since(last) < progressEvery && !atOnce {
				return
			}
			last = time.Now()
			fmt.Fprintln(to, line)
		}, func() {}
	}
	bars := mpb.New(mpb.WithOutput(to), mpb.WithWidth(40))
	var text atomic.Value
	text.Store("")
	bar := bars.AddBar(1, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
		return text.Load().(string)
	})))
	return func(line string, current, total int64, _ bool) {
			text.Store(line)
			bar.SetTotal(max(total, 1), false)
			bar.SetCurrent(min(current, total-1)) // a bar that is full ends; this one ends with the command
		}, func() {
			bar.Abort(true)
			bars.Wait()
		}
}
