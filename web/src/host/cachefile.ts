/**
 * One media file's cached pieces in one file of the disk, named by the media file's root. Its form is that of Go's
 * `internal/host/native/cachefile.go`; big-endian:
 *
 *      0  "essaim", 0, 1 (the form's version)
 *      8  piece length (4)
 *     12  number of slots: the media file's pieces (4)
 *     16  the media file's size (8)
 *     24  when it was last watched, in ms since 1970 (8)
 *     32  viewers in its swarm then (4)
 *     36  copies of a piece that they held, in sixteenths (4)
 *     64  for each slot the number of its piece within the media file plus one, or 0 (4 each)
 *     then, from the next multiple of 4096 on, the slots, each a piece length
 *
 * It must be of use after a kill at any byte. A slot is named after its bytes were written and disowned before they are
 * written over; and nothing in it is believed: what a slot holds is digested before it counts, so that a torn, stale or
 * forged slot or table costs no more than a fetch. Nor is what was right once believed later: each block that is read is held
 * against a checksum of what was written or digested, which is kept in memory, so that a disk that loses or changes bytes
 * under an open page costs a fetch too.
 */

import { crc32c } from "./crc32c";
import type { Bytes } from "./record";
import { blockSize } from "./title";

/** A file that can be read and written without waiting: the part of FileSystemSyncAccessHandle that is used. */
export interface SyncFile {
  read(to: Bytes, options: { at: number }): number;
  write(from: Bytes, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  close(): void;
}

/** The head of a cache file. */
export interface CacheHead {
  pieceLength: number;
  slots: number;
  /** Bytes of the media file. */
  size: number;
  /** Milliseconds since 1970. */
  watched: number;
  members: number;
  copies: number;
}

/** Bytes of the head. */
export const headSize = 64;
const magic = [0x65, 0x73, 0x73, 0x61, 0x69, 0x6d, 0, 1];
const align = 4096;
/** So many slots may lie free within the file before the last ones are moved into them. */
const holesMax = 16;

/** Reads a head; undefined for what is none. */
export function readHead(b: Uint8Array): CacheHead | undefined {
  if (b.length < headSize || magic.some((x, i) => b[i] !== x)) return undefined;
  const v = new DataView(b.buffer, b.byteOffset, headSize);
  const head = {
    pieceLength: v.getUint32(8),
    slots: v.getUint32(12),
    size: Number(v.getBigUint64(16)),
    watched: Number(v.getBigUint64(24)),
    members: v.getUint32(32),
    copies: v.getUint32(36),
  };
  const sound = head.pieceLength > 0 && head.slots === Math.ceil(head.size / head.pieceLength) && head.slots <= 1 << 24;
  return sound ? head : undefined;
}

function writeHead(head: CacheHead): Bytes {
  const b = new Uint8Array(headSize);
  b.set(magic);
  const v = new DataView(b.buffer);
  v.setUint32(8, head.pieceLength);
  v.setUint32(12, head.slots);
  v.setBigUint64(16, BigInt(head.size));
  v.setBigUint64(24, BigInt(Math.max(0, Math.floor(head.watched))));
  v.setUint32(32, Math.min(head.members, 0xffffffff));
  v.setUint32(36, Math.min(head.copies, 0xffffffff));
  return b;
}

/** The CRC32C of each block of a piece, which comes in parts of any length. */
export function sumsOf(parts: readonly Bytes[]): number[] {
  const sums: number[] = [];
  let filled = 0; // bytes of the last block
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const n = Math.min(blockSize - filled, part.length - at);
      const before = filled > 0 ? sums.pop() : 0;
      sums.push(crc32c(part.subarray(at, at + n), before));
      filled = (filled + n) % blockSize;
      at += n;
    }
  }
  return sums;
}

/** A media file's cached pieces. Pieces are counted within the media file. */
export class CacheFile {
  private readonly file: SyncFile;
  private readonly head: CacheHead;
  private readonly data: number; // where the slots begin
  private readonly slots: number[] = []; // piece by slot, -1: free
  private readonly at = new Map<number, number>(); // slot by piece
  private free: number[] = [];
  private readonly known = new Set<number>(); // the pieces whose checksums are known: put, or peeked at
  private readonly blocks: number; // of a piece
  private sums = new Uint32Array(0); // of each block, by slot
  private scratch: Bytes | undefined; // of a piece's length: what is about to be written, or blocks of which a part is wanted
  private begun: boolean;

