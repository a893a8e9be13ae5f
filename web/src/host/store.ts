/**
 * Where verified pieces are kept: what a store must do, and one in memory. A store must give back exactly what was put in,
 * and what it keeps from one visit to the next must not count before the engine has verified it anew.
 */

import type { HashRequest } from "../player/merkle";
import type { Bytes } from "./record";

/** Verified pieces by torrent-wide number. One owner; every call is synchronous, which spares the core a race with eviction. */
export interface PieceStore {
  /** Bytes that it may hold in all; the engine is told, and says what is to go. It may shrink. */
  readonly limit: number;
  /** Bytes of them that may lie ahead of the play head; 0: no bound. */
  readonly ahead: number;
  /** Bytes that it holds of this title. */
  readonly used: number;
  /** What it keeps from one visit to the next; absent where it keeps nothing. */
  readonly shelf?: Shelf;
  /** The proofs that it keeps beside the pieces; absent where it keeps none. */
  readonly proofs?: ProofShelf;
  /** Whether it holds a piece, verified. */
  has(piece: number): boolean;
  /** Keeps a verified piece, given as its blocks in order, in place of whatever it found of it. The store owns them from now on. */
  put(piece: number, blocks: Bytes[]): void;
  /**
   * Copies `length` bytes from `begin` of a piece that it holds to `to` at `at`, as they were put or accepted. Throws where it
   * cannot, and what was copied is then of no use.
   */
  read(piece: number, begin: number, length: number, to: Uint8Array, at: number): void;
  /** Forgets a piece, verified or found. */
  delete(piece: number): void;
  /** Ends its use; what a shelf has stays there. */
  close(): void;
}

/** What a store keeps from one visit to the next. */
export interface Shelf {
  /** The pieces that were found and that nothing vouches for yet. */
  found(): number[];
  /** The bytes of such a piece as they lie there, all of them; undefined when they cannot be read. */
  peek(piece: number): Bytes | undefined;
  /** Counts such a piece as verified from now on, as `peek` last gave it; false if it is no longer there, or nobody peeked. */
  accept(piece: number): boolean;
  /** What is kept of other files. */
  others(): ShelvedFile[];
  /** Removes another file. */
  removeOther(ref: number): void;
  /** Writes down, beside a file's pieces, how many viewers its swarm has and how many copies of a piece they hold, in sixteenths. */
  mark(file: number, members: number, copies: number): void;
}

/** Answers to hash requests (BEP 52) that a store keeps from one visit to the next. Nothing vouches for what it gives. */
export interface ProofShelf {
  /** The answer that is kept to a request of a file's hashes; undefined: none. */
  proof(file: number, request: HashRequest): Bytes | undefined;
  /** Keeps an answer, where there is room. */
  keepProof(file: number, request: HashRequest, answer: Bytes): void;
  /** Drops an answer that was found to be wrong. */
  dropProof(file: number, request: HashRequest): void;
}

/** What a shelf has of another file: `engine.Shelved`. */
export interface ShelvedFile {
  ref: number;
  members: number;
  copies: number;
  /** Seconds since it was last watched. */
  idle: number;
  bytes: number;
}

/**
 * What a store in memory holds, and of that ahead of the play head: 24 MiB last for 25 s of a film of 8 Mbit/s, and with what
 * lies behind, the engine and the blocks on their way a viewer stays below 64 MiB beside the player's own buffers.
 */
export const memoryLimit = 32 << 20;
export const memoryAhead = 24 << 20;

/** A PieceStore in memory: blocks are kept as they came, without a copy. */
export class MemoryStore implements PieceStore {
  readonly limit: number;
  readonly ahead: number;
  private held = new Map<number, Bytes[]>();
  private bytes = 0;

  constructor(limit = memoryLimit, ahead = memoryAhead) {
    this.limit = limit;
    this.ahead = ahead;
  }

  get used(): number {
    return this.bytes;
  }

  has(piece: number): boolean {
    return this.held.has(piece);
  }

  put(piece: number, blocks: Bytes[]): void {
    if (this.held.has(piece)) return;
    this.held.set(piece, blocks);
    for (const b of blocks) this.bytes += b.length;
  }

  read(piece: number, begin: number, length: number, to: Uint8Array, at: number): void {
    const blocks = this.held.get(piece);
    if (!blocks) throw new Error(`piece ${piece} is not stored`);
    let start = 0;
    for (const b of blocks) {
      const from = Math.max(begin, start);
      const end = Math.min(begin + length, start + b.length);
      if (from < end) to.set(b.subarray(from - start, end - start), at + from - begin);
      start += b.length;
    }
    if (begin + length > start) throw new Error(`piece ${piece} ends at ${start}, asked for up to ${begin + length}`);
  }

  delete(piece: number): void {
    for (const b of this.held.get(piece) ?? []) this.bytes -= b.length;
    this.held.delete(piece);
  }

  close(): void {
    this.held.clear();
    this.bytes = 0;
  }
}
