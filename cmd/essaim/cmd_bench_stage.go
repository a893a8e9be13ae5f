package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"essaim/internal/tracker"
	"essaim/internal/vod"
	"essaim/web"
)

// benchStageCmd serves what scripts/pages.mjs measures in browsers: pages from a folder, and a film of random bytes, with its play
// session, tracker and origin. It ends with its standard input.
type benchStageCmd struct {
	Pages string `required:"" type:"path" help:"Folder with the pages."`
	MiB   int    `default:"96" name:"mib" help:"Mebibytes of film, held in memory."`
}

// Validate implements kong's interface of that name.
func (c *benchStageCmd) Validate() error {
	if c.MiB < 1 || c.MiB > benchFilmMax>>20 {
		return fmt.Errorf("--mib must be 1 to %d", benchFilmMax>>20)
	}
	return nil
}

// stageSeconds is how long the film is said to last: so long that none of it is needed soon.
const stageSeconds = 3600

// Run prints the address, and serves.
func (c *benchStageCmd) Run() error {
	film := newBenchFilm(stageSeconds, int64(c.MiB)<<20/stageSeconds, benchPieceLength)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	door := tracker.New(tracker.Config{Titles: benchTitles{film: film}, LAN: true})
	files := http.FileServer(http.Dir(c.Pages))
	mux := http.NewServeMux()
	mux.Handle("/tracker", door)
	mux.HandleFunc("GET /media/{root}", film.serveMedia)
	mux.HandleFunc("GET /hashes/{root}", film.serveHashes)
	mux.HandleFunc("GET /session", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(film.session()) // who went away hears nothing
	})
	mux.HandleFunc("GET /engine.wasm", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, web.Dist(), "engine.wasm") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if ext := filepath.Ext(r.URL.Path); ext == ".js" {
			w.Header().Set("Content-Type", "text/javascript")
		}
		files.ServeHTTP(w, r)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	if _, err := fmt.Println("http://" + ln.Addr().String()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	gone, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = door.Shutdown(gone) // what is left closes with the server
	err = server.Close()
	if s := <-served; !errors.Is(s, http.ErrServerClosed) {
		err = errors.Join(err, s)
	}
	return err
}

// session is a play session of the film, open to everybody.
func (f *benchFilm) session() vod.PlaySession {
	file := vod.PlayFile{Path: "film.mp4", Size: int64(len(f.data)), Root: f.title.Files[0].Root.String(), Kind: vod.Video, Codec: "avc1.64001e", Bandwidth: 1, Height: 720}
	for _, s := range f.index {
		file.Segments = append(file.Segments, [4]uint64{s.From, s.To, uint64(s.StartMs), uint64(s.DurationMs)})
	}
	return vod.PlaySession{
		ID: "bench", Title: "bench", Name: "bench", DurationMs: stageSeconds * 1000, PieceLength: f.title.PieceLength,
		InfoHash: f.title.InfoHash.String(), InfoHashV2: f.title.InfoHashV2.String() + strings.Repeat("0", 24), Files: []vod.PlayFile{file},
		Nodes:   vod.PlayNodes{Origins: []string{""}, Trackers: []string{"/tracker"}, ICE: []string{}},
		Tickets: vod.PlayTickets{ExpiresMs: 1 << 30}, Policy: vod.PlayPolicy{P2P: true, Upload: true, LAN: true},
	}
}