  /** Opens a file. What is no cache of this media file with this piece length is emptied. */
  constructor(file: SyncFile, size: number, pieceLength: number, now: number) {
    this.file = file;
    const slots = Math.ceil(size / pieceLength);
    this.blocks = Math.ceil(pieceLength / blockSize);
    this.data = Math.ceil((headSize + 4 * slots) / align) * align;
    this.head = { pieceLength, slots, size, watched: now, members: 0, copies: 0 };
    const b = new Uint8Array(headSize);
    const old = file.read(b, { at: 0 }) === headSize ? readHead(b) : undefined;
    this.begun = old?.size === size && old.pieceLength === pieceLength;
    if (!this.begun) {
      if (file.getSize() > 0) file.truncate(0);
      return;
    }
    this.head = { ...old!, watched: now };
    this.load();
    this.writeHead();
  }

  /** The pieces that it names. */
  pieces(): number[] {
    return [...this.at.keys()];
  }

  /** Whether it names a piece. */
  has(piece: number): boolean {
    return this.at.has(piece);
  }

  /** Writes a piece. Throws when the disk will not take it; the piece is then not there. */
  put(piece: number, blocks: Bytes[]): void {
    if (!this.begun) {
      this.writeHead();
      this.write(new Uint8Array(this.data - headSize), headSize);
      this.begun = true;
    }
    this.delete(piece); // written over in place it would be torn under its own name
    const slot = this.free.pop() ?? this.slots.length;
    const bytes = this.joined(blocks);
    try {
      this.write(bytes, this.data + slot * this.head.pieceLength);
      this.name(slot, piece);
    } catch (error) {
      if (slot < this.slots.length) this.free.push(slot);
      throw error;
    }
    this.remember(slot, piece, [bytes]);
  }

  /** A piece as it lies there, all of it; undefined when it cannot be read. From then on `read` gives these bytes or none. */
  peek(piece: number): Bytes | undefined {
    const slot = this.at.get(piece);
    if (slot === undefined) return undefined;
    const bytes = new Uint8Array(this.sizeOf(piece));
    if (!this.raw(slot, 0, bytes)) return undefined;
    this.remember(slot, piece, [bytes]);
    return bytes;
  }

  /** Whether it can tell a piece's bytes from others: whether it was put or peeked at. */
  knows(piece: number): boolean {
    return this.known.has(piece);
  }

  /**
   * Reads bytes of a piece from `begin` on, as they were put or peeked at; false when the disk does not give that back, and
   * what is in `to` is then of no use.
   */
  read(piece: number, begin: number, to: Bytes): boolean {
    const slot = this.at.get(piece);
    const size = this.sizeOf(piece);
    const end = begin + to.length;
    if (slot === undefined || !this.known.has(piece) || begin < 0 || end > size) return false;
    // Whole blocks, since it is those that have checksums.
    const from = begin - (begin % blockSize);
    const length = Math.min(size, Math.ceil(end / blockSize) * blockSize) - from;
    if (length === to.length) return this.raw(slot, from, to) && this.unchanged(slot, from, to);
    this.scratch ??= new Uint8Array(this.head.pieceLength);
    const bytes = this.scratch.subarray(0, length);
    if (!this.raw(slot, from, bytes) || !this.unchanged(slot, from, bytes)) return false;
    to.set(bytes.subarray(begin - from, end - from));
    return true;
  }

  /** Forgets a piece. */
  delete(piece: number): void {
    const slot = this.at.get(piece);
    if (slot === undefined) return;
    this.at.delete(piece);
    this.known.delete(piece);
    this.name(slot, -1);
    this.free.push(slot);
    if (slot === this.slots.length - 1 || this.free.length > holesMax) this.compact();
  }

  /** Writes down what the swarm is like. */
  mark(members: number, copies: number): void {
    this.head.members = members;
    this.head.copies = copies;
    if (this.begun) this.writeHead();
  }

