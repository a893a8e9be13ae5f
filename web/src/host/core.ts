/**
 * The host's core: it does for one engine what internal/engine/step.go asks of a host, and leaves network, clock, digests
 * and storage to whoever made it. It frames messages, keeps payloads by block, has them digested, stores what the engine found
 * valid and answers reads from the store alone, so that no byte leaves that was not verified. It decides nothing.
 *
 * Every method is called from the outside world's own events, never from within a call that the core makes.
 * The scripts in internal/host/hosttest hold it to its contract.
 */

import { Fetches, type FetchOwner, type Http, type KnownHashes } from "./fetches";
import { Keep, type KeepOwner } from "./keep";
import { uint32 } from "./framing";
import { Flags, InputKind, NoteKind, OutputKind, Reason } from "./kinds.gen";
import { Meter } from "./meter";
import { noteOf, toHex } from "./notes";
import { Peers, type PeersOwner } from "./peers";
import type { Bytes, Input, Output } from "./record";
import type { PieceStore } from "./store";
import type { Announce, Clock, Cohort, Net, Stepper } from "./surroundings";
import { encodeIndex, encodePieces, encodeTitle, type Title } from "./title";
import type { EngineNote, PlaybackState, Stats } from "../player/source";
import type { HashRequest } from "../player/merkle";
import { bannedMax, type BannedPeer, type PlayPolicy } from "../player/session";

/**
 * How soon after a step a Tick may come, in microseconds. A fast uplink allows a block every few milliseconds, and a tenth of a
 * second's worth at once: blocks that waited for one another go out in one message, and the worker wakes less often.
 */
const tickLeast = 20_000;

/** BEP 52's hashes message: its id, the file's root, base, index, length and proof, then digests. */
const hashesHead = 49;

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
  /** Takes answers to hash requests that may be of use at the next visit, by file; `peer`: a peer gave it, who may lie. */
  onHashes?(file: number, request: HashRequest, answer: Bytes, peer: boolean): void;
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

/** One title's host core. */
export class Core implements FetchOwner, PeersOwner, KeepOwner {
  private readonly parts: CoreParts;
  private readonly title: Title;
  private readonly fetches: Fetches;
  private readonly peers: Peers;
  private readonly readers = new Map<number, Reader>();
  private readonly kept: Keep;
  private readonly meter = new Meter();
  private readonly queue: Input[] = [];
  private readonly counts = { originBytes: 0, peerBytes: 0, cachedBytes: 0, sentBytes: 0, badBlocks: 0 };
  private readonly banned: BannedPeer[] = [];
  private seeds = new Set<number>();
  private running = false;
  private ended = false;
  private lie = false;
  private readerNext = 1;
  private timer: { at: number; stop: () => void } | undefined;

  constructor(parts: CoreParts) {
    this.parts = parts;
    this.title = parts.title;
    this.kept = new Keep(parts.title, parts.store, (bytes) => parts.digest(bytes), this);
    this.peers = new Peers(parts.net, parts.clock, this.meter, this);
    this.fetches = new Fetches(parts.title, parts.origins, parts.ticket, parts.http, this, parts.known);
  }

  /** Opens the engine. `seeds` says which pieces the store was given from outside, verified. */
  open(policy?: PlayPolicy, seeds: readonly number[] = []): void {
    this.seeds = new Set(seeds);
    this.give({ kind: InputKind.TitleOpened, data: encodeTitle(this.title) });
    this.title.files.forEach((f, file) => {
      if (f.segments.length > 0) this.give({ kind: InputKind.IndexLoaded, file, data: encodeIndex(f.segments) });
    });
    this.kept.tellBounds();
    if (seeds.length > 0) this.give({ kind: InputKind.StoreRestored, data: encodePieces(seeds) });
    const found = this.parts.store.shelf?.found() ?? [];
    if (found.length > 0) this.give({ kind: InputKind.StoreFound, data: encodePieces(found) });
    if (policy) this.policy(policy);
  }

  /** The tracker named a peer that may be dialled, under a fresh reference. */
  introduced(peer: number, id: Bytes): void {
    this.give({ kind: InputKind.Introduced, peer, data: id });
  }

  /** A channel opened. `id` is what signalling promised; `far`: the tracker says that the peer is in another network. */
  connected(peer: number, id: Bytes | undefined, initiator: boolean, far = false): void {
    if (this.ended) return;
    this.peers.add(peer, id);
    const input: Input = {
      kind: InputKind.PeerConnected,
      peer,
      flags: (initiator ? Flags.Initiator : 0) | (far ? Flags.Far : 0),
    };
    if (id) input.data = id;
    this.give(input);
  }

  /** Bytes came on a channel. The core owns them. */
  received(peer: number, bytes: Bytes): void {
    this.peers.received(peer, bytes);
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
    this.peers.forget(peer);
    this.give({ kind: InputKind.PeerClosed, peer });
  }

  /** No channel came of a dial. */
  dialFailed(peer: number): void {
    this.give({ kind: InputKind.PeerClosed, peer });
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
      this.readers.set(ref, { file, from, to, cached: this.kept.holds(file, from, to), askedMs, resolve, reject });
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

  /** A piece that was verified outside came after `open`. The core owns its bytes. */
  verified(piece: number, bytes: Bytes): void {
    if (this.ended || this.parts.store.has(piece)) return;
    this.parts.store.put(piece, [bytes]);
    this.seeds.add(piece);
    this.give({ kind: InputKind.StoreRestored, data: encodePieces([piece]) });
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
    const peers = this.peers.up;
    const banned = this.banned.length > 0 ? { banned: [...this.banned] } : {};
    return { ...this.counts, ...banned, peers, downloadKbps: this.meter.recentKbps(this.nowMs()) };
  }

  /** Resolves once no digest is under way. */
  rest(): Promise<void> {
    return this.kept.rest();
  }

  /** Ends it: pending reads reject, fetches and channels close, the store is let go. */
  close(): void {
    this.end(new Error("closed"));
  }

  // FetchOwner, PeersOwner, KeepOwner

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
    this.kept.block({ kind: InputKind.Hashed, ref, piece, begin }, bytes);
  }

