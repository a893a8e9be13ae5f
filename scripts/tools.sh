#!/bin/sh
# Checks what a task needs, and says in one line how to get what is missing.
#
#   scripts/tools.sh run     Go and Node, in the versions that this project is built with
#   scripts/tools.sh test    that, and Chromium, Firefox, ffmpeg, bubblewrap, ip and libtorrent; as root they are installed, otherwise the apt line is printed
set -eu

fail() {
	echo "essaim: $1" >&2
	exit 1
}

# at_least HAVE WANT: compares dotted versions.
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# install PACKAGE...: as root; otherwise says the one line that does it, and ends.
install() {
	if [ "$(id -u)" -ne 0 ]; then
		fail "more is needed: sudo apt-get install --no-install-recommends $*"
	fi
	echo "essaim: installing $*"
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# debian_has PACKAGE WANT: whether this system's own package is new enough.
debian_has() {
	command -v apt-cache >/dev/null || return 1
	candidate=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | sed 's/^[0-9]*://; s/^(none)$//; s/[-+~].*//')
	[ -n "$candidate" ] && at_least "$candidate" "$2"
}

# need COMMAND HAVE WANT PACKAGE URL [PACKAGE...]: COMMAND in version WANT, from Debian where it is new enough.
need() {
	what=$1 have=$2 want=$3 package=$4 url=$5
	shift 5
	if [ -n "$have" ] && at_least "$have" "$want"; then
		return
	fi
	if debian_has "$package" "$want"; then
		install "$package" "$@"
	elif [ -n "$have" ]; then
		fail "$what $have is too old: install $what $want or newer from $url and put it on your PATH."
	else
		fail "$what is missing: install $what $want or newer from $url and put it on your PATH."
	fi
}

go_have=$(command -v go >/dev/null && go env GOVERSION | sed 's/^go//; s/[ -].*//' || true)
need Go "$go_have" 1.26 golang-go https://go.dev/dl
node_have=$(command -v node >/dev/null && node --version | sed 's/^v//' || true)
npm_apart=npm # Debian's Node comes without it, NodeSource's package brings it along and conflicts with Debian's
case $(apt-cache policy nodejs 2>/dev/null || true) in *nodesource*) npm_apart="" ;; esac
# shellcheck disable=SC2086 # a package or none
need Node "$node_have" 20.19 nodejs https://nodejs.org $npm_apart
command -v npm >/dev/null || install npm

[ "${1:-run}" = test ] || exit 0

missing=""
command -v chromium >/dev/null || missing="$missing chromium"
command -v firefox-esr >/dev/null || missing="$missing firefox-esr"
command -v ffmpeg >/dev/null || missing="$missing ffmpeg"
command -v ip >/dev/null || missing="$missing iproute2"
command -v bwrap >/dev/null || missing="$missing bubblewrap"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
# libtorrent, everybody else's client in the tests: where this system has it. Its test says so and is passed over where it is missing.
/usr/bin/python3 -c 'import libtorrent' 2>/dev/null || ! debian_has python3-libtorrent 2.0 || missing="$missing python3-libtorrent"
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086 # a list of packages
install $missing
