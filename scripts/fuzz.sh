#!/bin/sh
# Runs every fuzz target for so many inputs: scripts/fuzz.sh RUNS. A package's targets share one instrumented binary. What parses
# whole films takes some milliseconds an input, a hundred times what a message takes, and gets a tenth of the inputs.
set -eu
runs=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
cache=$(${GO:-go} env GOCACHE)/fuzz/essaim
top=$PWD
grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n 1 dirname | sort -u >"$tmp/packages"
while read -r dir; do
	${GO:-go} test -c -fuzz . -o "$tmp/test" "./$dir"
	case $dir in
	internal/drm | internal/ingest | internal/tracker) inputs=$((runs / 10 + 1)) ;;
	*) inputs=$runs ;;
	esac
	cd "$dir"
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' ./*_test.go); do
		"$tmp/test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "${inputs}x" -test.fuzzminimizetime 10x \
			-test.fuzzcachedir "$cache/$dir" >"$tmp/log" 2>&1 </dev/null || { cat "$tmp/log" && exit 1; }
	done
	cd "$top"
done <"$tmp/packages"
