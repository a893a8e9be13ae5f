#!/bin/sh
# Writes the shapes that the player uses (web/src/player/api.gen.ts) anew from the API that bin/essaim declares.
set -eu
cd "$(dirname "$0")/.."
data=$(mktemp -d)
bin/essaim demo --listen 127.0.0.1:0 --data "$data" --json >"$data/out" 2>"$data/log" &
service=$!
trap 'kill "$service" 2>/dev/null || true; wait "$service" 2>/dev/null || true; rm -rf "$data"' EXIT
until [ -s "$data/out" ]; do
	kill -0 "$service" 2>/dev/null || { cat "$data/log" >&2; exit 1; }
	sleep 0.1
done
url=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$data/out")
cd web && ESSAIM_URL=$url npm run --silent api
