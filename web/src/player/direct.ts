/**
 * The direct source: verified HTTP, piece by piece, in the page itself. Playback starts on it at once, and stays on it
 * where there is no engine. It must never hand out a byte whose piece was not proven against the file's v2 root, and
 * never ask twice for a piece that is held or on its way.
 */

import { HashBook } from "./hashbook";
import { hashOf, sameDigest } from "./merkle";
import { Origin, type OriginHooks, sourceError, type Surroundings } from "./origin";
import type { PlayFile, PlaySession, PlayTickets } from "./session";
import type { EngineNote, MediaSourceBytes, ReadResult, Stats, VerifiedPiece } from "./source";

/** Verified pieces are kept up to this many bytes: half a minute of a 5 Mbit/s film and its sound. */
const cacheBytesDefault = 24 * 1024 * 1024;

/** How a direct source may be set up; all of it optional. */
export interface DirectOptions extends OriginHooks {
  /** Hears of pieces as an engine would tell of them: verified, or refuted. */
  onNote?(note: EngineNote): void;
  /** Bound of the verified pieces kept, in bytes. */
  cacheBytes?: number;
  /** What tests replace. */
  around?: Partial<Surroundings>;
}

/** A piece on its way. Bytes and ms say what its transfer cost, waiting between attempts left out. */
interface Pending {
  index: number;
  readers: number;
  settled: boolean;
  run: Run;
  promise: Promise<Arrived>;
  resolve(arrived: Arrived): void;
  reject(error: unknown): void;
}

interface Arrived {
  data: ArrayBuffer;
  ms: number;
}

/** Neighbouring pieces fetched by one request, or as few as failures allow. */
interface Run {
  file: number;
  controller: AbortController;
  pieces: Pending[];
}

/** Verified HTTP by pieces. See {@link MediaSourceBytes} for the contract of its methods. */
export class DirectSource implements MediaSourceBytes {
  #session: PlaySession;
  #origin: Origin;
  #book: HashBook;
  #closing = new AbortController();
  #cache = new Map<string, ArrayBuffer>(); // in order of use, the oldest first
  #cacheBytes = 0;
  #cacheBytesMax: number;
  #pending = new Map<string, Pending>();
  #badPieces = 0;
  #onNote: DirectOptions["onNote"];
  /** Hears of each piece as it is verified, and owns that copy. */
  onVerified?: (piece: VerifiedPiece) => void;

  constructor(session: PlaySession, options: DirectOptions = {}) {
    this.#session = session;
    this.#onNote = options.onNote?.bind(options);
    this.#cacheBytesMax = options.cacheBytes ?? cacheBytesDefault;
    this.#origin = new Origin(session, options, options.around);
    this.#book = new HashBook(session, this.#origin, this.#closing.signal);
  }

  /** Connections are not to be trusted: what is on its way and silent is asked for anew. */
  nudge(): void {
    this.#origin.nudge();
  }

  /** Resolves once the origin has failed to answer or kept silent for two seconds, the first time of all. */
  get failed(): Promise<void> {
    return this.#origin.failed;
  }

