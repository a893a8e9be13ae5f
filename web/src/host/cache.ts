/**
 * The cache: a PieceStore that lasts from one visit to the next, in the origin's private file system. One tab at a time owns
 * it, by a Web Lock that ends with its worker; the others keep to memory, and may own it from their next title on. It asks
 * the viewer nothing: it takes a share of what the browser grants anyway, and lets the browser clear it at will.
 */

import { CacheFile, headSize, readHead, type SyncFile } from "./cachefile";
import { HashFile } from "./hashfile";
import type { Bytes } from "./record";
import { MemoryStore, memoryAhead, type PieceStore, type ProofShelf, type Shelf, type ShelvedFile } from "./store";
import { placeOf, type Title } from "./title";

/** What the cache holds at most, in bytes; of what the browser grants, no more than a tenth. */
const cacheMax = 2 ** 31;
const quotaShare = 0.1;
/** A cache smaller than this is not worth its while. */
const cacheMin = 64 << 20;
/** Cached files beyond so many are removed: their number, too, must be bounded. */
const filesMax = 1000;
/** Pieces that the disk may lose before it is given no more: a film must not wait for a disk that keeps nothing. */
const faultsMax = 8;

const suffix = ".pieces";
const hashSuffix = ".hashes";

/** The part of a FileSystemDirectoryHandle that is used. */
export interface CacheFolder {
  entries(): AsyncIterable<[string, { kind: string; getFile?(): Promise<Blob> }]>;
  getFileHandle(name: string, options: { create: boolean }): Promise<unknown>;
  removeEntry(name: string, options?: { recursive?: boolean }): Promise<void>;
}

/** What the browser grants, in bytes: `navigator.storage.estimate()`. */
export interface Grant {
  quota?: number;
  usage?: number;
}

/**
 * A PieceStore in a folder. What was verified is given back as it was or not at all. What the disk will not take, and all that
 * comes after it has often lost something, is kept in memory, as much as a store in memory would hold.
 */
export class CacheStore implements PieceStore {
  limit: number;
  ahead = 0;
  readonly shelf: Shelf;
  readonly proofs: ProofShelf;
  private readonly title: Title;
  private readonly files: CacheFile[];
  private readonly hashes: HashFile[];
  private readonly release: () => void;
  private readonly overflow = new MemoryStore();
  private readonly verified = new Set<number>();
  private readonly doubted = new Set<number>();
  private bytes = 0;
  private faults = 0; // verified pieces that the disk did not give back

  /**
   * `files` are the title's, in order, and `hashes` what proves them; `others` what else the folder holds, which `remove`
   * removes. `release` is called at the end, after the files were closed.
   */
  constructor(
    title: Title,
    files: CacheFile[],
    hashes: HashFile[],
    limit: number,
    others: Map<string, ShelvedFile>,
    remove: (name: string) => void,
    release: () => void,
  ) {
    this.title = title;
    this.files = files;
    this.hashes = hashes;
    this.limit = limit;
    this.release = release;
    files.forEach((f, i) => {
      for (const n of f.pieces()) this.doubted.add(title.files[i]!.firstPiece + n);
    });
    for (const piece of this.doubted) this.bytes += this.sizeOf(piece);
    this.shelf = {
      found: () => [...this.doubted].sort((a, b) => a - b),
      peek: (piece) => (this.doubted.has(piece) ? this.bytesOf(piece) : undefined),
      accept: (piece) => {
        if (!this.doubted.has(piece) || !this.fileOf(piece)!.knows(this.within(piece))) return false;
        this.doubted.delete(piece);
        this.verified.add(piece);
        return true;
      },
      others: () => [...others.values()],
      removeOther: (ref) => {
        for (const [name, other] of others) {
          if (other.ref !== ref) continue;
          others.delete(name);
          remove(name);
        }
      },
      mark: (file, members, copies) => this.dare(() => files[file]?.mark(members, copies)),
    };
    this.proofs = {
      proof: (file, request) => hashes[file]?.get(request),
      keepProof: (file, request, answer) => this.dare(() => hashes[file]?.put(request, answer)),
      dropProof: (file, request) => hashes[file]?.forget(request),
    };
  }

