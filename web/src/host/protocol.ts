/**
 * What page and worker say to each other. The page has the user's session and the RTCPeerConnections; the worker has the
 * engine, the tracker, the fetches, the digests and the store. Payloads are transferred, never copied.
 */

import type { PlayPolicy, PlaySession, PlayTickets } from "../player/session";
import type { Fate } from "./tracker";
import type { EngineNote, PlaybackState, SourceErrorCode, Stats, VerifiedPiece } from "../player/source";

/** How the worker is opened. */
export interface OpenMessage {
  type: "open";
  session: PlaySession;
  /** Absolute prefixes of media/… and hashes/…, without a trailing slash. */
  origins: string[];
  /** Absolute WebSocket addresses. */
  trackers: string[];
  engineUrl: string;
  /** "memory", the name of a folder that lasts, or "scratch:" and the name of one that is emptied first. */
  storage: string;
  seeds: VerifiedPiece[];
  lie: boolean;
  /** This browser has RTCPeerConnection. */
  canPeer: boolean;
}

/** From the page to the worker. */
export type ToWorker =
  | OpenMessage
  | { type: "read"; id: number; file: number; from: number; to: number }
  | { type: "cancel"; id: number }
  /** The page verified this one after it had opened the worker. */
  | { type: "verified"; piece: VerifiedPiece }
  | { type: "moved"; state: PlaybackState }
  | { type: "seeked"; positionMs: number }
  | { type: "rendition"; file: number }
  | { type: "policy"; policy: PlayPolicy }
  | { type: "tickets"; tickets: PlayTickets }
  | { type: "lie"; on: boolean }
  | { type: "close" }
  /** The offer, or answer, that was asked for. */
  | { type: "described"; peer: number; sdp: string }
  /** A channel, handed over before it opens. */
  | { type: "channel"; peer: number; initiator: boolean; channel: RTCDataChannel }
  /** A channel that the page keeps and relays has opened. */
  | { type: "open-relay"; peer: number; initiator: boolean }
  | { type: "bytes"; peer: number; data: ArrayBuffer }
  /** Of what was relayed so far, so many bytes have left the page's queue. */
  | { type: "handed"; peer: number; total: number }
  /** What a round trip to the peer takes, in microseconds, as it was asked for. */
  | { type: "path"; peer: number; us: number }
  /** The connection ended, or never came; `fate`: why it never came, where that says something of the pair. */
  | { type: "gone"; peer: number; fate?: Fate };

/** From the worker to the page. */
export type FromWorker =
  /** `peerId`: 40 hexadecimal digits, ours in the swarm. */
  | { type: "opened"; peerId: string }
  /** The engine is over, or could not be opened. Nothing follows. */
  | { type: "failed"; message: string }
  | { type: "closed" }
  | { type: "data"; id: number; data: ArrayBuffer; cached: boolean; timeMs: number; stats: Stats }
  | { type: "refused"; id: number; code: SourceErrorCode; message: string }
  | { type: "notes"; notes: EngineNote[] }
  | { type: "stats"; stats: Stats }
  /** The operator forbids peers from now on: all connections are to be closed. */
  | { type: "forbidden" }
  /** The tracker is being asked whom to meet: a connection may be made ready. */
  | { type: "prepare" }
  | { type: "dial"; peer: number }
  | { type: "accept"; peer: number; sdp: string }
  | { type: "answered"; peer: number; sdp: string }
  /** A channel that was handed over has opened. */
  | { type: "up"; peer: number }
  | { type: "send"; peer: number; data: ArrayBuffer }
  /** The round trip to the peer is to be measured: only the page has the connection. */
  | { type: "measure"; peer: number }
  | { type: "drop"; peer: number };
