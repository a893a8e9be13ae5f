/**
 * The core's half towards peers: frames what comes on their channels, and sends. It must collect no payload that the engine did
 * not ask for, and close whoever breaks the bounds or does not take what is sent.
 */

import { Framer, uint32 } from "./framing";
import { Flags, InputKind } from "./kinds.gen";
import type { Meter } from "./meter";
import type { Bytes, Input, Output } from "./record";
import type { Clock, Net } from "./surroundings";

/** What the peers need of their core. */
export interface PeersOwner {
  /** Tells the engine. */
  give(input: Input): void;
  /** A block's payload came whole: to keep and to digest. */
  peerBlock(peer: number, piece: number, begin: number, bytes: Bytes): void;
  /** A peer sent hashes: a whole `hashes` message of BEP 52, which holds until the call returns. */
  peerHashes(message: Bytes): void;
  /** So many bytes of payload came. */
  peerBytes(n: number): void;
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
/** BEP 52's id of what answers a request for hashes. */
const messageHashes = 22;

/** Above this a peer's send queue is reported, in bytes: `SendQueueLow` of internal/engine/step.go. */
export const queueLow = 16 << 10;
/** How often the round trip to a peer that blocks go to is measured, in microseconds. */
const measureEvery = 1_000_000;
/** A peer whose queue would pass this is closed: half of what Chromium's channel takes before it throws, in bytes. */
const queueMax = 8 << 20;

/** The peers that have a channel. */
export class Peers {
  private readonly net: Net;
  private readonly clock: Clock;
  private readonly meter: Meter;
  private readonly owner: PeersOwner;
  private readonly peers = new Map<number, Peer>();
  private readonly sentTo = new Set<number>();

  /** `meter` hears when something is owed to us: while it is, time counts for the player's rate, and otherwise not. */
  constructor(net: Net, clock: Clock, meter: Meter, owner: PeersOwner) {
    this.net = net;
    this.clock = clock;
    this.meter = meter;
    this.owner = owner;
  }

  /** A channel opened. `id` is what signalling promised. */
  add(peer: number, id: Bytes | undefined): void {
    const framer = new Framer({
      handshake: (data) => this.owner.give({ kind: InputKind.MessageReceived, flags: Flags.Handshake, peer, data }),
      message: (data) => this.message(peer, data),
      pieceHead: (head, length) => this.pieceHead(peer, head, length),
      payload: (data) => this.payload(peer, data),
      violated: () => {
        this.close(peer);
        this.owner.give({ kind: InputKind.PeerClosed, peer });
      },
    });
    this.peers.set(peer, { framer, piece: 0, begin: 0, owed: 0, wanted: -1, id, up: false, measureAt: 0 });
  }

  /** Whether a peer has a channel. */
  has(peer: number): boolean {
    return this.peers.has(peer);
  }

  /** What signalling promised of a peer. */
  idOf(peer: number): Bytes | undefined {
    return this.peers.get(peer)?.id;
  }

  /** A peer's handshake succeeded. */
  setUp(peer: number): void {
    const p = this.peers.get(peer);
    if (p) p.up = true;
  }

  /** How many have shaken hands. */
  get up(): number {
    let n = 0;
    for (const p of this.peers.values()) if (p.up) n++;
    return n;
  }

  /** Bytes came on a channel. */
  received(peer: number, bytes: Bytes): void {
    this.peers.get(peer)?.framer.feed(bytes);
  }

  /** Forgets a peer whose channel is gone. */
  forget(peer: number): void {
    const p = this.peers.get(peer);
    if (!p) return;
    this.owes(p, -p.owed);
    p.framer.stop();
    this.peers.delete(peer);
  }

  /** Closes a peer's channel, or gives up the dial. */
  close(peer: number): void {
    this.forget(peer);
    this.net.close(peer);
  }

  /** Closes all. */
  closeAll(): void {
    for (const peer of [...this.peers.keys()]) this.close(peer);
  }

  /** Sends a message, with its length before it. */
  send(peer: number, bytes: Bytes): void {
    const p = this.peers.get(peer);
    if (!p) return;
    if (this.net.queued(peer) + bytes.length > queueMax) {
      this.close(peer);
      this.owner.give({ kind: InputKind.PeerClosed, peer });
      return;
    }
    if (bytes[4] === messageRequest && bytes.length === 17) this.owes(p, 1);
    else if (bytes[4] === messageCancel && bytes.length === 17) this.owes(p, -1);
    this.net.send(peer, bytes);
    this.sentTo.add(peer);
  }

  /** Sends a block, and now and then has the way it goes measured. */
  sendBlock(peer: number, message: Bytes): void {
    this.send(peer, message);
    const p = this.peers.get(peer);
    const now = this.clock.now();
    if (!p || now < p.measureAt) return;
    p.measureAt = now + measureEvery;
    this.net.measure(peer);
  }

  /** Tells the engine of the queues of those that were sent something since the last time, where they are worth it. */
  reportQueues(): void {
    for (const peer of this.sentTo) {
      const length = this.peers.has(peer) ? this.net.queued(peer) : 0;
      if (length > queueLow) this.owner.give({ kind: InputKind.SendQueue, peer, length });
    }
    this.sentTo.clear();
  }

  /** Does a Hash that names a peer: the payload that was announced is to be collected. */
  collect(o: Output): void {
    const p = this.announcer(o);
    if (p) p.wanted = o.length;
  }

  /** Does a Discard that names a peer: it is not. */
  skip(o: Output): void {
    const p = this.announcer(o);
    if (p) p.wanted = -1;
  }

  private announcer(o: Output): Peer | undefined {
    const p = this.peers.get(o.peer);
    return p?.piece === o.piece && p.begin === o.begin ? p : undefined;
  }

  private owes(p: Peer, change: number): void {
    const owed = Math.max(0, p.owed + change);
    const nowMs = this.clock.now() / 1000;
    if (p.owed === 0 && owed > 0) this.meter.began(nowMs);
    else if (p.owed > 0 && owed === 0) this.meter.ended(nowMs);
    p.owed = owed;
  }

  private message(peer: number, data: Bytes): void {
    const p = this.peers.get(peer);
    if (p && data[0] === messageReject) this.owes(p, -1);
    if (data[0] === messageHashes) this.owner.peerHashes(data);
    this.owner.give({ kind: InputKind.MessageReceived, peer, data });
  }

  private pieceHead(peer: number, head: Bytes, length: number): boolean {
    const p = this.peers.get(peer);
    if (!p) return false;
    p.piece = uint32(head, 1);
    p.begin = uint32(head, 5);
    p.wanted = -1;
    this.owner.give({ kind: InputKind.MessageReceived, peer, data: head, length });
    if (p.wanted < 0) this.owes(p, -1);
    return p.wanted >= 0;
  }

  private payload(peer: number, bytes: Bytes): void {
    const p = this.peers.get(peer);
    if (!p) return;
    this.meter.received(bytes.length, this.clock.now() / 1000);
    this.owner.peerBytes(bytes.length);
    this.owes(p, -1);
    const wanted = p.wanted < bytes.length ? bytes.subarray(0, p.wanted) : bytes;
    this.owner.peerBlock(peer, p.piece, p.begin, wanted);
  }
}
