/** The engine's notes, named: for logs, reports and the room's drawing. Nothing depends on them. */

import type { EngineNote, EngineNoteKind } from "../player/source";
import { NoteKind, Reason } from "./kinds.gen";
import type { Output } from "./record";

const kinds: Record<number, EngineNoteKind> = {
  [NoteKind.Block]: "block",
  [NoteKind.Piece]: "piece",
  [NoteKind.Restored]: "restored",
  [NoteKind.Evicted]: "evicted",
  [NoteKind.Sent]: "sent",
  [NoteKind.BadBlock]: "bad_block",
  [NoteKind.Banned]: "banned",
  [NoteKind.PeerUp]: "peer_up",
  [NoteKind.PeerDown]: "peer_down",
  [NoteKind.Urgent]: "urgent",
  [NoteKind.Wasted]: "wasted",
};

/** Why something ended, as a word: `Protocol`, `BadData`, `Timeout`, … */
export type ReasonName = keyof typeof Reason;

/** The name of a number in `EngineNote.reason`; `None` for one that is not known. */
export function reasonName(reason: number): ReasonName {
  for (const [name, value] of Object.entries(Reason)) if (value === reason) return name as ReasonName;
  return "None";
}

/**
 * The note that an output carries; undefined for one that this host does not know. `idOf` names a peer's ID where signalling
 * told it.
 */
export function noteOf(o: Output, idOf: (peer: number) => Uint8Array | undefined): EngineNote | undefined {
  const kind = kinds[o.note];
  if (!kind) return undefined;
  const { peer, piece, begin, length, reason } = o;
  const note: EngineNote = { kind, peer, piece, begin, length, reason };
  if (o.data.length === 20) note.peerId = toHex(o.data);
  else {
    const id = idOf(peer);
    if (id) note.peerId = named(id);
  }
  return note;
}

// Peer IDs in hexadecimal, by the array that holds them: every block is noted with one.
const names = new WeakMap<Uint8Array, string>();

function named(id: Uint8Array): string {
  let name = names.get(id);
  if (name === undefined) names.set(id, (name = toHex(id)));
  return name;
}

/** Lower-case hexadecimal. */
export function toHex(b: Uint8Array): string {
  let s = "";
  for (const c of b) s += c.toString(16).padStart(2, "0");
  return s;
}
