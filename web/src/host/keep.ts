/**
 * The core's half towards what it keeps: blocks that are digested, pieces that are stored, found, read back and lost. It must
 * tell the engine the digest of every block that it keeps and of no other, and give out only what the store gives back as it was.
 */

import { InputKind } from "./kinds.gen";
import { LostPiece, Pieces } from "./pieces";
import type { Bytes, Input, Output } from "./record";
import type { PieceStore } from "./store";
import { encodeShelf, type Title } from "./title";

/** What the keep needs of its core. */
export interface KeepOwner {
  /** Tells the engine. */
  give(input: Input): void;
  /** Digests cannot be had: the end. */
  failed(error: unknown): void;
}

/** The block that was to be sent when its piece was found to be lost. */
export interface Unsent {
  peer: number;
  begin: number;
  length: number;
}

/** What one title's core keeps. */
export class Keep {
  private readonly store: PieceStore;
  private readonly pieces: Pieces;
  private readonly digest: (bytes: Bytes) => Promise<Bytes>;
  private readonly owner: KeepOwner;
  private digesting = 0;
  private settled: (() => void)[] = [];

  /** `digest` is SHA-256. */
  constructor(title: Title, store: PieceStore, digest: (bytes: Bytes) => Promise<Bytes>, owner: KeepOwner) {
    this.store = store;
    this.pieces = new Pieces(title, store);
    this.digest = digest;
    this.owner = owner;
  }

  /** Tells the engine how much room there is. */
  tellBounds(): void {
    const { limit, ahead, shelf } = this.store;
    this.owner.give({ kind: InputKind.StoreBounded, from: limit, to: ahead, data: encodeShelf(shelf?.others() ?? []) });
  }

  /** Keeps a block, and has `hashed` given with its digest; a block that is there already is dropped. */
  block(hashed: Input & { piece: number; begin: number }, bytes: Bytes): void {
    const { piece, begin } = hashed;
    if (!this.pieces.keep(piece, begin, bytes)) return;
    this.digesting++;
    this.digest(bytes)
      .then((digest) => {
        // A block that was discarded meanwhile is no longer kept, and must not be spoken of.
        if (this.pieces.keeps(piece, begin, bytes)) this.owner.give({ ...hashed, digest });
      })
      .catch((error: unknown) => this.owner.failed(error))
      .finally(() => this.digested());
  }

  /** Drops a block. */
  discard(piece: number, begin: number): void {
    this.pieces.discard(piece, begin);
  }

  /** Does a Store. */
  storePiece(piece: number): void {
    const { limit } = this.store;
    this.owner.give({ kind: this.pieces.storePiece(piece) ? InputKind.Stored : InputKind.Evicted, piece });
    if (this.store.limit !== limit) this.tellBounds();
  }

  /** Takes a piece out of the store, because the engine says so or it is lost, and says so. */
  lose(piece: number, unsent?: Unsent): void {
    this.pieces.evict(piece);
    this.owner.give({ kind: InputKind.Evicted, piece, ...unsent });
  }

  /** Does a HashPiece: digests the blocks of a stored piece again, for a peer that wants their hashes. */
  hashPiece({ ref, piece }: Output): void {
    let blocks: Bytes[] = [];
    try {
      blocks = this.pieces.blocks(piece);
    } catch (error) {
      if (!(error instanceof LostPiece)) throw error;
      this.lose(piece);
    }
    this.digestAll(blocks, (data) => this.owner.give({ kind: InputKind.PieceHashed, ref, piece, data }));
  }

  /** Does a Check: what was found of a piece is digested as it lies there; the engine judges. */
  check(piece: number): void {
    this.digestAll(this.pieces.foundBlocks(piece), (data) => {
      if (data.length > 0) this.pieces.setChecked(piece);
      this.owner.give({ kind: InputKind.Checked, piece, data });
    });
  }

  /** Whether the store holds all of bytes [from, to) of a file. */
  holds(file: number, from: number, to: number): boolean {
    return this.pieces.holds(file, from, to);
  }

  /** Bytes [from, to) of a file; undefined where the store has lost some of it, and the engine knows that then. */
  range(file: number, from: number, to: number): Bytes | undefined {
    const lost: number[] = [];
    const bytes = this.pieces.range(file, from, to, lost);
    for (const piece of lost) this.lose(piece);
    return lost.length > 0 ? undefined : bytes;
  }

  /**
   * The message with the block that a SendBlock names, see `Pieces.message`; undefined when the store has lost the piece, and the
   * engine knows that then and whom the block was for.
   */
  message({ peer, piece, begin, length }: Output): Bytes | undefined {
    let message: Bytes | undefined;
    try {
      message = this.pieces.message(piece, begin, length);
    } catch (error) {
      if (!(error instanceof LostPiece)) throw error;
    }
    if (!message) this.lose(piece, { peer, begin, length });
    return message;
  }

  /** Resolves once no digest is under way. */
  rest(): Promise<void> {
    return this.digesting === 0 ? Promise.resolve() : new Promise((resolve) => this.settled.push(resolve));
  }

  /** Lets everything go. */
  close(): void {
    this.pieces.close();
  }

  private digestAll(blocks: Bytes[], then: (digests: Bytes) => void): void {
    this.digesting++;
    Promise.all(blocks.map((b) => this.digest(b)))
      .then((digests) => {
        const data = new Uint8Array(32 * digests.length);
        digests.forEach((d, i) => data.set(d, 32 * i));
        then(data);
      })
      .catch((error: unknown) => this.owner.failed(error))
      .finally(() => this.digested());
  }

  private digested(): void {
    if (--this.digesting === 0) for (const resolve of this.settled.splice(0)) resolve();
  }
}
