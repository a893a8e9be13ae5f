package edge

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"essaim/internal/bt"
	"essaim/internal/edge/control"
	"essaim/internal/vod"
)

const (
	// chunk is what is fetched, verified and written at a time: whole blocks.
	chunk = 4 << 20
	// retryAfter is how long after a fault filling is tried again.
	retryAfter = 15 * time.Second
	// lookEvery is how often it is looked whether the hour has come, where nothing changes.
	lookEvery = 20 * time.Second
	// leavesAsked is how many leaves are asked for at once: BEP 52's advice.
	leavesAsked = 512
)

// Hours are hours of the day, by this machine's clock and time zone, at which an edge fills. From == Until is the whole day.
type Hours struct{ From, Until time.Duration } // since midnight

// ParseHours reads "01:00-07:00"; "22:00-06:00" reaches over midnight; empty is the whole day.
func ParseHours(s string) (Hours, error) {
	if s == "" {
		return Hours{}, nil
	}
	from, until, ok := strings.Cut(s, "-")
	a, err := time.Parse("15:04", from)
	b, berr := time.Parse("15:04", until)
	if !ok || err != nil || berr != nil || a.Equal(b) {
		return Hours{}, fmt.Errorf("%q are no hours: want, for instance, 01:00-07:00", s)
	}
	since := func(t time.Time) time.Duration {
		return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
	}
	return Hours{since(a), since(b)}, nil
}

// At reports whether it is one of the hours.
func (h Hours) At(t time.Time) bool {
	at := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	if h.From <= h.Until {
		return h.From == h.Until || h.From <= at && at < h.Until
	}
	return at >= h.From || at < h.Until
}

// fill fetches what the plan asks for, one file after the other, until ctx ends. What a kill leaves is looked through and gone on with.
func (e *Edge) fill(ctx context.Context) {
	for ctx.Err() == nil {
		worked, err := e.fillNext(ctx)
		wait := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			e.say(&e.trouble, trouble(err))
			e.log.WarnContext(ctx, "filling stops for a moment", "error", err)
			wait = retryAfter
		case worked:
			e.say(&e.trouble, "")
			continue
		default:
			e.say(&e.trouble, "")
			wait = lookEvery
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.changed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (e *Edge) say(where interface{ Store(*string) }, what string) { where.Store(&what) }

// trouble is an error in a few words, for operators.
func trouble(err error) string {
	if errors.Is(err, syscall.ENOSPC) {
		return "the disk is full"
	}
	text := err.Error()
	return text[:min(len(text), 200)]
}

// fillNext fills one file, the first of the plan that is missing and may be filled now; false for none.
func (e *Edge) fillNext(ctx context.Context) (bool, error) {
	now := e.c.Hours.At(e.local0())
	for _, t := range e.list() {
		if !now && !t.Soon {
			continue
		}
		for i := range t.title.Version.Files {
			f := &t.title.Version.Files[i]
			if e.store.whole(f.Root, f.Size) {
				continue
			}
			e.say(&e.filling, string(t.ID))
			err := e.fillFile(ctx, t, f)
			e.say(&e.filling, "")
			if err == nil && e.holds(t) {
				e.log.InfoContext(ctx, "a title is whole", "title", t.ID, "bytes", t.Size())
			}
			return err == nil, err
		}
	}
	return false, nil
}

// local0 is the time of day here: hours are the household's, or the provider's, whatever the service's clock says.
func (e *Edge) local0() time.Time { return e.Now().Local() }

// fillFile fetches what is missing of a file.
func (e *Edge) fillFile(ctx context.Context, t *planned, f *vod.File) error {
	if err := e.makeRoom(f); err != nil {
		return err
	}
	leaves, err := e.leaves(ctx, t, f)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(e.store.path(fillingFolder, f.Root), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	buf := make([]byte, min(chunk, f.Size))
	at, err := resume(ctx, out, leaves, f.Size, buf)
	if err != nil {
		return err
	}
	for at < f.Size {
		if !e.stillPlanned(t, f) {
			return nil
		}
		b := buf[:min(int64(len(buf)), f.Size-at)]
		began := time.Now()
		if err := e.fetch(ctx, t, f, leaves, b, at); err != nil {
			return err
		}
		if err := e.write(out, b, at); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				e.giveUpUnplanned(nil)
			}
			return fmt.Errorf("write %s: %w", f.Root, err)
		}
		at += int64(len(b))
		if err := e.pace(ctx, len(b), began); err != nil {
			return err
		}
	}
	if err := out.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", f.Root, err)
	}
	if err := e.store.finish(f.Root, f.Size); err != nil {
		return err
	}
	e.tell(e.hosts.changed)
	return nil
}

