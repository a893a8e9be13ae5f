/**
 * The host's core: it does for one engine what internal/engine/step.go asks of a host, and leaves network, clock, digests
 * and storage to whoever made it. It frames messages, keeps payloads by block, has them digested, stores what the engine found
 * valid and answers reads from the store alone, so that no byte leaves that was not verified. It decides nothing.
 *
 * Every method is called from the outside world's own events, never from within a call that the core makes.
 * The scripts in internal/host/hosttest hold it to its contract.
 */

import { Fetches, type FetchOwner, type Http, type KnownHashes } from "./fetches";
import { Framer, uint32 } from "./framing";
import { Flags, InputKind, NoteKind, OutputKind, Reason } from "./kinds.gen";
import { Meter } from "./meter";
import { noteOf, toHex } from "./notes";
import type { Bytes, Input, Output } from "./record";
import { LostPiece, Pieces } from "./pieces";
import type { PieceStore } from "./store";
import type { Announce, Clock, Cohort, Net, Stepper } from "./surroundings";
import { encodeIndex, encodePieces, encodeShelf, encodeTitle, type Title } from "./title";
import type { EngineNote, PlaybackState, Stats } from "../player/source";
import { bannedMax, type BannedPeer, type PlayPolicy } from "../player/session";

const noCohort: Cohort = { id: 0, place: 0, size: 0 };

/** All that a core is made of. */
export interface CoreParts {
  title: Title;
  engine: Stepper;
  clock: Clock;
  net: Net;
  http: Http;
  /** SHA-256. */
  digest(bytes: Bytes): Promise<Bytes>;
  store: PieceStore;
  /** Prefixes of media/… and hashes/…, without a trailing slash. */
  origins: string[];
  ticket: string;
  known?: KnownHashes;
  onNote?(note: EngineNote): void;
  /** The engine ended. All reads have been failed; the core is closed. */
  onFailed?(error: unknown): void;
}

/** What a read was answered with. */
export interface CoreRead {
  data: ArrayBuffer;
  /** The store held all of it when it was asked for. */
  cached: boolean;
  /** What its bytes cost at the measured rate, in ms. */
  timeMs: number;
}

/** The engine cannot deliver a range: `reason` is one of `Reason`. */
export class RangeRefused extends Error {
  override readonly name = "RangeRefused";
  readonly reason: number;
  constructor(reason: number) {
    super(`range failed with reason ${reason}`);
    this.reason = reason;
  }
}

interface Reader {
  file: number;
  from: number;
  to: number;
  cached: boolean;
  askedMs: number;
  resolve(read: CoreRead): void;
  reject(error: Error): void;
}

interface Peer {
  framer: Framer;
  /** The piece message whose payload is being announced or collected. */
  piece: number;
  begin: number;
  owed: number; // requests of ours that it has not answered
  wanted: number; // of its bytes, so many from the front; the rest is a pad's zeros. -1: none
  id: Bytes | undefined;
  up: boolean; // its handshake succeeded
  measureAt: number; // its round trip is not measured again before then
}

/** BEP 3's and BEP 6's ids of what asks for blocks, takes that back, and refuses it. */
const messageRequest = 6;
const messageCancel = 8;
const messageReject = 16;

/** Above this a peer's send queue is reported, in bytes: `SendQueueLow` of internal/engine/step.go. */
export const queueLow = 16 << 10;
/** How often the round trip to a peer that blocks go to is measured, in microseconds. */
const measureEvery = 1_000_000;
/** A peer whose queue would pass this is closed: half of what Chromium's channel takes before it throws, in bytes. */
const queueMax = 8 << 20;

/** One title's host core. */
export class Core implements FetchOwner {
  private readonly parts: CoreParts;
  private readonly title: Title;
  private readonly fetches: Fetches;
  private readonly peers = new Map<number, Peer>();
  private readonly readers = new Map<number, Reader>();
  private readonly pieces: Pieces;
  private readonly meter = new Meter();
  private readonly queue: Input[] = [];
  private readonly sentTo = new Set<number>();
  private readonly counts = { originBytes: 0, peerBytes: 0, cachedBytes: 0, sentBytes: 0, badBlocks: 0 };
  private readonly banned: BannedPeer[] = [];
  private seeds = new Set<number>();
  private running = false;
  private ended = false;
  private lie = false;
  private readerNext = 1;
  private digesting = 0;
  private settled: (() => void)[] = [];
  private timer: { at: number; stop: () => void } | undefined;

