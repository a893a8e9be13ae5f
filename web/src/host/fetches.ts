/**
 * The core's HTTP half: FetchRange and RequestHashes. It must believe no answer that is not exactly what was asked for (status,
 * Content-Range, length), hold no byte of one once the engine is done with it, and never hold more than was asked for.
 */

import { InputKind } from "./kinds.gen";
import type { Bytes, Input, Output } from "./record";
import { blockSize, type Title } from "./title";

/** What a GET tells of, in order: a head, bodies, and then `end` or `fail`. None of it within the call to `get`. */
export interface HttpEvents {
  /** `header` looks a response header up by its lower-case name; null when absent. */
  head(status: number, header: (name: string) => string | null): void;
  /** The receiver owns the bytes. */
  body(chunk: Bytes): void;
  end(): void;
  /** The network broke it. */
  fail(): void;
}

/** Something that can GET. */
export interface Http {
  /** Begins a GET and returns what gives it up; after that nothing is told any more. */
  get(url: string, headers: Record<string, string>, events: HttpEvents): () => void;
}

/** Answers a request for hashes from what came with the play session; undefined when that does not suffice. */
export type KnownHashes = (
  file: number,
  base: number,
  index: number,
  length: number,
  proof: number,
) => Promise<Bytes> | undefined;

/** What the fetches need of their core. */
export interface FetchOwner {
  /** Tells the engine. */
  give(input: Input): void;
  /** Takes a block that a Hash output named: to keep and to digest. */
  fetchedBlock(ref: number, piece: number, begin: number, bytes: Bytes): void;
  /** Milliseconds on a clock that only rises. */
  nowMs(): number;
  /** A media body begins and ends. */
  bodyBegan(): void;
  bodyEnded(): void;
  /** The origin answered a request for hashes, with as many as it must have; whether they are true is not known. */
  fetchedHashes(request: Output, answer: Bytes): void;
  /** So many media bytes came from a source. */
  bodyBytes(n: number): void;
}

/** A report of progress is due after this long even within a block, in ms. */
const progressEvery = 250;

interface Fetch {
  ref: number;
  abort: () => void;
  over: boolean; // nothing of it counts any more
}

interface Range extends Fetch {
  file: number;
  origin: string; // whom it was asked of
  from: number;
  to: number;
  got: number;
  block: Bytes | undefined; // the one being filled
  whole: Map<number, Bytes>; // by offset from `from`, until named
  waiting: Map<number, Output>; // Hash outputs whose bytes are not there yet
  reportedAt: number;
  begun: boolean;
}

/** The fetches under way. */
export class Fetches {
  private readonly title: Title;
  private readonly origins: string[];
  private best = 0; // index of the origin that worked last
  private readonly http: Http;
  private readonly owner: FetchOwner;
  private readonly known: KnownHashes | undefined;
  private readonly ranges = new Map<number, Range>();
  private readonly hashes = new Map<number, Fetch>();
  private ticket: string;

  /** `origins` are prefixes without a trailing slash, best first: one that fails makes way for the next. */
  constructor(title: Title, origins: string[], ticket: string, http: Http, owner: FetchOwner, known?: KnownHashes) {
    this.title = title;
    this.origins = origins;
    this.ticket = ticket;
    this.http = http;
    this.owner = owner;
    this.known = known;
  }

  /** Uses another ticket from the next request on. */
  setTicket(ticket: string): void {
    this.ticket = ticket;
  }

  /** Does a FetchRange. */
  range(o: Output): void {
    const file = this.title.files[o.file];
    if (!file || this.ranges.has(o.ref)) return;
    const range: Range = {
      ref: o.ref,
      abort: () => {},
      over: false,
      file: o.file,
      origin: this.origin(o.source),
      from: o.from,
      to: o.to,
      got: 0,
      block: undefined,
      whole: new Map(),
      waiting: new Map(),
      reportedAt: this.owner.nowMs(),
      begun: false,
    };
    this.ranges.set(o.ref, range);
    const last = o.to - 1;
    const headers = this.headers();
    headers.range = `bytes=${o.from}-${last}`;
    range.abort = this.http.get(`${range.origin}/media/${file.root}`, headers, {
      head: (status, header) => {
        if (range.over) return;
        if (status !== 206 || header("content-range") !== `bytes ${o.from}-${last}/${file.size}`) {
          this.failRange(range, status, true);
          return;
        }
        range.begun = true;
        this.owner.bodyBegan();
      },
      body: (chunk) => this.arrived(range, chunk),
      end: () => {
        if (range.over) return;
        if (range.got === range.to - range.from) this.finish(range, { kind: InputKind.FetchDone, ref: range.ref });
        else this.failRange(range, 0, false);
      },
      fail: () => {
        if (!range.over) this.failRange(range, 0, false);
      },
    });
  }

  /** Does a Hash that names a fetch: at once, or as soon as its bytes are there. */
  hash(o: Output): void {
    const range = this.ranges.get(o.ref);
    if (!range) return;
    const file = this.title.files[range.file]!;
    const at = (o.piece - file.firstPiece) * this.title.pieceLength + o.begin - range.from;
    const bytes = range.whole.get(at);
    if (bytes) {
      range.whole.delete(at);
      this.owner.fetchedBlock(o.ref, o.piece, o.begin, bytes);
    } else {
      range.waiting.set(at, o);
    }
  }

