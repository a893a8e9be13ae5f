package origin

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem answers with an error as of RFC 9457. It drops what the headers said of the body that does not come.
func problem(w http.ResponseWriter, status int, code, detail string) {
	body, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
	}{http.StatusText(status), status, detail, code})
	if err != nil {
		panic(err) // strings and a number cannot fail
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Content-Encoding", "Accept-Ranges"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has gone needs no error
}
