/** The last minute of a viewer's traffic, second by second, as a small picture shows it. */

/** What came and went within a second, in bytes. */
export interface Second {
  viewers: number;
  server: number;
  given: number;
}

/** Totals, as the player counts them. */
export interface Totals {
  peerBytes: number;
  originBytes: number;
  sentBytes: number;
}

/** So many seconds are kept. */
export const secondsMax = 60;

/** Adds what came since `before` to the seconds, of which the latest are kept. A count that fell back is a new player's. */
export function follow(seconds: readonly Second[], before: Totals | undefined, now: Totals): Second[] {
  if (!before) return [...seconds];
  const grown = (key: keyof Totals) => (now[key] >= before[key] ? now[key] - before[key] : now[key]);
  const second = { viewers: grown("peerBytes"), server: grown("originBytes"), given: grown("sentBytes") };
  return [...seconds, second].slice(-secondsMax);
}

/** The bytes of all seconds. */
export function sum(seconds: readonly Second[]): Second {
  const total = { viewers: 0, server: 0, given: 0 };
  for (const s of seconds) {
    total.viewers += s.viewers;
    total.server += s.server;
    total.given += s.given;
  }
  return total;
}

/** Paths for SVG, `width` by `height`: what came from viewers above nothing, from the server above that, and what was given. */
export interface Paths {
  viewers: string;
  server: string;
  given: string;
}

/** Draws the seconds, the latest at the right edge; the tallest reaches the top. */
export function draw(seconds: readonly Second[], width: number, height: number): Paths {
  const top = Math.max(1, ...seconds.map((s) => Math.max(s.viewers + s.server, s.given)));
  const x = (i: number) => round(width - ((seconds.length - 1 - i) / (secondsMax - 1)) * width);
  const y = (bytes: number) => round(height - (bytes / top) * (height - 1));
  const line = (bytes: (s: Second) => number) => seconds.map((s, i) => `${x(i)} ${y(bytes(s))}`).join("L");
  if (seconds.length < 2) return { viewers: "", server: "", given: "" };
  const area = (bytes: (s: Second) => number) => `M${x(0)} ${height}L${line(bytes)}L${width} ${height}Z`;
  return {
    viewers: area((s) => s.viewers),
    server: area((s) => s.viewers + s.server),
    given: `M${line((s) => s.given)}`,
  };
}

const round = (n: number) => Math.round(n * 10) / 10;
