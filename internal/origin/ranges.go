package origin

import (
	"net/http"
	"strconv"
	"strings"
)

// span is the part [from, to) of a file that a request asks for.
type span struct{ from, to int64 }

// rangeOf reads r's Range for a file of size bytes, size > 0 (RFC 9110, section 14). The status is 200 for the whole
// file, 206 for a part of it, and 416 for what lies outside it, is malformed, or is more than one range: many small
// ranges cost the sender far more than the asker.
func rangeOf(r *http.Request, size int64, etag string) (span, int) {
	whole := span{0, size}
	header := r.Header.Get("Range")
	if header == "" {
		return whole, http.StatusOK
	}
	// If-Range with another validator, and dates are never ours, asks for the whole of what is here now.
	if cond := r.Header.Get("If-Range"); cond != "" && cond != etag {
		return whole, http.StatusOK
	}
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return whole, http.StatusOK // an unknown unit is to be ignored
	}
	const refused = http.StatusRequestedRangeNotSatisfiable
	first, last, ok := strings.Cut(strings.TrimSpace(set), "-")
	if !ok {
		return span{}, refused
	}
	if first == "" { // the last so many bytes
		n, ok := digits(last)
		if !ok || n == 0 {
			return span{}, refused
		}
		return span{max(0, size-n), size}, http.StatusPartialContent
	}
	from, ok := digits(first)
	if !ok || from >= size {
		return span{}, refused
	}
	if last == "" {
		return span{from, size}, http.StatusPartialContent
	}
	to, ok := digits(last)
	if !ok || to < from {
		return span{}, refused
	}
	return span{from, min(to, size-1) + 1}, http.StatusPartialContent
}

// digits reads a decimal number without sign or spaces. What is larger than any file counts as the largest.
func digits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 2, len(s) <= 64
	}
	return min(n, 1<<63-2), true
}
