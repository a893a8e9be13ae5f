//go:build !(js && wasm)

package main

import "os"

// main tells whoever builds this for another platform what it is.
func main() {
	println("browser: build me with GOOS=js GOARCH=wasm; web/src/host runs the result")
	os.Exit(1)
}
