/**
 * Brings two viewers together: between the tracker, which names peers and relays descriptions, and the page, which makes
 * connections of them. Every peer has one reference for life, and its end is told exactly once. No connection is asked for
 * while policy forbids peers.
 */

import type { Core } from "./core";
import type { Announce, Cohort, Net } from "./surroundings";
import { Outlet } from "./outlet";
import type { FromWorker, ToWorker } from "./protocol";
import type { Bytes } from "./record";
import { isDataOnly } from "./sdp";
import { fromLatin1, toLatin1 } from "./title";
import type { Fate, Tracker, TrackerEvents } from "./tracker";

/** Introductions that nobody followed up are forgotten beyond so many. */
const introductionsMax = 64;

interface Peer {
  id: Bytes;
  name: string; // the ID as latin1
  far: boolean; // in another network, as the tracker says
  state: "introduced" | "dialling" | "accepting" | "open";
  offerId: string;
  line: Line | undefined;
}

/** How a peer's channel is written to. */
interface Line {
  readonly queued: number;
  send(bytes: Bytes): void;
  close(): void;
}

/** A channel on the page, written to by messages. What the page has not reported as handed over counts as queued. */
class RelayLine implements Line {
  private sent = 0;
  private handed = 0;
  private readonly peer: number;
  private readonly post: (message: FromWorker, transfer: Transferable[]) => void;

  constructor(peer: number, post: (message: FromWorker, transfer: Transferable[]) => void) {
    this.peer = peer;
    this.post = post;
  }

  get queued(): number {
    return this.sent - this.handed;
  }

  send(bytes: Bytes): void {
    this.sent += bytes.length;
    const whole = bytes.length === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
    this.post({ type: "send", peer: this.peer, data: whole }, [whole]);
  }

  /** Notes what the page reported; true when the queue has drained by that. */
  report(total: number, low: number): boolean {
    const was = this.queued;
    this.handed = Math.max(this.handed, total);
    return was > low && this.queued <= low;
  }

  close(): void {}
}

/** The worker's half of signalling, and the core's `Net`. */
export class Signalling implements Net, TrackerEvents {
  /** Set right after the core was made, which needs this first. */
  core!: Core;
  tracker!: Tracker;

  private readonly post: (message: FromWorker, transfer?: Transferable[]) => void;
  private readonly low: number;
  private readonly self: string;
  private readonly peers = new Map<number, Peer>();
  private next = 1;
  private allowed = false;

  /** `self` is our peer ID; `low` the queue below which a channel counts as drained, in bytes. */
  constructor(post: (message: FromWorker, transfer?: Transferable[]) => void, self: Uint8Array, low: number) {
    this.post = post;
    this.self = toLatin1(self);
    this.low = low;
  }

  /** Allows connections, or ends them all at once. */
  allow(on: boolean): void {
    this.allowed = on;
    if (!on) for (const ref of [...this.peers.keys()]) this.lost(ref, true);
  }

  /** IDs of those whose channels are open. */
  connected(): Bytes[] {
    return [...this.peers.values()].filter((p) => p.state === "open").map((p) => p.id);
  }

  // Net

  send(ref: number, bytes: Bytes): void {
    this.peers.get(ref)?.line?.send(bytes);
  }

  queued(ref: number): number {
    return this.peers.get(ref)?.line?.queued ?? 0;
  }

  measure(ref: number): void {
    this.post({ type: "measure", peer: ref });
  }

  close(ref: number): void {
    const p = this.peers.get(ref);
    if (!p) return;
    this.peers.delete(ref);
    p.line?.close();
    if (p.state !== "introduced") this.post({ type: "drop", peer: ref });
  }

  dial(ref: number): void {
    const p = this.peers.get(ref);
    if (!p || !this.allowed || p.state !== "introduced") {
      queueMicrotask(() => this.core.dialFailed(ref)); // not within the core's own call
      return;
    }
    p.state = "dialling";
    this.post({ type: "dial", peer: ref });
  }

  announce(a: Announce): void {
    if (this.allowed && a.event === "started" && a.want > 0) this.post({ type: "prepare" });
    this.tracker.announce(a);
  }

  // TrackerEvents

  meet(id: Bytes, far = false): void {
    if (!this.allowed || this.find(toLatin1(id))) return;
    let waiting = 0;
    for (const p of this.peers.values()) if (p.state === "introduced") waiting++;
    if (waiting >= introductionsMax) {
      for (const [ref, p] of this.peers) {
        if (p.state !== "introduced") continue;
        this.lost(ref, false);
        break;
      }
    }
    const ref = this.add(id, "introduced", far);
    this.core.introduced(ref, id);
  }

  counted(complete: number, incomplete: number, cohort?: Cohort): void {
    if (this.allowed) this.core.counted(complete, incomplete, cohort);
  }

