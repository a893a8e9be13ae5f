/**
 * The interface between the player and whatever gets its bytes. It must never let a byte through that was not verified
 * against its file's v2 root: whoever implements it checks before `read` resolves.
 */

import type { BannedPeer, PlayPolicy, PlaySession, PlayTickets } from "./session";

/** A play session's bytes, verified. One instance per play session; several reads may run at once. */
export interface MediaSourceBytes {
  /**
   * Resolves with bytes `[from, to)` of the file (its index in `session.files`), all verified. Rejects with an
   * `AbortError` when the signal fires and with a `SourceError` when the bytes cannot be had.
   */
  read(file: number, from: number, to: number, signal: AbortSignal): Promise<ReadResult>;
  /** Tells where playback is. Called on media events, several times a second at most. */
  moved(state: PlaybackState): void;
  /** Tells that the viewer jumped; `moved` may follow. */
  seeked(position_ms: number): void;
  /** Tells which file the player now asks for, once per track and change. */
  rendition(file: number): void;
  /** Brings a policy that holds from now on. */
  policy(p: PlayPolicy): void;
  /** Brings new tickets; the old ones may be refused from now on. */
  tickets(t: PlayTickets): void;
  /** The counts so far. */
  stats(): Stats;
  /** Ends everything: nothing runs and no timer is left once it resolves. Pending reads reject. */
  close(): Promise<void>;
}

/** The answer to a read. */
export interface ReadResult {
  /** Exactly the bytes asked for. The reader owns it. */
  data: ArrayBuffer;
  /** Nothing had to be waited for: the bytes were held already. */
  cached: boolean;
  /** How long the network took, in milliseconds, waiting in queues and cache hits left out: what a rendition choice may trust. */
  timeMs: number;
}

/** Where playback is. */
export interface PlaybackState {
  /** The play head, in milliseconds of film. */
  position_ms: number;
  /** The end of the player's own contiguous buffer around the play head, in milliseconds of film. */
  buffered_end_ms: number;
  /** 1 is normal speed. */
  rate: number;
  paused: boolean;
}

/** Counts of media bytes by where they came from, over the whole session. */
export interface Stats {
  /** Bytes that arrived from HTTP sources, wasted ones included. */
  originBytes: number;
  /** Bytes that arrived from peers. */
  peerBytes: number;
  /** Bytes that a store kept from earlier visits supplied. */
  cachedBytes: number;
  /** Bytes handed to peers. */
  sentBytes: number;
  /** Blocks (or, without an engine, pieces) whose hash refuted them. */
  badBlocks: number;
  /** Peers banned for good, the first 32 of them; absent where there are none. */
  banned?: BannedPeer[];
  /** Peers connected now. */
  peers: number;
  /** Receiving rate of the last few seconds, in kbit/s. */
  downloadKbps: number;
  /** RTCPeerConnections of this page: alive, made in its life, and the most that it makes; absent where there is no engine. */
  connections?: { live: number; made: number; most: number };
}

/** What is counted where nothing has come yet. */
export const noStats: Readonly<Stats> = {
  originBytes: 0,
  peerBytes: 0,
  cachedBytes: 0,
  sentBytes: 0,
  badBlocks: 0,
  peers: 0,
  downloadKbps: 0,
};

/** A piece that has been verified, to hand from one source to the next. */
export interface VerifiedPiece {
  /** Index in `session.files`. */
  file: number;
  /** Torrent-wide number. */
  piece: number;
  /** The whole piece; shorter than the piece length at the file's end. */
  data: ArrayBuffer;
}

/** Why bytes cannot be had, in a sentence a viewer can read. */
export class SourceError extends Error {
  override readonly name = "SourceError";
  /** What happened, for a branch: `refused` (ticket), `missing`, `corrupt`, `network`, `closed`, `range`, `insecure`. */
  readonly code: SourceErrorCode;
  constructor(code: SourceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The kinds of SourceError. */
export type SourceErrorCode = "refused" | "missing" | "corrupt" | "network" | "closed" | "range" | "insecure";

/** What the engine tells of its doings: the notes of `internal/engine/step.go`, for drawings and logs. Nothing depends on it. */
export interface EngineNote {
  kind: EngineNoteKind;
  /** The connection's number; 0 is an HTTP source. */
  peer: number;
  /** Torrent-wide piece number. */
  piece: number;
  /** First byte within the piece. */
  begin: number;
  /** Bytes. */
  length: number;
  /** A number of Go's `engine.Reason`; 0 claims no fault. */
  reason: number;
  /** The peer's ID, 40 hexadecimal digits, where the note or the host knows it. */
  peerId?: string;
}

/** The kinds of note, named after Go's `engine.NoteKind`. */
export type EngineNoteKind =
  | "block"
  | "piece"
  | "restored"
  | "evicted"
  | "sent"
  | "bad_block"
  | "banned"
  | "peer_up"
  | "peer_down"
  | "urgent"
  | "wasted";

/** What `openEngine` of `web/src/host` is given beside the session. */
export interface EngineOptions {
  onNote(note: EngineNote): void;
  /** The operator forbids peers from now on, and the engine has obeyed: told by the tracker, before any heartbeat. */
  onForbidden?(): void;
  /** Pieces that the page has verified already; read once, while the engine opens. */
  seed: Iterable<VerifiedPiece>;
  /**
   * Where pieces are kept: "memory"; the name of a folder of the browser's private file system, where they stay for later visits;
   * or "scratch:" and the name of a folder that is emptied first.
   */
  storage: string;
  /** For demonstrations: send one wrong bit to the peers. */
  debugLie?: boolean;
}

/** An engine's bytes, and what demonstrations want of it beside. */
export interface EngineBytes extends MediaSourceBytes {
  /** This viewer's own peer ID, 40 hexadecimal digits: what other viewers' notes call it. */
  readonly peerId?: string;
  /** Takes a piece that was on its way to the page when the engine opened, and has been verified since. The engine owns its bytes. */
  verified?(piece: VerifiedPiece): void;
  /** Sends one wrong bit to the peers from now on, or stops doing so. */
  setLie?(on: boolean): void;
}

/** The signature of `openEngine`, exported by `web/src/host`. It rejects where the browser lacks what the engine needs. */
export type OpenEngine = (session: PlaySession, options: EngineOptions) => Promise<EngineBytes>;
