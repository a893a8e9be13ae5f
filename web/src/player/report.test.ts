import { expect, test } from "vitest";
import type { PlayerStats } from "./player";
import { reported } from "./report";

const counts = (n: number): PlayerStats => ({
  originBytes: 100 * n,
  peerBytes: 10 * n,
  cachedBytes: 7 * n,
  sentBytes: 3 * n,
  badBlocks: n,
  peers: 2,
  downloadKbps: 1000,
  startupMs: 300,
  stalls: n,
  stalledMs: 50 * n,
  positionMs: 1000 * n,
  bufferedEndMs: 2000 * n,
  height: 360,
  via: "engine",
});

test("two sessions of one player add up to what it counted", () => {
  const first = reported(counts(4), undefined);
  expect(first).toMatchObject({ origin_bytes: 400, stalls: 4, startup_ms: 300, height: 360 });
  expect(first.continued).toBeUndefined();
  const second = reported(counts(9), counts(4));
  expect(second.continued).toBe(true);
  for (const key of [
    "origin_bytes",
    "peer_bytes",
    "cached_bytes",
    "sent_bytes",
    "stalls",
    "stalled_ms",
    "bad_blocks",
  ] as const) {
    expect((first[key] ?? 0) + (second[key] ?? 0), key).toBe(reported(counts(9), undefined)[key]);
  }
});
