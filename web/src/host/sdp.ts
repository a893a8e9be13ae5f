/** What may stand in a session description that leaves this page, or that it takes in. */

/**
 * Takes the addresses of local networks out of a description: host candidates with private, link-local or loopback
 * addresses, or with the mDNS names that stand for them. Policy allows them in a LAN mode only.
 */
export function withoutLocalAddresses(sdp: string): string {
  return sdp
    .split("\r\n")
    .filter((line) => !line.startsWith("a=candidate:") || !isLocal(line.split(" ")[4] ?? ""))
    .map((line) => withoutRelated(line))
    .join("\r\n");
}

// A server-reflexive candidate names the local address that it was learnt from.
function withoutRelated(line: string): string {
  return line.startsWith("a=candidate:") ? line.replace(/ raddr \S+ rport \d+/, " raddr 0.0.0.0 rport 0") : line;
}

function isLocal(address: string): boolean {
  const a = address.toLowerCase();
  if (a.endsWith(".local")) return true;
  if (a.includes(":")) return a === "::1" || /^(fe[89ab]|f[cd])/.test(a) || a.startsWith("::ffff:");
  const [x = 0, y = 0] = a.split(".").map(Number);
  return (
    x === 10 || x === 127 || (x === 172 && y >= 16 && y < 32) || (x === 192 && y === 168) || (x === 169 && y === 254)
  );
}

/** Whether a description is for one data channel and nothing else: no camera, no microphone, a bounded number of candidates. */
export function isDataOnly(sdp: string): boolean {
  const media = sdp.match(/^m=.*$/gm) ?? [];
  const candidates = sdp.match(/^a=candidate:/gm) ?? [];
  return media.length === 1 && media[0].startsWith("m=application ") && candidates.length <= 32;
}