  /** Lets the file go. */
  close(): void {
    this.file.close();
  }

  // Reads the table. Names that cannot be, or that stand twice, are free slots.
  private load(): void {
    const there = Math.ceil(Math.max(0, this.file.getSize() - this.data) / this.head.pieceLength);
    const count = Math.min(this.head.slots, there);
    const table = new Uint8Array(4 * count);
    const read = Math.floor(this.file.read(table, { at: headSize }) / 4);
    const v = new DataView(table.buffer);
    for (let slot = 0; slot < read; slot++) {
      const piece = v.getUint32(4 * slot) - 1;
      const good = piece >= 0 && piece < this.head.slots && !this.at.has(piece);
      this.slots[slot] = good ? piece : -1;
      if (good) this.at.set(piece, slot);
      else this.free.push(slot);
    }
    this.compact();
  }

  /** Moves the last pieces into free slots, and cuts the file after the last one. */
  private compact(): void {
    const buf = new Uint8Array(this.head.pieceLength);
    const length = this.slots.length;
    this.free.sort((a, b) => b - a); // the lowest is taken first
    for (;;) {
      while (this.slots.at(-1) === -1) this.slots.pop();
      this.free = this.free.filter((slot) => slot < this.slots.length);
      const hole = this.free.at(-1);
      if (hole === undefined || this.free.length <= holesMax / 2) break;
      const piece = this.slots.at(-1)!;
      const last = this.slots.length - 1;
      const n = this.file.read(buf, { at: this.data + last * this.head.pieceLength });
      this.write(buf.subarray(0, n), this.data + hole * this.head.pieceLength);
      this.free.pop();
      this.name(hole, piece); // for a moment it stands twice, which is no harm
      this.sums.copyWithin(hole * this.blocks, last * this.blocks, (last + 1) * this.blocks);
      this.name(last, -1);
    }
    if (this.slots.length < length) this.file.truncate(this.data + this.slots.length * this.head.pieceLength);
  }

  /** Blocks in a row, to be written at once: each write costs more than a copy. They last until the scratch is used again. */
  private joined(blocks: Bytes[]): Bytes {
    if (blocks.length === 1) return blocks[0]!;
    this.scratch ??= new Uint8Array(this.head.pieceLength);
    let length = 0;
    for (const b of blocks) {
      this.scratch.set(b, length);
      length += b.length;
    }
    return this.scratch.subarray(0, length);
  }

  /** Bytes of the media file in a piece. */
  private sizeOf(piece: number): number {
    return Math.min(this.head.pieceLength, this.head.size - piece * this.head.pieceLength);
  }

  private raw(slot: number, begin: number, to: Bytes): boolean {
    return this.file.read(to, { at: this.data + slot * this.head.pieceLength + begin }) === to.length;
  }

  private remember(slot: number, piece: number, parts: readonly Bytes[]): void {
    if (this.sums.length < (slot + 1) * this.blocks) {
      const grown = new Uint32Array(Math.min(2 * (slot + 1), this.head.slots) * this.blocks);
      grown.set(this.sums);
      this.sums = grown;
    }
    this.sums.set(sumsOf(parts), slot * this.blocks);
    this.known.add(piece);
  }

  /** Whether whole blocks of a slot, the first of them at `begin`, are what they were. */
  private unchanged(slot: number, begin: number, bytes: Bytes): boolean {
    let sum = slot * this.blocks + begin / blockSize;
    for (let at = 0; at < bytes.length; at += blockSize) {
      if (crc32c(bytes.subarray(at, at + blockSize)) !== this.sums[sum++]) return false;
    }
    return true;
  }

  private name(slot: number, piece: number): void {
    const b = new Uint8Array(4);
    new DataView(b.buffer).setUint32(0, piece + 1);
    this.write(b, headSize + 4 * slot);
    this.slots[slot] = piece;
    if (piece >= 0) this.at.set(piece, slot);
  }

  private writeHead(): void {
    this.write(writeHead(this.head), 0);
  }

  private write(b: Bytes, at: number): void {
    if (this.file.write(b, { at }) !== b.length) throw new Error("the disk takes no more");
  }
}
