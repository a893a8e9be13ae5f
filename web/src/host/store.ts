/**
 * Where verified pieces are kept: memory, or a scratch file in the origin's private file system. A store must give back
 * exactly what was put in, and never be shared: each viewer has a folder and a lock of its own. Nothing is kept from one
 * visit to the next as yet; a folder is empty when it opens.
 */

import type { Bytes } from "./record";

/** Verified pieces by torrent-wide number. One owner; every call is synchronous, which spares the core a race with eviction. */
export interface PieceStore {
  /** Bytes that it may hold; past it the owner should delete. */
  readonly limit: number;
  /** Bytes that it holds. */
  readonly used: number;
  has(piece: number): boolean;
  /** Keeps a piece, given as its blocks in order. The store owns them from now on. Keeping one twice changes nothing. */
  put(piece: number, blocks: Bytes[]): void;
  /** Copies `length` bytes from `begin` of a piece that it holds to `to` at `at`, and counts it as used just now. */
  read(piece: number, begin: number, length: number, to: Uint8Array, at: number): void;
  delete(piece: number): void;
  /** The pieces held, the longest unused first. */
  pieces(): IterableIterator<number>;
  /** Lets everything go. */
  close(): void;
}

/** What a memory store holds by default: 256 MiB. */
export const memoryLimit = 256 << 20;

/** A PieceStore in memory: blocks are kept as they came, without a copy. */
export class MemoryStore implements PieceStore {
  readonly limit: number;
  private held = new Map<number, Bytes[]>(); // in order of use
  private bytes = 0;

  constructor(limit = memoryLimit) {
    this.limit = limit;
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
    this.held.delete(piece);
    this.held.set(piece, blocks);
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

  pieces(): IterableIterator<number> {
    return this.held.keys();
  }

  close(): void {
    this.held.clear();
    this.bytes = 0;
  }
}

/** A scratch file that can be read and written without waiting: the part of FileSystemSyncAccessHandle that is used. */
export interface ScratchFile {
  read(to: Uint8Array<ArrayBuffer>, options: { at: number }): number;
  write(from: Uint8Array<ArrayBuffer>, options: { at: number }): number;
  truncate(size: number): void;
  close(): void;
}

/**
 * A PieceStore in a file. What the file system will not take (no room) is kept in memory instead, as much as a store in memory
 * would hold.
 */
export class FileStore implements PieceStore {
  limit: number;
  private readonly file: ScratchFile;
  private readonly slotSize: number;
  private readonly release: () => void;
  private slots = new Map<number, { slot: number; size: number }>(); // in order of use
  private free: number[] = [];
  private bytes = 0;
  private readonly overflow = new MemoryStore();

  /** Takes over an empty file. `release` is called at the end, after the file was emptied and closed. */
  constructor(file: ScratchFile, pieceLength: number, limit: number, release: () => void) {
    this.file = file;
    this.slotSize = pieceLength;
    this.limit = limit;
    this.release = release;
    file.truncate(0);
  }

  get used(): number {
    return this.bytes + this.overflow.used;
  }

  has(piece: number): boolean {
    return this.slots.has(piece) || this.overflow.has(piece);
  }

  put(piece: number, blocks: Bytes[]): void {
    if (this.has(piece)) return;
    const slot = this.free.pop() ?? this.slots.size;
    let at = slot * this.slotSize;
    try {
      for (const b of blocks) {
        if (this.file.write(b, { at }) !== b.length) throw new Error("short write");
        at += b.length;
      }
    } catch {
      this.free.push(slot);
      this.limit = Math.min(this.limit, this.bytes + this.overflow.limit);
      this.overflow.put(piece, blocks);
      return;
    }
    const size = at - slot * this.slotSize;
    this.slots.set(piece, { slot, size });
    this.bytes += size;
  }

  read(piece: number, begin: number, length: number, to: Uint8Array, at: number): void {
    const s = this.slots.get(piece);
    if (!s) {
      this.overflow.read(piece, begin, length, to, at);
      return;
    }
    this.slots.delete(piece);
    this.slots.set(piece, s);
    if (begin + length > s.size) throw new Error(`piece ${piece} ends at ${s.size}, asked for up to ${begin + length}`);
    const view = to.subarray(at, at + length) as Uint8Array<ArrayBuffer>;
    if (this.file.read(view, { at: s.slot * this.slotSize + begin }) !== length) {
      throw new Error(`piece ${piece} cannot be read back`);
    }
  }

  delete(piece: number): void {
    const s = this.slots.get(piece);
    if (s) {
      this.slots.delete(piece);
      this.free.push(s.slot);
      this.bytes -= s.size;
    }
    this.overflow.delete(piece);
  }

  *pieces(): IterableIterator<number> {
    yield* this.overflow.pieces();
    yield* this.slots.keys();
  }

  close(): void {
    this.slots.clear();
    this.overflow.close();
    this.file.truncate(0);
    this.file.close();
    this.release();
  }
}

/** What a file store holds at most, in bytes; less where the browser grants less. */
const fileLimit = 2 ** 31;

/**
 * Opens the folder of that name in the origin's private file system, in a worker. Undefined where there is none, where
 * another tab or viewer holds the folder, or where it cannot be opened: memory then does.
 */
export async function openFolder(folder: string, pieceLength: number): Promise<PieceStore | undefined> {
  try {
    const release = await lock(`essaim:${folder}`);
    if (!release) return undefined;
    try {
      const root = await navigator.storage.getDirectory();
      const top = await root.getDirectoryHandle("essaim", { create: true });
      const dir = await top.getDirectoryHandle(encodeURIComponent(folder), { create: true });
      const handle = await dir.getFileHandle("scratch", { create: true });
      const { quota = 0, usage = 0 } = await navigator.storage.estimate();
      // Known to TypeScript in workers only.
      const sync = handle as unknown as { createSyncAccessHandle(): Promise<ScratchFile> };
      const limit = Math.min(fileLimit, Math.floor((quota - usage) / 2));
      if (limit < memoryLimit) throw new Error("less room than in memory");
      return new FileStore(await sync.createSyncAccessHandle(), pieceLength, limit, release);
    } catch (error) {
      release();
      throw error;
    }
  } catch {
    return undefined;
  }
}

// Takes the lock if nobody has it, and returns what gives it back.
function lock(name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (held) => {
        if (!held) {
          resolve(undefined);
          return undefined;
        }
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}
