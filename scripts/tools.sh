#!/bin/sh
# Checks what a task needs, and says in one line how to get what is missing.
#
#   scripts/tools.sh run     Go and Node, in the versions that this project is built with
#   scripts/tools.sh test    that, and Chromium, ffmpeg and ip; as root they are installed, otherwise the apt line is printed
set -eu

fail() {
	echo "essaim: $1" >&2
	exit 1
}

# at_least HAVE WANT: compares dotted versions.
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

command -v go >/dev/null || fail "Go is missing: install Go 1.26 or newer from https://go.dev/dl and put it on your PATH."
go_have=$(go env GOVERSION | sed 's/^go//; s/[ -].*//')
at_least "$go_have" 1.26 || fail "Go $go_have is too old: install Go 1.26 or newer from https://go.dev/dl."
command -v node >/dev/null || fail "Node is missing: install Node 20.19 or newer from https://nodejs.org and put it on your PATH."
node_have=$(node --version | sed 's/^v//')
at_least "$node_have" 20.19 || fail "Node $node_have is too old: install Node 20.19 or newer from https://nodejs.org."
command -v npm >/dev/null || fail "npm is missing: it comes with Node from https://nodejs.org."

[ "${1:-run}" = test ] || exit 0

missing=""
command -v chromium >/dev/null || missing="$missing chromium"
command -v ffmpeg >/dev/null || missing="$missing ffmpeg"
command -v ip >/dev/null || missing="$missing iproute2"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	fail "the tests need more: sudo apt-get install --no-install-recommends$missing"
fi
echo "essaim: installing$missing"
apt-get update -q
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
