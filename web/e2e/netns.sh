#!/bin/sh
# Runs a command in a private network namespace with one veth pair, both ends inside, and a default route over it.
#
#   web/e2e/netns.sh COMMAND [ARG...]
#
# Why: with only the loopback interface Chromium gathers no ICE candidate, so two browsers under test never meet; and
# on a shared machine the tests should neither need nor see its network. Server, browsers and test runner must be
# started by the same COMMAND, since 127.0.0.1 inside is not 127.0.0.1 outside. The namespace has no name and ends
# with its last process: nothing is left behind, whatever kills the command. Where no namespace may be made, the
# command runs plainly and its exit status is passed on either way. ESSAIM_NETNS=1 tells the command that it is inside.
set -eu

if [ $# -eq 0 ]; then
	echo "usage: $0 COMMAND [ARG...]" >&2
	exit 64
fi

# Inside: bring the links up, then become the command.
inside='
ip link set lo up &&
ip link add es0 type veth peer name es1 &&
ip address add 10.77.0.1/24 dev es0 &&
ip address add 10.77.0.2/24 dev es1 &&
ip link set es0 up && ip link set es1 up &&
ip route add default via 10.77.0.2 dev es0
'

# As root a network namespace is enough; others need a user namespace around it, where the kernel lets them.
if [ "$(id -u)" -eq 0 ]; then
	flags=-n
else
	flags=-rn
fi

if command -v unshare >/dev/null && command -v ip >/dev/null && unshare $flags sh -ec "$inside" 2>/dev/null; then
	exec unshare $flags sh -c "{ $inside } >&2 || exit 70"'; ESSAIM_NETNS=1 exec "$@"' sh "$@"
fi
echo "netns.sh: no private network namespace here, running plainly" >&2
exec "$@"
