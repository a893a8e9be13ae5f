package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"essaim/internal/blob"
	"essaim/internal/vod"
)

const (
	// chunkThrottled is how much one connection takes before the next has its turn.
	chunkThrottled = 16 << 10
	chunkFree      = 128 << 10
)

var buffers = sync.Pool{New: func() any { return new([chunkFree]byte) }}

// serveMedia answers GET and HEAD of /media/{root}.
func (o *Origin) serveMedia(w http.ResponseWriter, r *http.Request) {
	a, err := o.allow(r)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	o.serveFile(w, r, a)
}

// serveFile sends what a request that is allowed asks for of its file.
func (o *Origin) serveFile(w http.ResponseWriter, r *http.Request, a access) {
	etag := `"` + a.file.Root.String() + `"`
	if a.pad {
		etag = `"pad-` + strconv.FormatInt(a.file.Size, 10) + `"`
	}
	h := w.Header()
	o.setPolicy(r, h, a.title)
	h.Set("ETag", etag)
	h.Set("Accept-Ranges", "bytes")
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	part, status := rangeOf(r, a.file.Size, etag)
	if status == http.StatusRequestedRangeNotSatisfiable {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", a.file.Size))
		problem(w, status, "range", "The file has no such range, or more than one was asked for.")
		return
	}
	object, err := o.content(r.Context(), &a)
	if err != nil {
		// The catalogue has it, so that "not found" would be wrong: ours is the fault. %v hides blob.ErrNotFound.
		o.refuse(w, r, fmt.Errorf("media %s of %s: %v", a.file.Root, a.title.ID, err))
		return
	}
	defer object.Close()
	if a.pad {
		h.Set("Content-Type", "application/octet-stream")
	} else {
		h.Set("Content-Type", string(a.file.Kind)+"/mp4")
	}
	h.Set("Content-Length", strconv.FormatInt(part.to-part.from, 10))
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.from, part.to-1, a.file.Size))
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if err := o.send(r.Context(), w, object, part, o.counts.of(&a)); err != nil {
		o.log.DebugContext(r.Context(), "media transfer ended early", "title", a.title.ID, "error", err)
		panic(http.ErrAbortHandler) // the status has gone out: only a broken connection tells that bytes are missing
	}
}

// content opens what a may read.
func (o *Origin) content(ctx context.Context, a *access) (blob.Object, error) {
	if a.pad {
		return padding{io.NewSectionReader(zeros{}, 0, a.file.Size)}, nil
	}
	object, err := o.blobs.Open(ctx, vod.KeyMedia(a.file.Root))
	if err == nil && object.Size() != a.file.Size {
		object.Close()
		err = fmt.Errorf("%d bytes are stored, %d published", object.Size(), a.file.Size)
	}
	return object, err
}

// matches reports whether an If-None-Match header names etag.
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// send writes a part of the object at the rate that all transfers share, and counts what the socket accepts.
func (o *Origin) send(ctx context.Context, w http.ResponseWriter, object io.ReaderAt, part span, count counter) error {
	buf := buffers.Get().(*[chunkFree]byte)
	defer buffers.Put(buf)
	rc := http.NewResponseController(w)
	for part.from < part.to {
		size := int64(chunkFree)
		if o.bucket.Rate() > 0 {
			size = chunkThrottled
		}
		chunk := buf[:min(size, part.to-part.from)]
		if n, err := object.ReadAt(chunk, part.from); n < len(chunk) {
			return fmt.Errorf("read media: %w", err)
		}
		if err := o.bucket.take(ctx, len(chunk)); err != nil {
			return fmt.Errorf("wait for the rate: %w", err)
		}
		// The deadline runs from here: it measures the reader, not the wait before.
		if err := rc.SetWriteDeadline(time.Now().Add(o.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("set write deadline: %w", err)
		}
		n, err := w.Write(chunk)
		count.add(int64(n))
		if err != nil {
			return fmt.Errorf("write media: %w", err)
		}
		part.from += int64(n)
	}
	if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("write media: %w", err)
	}
	// The connection's next request is not bound by this one's deadline.
	if err := rc.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("clear write deadline: %w", err)
	}
	return nil
}

// readAll reads a whole object of at most limit bytes.
func readAll(ctx context.Context, blobs blob.Store, key string, limit int64) ([]byte, error) {
	object, err := blobs.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer object.Close()
	if object.Size() > limit {
		return nil, fmt.Errorf("read %s: %d bytes, over the limit of %d", key, object.Size(), limit)
	}
	data := make([]byte, object.Size())
	if _, err := io.ReadFull(object, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return data, nil
}