// resume looks through what an earlier run fetched and returns where the first chunk begins that is missing or wrong. What a kill
// or a power cut leaves is judged by its hashes alone.
func resume(ctx context.Context, f *os.File, leaves []byte, size int64, buf []byte) (int64, error) {
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		b := buf[:min(int64(len(buf)), size-at)]
		if _, err := io.ReadFull(io.NewSectionReader(f, at, int64(len(b))), b); err != nil || !matches(b, leaves[at/bt.BlockSize*sha256.Size:]) {
			return at, nil // what cannot be read is fetched
		}
		at += int64(len(b))
	}
	return size, nil
}

// matches reports whether whole blocks have the digests that leaves begin with.
func matches(b, leaves []byte) bool {
	for ; len(b) > 0; leaves = leaves[sha256.Size:] {
		n := min(len(b), bt.BlockSize)
		if sha256.Sum256(b[:n]) != [sha256.Size]byte(leaves) {
			return false
		}
		b = b[n:]
	}
	return true
}

// stillPlanned reports whether the plan of the moment has the file: another may have come while it is filled.
func (e *Edge) stillPlanned(t *planned, f *vod.File) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.titles[t.ID]
	return now != nil && now.Version == t.Version
}

// current is a title as the plan of the moment has it, with tickets that are good.
func (e *Edge) current(t *planned) *planned {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := e.titles[t.ID]; now != nil && now.Version == t.Version {
		return now
	}
	return t
}

