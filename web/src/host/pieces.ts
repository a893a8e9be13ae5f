/**
 * The bytes of one title: blocks on their way to becoming pieces, and the store of pieces that were verified. It must keep at
 * most one copy of a block, and count as stored only what came whole or what the engine accepted of an earlier visit.
 */

import type { Bytes } from "./record";
import type { PieceStore } from "./store";
import { blockSize, placeOf, type Title } from "./title";

/** The store cannot give back what it holds of a piece. */
export class LostPiece extends Error {
  override readonly name = "LostPiece";
  readonly piece: number;
  constructor(piece: number, cause: unknown) {
    super(`piece ${piece} cannot be read back`, { cause });
    this.piece = piece;
  }
}

/** Blocks kept and pieces stored. */
export class Pieces {
  private readonly title: Title;
  private readonly store: PieceStore;
  private readonly kept = new Map<number, Bytes>(); // by piece * pieceLength + begin
  private readonly checked = new Set<number>(); // found pieces whose digests the engine was told

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

  /**
   * Moves a piece's kept blocks into the store; or, when none are kept and the engine was told the digests of what was found
   * of it, counts that as stored. False, with the blocks dropped and nothing stored, when neither can be.
   */
  storePiece(piece: number): boolean {
    const place = placeOf(this.title, piece);
    if (!place) return false;
    const blocks: Bytes[] = [];
    let kept = 0;
    for (let begin = 0; begin < place.size; begin += blockSize) {
      const block = this.kept.get(this.key(piece, begin));
      this.discard(piece, begin);
      if (block) kept++;
      if (block?.length === Math.min(blockSize, place.size - begin)) blocks.push(block);
    }
    const checked = this.checked.delete(piece);
    if (kept === 0) return checked && (this.store.shelf?.accept(piece) ?? false);
    if (blocks.length < Math.ceil(place.size / blockSize)) return false;
    this.store.put(piece, blocks);
    return true;
  }

  /** The blocks of a piece as they were found in the store; none when they cannot be read. */
  foundBlocks(piece: number): Bytes[] {
    const bytes = this.store.shelf?.peek(piece);
    const blocks: Bytes[] = [];
    for (let at = 0; bytes && at < bytes.length; at += blockSize) blocks.push(bytes.slice(at, at + blockSize));
    return blocks;
  }

  /** The engine is about to be told the digests of what was found of a piece. */
  setChecked(piece: number): void {
    this.checked.add(piece);
  }

  /** Takes a piece out of the store, verified or found. */
  evict(piece: number): void {
    this.checked.delete(piece);
    this.store.delete(piece);
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

  /**
   * Bytes [from, to) of a file, of pieces that the store holds or of which these blocks are kept. Those that the store cannot
   * give back are all appended to `lost`, so that they need not be found one by one, and their bytes are then of no use.
   */
  range(file: number, from: number, to: number, lost: number[]): Bytes {
    const first = this.title.files[file]!.firstPiece;
    const length = this.title.pieceLength;
    const data = new Uint8Array(to - from);
    for (let at = from; at < to;) {
      const begin = at % length;
      const n = Math.min(length - begin, to - at);
      const piece = first + Math.floor(at / length);
      if (!this.store.has(piece)) this.readKept(piece, begin, n, data, at - from);
      else if (!this.gives(piece, begin, n, data, at - from)) lost.push(piece);
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

  /** The blocks of a piece, copied out of the store; none if it is not there. Throws a LostPiece where it cannot. */
  blocks(piece: number): Bytes[] {
    const place = placeOf(this.title, piece);
    const blocks: Bytes[] = [];
    if (!place || !this.store.has(piece)) return blocks;
    for (let begin = 0; begin < place.size; begin += blockSize) {
      const block = new Uint8Array(Math.min(blockSize, place.size - begin));
      this.read(piece, begin, block.length, block, 0);
      blocks.push(block);
    }
    return blocks;
  }

  /**
   * A piece message (BEP 3) with bytes of a stored piece, its length before it; undefined if the piece is not there. Throws a
   * LostPiece where the store cannot give it back.
   */
  message(piece: number, begin: number, length: number): Bytes | undefined {
    const place = placeOf(this.title, piece);
    if (!place || !this.store.has(piece)) return undefined;
    const message = new Uint8Array(new ArrayBuffer(16 + length), 3); // so that the payload is aligned, see crc32c
    const v = new DataView(message.buffer, message.byteOffset);
    v.setUint32(0, 9 + length);
    message[4] = 7;
    v.setUint32(5, piece);
    v.setUint32(9, begin);
    // What lies past the file's end is a pad (BEP 47): zeros, as the array is.
    const real = Math.min(length, place.size - begin);
    if (real > 0) this.read(piece, begin, real, message, 13);
    return message;
  }

  /** Lets everything go. */
  close(): void {
    this.kept.clear();
    this.store.close();
  }

  private read(piece: number, begin: number, length: number, to: Uint8Array, at: number): void {
    try {
      this.store.read(piece, begin, length, to, at);
    } catch (error) {
      throw new LostPiece(piece, error);
    }
  }

  private gives(piece: number, begin: number, length: number, to: Uint8Array, at: number): boolean {
    try {
      this.store.read(piece, begin, length, to, at);
      return true;
    } catch {
      return false;
    }
  }

  private key(piece: number, begin: number): number {
    return piece * this.title.pieceLength + begin;
  }
}
