/**
 * What the room and its frames say to each other by postMessage. A frame (`/room/viewer?n=1`) speaks to the window that
 * holds it, its parent or, in a window of its own, its opener; both are of this origin, and both sides must check that.
 * The room draws these messages and the server's counter, and nothing else.
 */

import type { EngineNote, EngineNoteKind, Stats } from "../player/source";

/** Something the viewer's engine, or the page before the engine runs, did. Fields as in `EngineNote`. */
export interface NoteMessage extends Omit<EngineNote, "kind"> {
  essaim: "note";
  /** The viewer's number, 1 to 4. */
  n: number;
  note: EngineNoteKind;
}

/** How the viewer is doing, at least twice a second. Byte counts as in `Stats`. */
export interface StatsMessage extends Stats {
  essaim: "stats";
  n: number;
  /** The viewer's own peer ID, 40 hexadecimal digits; empty until its engine runs. */
  peerId: string;
  /** The play head, in milliseconds of film. */
  positionMs: number;
  /** The end of the player's own buffer, in milliseconds of film. */
  bufferedEndMs: number;
  paused: boolean;
  ended: boolean;
  /** Times that playback had to wait after it had begun. */
  stalls: number;
  /** It sends one wrong bit in every block, as it was told to. */
  lying: boolean;
}

/** All that a frame says. */
export type FrameMessage = NoteMessage | StatsMessage;

/** All that the room says to a frame. */
export interface CommandMessage {
  essaim: "command";
  /** Send one wrong bit in every block from now on, or be honest again. */
  lie: boolean;
}

const kinds: ReadonlySet<string> = new Set<EngineNoteKind>([
  "block",
  "piece",
  "restored",
  "evicted",
  "sent",
  "bad_block",
  "banned",
  "peer_up",
  "peer_down",
  "urgent",
  "wasted",
]);

/** Reads a message that came from a frame; undefined for anything that is none. */
export function frameMessage(data: unknown): FrameMessage | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const m = data as Record<string, unknown>;
  if (typeof m.n !== "number" || !Number.isInteger(m.n) || m.n < 1 || m.n > 4) return undefined;
  if (m.essaim === "note" && typeof m.note === "string" && kinds.has(m.note)) {
    return {
      essaim: "note",
      n: m.n,
      note: m.note as EngineNoteKind,
      peer: count(m.peer),
      piece: count(m.piece),
      begin: count(m.begin),
      length: count(m.length),
      reason: count(m.reason),
      ...(isPeerId(m.peerId) ? { peerId: m.peerId } : {}),
    };
  }
  if (m.essaim === "stats") {
    return {
      essaim: "stats",
      n: m.n,
      peerId: isPeerId(m.peerId) ? m.peerId : "",
      positionMs: count(m.positionMs),
      bufferedEndMs: count(m.bufferedEndMs),
      paused: m.paused === true,
      ended: m.ended === true,
      stalls: count(m.stalls),
      lying: m.lying === true,
      originBytes: count(m.originBytes),
      peerBytes: count(m.peerBytes),
      cachedBytes: count(m.cachedBytes),
      sentBytes: count(m.sentBytes),
      badBlocks: count(m.badBlocks),
      peers: count(m.peers),
      downloadKbps: count(m.downloadKbps),
    };
  }
  return undefined;
}

function isPeerId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{40}$/.test(value);
}

/** A quantity: never negative, 0 where nothing usable was said. */
function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}
