/**
 * The system's own controls, media keys and lock screen: the Media Session (W3C). It must let go when the page does.
 */

import type { Screen } from "./screen.svelte";

/** What is told of the film. */
export interface Film {
  name: string;
  /** An address, or empty for none. */
  poster: string;
}

/** How far the system's own buttons jump where they do not say, in seconds. */
const jumpSeconds = 10;

/** tellSystem has the system show the film and obeys its buttons, until the function returned is called. */
export function tellSystem(screen: Screen, { name, poster }: Film): () => void {
  const session = "mediaSession" in navigator ? navigator.mediaSession : undefined;
  if (!session || !("MediaMetadata" in window)) return () => undefined;
  const handlers: Partial<Record<MediaSessionAction, MediaSessionActionHandler>> = {
    play: () => void screen.play(),
    pause: () => screen.pause(),
    stop: () => screen.pause(),
    seekbackward: ({ seekOffset }) => screen.jump(-(seekOffset ?? jumpSeconds)),
    seekforward: ({ seekOffset }) => screen.jump(seekOffset ?? jumpSeconds),
    seekto: ({ seekTime }) => seekTime !== undefined && screen.go(seekTime),
  };
  const set = (action: string, handler: MediaSessionActionHandler | null) => {
    try {
      session.setActionHandler(action as MediaSessionAction, handler);
    } catch {
      // A browser that does not know this button.
    }
  };
  session.metadata = new MediaMetadata({ title: name, ...(poster && { artwork: [{ src: poster }] }) });
  for (const [action, handler] of Object.entries(handlers)) set(action, handler);
  return () => {
    session.metadata = null;
    session.playbackState = "none";
    for (const action of Object.keys(handlers)) set(action, null);
  };
}

/** tellPosition has the system know where playback stands. Times in seconds. */
export function tellPosition({ duration, time, rate, paused }: Screen): void {
  if (!("mediaSession" in navigator)) return;
  navigator.mediaSession.playbackState = paused ? "paused" : "playing";
  if (!(duration > 0) || !("setPositionState" in navigator.mediaSession)) return;
  navigator.mediaSession.setPositionState({ duration, position: Math.min(time, duration), playbackRate: rate });
}