  constructor(parts: CoreParts) {
    this.parts = parts;
    this.title = parts.title;
    this.pieces = new Pieces(parts.title, parts.store);
    this.fetches = new Fetches(parts.title, parts.origins, parts.ticket, parts.http, this, parts.known);
  }

  /** Opens the engine. `seeds` says which pieces the store was given from outside, verified. */
  open(policy?: PlayPolicy, seeds: readonly number[] = []): void {
    this.seeds = new Set(seeds);
    this.give({ kind: InputKind.TitleOpened, data: encodeTitle(this.title) });
    this.title.files.forEach((f, file) => {
      if (f.segments.length > 0) this.give({ kind: InputKind.IndexLoaded, file, data: encodeIndex(f.segments) });
    });
    this.tellBounds();
    if (seeds.length > 0) this.give({ kind: InputKind.StoreRestored, data: encodePieces(seeds) });
    const found = this.parts.store.shelf?.found() ?? [];
    if (found.length > 0) this.give({ kind: InputKind.StoreFound, data: encodePieces(found) });
    if (policy) this.policy(policy);
  }

  /** The tracker named a peer that may be dialled, under a fresh reference. */
  introduced(peer: number, id: Bytes): void {
    this.give({ kind: InputKind.Introduced, peer, data: id });
  }

  /** A channel opened. `id` is what signalling promised. */
  connected(peer: number, id: Bytes | undefined, initiator: boolean): void {
    if (this.ended) return;
    const framer = new Framer({
      handshake: (data) => this.give({ kind: InputKind.MessageReceived, flags: Flags.Handshake, peer, data }),
      message: (data) => this.message(peer, data),
      pieceHead: (head, length) => this.pieceHead(peer, head, length),
      payload: (data) => this.payload(peer, data),
      violated: () => this.closeBroken(peer),
    });
    this.peers.set(peer, { framer, piece: 0, begin: 0, owed: 0, wanted: -1, id, up: false, measureAt: 0 });
    const input: Input = { kind: InputKind.PeerConnected, peer, flags: initiator ? Flags.Initiator : 0 };
    if (id) input.data = id;
    this.give(input);
  }

  /** Bytes came on a channel. The core owns them. */
  received(peer: number, bytes: Bytes): void {
    this.peers.get(peer)?.framer.feed(bytes);
  }

  /** A channel's queue fell to `queueLow` after having been above. */
  drained(peer: number): void {
    if (this.peers.has(peer)) {
      this.give({ kind: InputKind.SendQueue, peer, length: this.parts.net.queued(peer) });
    }
  }

  /** A round trip to a peer takes so many microseconds; 0: that could not be found out. */
  measured(peer: number, us: number): void {
    const length = Math.min(Math.round(us), 2 ** 32 - 1);
    if (this.peers.has(peer) && length > 0) this.give({ kind: InputKind.PathMeasured, peer, length });
  }

  /**
   * The tracker answered an announce, and counts so many seeds and others in the swarm. Both count us, so that a sum of
   * zero is an answer without counts. And it counts us into a cohort.
   */
  counted(complete: number, incomplete: number, { id, place, size }: Cohort = noCohort): void {
    const length = Math.min(complete + incomplete, 2 ** 32 - 1);
    if (length > 0) this.give({ kind: InputKind.SwarmCounted, length, file: id, piece: place, begin: size });
  }

  /** An open channel is gone. */
  closed(peer: number): void {
    if (!this.peers.has(peer)) return;
    this.forget(peer);
    this.give({ kind: InputKind.PeerClosed, peer });
  }

  /** No channel came of a dial. */
  dialFailed(peer: number): void {
    this.give({ kind: InputKind.PeerClosed, peer });
  }