  peerBlock(peer: number, piece: number, begin: number, bytes: Bytes): void {
    this.kept.block({ kind: InputKind.Hashed, peer, piece, begin }, bytes);
  }

  fetchedHashes({ file, base, index, length, proof }: Output, answer: Bytes): void {
    this.parts.onHashes?.(file, { base, index, length, proof }, answer, false);
  }

  peerHashes(message: Bytes): void {
    if (!this.parts.onHashes || message.length <= hashesHead || (message.length - hashesHead) % 32 !== 0) return;
    const root = toHex(message.subarray(1, 33));
    const [base, index, length, proof] = [33, 37, 41, 45].map((at) => uint32(message, at)) as [
      number,
      number,
      number,
      number,
    ];
    const answer = message.slice(hashesHead);
    this.title.files.forEach((f, file) => {
      if (f.root === root) this.parts.onHashes!(file, { base, index, length, proof }, answer, true);
    });
  }

  peerBytes(n: number): void {
    this.counts.peerBytes += n;
  }

  /** The engine ended, or its surroundings are unable to go on. */
  failed(error: unknown): void {
    if (this.ended) return;
    this.end(error);
    this.parts.onFailed?.(error);
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
    this.peers.reportQueues();
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
        this.peers.close(o.peer);
        return;
      case OutputKind.Announce:
        this.announce(o);
        return;
      case OutputKind.SendMessage:
        this.peers.send(o.peer, o.data);
        return;
      case OutputKind.SendBlock:
        this.sendBlock(o);
        return;
      case OutputKind.Discard:
        if (o.peer === 0) this.kept.discard(o.piece, o.begin);
        else this.peers.skip(o);
        return;
      case OutputKind.Hash:
        if (o.peer === 0) this.fetches.hash(o);
        else this.peers.collect(o);
        return;
      case OutputKind.RequestHashes:
        this.fetches.requestHashes(o);
        return;
      case OutputKind.HashPiece:
        this.kept.hashPiece(o);
        return;
      case OutputKind.Store:
        this.kept.storePiece(o.piece);
        return;
      case OutputKind.Evict:
        this.kept.lose(o.piece);
        return;
      case OutputKind.Check:
        this.kept.check(o.piece);
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
    const deadline = this.parts.engine.deadline();
    if (deadline === undefined) {
      this.timer?.stop();
      this.timer = undefined;
      return;
    }
    const at = Math.max(deadline, this.parts.clock.now() + tickLeast);
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

  private end(error: unknown): void {
    if (this.ended) return;
    this.ended = true;
    this.timer?.stop();
    for (const r of this.readers.values()) r.reject(error instanceof Error ? error : new Error(String(error)));
    this.readers.clear();
    this.fetches.closeAll();
    this.peers.closeAll();
    this.kept.close();
  }

  private sendBlock(o: Output): void {
    if (!this.peers.has(o.peer)) return;
    const message = this.kept.message(o);
    if (!message) return;
    if (this.lie && o.length > 0) message[13]! ^= 1;
    this.counts.sentBytes += o.length;
    this.peers.sendBlock(o.peer, message);
  }

  private announce(o: Output): void {
    const a: Announce = { positionMs: o.from, rendition: o.file, want: o.length };
    if (o.flags & Flags.Started) a.event = "started";
    else if (o.flags & Flags.Completed) a.event = "completed";
    else if (o.flags & Flags.Stopped) a.event = "stopped";
    if (a.event === "stopped") a.want = 0; // who leaves meets nobody
    this.parts.net.announce(a);
  }

  private answer(ref: number): void {
    const r = this.readers.get(ref);
    if (!r) return;
    const data = this.kept.range(r.file, r.from, r.to);
    if (!data) {
      // it is fetched again
      this.give({ kind: InputKind.RangeWanted, ref, file: r.file, from: r.from, to: r.to });
      return;
    }
    this.readers.delete(ref);
    const rate = this.meter.rate();
    const timeMs = rate > 0 ? data.length / rate : r.cached ? 0 : this.nowMs() - r.askedMs;
    r.resolve({ data: data.buffer, cached: r.cached, timeMs });
  }

  private note(o: Output): void {
    if (o.note === NoteKind.BadBlock) {
      this.counts.badBlocks++;
      if (o.peer === 0) this.fetches.refuted();
    } else if (o.note === NoteKind.Banned) this.ban(o);
    else if (o.note === NoteKind.PeerUp) this.peers.setUp(o.peer);
    else if (o.note === NoteKind.Restored) this.counts.cachedBytes += this.seeds.has(o.piece) ? 0 : o.length;
    if (!this.parts.onNote) return;
    const note = noteOf(o, (peer) => this.peers.idOf(peer));
    if (!note) return;
    // Of what it verified itself the page has told already.
    if (note.kind === "restored" && this.seeds.has(note.piece)) return;
    this.parts.onNote(note);
  }

  private ban(o: Output): void {
    if (this.banned.length >= bannedMax || o.data.length !== 20) return;
    this.banned.push({ peer_id: toHex(o.data), proven: o.reason === Reason.BadData });
  }
}

/** Whether a read failed because its range lies outside the file. */
export function isBadRange(error: unknown): boolean {
  return error instanceof RangeRefused && error.reason === Reason.BadRange;
}