  async read(file: number, from: number, to: number, signal: AbortSignal): Promise<ReadResult> {
    const about = this.#session.files.at(file);
    if (this.#closing.signal.aborted) throw sourceError("closed");
    if (
      !about ||
      !Number.isSafeInteger(from) ||
      !Number.isSafeInteger(to) ||
      from < 0 ||
      to <= from ||
      to > about.size
    ) {
      throw sourceError("range", `bytes ${from} to ${to} of file ${file}`);
    }
    if (!globalThis.crypto?.subtle) throw sourceError("insecure");
    signal.throwIfAborted();
    const parts = this.#want(file, from, to);
    const waiting = parts.filter((part): part is Pending => !(part instanceof ArrayBuffer));
    let stop: (() => void) | undefined;
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener("abort", stop, { once: true });
    });
    try {
      const arrived = await Promise.race([Promise.all(waiting.map((part) => part.promise)), aborted]);
      const fresh = new Map(waiting.map((part, i) => [part, arrived[i].data]));
      const data = this.#assemble(
        from,
        to,
        parts.map((part) => (part instanceof ArrayBuffer ? part : fresh.get(part)!)),
      );
      if (waiting.length === 0) return { data, cached: true, timeMs: 0 };
      const ms = arrived.reduce((sum, piece) => sum + piece.ms, 0);
      const bytes = arrived.reduce((sum, piece) => sum + piece.data.byteLength, 0);
      return { data, cached: false, timeMs: (ms * data.byteLength) / bytes };
    } finally {
      if (stop) signal.removeEventListener("abort", stop);
      for (const part of waiting) this.#release(part);
    }
  }

  // Without an engine nobody looks ahead: where playback stands changes nothing here.
  moved(): void {}
  seeked(): void {}
  rendition(): void {}
  policy(): void {}

  tickets(t: PlayTickets): void {
    this.#origin.tickets(t);
  }

  stats(): Stats {
    return {
      originBytes: this.#origin.received,
      peerBytes: 0,
      cachedBytes: 0,
      sentBytes: 0,
      badBlocks: this.#badPieces,
      peers: 0,
      downloadKbps: this.#origin.rateKbps(),
    };
  }

  close(): Promise<void> {
    this.#closing.abort(sourceError("closed"));
    for (const pending of [...this.#pending.values()]) this.#drop(pending.run, sourceError("closed"));
    this.release();
    return Promise.resolve();
  }

  /** Lets go of the pieces that are held: somebody else has them now. */
  release(): void {
    this.#cache.clear();
    this.#cacheBytes = 0;
  }

  /** Copies of the pieces that are held verified, to seed an engine with. */
  *verified(): Generator<VerifiedPiece> {
    for (const [key, data] of [...this.#cache]) {
      const [file, index] = key.split("/").map(Number);
      yield { file, piece: this.#session.files[file].first_piece + index, data: data.slice(0) };
    }
  }

  /** What covers `[from, to)`: held pieces, and pending ones, which the caller must release. */
  #want(file: number, from: number, to: number): (ArrayBuffer | Pending)[] {
    const { piece_length } = this.#session;
    const parts: (ArrayBuffer | Pending)[] = [];
    let run: Run | undefined;
    const started: Run[] = [];
    for (let index = Math.floor(from / piece_length); index * piece_length < to; index++) {
      const key = `${file}/${index}`;
      const held = this.#cache.get(key);
      if (held) {
        this.#cache.delete(key);
        this.#cache.set(key, held);
      }
      const known = held ?? this.#pending.get(key);
      if (known) {
        run = undefined; // the next missing piece is no neighbour of the run before
        if (!(known instanceof ArrayBuffer)) known.readers++;
        parts.push(known);
        continue;
      }
      if (!run) {
        run = { file, controller: new AbortController(), pieces: [] };
        started.push(run);
      }
      const pending = this.#expect(run, index);
      this.#pending.set(key, pending);
      parts.push(pending);
    }
    for (const each of started) void this.#perform(each);
    return parts;
  }

  #expect(run: Run, index: number): Pending {
    let resolve!: (arrived: Arrived) => void;
    let reject!: (error: unknown) => void;
    const promise = new Promise<Arrived>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    promise.catch(() => undefined); // its readers may all have gone
    const pending: Pending = { index, readers: 1, settled: false, run, promise, resolve, reject };
    run.pieces.push(pending);
    return pending;
  }

  #release(pending: Pending): void {
    pending.readers--;
    const { run } = pending;
    if (!pending.settled && run.pieces.every((piece) => piece.settled || piece.readers <= 0)) {
      this.#drop(run, new DOMException("nobody waits for it", "AbortError"));
    }
  }

  /** Ends a run and whatever still waits for it. */
  #drop(run: Run, error: unknown): void {
    for (const piece of run.pieces) {
      if (piece.settled) continue;
      piece.settled = true;
      this.#pending.delete(`${run.file}/${piece.index}`);
      piece.reject(error);
    }
    run.controller.abort(error);
  }

  /** Fetches a run's pieces until all are there or it fails for good. */
  async #perform(run: Run): Promise<void> {
    const done = () => run.pieces.filter((piece) => piece.settled).length;
    try {
      await this.#origin.persist(
        run.controller.signal,
        async () => {
          for (let left = this.#left(run); left.length > 0; left = this.#left(run)) {
            await this.#attempt(run, left);
          }
        },
        done,
      );
    } catch (error) {
      this.#drop(run, error);
    }
  }

  /** The first neighbouring pieces of a run that have not arrived. */
  #left(run: Run): Pending[] {
    const open = run.pieces.filter((piece) => !piece.settled);
    return open.filter((piece, i) => piece.index === open[0].index + i);
  }

  /** One request for neighbouring pieces. Each is verified as it completes; a wrong one spoils no other. */
  async #attempt(run: Run, pieces: Pending[]): Promise<void> {
    const file = this.#session.files[run.file];
    const { piece_length } = this.#session;
    const from = pieces[0].index * piece_length;
    const to = Math.min(file.size, (pieces[pieces.length - 1].index + 1) * piece_length);
    const hashes = pieces.map((piece) => this.#book.piece(run.file, piece.index));
    for (const hash of hashes) hash.catch(() => undefined); // awaited below, or never if the fetch fails first
    const checks: Promise<void>[] = [];
    let buffer: Uint8Array<ArrayBuffer> | undefined;
    let filled = 0;
    let mark = this.#origin.now();
    const take = (chunk: Uint8Array) => {
      while (chunk.length > 0) {
        const piece = pieces[checks.length];
        buffer ??= new Uint8Array(Math.min(piece_length, file.size - piece.index * piece_length));
        const part = chunk.subarray(0, buffer.length - filled);
        buffer.set(part, filled);
        filled += part.length;
        chunk = chunk.subarray(part.length);
        if (filled < buffer.length) continue;
        const now = this.#origin.now();
        const check = this.#verify(run, piece, file, buffer, hashes[checks.length], now - mark);
        check.catch(() => undefined); // awaited below
        checks.push(check);
        mark = now;
        buffer = undefined;
        filled = 0;
      }
    };
    try {
      await this.#origin.media(file, from, to, run.controller.signal, take);
    } finally {
      await Promise.allSettled(checks);
    }
    await Promise.all(checks);
  }

  async #verify(
    run: Run,
    piece: Pending,
    file: PlayFile,
    data: Uint8Array<ArrayBuffer>,
    expected: Promise<{ hash: Uint8Array; width: number }>,
    ms: number,
  ): Promise<void> {
    const { hash, width } = await expected;
    if (!sameDigest(await hashOf(data, width), hash)) {
      this.#badPieces++;
      this.#note("bad_block", file, piece, data);
      throw sourceError("corrupt", `piece ${piece.index} of ${file.path}`);
    }
    if (piece.settled) return;
    piece.settled = true;
    const key = `${run.file}/${piece.index}`;
    this.#pending.delete(key);
    this.#keep(key, data.buffer);
    this.onVerified?.({ file: run.file, piece: file.first_piece + piece.index, data: data.buffer.slice(0) });
    this.#note("piece", file, piece, data);
    piece.resolve({ data: data.buffer, ms });
  }

  #note(kind: "piece" | "bad_block", file: PlayFile, piece: Pending, data: Uint8Array): void {
    const number = file.first_piece + piece.index;
    this.#onNote?.({ kind, peer: 0, piece: number, begin: 0, length: data.length, reason: 0 });
  }

  #keep(key: string, data: ArrayBuffer): void {
    this.#cache.set(key, data);
    this.#cacheBytes += data.byteLength;
    for (const [oldest, old] of this.#cache) {
      if (this.#cacheBytes <= this.#cacheBytesMax) break;
      this.#cache.delete(oldest);
      this.#cacheBytes -= old.byteLength;
    }
  }

  #assemble(from: number, to: number, pieces: ArrayBuffer[]): ArrayBuffer {
    const { piece_length } = this.#session;
    const out = new Uint8Array(to - from);
    let start = Math.floor(from / piece_length) * piece_length;
    for (const piece of pieces) {
      const begin = Math.max(from, start);
      const end = Math.min(to, start + piece.byteLength);
      out.set(new Uint8Array(piece, begin - start, end - begin), begin - from);
      start += piece_length;
    }
    return out.buffer;
  }
}