  /** The engine's surroundings found it ended, or themselves unable to go on. */
  abandon(error: unknown): void {
    this.failed(error);
  }

  /** Revoked peers, as concatenated peer IDs. */
  revoked(ids: Bytes): void {
    this.give({ kind: InputKind.Revoked, data: ids });
  }

  /** Asks for bytes [from, to) of a file. The answer comes by the promise; `cancel` takes it back. */
  read(file: number, from: number, to: number): { answer: Promise<CoreRead>; cancel: () => void } {
    const ref = this.readerNext++;
    const answer = new Promise<CoreRead>((resolve, reject) => {
      if (this.ended) {
        reject(new Error("engine has ended"));
        return;
      }
      const askedMs = this.nowMs();
      this.readers.set(ref, { file, from, to, cached: this.pieces.holds(file, from, to), askedMs, resolve, reject });
      this.give({ kind: InputKind.RangeWanted, ref, file, from, to });
    });
    const cancel = () => {
      if (this.readers.delete(ref)) this.give({ kind: InputKind.RangeCancelled, ref });
    };
    return { answer, cancel };
  }

  /** Where playback is. */
  moved(s: PlaybackState): void {
    this.give({
      kind: InputKind.PlaybackMoved,
      from: Math.floor(s.position_ms),
      to: Math.floor(s.buffered_end_ms),
      length: Math.max(0, Math.round(s.rate * 1000)),
      flags: s.paused ? Flags.Paused : 0,
    });
  }

  /** The viewer jumped. */
  seeked(positionMs: number): void {
    this.give({ kind: InputKind.Seeked, from: Math.floor(positionMs) });
  }

  /** The file that the player now asks for. */
  rendition(file: number): void {
    this.give({ kind: InputKind.RenditionChosen, file });
  }

  /** What is allowed from now on. */
  policy(p: PlayPolicy): void {
    const flags = (p.p2p ? Flags.Peers : 0) | (p.upload ? Flags.Upload : 0);
    this.give({ kind: InputKind.PolicyChanged, flags, length: Math.max(0, Math.round(p.uplink_kbps)) });
  }

  /** The media ticket for requests from now on. */
  ticket(media: string): void {
    this.fetches.setTicket(media);
  }

  /** Flips one bit in every block sent from now on: a liar for tests and for the demonstration. */
  setLie(on: boolean): void {
    this.lie = on;
  }

  /** The counts so far. */
  stats(): Stats {
    let peers = 0;
    for (const p of this.peers.values()) if (p.up) peers++;
    const banned = this.banned.length > 0 ? { banned: [...this.banned] } : {};
    return { ...this.counts, ...banned, peers, downloadKbps: this.meter.recentKbps(this.nowMs()) };
  }

  /** Resolves once no digest is under way. */
  rest(): Promise<void> {
    return this.digesting === 0 ? Promise.resolve() : new Promise((resolve) => this.settled.push(resolve));
  }

  /** Ends it: pending reads reject, fetches and channels close, the store is let go. */
  close(): void {
    this.end(new Error("closed"));
  }

  // FetchOwner

  /** Tells the engine what happened, and does what it answers; then what followed from that, in order. */
  give(input: Input): void {
    if (this.ended) return;
    this.queue.push(input);
    if (this.running) return;
    this.running = true;
    try {
      for (let next = this.queue.shift(); next && !this.ended; next = this.queue.shift()) this.stepOnce(next);
      if (!this.ended) this.arm();
    } catch (error) {
      this.failed(error);
    } finally {
      this.running = false;
    }
  }

  fetchedBlock(ref: number, piece: number, begin: number, bytes: Bytes): void {
    this.keep({ kind: InputKind.Hashed, ref, piece, begin }, bytes);
  }

  nowMs(): number {
    return this.parts.clock.now() / 1000;
  }

  bodyBegan(): void {
    this.meter.began(this.nowMs());
  }

  bodyEnded(): void {
    this.meter.ended(this.nowMs());
  }

  bodyBytes(n: number): void {
    this.counts.originBytes += n;
    this.meter.received(n, this.nowMs());
  }

  // Steps

