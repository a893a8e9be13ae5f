/**
 * A title as the engine's host knows it: where pieces lie in files, and the two binary forms that open the engine
 * (Go: `engine.Title.AppendBinary`, `index.Index.AppendBinary`; big-endian).
 */

import type { PlaySession, PlaySegment } from "../player/session";
import type { Bytes } from "./record";
import type { ShelvedFile } from "./store";

/** The unit of requests and the leaf of the hash tree, in bytes (BEP 3, BEP 52). */
export const blockSize = 16 << 10;

/** One file of the title. */
export interface TitleFile {
  /** Bytes. */
  size: number;
  /** v2 pieces root, lower-case hexadecimal. */
  root: string;
  /** Torrent-wide number of the first piece. */
  firstPiece: number;
  /** 0 other, 1 video, 2 audio. */
  track: number;
  /** Where its segments lie in bytes and time; empty when unknown. */
  segments: PlaySegment[];
}

/** A title version, with what this viewer is called in its swarm. */
export interface Title {
  /** Bytes; a power of two. */
  pieceLength: number;
  /** 20 bytes. */
  infoHash: Uint8Array;
  /** The first 20 bytes of the v2 info hash. */
  infoHashV2: Uint8Array;
  /** 20 bytes: ours. */
  peerId: Uint8Array;
  /** Of all chance in the engine. */
  seed: bigint;
  files: TitleFile[];
}

/** Where a piece lies. */
export interface PiecePlace {
  /** Index of the file. */
  file: number;
  /** Its first byte in the file. */
  from: number;
  /** Bytes of the file in it: less than the piece length at the file's end. */
  size: number;
}

/** The title of a play session, under a fresh peer ID and seed. */
export function titleOf(session: PlaySession): Title {
  return {
    pieceLength: session.piece_length,
    infoHash: fromHex(session.info_hash),
    infoHashV2: fromHex(session.info_hash_v2).subarray(0, 20),
    peerId: newPeerId(),
    seed: crypto.getRandomValues(new BigUint64Array(1))[0]!,
    files: session.files.map((f) => ({
      size: f.size,
      root: f.root,
      firstPiece: f.first_piece,
      track: f.kind === "video" ? 1 : f.kind === "audio" ? 2 : 0,
      segments: f.segments,
    })),
  };
}

/** Says where a piece lies; undefined for a number that no file has. */
export function placeOf(title: Title, piece: number): PiecePlace | undefined {
  for (let i = title.files.length - 1; i >= 0; i--) {
    const f = title.files[i]!;
    if (piece < f.firstPiece) continue;
    const from = (piece - f.firstPiece) * title.pieceLength;
    return from < f.size ? { file: i, from, size: Math.min(title.pieceLength, f.size - from) } : undefined;
  }
  return undefined;
}

/** The form that TitleOpened carries. */
export function encodeTitle(t: Title): Bytes {
  const b = new Uint8Array(76 + 45 * t.files.length);
  const v = new DataView(b.buffer);
  b[0] = 1;
  v.setUint16(2, t.files.length);
  v.setUint32(4, t.pieceLength);
  b.set(t.infoHash, 8);
  b.set(t.infoHashV2, 28);
  b.set(t.peerId, 48);
  v.setBigUint64(68, t.seed);
  t.files.forEach((f, i) => {
    const at = 76 + 45 * i;
    v.setBigUint64(at, BigInt(f.size));
    b.set(fromHex(f.root), at + 8);
    v.setUint32(at + 40, f.firstPiece);
    b[at + 44] = f.track;
  });
  return b;
}

/** The form that IndexLoaded carries. */
export function encodeIndex(segments: readonly PlaySegment[]): Bytes {
  const b = new Uint8Array(24 * segments.length);
  const v = new DataView(b.buffer);
  segments.forEach(([from, to, start, duration], i) => {
    v.setBigUint64(24 * i, BigInt(from));
    v.setBigUint64(24 * i + 8, BigInt(to));
    v.setUint32(24 * i + 16, start);
    v.setUint32(24 * i + 20, duration);
  });
  return b;
}

/** The form that StoreRestored and StoreFound carry. */
export function encodePieces(pieces: readonly number[]): Bytes {
  const b = new Uint8Array(4 * pieces.length);
  const v = new DataView(b.buffer);
  pieces.forEach((piece, i) => v.setUint32(4 * i, piece));
  return b;
}

/** The form that StoreBounded carries (Go: `engine.AppendShelf`). */
export function encodeShelf(files: readonly ShelvedFile[]): Bytes {
  const b = new Uint8Array(24 * files.length);
  const v = new DataView(b.buffer);
  files.forEach(({ ref, members, copies, idle, bytes }, i) => {
    [ref, members, copies, idle].forEach((n, k) => v.setUint32(24 * i + 4 * k, n));
    v.setBigUint64(24 * i + 16, BigInt(bytes));
  });
  return b;
}

/** A peer ID of our kind: `-ES0001-` and twelve random letters or digits (BEP 20). */
export function newPeerId(): Bytes {
  const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  let id = "-ES0001-";
  // 62 does not divide 256: bytes from 248 on are drawn again, so that no character is likelier.
  while (id.length < 20) {
    for (const n of crypto.getRandomValues(new Uint8Array(24))) {
      if (n < 248 && id.length < 20) id += alphabet[n % 62];
    }
  }
  return fromLatin1(id);
}

/** The bytes that lower-case hexadecimal names. */
export function fromHex(s: string): Bytes {
  const b = new Uint8Array(s.length >> 1);
  for (let i = 0; i < b.length; i++) b[i] = parseInt(s.slice(2 * i, 2 * i + 2), 16);
  return b;
}

/** Bytes as the tracker's JSON carries them: byte b is code point U+00bb. */
export function toLatin1(b: Uint8Array): string {
  return String.fromCharCode(...b);
}

/** Reads what `toLatin1` wrote; code points above U+00FF are the caller's to refuse. */
export function fromLatin1(s: string): Bytes {
  const b = new Uint8Array(s.length);
  for (let i = 0; i < s.length; i++) b[i] = s.charCodeAt(i);
  return b;
}