  get used(): number {
    return this.bytes + this.overflow.used;
  }

  has(piece: number): boolean {
    return this.verified.has(piece) || this.overflow.has(piece);
  }

  put(piece: number, blocks: Bytes[]): void {
    const place = placeOf(this.title, piece);
    if (!place || this.has(piece)) return;
    this.delete(piece);
    if (this.faults < faultsMax && this.dare(() => this.fileOf(piece)!.put(this.within(piece), blocks))) {
      this.verified.add(piece);
      this.bytes += place.size;
      return;
    }
    // No room, or a disk that fails: from now on as in memory, beside what is on the disk.
    this.limit = Math.min(this.limit, this.bytes + this.overflow.limit);
    this.ahead = memoryAhead;
    this.overflow.put(piece, blocks);
  }

  read(piece: number, begin: number, length: number, to: Uint8Array, at: number): void {
    if (this.overflow.has(piece)) {
      this.overflow.read(piece, begin, length, to, at);
      return;
    }
    const place = placeOf(this.title, piece);
    if (!place || !this.verified.has(piece)) throw new Error(`piece ${piece} is not stored`);
    if (begin + length > place.size)
      throw new Error(`piece ${piece} ends at ${place.size}, asked for up to ${begin + length}`);
    const view = to.subarray(at, at + length) as Bytes;
    let good = false;
    this.dare(() => (good = this.fileOf(piece)!.read(this.within(piece), begin, view)));
    if (good) return;
    this.faults++;
    throw new Error(`the disk does not give piece ${piece} back as it was`);
  }

  delete(piece: number): void {
    this.overflow.delete(piece);
    const known = this.verified.delete(piece) || this.doubted.delete(piece);
    const place = placeOf(this.title, piece);
    if (!known || !place) return;
    this.bytes -= place.size;
    this.dare(() => this.fileOf(piece)!.delete(this.within(piece)));
  }

  close(): void {
    this.overflow.close();
    this.verified.clear();
    this.doubted.clear();
    for (const f of [...this.files, ...this.hashes]) this.dare(() => f.close());
    this.release();
  }

  private sizeOf(piece: number): number {
    return placeOf(this.title, piece)?.size ?? 0;
  }

  private fileOf(piece: number): CacheFile | undefined {
    return this.files[placeOf(this.title, piece)?.file ?? -1];
  }

  /** A piece's number within its file. */
  private within(piece: number): number {
    return placeOf(this.title, piece)!.from / this.title.pieceLength;
  }

  private bytesOf(piece: number): Bytes | undefined {
    let bytes: Bytes | undefined;
    this.dare(() => (bytes = this.fileOf(piece)!.peek(this.within(piece))));
    return bytes;
  }

  // A disk that fails costs what is on it, never the film: what cannot be done is left.
  private dare(what: () => void): boolean {
    try {
      what();
      return true;
    } catch {
      return false; // what is found there at the next visit is digested before it counts
    }
  }
}

/**
 * Opens a title's cache in a folder that nobody else has open. Rejects where that cannot be or is not worth it; then the
 * caller gives the folder back.
 */