  private stepOnce(input: Input): void {
    for (const o of this.parts.engine.step(this.parts.clock.now(), input)) this.perform(o);
    if (input.kind === InputKind.FetchDone || input.kind === InputKind.FetchFailed) this.fetches.drop(input.ref ?? 0);
    for (const peer of this.sentTo) {
      const length = this.peers.has(peer) ? this.parts.net.queued(peer) : 0;
      if (length > queueLow) this.queue.push({ kind: InputKind.SendQueue, peer, length });
    }
    this.sentTo.clear();
  }

  private perform(o: Output): void {
    switch (o.kind) {
      case OutputKind.RangeReady:
        this.answer(o.ref);
        return;
      case OutputKind.RangeFailed: {
        const reader = this.readers.get(o.ref);
        this.readers.delete(o.ref);
        reader?.reject(new RangeRefused(o.reason));
        return;
      }
      case OutputKind.FetchRange:
        this.fetches.range(o);
        return;
      case OutputKind.CancelFetch:
        this.fetches.cancel(o.ref);
        return;
      case OutputKind.Dial:
        this.parts.net.dial(o.peer);
        return;
      case OutputKind.ClosePeer:
        this.forget(o.peer);
        this.parts.net.close(o.peer);
        return;
      case OutputKind.Announce:
        this.announce(o);
        return;
      case OutputKind.SendMessage:
        this.send(o.peer, o.data);
        return;
      case OutputKind.SendBlock:
        this.sendBlock(o);
        return;
      case OutputKind.Discard:
        this.discard(o);
        return;
      case OutputKind.Hash:
        this.hash(o);
        return;
      case OutputKind.RequestHashes:
        this.fetches.requestHashes(o);
        return;
      case OutputKind.HashPiece:
        this.hashPiece(o);
        return;
      case OutputKind.Store:
        this.storePiece(o.piece);
        return;
      case OutputKind.Evict:
        this.lose(o.piece);
        return;
      case OutputKind.Check:
        this.check(o.piece);
        return;
      case OutputKind.EvictFile:
        this.parts.store.shelf?.removeOther(o.ref);
        return;
      case OutputKind.Mark:
        this.parts.store.shelf?.mark(o.file, o.length, o.index);
        return;
      case OutputKind.Note:
        this.note(o);
        return;
      default:
        throw new Error(`engine said ${o.kind}, which nobody knows`);
    }
  }

  private arm(): void {
    const at = this.parts.engine.deadline();
    if (at === undefined) {
      this.timer?.stop();
      this.timer = undefined;
      return;
    }
    // A timer that comes too early looks again: cheaper than a new one for every step that moves the deadline.
    if (this.timer && this.timer.at <= at) return;
    this.timer?.stop();
    const stop = this.parts.clock.after(Math.max(0, at - this.parts.clock.now()), () => {
      this.timer = undefined;
      const due = this.parts.engine.deadline();
      if (due !== undefined && due <= this.parts.clock.now()) this.give({ kind: InputKind.Tick });
      else if (!this.ended) this.arm();
    });
    this.timer = { at, stop };
  }

  private failed(error: unknown): void {
    if (this.ended) return;
    this.end(error);
    this.parts.onFailed?.(error);
  }

  private end(error: unknown): void {
    if (this.ended) return;
    this.ended = true;
    this.timer?.stop();
    for (const r of this.readers.values()) r.reject(error instanceof Error ? error : new Error(String(error)));
    this.readers.clear();
    this.fetches.closeAll();
    for (const peer of [...this.peers.keys()]) {
      this.forget(peer);
      this.parts.net.close(peer);
    }
    this.pieces.close();
  }

  // Peers

  /** Counts requests that a peer owes us: while it does, time counts for the player's rate, and otherwise not. */
  private owes(p: Peer, change: number): void {
    const owed = Math.max(0, p.owed + change);
    if (p.owed === 0 && owed > 0) this.meter.began(this.nowMs());
    else if (p.owed > 0 && owed === 0) this.meter.ended(this.nowMs());
    p.owed = owed;
  }

  private forget(peer: number): void {
    const p = this.peers.get(peer);
    if (p) this.owes(p, -p.owed);
    p?.framer.stop();
    this.peers.delete(peer);
  }

