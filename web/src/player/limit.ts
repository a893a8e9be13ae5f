/** How good a picture the viewer's plan includes: there are no keys to better ones, so that they must never be asked for. */

import type shaka from "shaka-player/dist/shaka-player.dash-es2021";

/** Film of the better picture that is still played where the plan is lowered, in seconds. */
const keptSeconds = 2;

/** Keeps a player to pictures of at most so many lines from now on, also one that plays; undefined or 0: to none in particular. */
export function limitHeight(player: shaka.Player, maxHeight: number | undefined): void {
  if (!maxHeight) return;
  const tracks = player.getVariantTracks();
  const active = tracks.find((track) => track.active);
  if ((active?.height ?? 0) > maxHeight) {
    const [best] = tracks
      .filter(({ height, audioId }) => (height ?? 0) <= maxHeight && audioId === active?.audioId)
      .sort((a, b) => b.bandwidth - a.bandwidth);
    // Before it is forbidden: what the player holds of the better picture would be played to its end otherwise.
    if (best) player.selectVariantTrack(best, true, keptSeconds);
  }
  player.configure({ restrictions: { maxHeight } });
}
