/**
 * What a heartbeat says of a play session. A player counts from its own beginning, but the service adds up sessions, so what
 * an earlier session of the same player has told already is taken off.
 */

import type { PlayerStats } from "./player";
import type { Heartbeat } from "./session";

/** The counted part of a heartbeat: totals of the session that began when the player's counts were `before`. */
export function reported(stats: PlayerStats, before: PlayerStats | undefined): Omit<Heartbeat, "position_ms"> {
  return {
    origin_bytes: stats.originBytes - (before?.originBytes ?? 0),
    peer_bytes: stats.peerBytes - (before?.peerBytes ?? 0),
    cached_bytes: stats.cachedBytes - (before?.cachedBytes ?? 0),
    sent_bytes: stats.sentBytes - (before?.sentBytes ?? 0),
    stalls: stats.stalls - (before?.stalls ?? 0),
    stalled_ms: stats.stalledMs - (before?.stalledMs ?? 0),
    startup_ms: stats.startupMs,
    bad_blocks: stats.badBlocks - (before?.badBlocks ?? 0),
    height: stats.height,
    ...(before && { continued: true }),
  };
}