// pace waits so long that n bytes since began were no faster than the rate.
func (e *Edge) pace(ctx context.Context, n int, began time.Time) error {
	if e.c.Rate <= 0 {
		return ctx.Err()
	}
	wait := time.Duration(float64(n)/float64(e.c.Rate)*float64(time.Second)) - time.Since(began)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// makeRoom drops files that are not planned, the longest unchanged first, until f fits the quota.
func (e *Edge) makeRoom(f *vod.File) error {
	used, err := e.giveUpUnplanned(f)
	if err == nil && used+f.Size > e.c.Quota {
		err = fmt.Errorf("the quota of %d bytes is full", e.c.Quota)
	}
	return err
}

// giveUpUnplanned drops what is not planned until f fits, nil for all of it, and returns how much lies there, f aside.
func (e *Edge) giveUpUnplanned(f *vod.File) (used int64, err error) {
	list, err := e.store.all()
	if err != nil {
		return 0, err
	}
	wanted := map[bt.Digest]bool{}
	for _, t := range e.list() {
		for i := range t.title.Version.Files {
			wanted[t.title.Version.Files[i].Root] = true
		}
	}
	var need int64
	if f != nil {
		need = f.Size
	}
	for _, x := range list {
		if f == nil || x.root != f.Root {
			used += x.size
		}
	}
	for _, x := range list {
		if wanted[x.root] || f != nil && used+need <= e.c.Quota {
			continue
		}
		if err := e.store.drop(x.root); err != nil {
			return used, err
		}
		used -= x.size
		e.log.Info("a file that is not planned any more makes room", "root", x.root.String(), "bytes", x.size)
	}
	return used, nil
}

// leaves are a file's, 32 bytes a block: from the disk, if they lead to its root, or fetched.
func (e *Edge) leaves(ctx context.Context, t *planned, f *vod.File) ([]byte, error) {
	name := e.store.path(leavesFolder, f.Root)
	b, err := os.ReadFile(name)
	if err == nil && leadTo(b, f.Root, f.Size) {
		return b, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.log.WarnContext(ctx, "leaves cannot be read; they are fetched again", "root", f.Root.String(), "error", err)
	}
	blocks := bt.Blocks(f.Size)
	if blocks == 1 {
		b = f.Root[:]
	} else if b, err = e.fetchLeaves(ctx, t, f, blocks); err != nil {
		return nil, err
	}
	if !leadTo(b, f.Root, f.Size) {
		return nil, fmt.Errorf("leaves of %s: they lead elsewhere", f.Root)
	}
	return b, writeFile(name, b)
}

// leadTo reports whether b are the leaves of the file with that root and size.
func leadTo(b []byte, root bt.Digest, size int64) bool {
	leaves, err := bt.ParseDigests(b)
	if err != nil || len(leaves) != bt.Blocks(size) || len(leaves) == 0 {
		return false
	}
	return bt.FileRoot(leaves, 1) == root
}

// fetchLeaves asks for all leaves of a file, each answer with its proof.
func (e *Edge) fetchLeaves(ctx context.Context, t *planned, f *vod.File, blocks int) ([]byte, error) {
	all := 1 << bits.Len(uint(blocks-1))
	length := uint32(min(all, leavesAsked))
	var out []byte
	for index := uint32(0); int(index) < blocks; index += length {
		request := bt.HashRequest{Root: f.Root, Index: index, Length: length}
		request.Proof = bt.FullProof(0, length, blocks, int(t.PieceLength/bt.BlockSize))
		path := fmt.Sprintf("/hashes/%s?base=0&index=%d&length=%d&proof=%d", f.Root, index, length, request.Proof)
		err := e.from(ctx, t, path, "", func(b []byte) error {
			hashes, err := bt.ParseDigests(b)
			if err == nil {
				err = request.Check(blocks, hashes)
			}
			if err != nil {
				return err
			}
			out = bt.AppendDigests(out, hashes[:min(int(length), blocks-int(index))])
			return nil
		}, (int(length)+64)*sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("leaves of %s: %w", f.Root, err)
		}
	}
	return out, nil
}

// fetch fills buf with whole blocks of a file from byte from on, verified.
func (e *Edge) fetch(ctx context.Context, t *planned, f *vod.File, leaves, buf []byte, from int64) error {
	span := fmt.Sprintf("bytes=%d-%d", from, from+int64(len(buf))-1)
	err := e.from(ctx, t, "/media/"+f.Root.String(), span, func(b []byte) error {
		if len(b) != len(buf) || !matches(b, leaves[from/bt.BlockSize*sha256.Size:]) {
			return errors.New("wrong bytes")
		}
		copy(buf, b)
		return nil
	}, len(buf))
	if err != nil {
		return fmt.Errorf("fetch %s from byte %d: %w", f.Root, from, err)
	}
	return nil
}

// from asks the other edges that hold a title, and the service's origin last, until take is content with an answer.
func (e *Edge) from(ctx context.Context, t *planned, path, span string, take func([]byte) error, most int) error {
	t = e.current(t)
	var last error
	for _, source := range append(t.Sources[:len(t.Sources):len(t.Sources)], "") {
		name := control.ServiceName
		if source != "" {
			id, _, ok := strings.Cut(source, "@")
			if !ok || !control.ValidID(id) {
				continue
			}
			name = control.EdgeName(id)
		}
		b, err := e.get(ctx, "https://"+name+control.Media+path, t.Media, span, most)
		if err == nil {
			if err = take(b); err == nil {
				if span != "" {
					e.filled.Add(int64(len(b)))
					if source != "" {
						e.fromEdges.Add(int64(len(b)))
					}
				}
				return nil
			}
			e.log.WarnContext(ctx, "a source answers what is not so", "source", name, "title", t.ID, "error", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		last = fmt.Errorf("%s: %w", name, err)
	}
	return last
}

// get reads an answer of at most so many bytes; of a part where span asks for one.
func (e *Edge) get(ctx context.Context, address, ticket, span string, most int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	want := http.StatusOK
	if span != "" {
		req.Header.Set("Range", span)
		want = http.StatusPartialContent
	}
	req.Header.Set("Authorization", "Bearer "+ticket)
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err == nil && len(b) > most {
		err = errors.New("more than was asked for")
	}
	return b, err
}