  /** Does a RequestHashes. */
  requestHashes(o: Output): void {
    const file = this.title.files[o.file];
    if (!file || this.hashes.has(o.ref)) return;
    const request: Fetch = { ref: o.ref, abort: () => {}, over: false };
    this.hashes.set(o.ref, request);
    const known = this.known?.(o.file, o.base, o.index, o.length, o.proof);
    if (known) {
      known.then(
        (data) => this.answered(request, data),
        () => this.fetchHashes(request, o, file.root),
      );
    } else {
      this.fetchHashes(request, o, file.root);
    }
  }

  private fetchHashes(request: Fetch, o: Output, root: string): void {
    if (request.over) return;
    const origin = this.origin(o.source);
    const url = `${origin}/hashes/${root}?base=${o.base}&index=${o.index}&length=${o.length}&proof=${o.proof}`;
    const chunks: Bytes[] = [];
    let size = 0;
    const fail = (reason: number, abort: boolean) => {
      if (request.over) return;
      this.leave(origin);
      request.over = true;
      this.hashes.delete(request.ref);
      if (abort) request.abort();
      this.owner.give({ kind: InputKind.FetchFailed, ref: request.ref, reason });
    };
    request.abort = this.http.get(url, this.headers(), {
      head: (status) => {
        if (status !== 200) fail(status, true);
      },
      body: (chunk) => {
        size += chunk.length;
        if (size > 32 * (o.length + 64)) fail(0, true);
        else if (!request.over) chunks.push(chunk);
      },
      end: () => {
        if (size % 32 !== 0 || size < 32 * o.length) fail(0, false);
        else if (!request.over) {
          const answer = joined(chunks, size);
          this.owner.fetchedHashes(o, answer);
          this.answered(request, answer);
        }
      },
      fail: () => fail(0, false),
    });
  }

  private answered(request: Fetch, data: Bytes): void {
    if (request.over) return;
    request.over = true;
    this.hashes.delete(request.ref);
    this.owner.give({ kind: InputKind.HashesReceived, ref: request.ref, data });
  }

  /** Does a CancelFetch, of either kind. */
  cancel(ref: number): void {
    const f = this.ranges.get(ref) ?? this.hashes.get(ref);
    if (!f || f.over) return;
    this.close(f);
    f.abort();
  }

  /** Lets go of a range that has ended, after the engine's answer to that was done. */
  drop(ref: number): void {
    if (this.ranges.get(ref)?.over) this.ranges.delete(ref);
  }

  /** Gives everything up. */
  closeAll(): void {
    for (const f of [...this.ranges.values(), ...this.hashes.values()]) this.cancel(f.ref);
    this.ranges.clear();
  }

  private arrived(range: Range, chunk: Bytes): void {
    if (range.over) return;
    this.owner.bodyBytes(chunk.length);
    const size = range.to - range.from;
    if (range.got + chunk.length > size) {
      this.failRange(range, 0, true);
      return;
    }
    for (let at = 0; at < chunk.length && !range.over;) {
      const begin = range.got - (range.got % blockSize);
      const length = Math.min(blockSize, size - begin);
      range.block ??= new Uint8Array(length);
      const n = Math.min(length - (range.got - begin), chunk.length - at);
      range.block.set(chunk.subarray(at, at + n), range.got - begin);
      at += n;
      range.got += n;
      if (range.got - begin < length) break;
      const block = range.block;
      range.block = undefined;
      const hash = range.waiting.get(begin);
      if (hash) {
        range.waiting.delete(begin);
        this.owner.fetchedBlock(range.ref, hash.piece, hash.begin, block);
      } else {
        range.whole.set(begin, block);
      }
      this.progress(range);
    }
    if (!range.over && this.owner.nowMs() - range.reportedAt >= progressEvery) this.progress(range);
  }

  private progress(range: Range): void {
    range.reportedAt = this.owner.nowMs();
    this.owner.give({ kind: InputKind.FetchProgress, ref: range.ref, length: range.got });
  }

  private failRange(range: Range, reason: number, abort: boolean): void {
    this.leave(range.origin);
    if (abort) range.abort();
    this.finish(range, { kind: InputKind.FetchFailed, ref: range.ref, reason });
  }

  // The engine may still name bytes in its answer, so the range stays until drop.
  private finish(range: Range, input: Input): void {
    range.over = true;
    if (range.begun) this.owner.bodyEnded();
    range.begun = false;
    this.owner.give(input);
  }

  private close(f: Fetch): void {
    f.over = true;
    if (this.ranges.get(f.ref) === f && (f as Range).begun) this.owner.bodyEnded();
    this.ranges.delete(f.ref);
    this.hashes.delete(f.ref);
  }

  private origin(source: number): string {
    return this.origins[(this.best + source) % this.origins.length] ?? "";
  }

  /** Turns to the next origin after this one has failed, unless another fetch did so already. */
  private leave(origin: string): void {
    if (origin === this.origin(0)) this.refuted();
  }

  /** Turns to the next origin, after one has sent wrong bytes. */
  refuted(): void {
    if (this.origins.length > 1) this.best = (this.best + 1) % this.origins.length;
  }

  private headers(): Record<string, string> {
    return this.ticket ? { authorization: `Bearer ${this.ticket}` } : {};
  }
}

function joined(chunks: Bytes[], size: number): Bytes {
  const b = new Uint8Array(size);
  let at = 0;
  for (const c of chunks) {
    b.set(c, at);
    at += c.length;
  }
  return b;
}