  // For a fault that the host itself found.
  private closeBroken(peer: number): void {
    this.forget(peer);
    this.parts.net.close(peer);
    this.give({ kind: InputKind.PeerClosed, peer });
  }

  private message(peer: number, data: Bytes): void {
    const p = this.peers.get(peer);
    if (p && data[0] === messageReject) this.owes(p, -1);
    this.give({ kind: InputKind.MessageReceived, peer, data });
  }

  private pieceHead(peer: number, head: Bytes, length: number): boolean {
    const p = this.peers.get(peer);
    if (!p) return false;
    p.piece = uint32(head, 1);
    p.begin = uint32(head, 5);
    p.wanted = -1;
    this.give({ kind: InputKind.MessageReceived, peer, data: head, length });
    if (p.wanted < 0) this.owes(p, -1);
    return p.wanted >= 0;
  }

  private payload(peer: number, bytes: Bytes): void {
    const p = this.peers.get(peer);
    if (!p) return;
    this.counts.peerBytes += bytes.length;
    this.meter.received(bytes.length, this.nowMs());
    this.owes(p, -1);
    const wanted = p.wanted < bytes.length ? bytes.subarray(0, p.wanted) : bytes;
    this.keep({ kind: InputKind.Hashed, peer, piece: p.piece, begin: p.begin }, wanted);
  }

  private send(peer: number, bytes: Bytes): void {
    if (!this.peers.has(peer)) return;
    if (this.parts.net.queued(peer) + bytes.length > queueMax) {
      this.forget(peer);
      this.parts.net.close(peer);
      this.queue.push({ kind: InputKind.PeerClosed, peer });
      return;
    }
    const p = this.peers.get(peer)!;
    if (bytes[4] === messageRequest && bytes.length === 17) this.owes(p, 1);
    else if (bytes[4] === messageCancel && bytes.length === 17) this.owes(p, -1);
    this.parts.net.send(peer, bytes);
    this.sentTo.add(peer);
  }

  private sendBlock(o: Output): void {
    let message: Bytes | undefined;
    try {
      if (this.peers.has(o.peer)) message = this.pieces.message(o.piece, o.begin, o.length);
    } catch (error) {
      if (!(error instanceof LostPiece)) throw error;
      this.lose(o.piece);
    }
    if (!message) return;
    if (this.lie && o.length > 0) message[13]! ^= 1;
    this.counts.sentBytes += o.length;
    this.send(o.peer, message);
    const p = this.peers.get(o.peer);
    const now = this.parts.clock.now();
    if (!p || now < p.measureAt) return;
    p.measureAt = now + measureEvery;
    this.parts.net.measure(o.peer);
  }

  private announce(o: Output): void {
    const a: Announce = { positionMs: o.from, rendition: o.file, want: o.length };
    if (o.flags & Flags.Started) a.event = "started";
    else if (o.flags & Flags.Completed) a.event = "completed";
    else if (o.flags & Flags.Stopped) a.event = "stopped";
    if (a.event === "stopped") a.want = 0; // who leaves meets nobody
    this.parts.net.announce(a);
  }

  // Blocks and pieces

  private hash(o: Output): void {
    if (o.peer === 0) {
      this.fetches.hash(o);
      return;
    }
    const p = this.peers.get(o.peer);
    if (p && p.piece === o.piece && p.begin === o.begin) p.wanted = o.length;
  }

  private discard(o: Output): void {
    if (o.peer === 0) {
      this.pieces.discard(o.piece, o.begin);
      return;
    }
    const p = this.peers.get(o.peer);
    if (p && p.piece === o.piece && p.begin === o.begin) p.wanted = -1;
  }

  private keep(hashed: Input & { piece: number; begin: number }, bytes: Bytes): void {
    const { piece, begin } = hashed;
    if (!this.pieces.keep(piece, begin, bytes)) return;
    this.digesting++;
    this.parts
      .digest(bytes)
      .then((digest) => {
        // A block that was discarded meanwhile is no longer kept, and must not be spoken of.
        if (this.pieces.keeps(piece, begin, bytes)) this.give({ ...hashed, digest });
      })
      .catch((error: unknown) => this.failed(error))
      .finally(() => this.digested());
  }