export async function openCache(
  dir: CacheFolder,
  title: Title,
  grant: Grant,
  now: number,
  release: () => void,
): Promise<CacheStore> {
  const ours = new Set(title.files.flatMap((f) => [f.root + suffix, f.root + hashSuffix]));
  const others = new Map<string, ShelvedFile>();
  const proofs = new Map<string, number>(); // sizes of the hashes beside others' pieces, by the names of those
  let kept = 0;
  const stale: string[] = [];
  for await (const [name, handle] of dir.entries()) {
    const known = handle.kind === "file" && (name.endsWith(suffix) || name.endsWith(hashSuffix));
    const file = known ? await handle.getFile?.() : undefined;
    if (ours.has(name)) {
      kept += file?.size ?? 0;
      continue;
    }
    if (file && name.endsWith(hashSuffix)) {
      proofs.set(name.slice(0, -hashSuffix.length) + suffix, file.size);
      continue;
    }
    const head = file && readHead(new Uint8Array(await file.slice(0, headSize).arrayBuffer()));
    if (!head || others.size >= filesMax) {
      stale.push(name);
      continue;
    }
    const idle = Math.min(Math.max(0, Math.floor((now - head.watched) / 1000)), 0xffffffff);
    const { members, copies } = head;
    others.set(name, { ref: others.size + 1, members, copies, idle, bytes: file.size });
    kept += file.size;
  }
  for (const [name, size] of proofs) {
    const other = others.get(name);
    if (other) other.bytes += size;
    else stale.push(hashesOf(name));
    if (other) kept += size;
  }
  for (const name of stale) await dir.removeEntry(name, { recursive: true });
  const { quota = 0, usage = 0 } = grant;
  const counts = title.files.map((f) => Math.ceil(f.size / title.pieceLength));
  const proving = counts.reduce((sum, pieces) => sum + HashFile.most(pieces), 0); // of the room, a thousandth or so
  const room = Math.floor(Math.min(cacheMax, quota * quotaShare, kept + Math.max(0, quota - usage) / 2));
  const limit = room - proving;
  if (limit < cacheMin) throw new Error("too little room");
  const open: SyncFile[] = [];
  try {
    for (const name of [suffix, hashSuffix].flatMap((s) => title.files.map((f) => f.root + s))) {
      // Known to TypeScript in workers only.
      const handle = (await dir.getFileHandle(name, { create: true })) as {
        createSyncAccessHandle(): Promise<SyncFile>;
      };
      open.push(await handle.createSyncAccessHandle());
    }
    const files = title.files.map((f, i) => new CacheFile(open[i]!, f.size, title.pieceLength, now));
    const hashes = counts.map((pieces, i) => new HashFile(open[counts.length + i]!, pieces));
    const remove = (name: string) => {
      for (const n of [name, hashesOf(name)]) void dir.removeEntry(n).catch(() => undefined);
    };
    return new CacheStore(title, files, hashes, limit, others, remove, release);
  } catch (error) {
    for (const f of open) f.close();
    throw error;
  }
}

const hashesOf = (name: string): string => name.slice(0, -suffix.length) + hashSuffix;

/** How long the browser may take to open the cache, in ms: the film does not wait for it any longer. */
const openWithin = 2_000;

/**
 * The store for what a page asks for: "memory"; or the name of a folder of the origin's private file system, in a worker; with
 * "scratch:" before it the folder is emptied first. Memory wherever there is no such folder, another tab has it, or it cannot
 * be opened in time.
 */
export async function storeFor(storage: string, title: Title): Promise<PieceStore> {
  if (storage === "memory") return new MemoryStore();
  let late = false;
  const opened = openFolder(storage, title).then((store) => {
    if (late) store?.close();
    return store;
  });
  const timer = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), openWithin));
  const store = await Promise.race([opened.catch(() => undefined), timer]);
  late = !store;
  return store ?? new MemoryStore();
}

async function openFolder(storage: string, title: Title): Promise<PieceStore | undefined> {
  const scratch = storage.startsWith("scratch:");
  const folder = encodeURIComponent(scratch ? storage.slice("scratch:".length) : storage);
  const release = await lock(`essaim:${folder}`);
  if (!release) return undefined;
  try {
    const root = await navigator.storage.getDirectory();
    const top = await root.getDirectoryHandle("essaim", { create: true });
    if (scratch) await top.removeEntry(folder, { recursive: true }).catch(() => undefined);
    const dir = (await top.getDirectoryHandle(folder, { create: true })) as unknown as CacheFolder;
    return await openCache(dir, title, await navigator.storage.estimate(), Date.now(), release);
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Removes what the folder of that name, as `EngineOptions.storage` has it, keeps between visits. Resolves to false where an engine, of
 * this page or of another tab, is using it.
 */
export async function clearStore(storage: string): Promise<boolean> {
  const folder = encodeURIComponent(storage);
  const release = await lock(`essaim:${folder}`);
  if (!release) return false;
  try {
    const root = await navigator.storage.getDirectory();
    const top = await root.getDirectoryHandle("essaim", { create: true });
    await top.removeEntry(folder, { recursive: true }).catch((error: unknown) => {
      if ((error as DOMException).name !== "NotFoundError") throw error;
    });
    return true;
  } finally {
    release();
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
