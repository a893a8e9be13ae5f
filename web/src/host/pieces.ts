/**
 * The bytes of one title: blocks on their way to becoming pieces, and the store of pieces that were verified. It must keep at
 * most one copy of a block, put into the store only what is whole, and stay within the store's bounds.
 */

import type { Bytes } from "./record";
import type { PieceStore } from "./store";
import { blockSize, placeOf, type Title } from "./title";

/** Says whether a piece must not be evicted now. */
export type Pinned = (piece: number) => boolean;

/** Blocks kept and pieces stored. */
export class Pieces {
  private readonly title: Title;
  private readonly store: PieceStore;
  private readonly kept = new Map<number, Bytes>(); // by piece * pieceLength + begin

  constructor(title: Title, store: PieceStore) {
    this.title = title;
    this.store = store;
  }

  /** Whether a piece is in the store. */
  has(piece: number): boolean {
    return this.store.has(piece);
  }

  /** Keeps a block; false if it is kept or stored already. */
  keep(piece: number, begin: number, bytes: Bytes): boolean {
    const key = this.key(piece, begin);
    if (this.kept.has(key) || this.store.has(piece)) return false;
    this.kept.set(key, bytes);
    return true;
  }

  /** Whether it is these bytes that are kept for a block. */
  keeps(piece: number, begin: number, bytes: Bytes): boolean {
    return this.kept.get(this.key(piece, begin)) === bytes;
  }

  /** Drops the bytes kept for a block. */
  discard(piece: number, begin: number): void {
    this.kept.delete(this.key(piece, begin));
  }

  /** Moves a piece's kept blocks into the store; false, with those dropped and nothing stored, unless all are there. */
  storePiece(piece: number): boolean {
    const place = placeOf(this.title, piece);
    if (!place) return false;
    const blocks: Bytes[] = [];
    let whole = true;
    for (let begin = 0; begin < place.size; begin += blockSize) {
      const block = this.kept.get(this.key(piece, begin));
      this.discard(piece, begin);
      if (block?.length === Math.min(blockSize, place.size - begin)) blocks.push(block);
      else whole = false;
    }
    if (whole) this.store.put(piece, blocks);
    return whole;
  }

  /** Takes a piece out of the store; false if it was not there. */
  evict(piece: number): boolean {
    if (!this.store.has(piece)) return false;
    this.store.delete(piece);
    return true;
  }

  /**
   * While the store is over its bounds: evicts the longest unused, first of what lies behind the play head, then of
   * anything that is not pinned. Returns what went.
   */
  makeRoom(positionMs: number, pinned: Pinned): number[] {
    const gone: number[] = [];
    for (let behindOnly = true; this.store.used > this.store.limit;) {
      let victim = -1;
      for (const piece of this.store.pieces()) {
        if (!pinned(piece) && (!behindOnly || this.behind(piece, positionMs))) {
          victim = piece;
          break;
        }
      }
      if (victim >= 0) {
        this.store.delete(victim);
        gone.push(victim);
      } else if (behindOnly) {
        behindOnly = false;
      } else {
        break;
      }
    }
    return gone;
  }

  /** Whether the store holds all of bytes [from, to) of a file. */
  holds(file: number, from: number, to: number): boolean {
    const f = this.title.files[file];
    if (!f || from < 0 || to > f.size || to <= from) return false;
    const length = this.title.pieceLength;
    for (let n = Math.floor(from / length); n * length < to; n++) {
      if (!this.store.has(f.firstPiece + n)) return false;
    }
    return true;
  }

  /** Bytes [from, to) of a file, of pieces that the store holds or of which these blocks are kept. */
  range(file: number, from: number, to: number): Bytes {
    const first = this.title.files[file]!.firstPiece;
    const length = this.title.pieceLength;
    const data = new Uint8Array(to - from);
    for (let at = from; at < to;) {
      const begin = at % length;
      const n = Math.min(length - begin, to - at);
      const piece = first + Math.floor(at / length);
      if (this.store.has(piece)) this.store.read(piece, begin, n, data, at - from);
      else this.readKept(piece, begin, n, data, at - from);
      at += n;
    }
    return data;
  }

  // The engine says of a piece that is not whole yet that some of its blocks are proven.
  private readKept(piece: number, begin: number, length: number, to: Uint8Array, at: number): void {
    for (let done = 0; done < length;) {
      const from = begin + done - ((begin + done) % blockSize);
      const part = this.kept.get(this.key(piece, from))?.subarray(begin + done - from, begin + length - from);
      if (!part?.length) throw new Error(`piece ${piece} is neither stored nor kept at ${begin + done}`);
      to.set(part, at + done);
      done += part.length;
    }
  }

  /** The blocks of a piece, copied out of the store; none if it is not there. */
  blocks(piece: number): Bytes[] {
    const place = placeOf(this.title, piece);
    const blocks: Bytes[] = [];
    if (!place || !this.store.has(piece)) return blocks;
    for (let begin = 0; begin < place.size; begin += blockSize) {
      const block = new Uint8Array(Math.min(blockSize, place.size - begin));
      this.store.read(piece, begin, block.length, block, 0);
      blocks.push(block);
    }
    return blocks;
  }

  /** A piece message (BEP 3) with bytes of a stored piece, its length before it; undefined if the piece is not there. */
  message(piece: number, begin: number, length: number): Bytes | undefined {
    const place = placeOf(this.title, piece);
    if (!place || !this.store.has(piece)) return undefined;
    const message = new Uint8Array(13 + length);
    const v = new DataView(message.buffer);
    v.setUint32(0, 9 + length);
    message[4] = 7;
    v.setUint32(5, piece);
    v.setUint32(9, begin);
    // What lies past the file's end is a pad (BEP 47): zeros, as the array is.
    const real = Math.min(length, place.size - begin);
    if (real > 0) this.store.read(piece, begin, real, message, 13);
    return message;
  }

  /** Lets everything go. */
  close(): void {
    this.kept.clear();
    this.store.close();
  }

  private behind(piece: number, positionMs: number): boolean {
    const place = placeOf(this.title, piece);
    const segments = place && this.title.files[place.file]?.segments;
    if (!place || !segments) return false;
    const playing = segments.find(([, , start, duration]) => start + duration > positionMs);
    return !playing || place.from + place.size <= playing[0];
  }

  private key(piece: number, begin: number): number {
    return piece * this.title.pieceLength + begin;
  }
}