  // Digests the blocks of a stored piece again, for a peer that wants their hashes.
  private hashPiece(o: Output): void {
    let blocks: Bytes[] = [];
    try {
      blocks = this.pieces.blocks(o.piece);
    } catch (error) {
      if (!(error instanceof LostPiece)) throw error;
      this.lose(o.piece);
    }
    this.digestAll(blocks, (data) => this.give({ kind: InputKind.PieceHashed, ref: o.ref, piece: o.piece, data }));
  }

  private storePiece(piece: number): void {
    const limit = this.parts.store.limit;
    this.queue.push({ kind: this.pieces.storePiece(piece) ? InputKind.Stored : InputKind.Evicted, piece });
    if (this.parts.store.limit !== limit) this.tellBounds();
  }

  private lose(piece: number): void {
    this.pieces.evict(piece);
    this.queue.push({ kind: InputKind.Evicted, piece });
  }

  private tellBounds(): void {
    const { limit, ahead, shelf } = this.parts.store;
    this.give({ kind: InputKind.StoreBounded, from: limit, to: ahead, data: encodeShelf(shelf?.others() ?? []) });
  }

  // What was found of a piece is digested as it lies there; the engine judges.
  private check(piece: number): void {
    this.digestAll(this.pieces.foundBlocks(piece), (data) => {
      if (data.length > 0) this.pieces.setChecked(piece);
      this.give({ kind: InputKind.Checked, piece, data });
    });
  }

  private digestAll(blocks: Bytes[], then: (digests: Bytes) => void): void {
    this.digesting++;
    Promise.all(blocks.map((b) => this.parts.digest(b)))
      .then((digests) => {
        const data = new Uint8Array(32 * digests.length);
        digests.forEach((d, i) => data.set(d, 32 * i));
        then(data);
      })
      .catch((error: unknown) => this.failed(error))
      .finally(() => this.digested());
  }

  private digested(): void {
    if (--this.digesting === 0) for (const resolve of this.settled.splice(0)) resolve();
  }

  private answer(ref: number): void {
    const r = this.readers.get(ref);
    if (!r) return;
    let data: Bytes;
    try {
      data = this.pieces.range(r.file, r.from, r.to);
    } catch (error) {
      if (!(error instanceof LostPiece)) throw error;
      this.lose(error.piece); // and ask again: the engine has it fetched
      this.queue.push({ kind: InputKind.RangeWanted, ref, file: r.file, from: r.from, to: r.to });
      return;
    }
    this.readers.delete(ref);
    const rate = this.meter.rate();
    const timeMs = rate > 0 ? data.length / rate : r.cached ? 0 : this.nowMs() - r.askedMs;
    r.resolve({ data: data.buffer, cached: r.cached, timeMs });
  }

  private note(o: Output): void {
    if (o.note === NoteKind.BadBlock) this.counts.badBlocks++;
    else if (o.note === NoteKind.Banned) this.ban(o);
    else if (o.note === NoteKind.PeerUp) this.setUp(o.peer);
    else if (o.note === NoteKind.Restored) this.counts.cachedBytes += this.seeds.has(o.piece) ? 0 : o.length;
    if (!this.parts.onNote) return;
    const note = noteOf(o, (peer) => this.peers.get(peer)?.id);
    if (!note) return;
    // Of what it verified itself the page has told already.
    if (note.kind === "restored" && this.seeds.has(note.piece)) return;
    this.parts.onNote(note);
  }

  private ban(o: Output): void {
    if (this.banned.length >= bannedMax || o.data.length !== 20) return;
    this.banned.push({ peer_id: toHex(o.data), proven: o.reason === Reason.BadData });
  }

  private setUp(peer: number): void {
    const p = this.peers.get(peer);
    if (p) p.up = true;
  }
}

/** Whether a read failed because its range lies outside the file. */
export function isBadRange(error: unknown): boolean {
  return error instanceof RangeRefused && error.reason === Reason.BadRange;
}
