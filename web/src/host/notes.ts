/** The engine's notes, typed and named: for logs, reports and the room's drawing. Nothing depends on them. */

import { NoteKind, Reason } from "./kinds.gen";
import type { Output } from "./record";
import { toLatin1 } from "./title";

/** Why something ended, as a word: `Protocol`, `BadData`, `Timeout`, … */
export type ReasonName = keyof typeof Reason;

/** Something that happened in the engine. `peer` 0 is an HTTP source; pieces are torrent-wide numbers; lengths are bytes. */
export type EngineNote =
  /** A block's bytes arrived and were digested. */
  | { name: "block"; peer: number; piece: number; begin: number; length: number }
  /** A piece was verified and stored; `peer` gave most of it. */
  | { name: "piece"; peer: number; piece: number; length: number }
  /** A piece came from the store of an earlier visit. */
  | { name: "restored"; piece: number; length: number }
  | { name: "evicted"; piece: number }
  /** A block was handed to a peer. */
  | { name: "sent"; peer: number; piece: number; begin: number; length: number }
  /** A block did not match its hash. */
  | { name: "badBlock"; peer: number; piece: number; begin: number }
  | { name: "banned"; peer: number; reason: ReasonName }
  /** A handshake succeeded; `peerId` as latin1. */
  | { name: "peerUp"; peer: number; peerId: string }
  | { name: "peerDown"; peer: number; reason: ReasonName }
  /** A piece had to be asked of the origin because its deadline was near. */
  | { name: "urgent"; piece: number }
  /** Bytes arrived twice or in vain. */
  | { name: "wasted"; peer: number; length: number };

/** The name of a reason. */
export function reasonName(reason: number): ReasonName {
  for (const [name, value] of Object.entries(Reason)) if (value === reason) return name as ReasonName;
  return "None";
}

/** The note that an output carries; undefined for one that this host does not know. */
export function noteOf(o: Output): EngineNote | undefined {
  const { peer, piece, begin, length } = o;
  switch (o.note) {
    case NoteKind.Block:
      return { name: "block", peer, piece, begin, length };
    case NoteKind.Piece:
      return { name: "piece", peer, piece, length };
    case NoteKind.Restored:
      return { name: "restored", piece, length };
    case NoteKind.Evicted:
      return { name: "evicted", piece };
    case NoteKind.Sent:
      return { name: "sent", peer, piece, begin, length };
    case NoteKind.BadBlock:
      return { name: "badBlock", peer, piece, begin };
    case NoteKind.Banned:
      return { name: "banned", peer, reason: reasonName(o.reason) };
    case NoteKind.PeerUp:
      return { name: "peerUp", peer, peerId: toLatin1(o.data) };
    case NoteKind.PeerDown:
      return { name: "peerDown", peer, reason: reasonName(o.reason) };
    case NoteKind.Urgent:
      return { name: "urgent", piece };
    case NoteKind.Wasted:
      return { name: "wasted", peer, length };
    default:
      return undefined;
  }
}
