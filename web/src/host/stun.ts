/**
 * The STUN addresses of a session as the browser takes them: those without a host are on the host of the page. On a loopback
 * host these are left out, because whoever reaches that is on the same machine and has nothing to ask.
 */
export function locateStun(addresses: string[], hostname: string): string[] {
  const here = "stun::";
  const loopback = hostname === "localhost" || hostname === "[::1]" || /^127\./.test(hostname);
  return addresses
    .filter((a) => !(loopback && a.startsWith(here)))
    .map((a) => (a.startsWith(here) ? `stun:${hostname}:${a.slice(here.length)}` : a));
}
