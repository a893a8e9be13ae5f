/** What tests and the demonstration's pages may look into. A page calls `exposeDebug` only where it was asked to. */

import type { DeliveredRange, EssaimPlayer, PlayerStats } from "./player";
import type { PlaySession } from "./session";

/** `window.essaimDebug`. */
export interface EssaimDebug {
  /** The counts of the moment. */
  stats(): PlayerStats;
  /** Every range given to the player: its file's path, first byte, byte after the last, SHA-256. */
  delivered(): (DeliveredRange & { path: string })[];
  session(): PlaySession | undefined;
  player: EssaimPlayer;
}

declare global {
  interface Window {
    essaimDebug?: EssaimDebug;
  }
}

/** exposeDebug sets `window.essaimDebug`. The player must have been made with `record`. */
export function exposeDebug(player: EssaimPlayer): void {
  window.essaimDebug = {
    stats: () => player.stats(),
    delivered: () =>
      player.delivered.map((range) => ({ ...range, path: player.session?.files[range.file]?.path ?? "" })),
    session: () => player.session,
    player,
  };
}
