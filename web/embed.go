// Package web holds the built web app, inside the program. It must compile whether or not the app has been built: the
// folder then holds nothing but its marker, and the server says so.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Dist is the folder that `make build` fills: pages, assets under assets/ whose names carry a digest of their content,
// engine.wasm, and beside files that gain by it, compressed copies with the suffix ".br".
func Dist() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	return sub
}