  revoked(ids: Bytes): void {
    this.core.revoked(ids);
  }

  offer(from: Bytes, offerId: string, sdp: string, far = false): void {
    if (!this.allowed || !isDataOnly(sdp)) return;
    const name = toLatin1(from);
    for (const [ref, p] of this.peers) {
      if (p.name !== name || p.state === "introduced") continue;
      // Both of us offered: the lesser ID's offer stands, as both can tell.
      if (p.state !== "dialling" || this.self < name) return;
      this.lost(ref, true);
    }
    const ref = this.add(from, "accepting", far);
    this.peers.get(ref)!.offerId = offerId;
    this.post({ type: "accept", peer: ref, sdp });
  }

  answer(from: Bytes, offerId: string, sdp: string): void {
    const name = toLatin1(from);
    for (const [ref, p] of this.peers) {
      if (p.state !== "dialling" || p.offerId !== offerId || p.name !== name || !isDataOnly(sdp)) continue;
      p.offerId = ""; // one answer
      this.post({ type: "answered", peer: ref, sdp });
      return;
    }
  }

  /** Takes what the page says of peers. */
  heard(m: Extract<ToWorker, { peer: number }>): void {
    const p = this.peers.get(m.peer);
    switch (m.type) {
      case "described":
        this.described(m.peer, m.sdp);
        return;
      case "channel":
        if (p) this.adopt(m.peer, p, m.channel, m.initiator);
        else m.channel.close();
        return;
      case "open-relay":
        if (p) this.opened(m.peer, p, new RelayLine(m.peer, this.post), m.initiator);
        return;
      case "bytes":
        if (p?.state === "open") this.core.received(m.peer, new Uint8Array(m.data));
        return;
      case "handed":
        if (p?.line instanceof RelayLine && p.line.report(m.total, this.low)) this.core.drained(m.peer);
        return;
      case "path":
        this.core.measured(m.peer, m.us);
        return;
      case "gone":
        if (p && m.fate) this.tell(p, m.fate);
        this.lost(m.peer, false);
        return;
    }
  }

  private described(ref: number, sdp: string): void {
    const p = this.peers.get(ref);
    if (!p) return;
    let sent = false;
    if (p.state === "dialling") {
      p.offerId = toLatin1(crypto.getRandomValues(new Uint8Array(20)));
      sent = this.tracker.offer(p.id, p.offerId, sdp);
    } else if (p.state === "accepting") {
      sent = this.tracker.answer(p.id, p.offerId, sdp);
    }
    if (!sent) this.lost(ref, true);
  }

  // A channel whose events come here, from before it opens.
  private adopt(ref: number, p: Peer, channel: RTCDataChannel, initiator: boolean): void {
    channel.binaryType = "arraybuffer";
    const outlet = new Outlet(channel, () => this.core.drained(ref));
    const line: Line = {
      get queued() {
        return outlet.queued;
      },
      send: (bytes) => outlet.send(bytes),
      close: () => {
        channel.onopen = channel.onmessage = channel.onclose = null;
        outlet.close();
      },
    };
    const open = () => {
      if (p.state === "open") return;
      this.post({ type: "up", peer: ref });
      this.opened(ref, p, line, initiator);
    };
    channel.onopen = () => {
      open();
      outlet.flush();
    };
    channel.onmessage = (event) => {
      open(); // Chromium may deliver a message of a transferred channel before it says that it is open
      if (event.data instanceof ArrayBuffer) this.core.received(ref, new Uint8Array(event.data));
    };
    channel.onclose = () => this.lost(ref, true);
    if (channel.readyState === "open") open();
  }

  private opened(ref: number, p: Peer, line: Line, initiator: boolean): void {
    if (this.peers.get(ref) !== p || p.state === "open") return;
    p.state = "open";
    p.line = line;
    this.tell(p, "connected");
    this.core.connected(ref, p.id, initiator, p.far);
  }

  private tell(p: Peer, fate: Fate): void {
    this.tracker.tell(p.id, fate);
  }

  // A peer is gone by itself; `drop` when the page does not know yet.
  private lost(ref: number, drop: boolean): void {
    const p = this.peers.get(ref);
    if (!p) return;
    this.peers.delete(ref);
    p.line?.close();
    if (drop && p.state !== "introduced") this.post({ type: "drop", peer: ref });
    if (p.state === "open") this.core.closed(ref);
    else if (p.state !== "accepting") this.core.dialFailed(ref);
  }

  private add(id: Bytes, state: Peer["state"], far: boolean): number {
    const ref = this.next++;
    this.peers.set(ref, { id: fromLatin1(toLatin1(id)), name: toLatin1(id), state, far, offerId: "", line: undefined });
    return ref;
  }

  private find(name: string): Peer | undefined {
    for (const p of this.peers.values()) if (p.name === name) return p;
    return undefined;
  }
}
