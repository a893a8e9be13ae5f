#!/bin/sh
# Builds the engine's WebAssembly and its brotli twin, and prints their sizes.
#
#   internal/host/browser/build.sh [FOLDER]     (default: web/dist)
set -eu
cd "$(dirname "$0")/../../.."
out=${1:-web/dist}
mkdir -p "$out"
GOOS=js GOARCH=wasm go build -trimpath -ldflags='-s -w' -o "$out/engine.wasm" ./internal/host/browser
chmod 644 "$out/engine.wasm"
echo "engine.wasm $(wc -c <"$out/engine.wasm") bytes"
if command -v brotli >/dev/null; then
	brotli -q 11 -f -o "$out/engine.wasm.br" "$out/engine.wasm"
	echo "engine.wasm.br $(wc -c <"$out/engine.wasm.br") bytes"
else
	rm -f "$out/engine.wasm.br" # never beside a wasm that it is not the twin of
	echo "brotli is missing: no engine.wasm.br" >&2
fi
