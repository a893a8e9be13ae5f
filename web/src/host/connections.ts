/**
 * The page's RTCPeerConnections. It must make none before it was allowed to, few ever (Chromium counts closed ones until
 * they are collected and refuses past 500 a page), and end every one that leads nowhere: gathering and connecting
 * have time limits of their own, because a connection that cannot work stays `new` for ever.
 */

import type { FromWorker, ToWorker } from "./protocol";
import { queueLow } from "./peers";
import { Outlet } from "./outlet";
import { RoundTrips } from "./roundtrips";
import type { Fate } from "./tracker";
import { withoutLocalAddresses } from "./sdp";

/** At once, in this page. */
const liveMax = 20;
/** In this page's life. */
const createdMax = 400;
/** How long candidates are waited for, in ms: longer than any STUN server that is worth it. */
const gatherWithin = 1_500;
/** The stream of the channel that makes up an offer before there is anybody to offer it to: the last that all browsers take. */
const spareChannel = 1_023;
/** How long a connection is kept ready for somebody to meet, in ms: a tracker answers sooner. */
const spareFor = 10_000;
/** From the description to an open channel, in ms. */
const connectWithin = 15_000;
/**
 * A relayed channel's progress is reported in steps of so many bytes, and when its queue falls to as many: together no more
 * than the worker takes for an empty queue.
 */
const handedStep = queueLow / 2;

// A page may hold several engines; the browser's limits are the page's.
const page = { live: 0, created: 0, transfer: true };

interface Connection {
  pc: RTCPeerConnection;
  outlet: Outlet | undefined; // when the page relays
  channel: RTCDataChannel | undefined;
  handed: number; // bytes, as last reported
  sent: number;
  timer: ReturnType<typeof setTimeout> | undefined;
  described: boolean; // our offer or answer is on its way
  up: boolean;
  trips: RoundTrips;
}

/** A connection made ahead of whom it is for. */
interface Spare {
  pc: RTCPeerConnection;
  gathered: Promise<void>; // its offer is made, with the candidates that came in time
  timer: ReturnType<typeof setTimeout>;
}

// How far a connection came that did not open.
function stage(pc: RTCPeerConnection): Fate {
  if (pc.signalingState === "have-local-offer") return "answer";
  if (pc.iceConnectionState !== "connected" && pc.iceConnectionState !== "completed") return "ice";
  return pc.sctp?.transport.state === "connected" ? "channel" : "dtls";
}

/** One engine's connections. */
export class Connections {
  private readonly post: (message: ToWorker, transfer?: Transferable[]) => void;
  private readonly connections = new Map<number, Connection>();
  private ice: string[];
  private spare: Spare | undefined;
  private allowed = false;
  private lan = false;

  constructor(post: (message: ToWorker, transfer?: Transferable[]) => void, ice: string[]) {
    this.post = post;
    this.ice = ice;
  }

  /** Whether this browser can have peers at all. */
  static supported(): boolean {
    return typeof RTCPeerConnection === "function";
  }

  /** How many connections this page has, has made in its life, and may make. */
  static gauge(): { live: number; made: number; most: number } {
    return { live: page.live, made: page.created, most: createdMax };
  }

  /** Allows connections, or ends them all at once. `lan`: local addresses may be offered. */
  allow(p2p: boolean, lan: boolean): void {
    this.allowed = p2p && Connections.supported();
    this.lan = lan;
    if (!this.allowed) this.closeAll();
  }

  /** Ends all. */
  closeAll(): void {
    this.dropSpare();
    for (const peer of [...this.connections.keys()]) this.drop(peer);
  }

  /** Takes what the worker says of peers. */
  heard(m: Extract<FromWorker, { peer: number }>): void {
    const c = this.connections.get(m.peer);
    switch (m.type) {
      case "dial": {
        const spare = this.takeSpare();
        this.start(m.peer, (c) => this.dial(m.peer, c, spare), spare);
        return;
      }
      case "accept":
        this.start(m.peer, (c) => this.accept(m.peer, c, m.sdp));
        return;
      case "answered":
        c?.pc.setRemoteDescription({ type: "answer", sdp: m.sdp }).catch(() => this.gone(m.peer, c));
        return;
      case "up":
        if (c) this.connected(c);
        return;
      case "send":
        if (!c?.outlet) return;
        c.sent += m.data.byteLength;
        c.outlet.send(new Uint8Array(m.data));
        this.reportHanded(m.peer, c, false);
        return;
      case "measure":
        if (c) void this.measure(m.peer, c);
        return;
      case "drop":
        this.drop(m.peer);
        return;
    }
  }

  /**
   * Makes a connection and gathers its candidates while the tracker is asked whom to meet: a tenth of a second that the first
   * neighbour need not wait for, more where the machine is busy. Unused, it is closed after a while.
   */
  prepare(): void {
    const pc = this.allowed && !this.spare ? this.make() : undefined;
    if (!pc) return;
    page.live++;
    // An offer needs a channel. This one is never announced to the other side, whose first is the one that `dial` makes.
    pc.createDataChannel("", { negotiated: true, id: spareChannel });
    const offered = async () => pc.setLocalDescription(await pc.createOffer());
    this.spare = {
      pc,
      gathered: offered().then(() => this.gathered(pc)),
      timer: setTimeout(() => this.dropSpare(), spareFor),
    };
    this.spare.gathered.catch(() => {
      if (this.spare?.pc === pc) this.dropSpare();
    });
  }

  private dropSpare(): void {
    this.takeSpare()?.pc.close();
  }

  // The connection that was made ready, if there is one; it counts as another's from then on.
  private takeSpare(): Spare | undefined {
    const spare = this.spare;
    if (!spare) return undefined;
    this.spare = undefined;
    clearTimeout(spare.timer);
    page.live--;
    return spare;
  }

  private start(peer: number, begin: (c: Connection) => Promise<void>, spare?: Spare): void {
    if (!this.allowed) {
      this.post({ type: "gone", peer });
      return;
    }
    const pc = spare?.pc ?? this.make();
    if (!pc) {
      this.post({ type: "gone", peer, fate: "budget" });
      return;
    }
    page.live++;
    const c: Connection = {
      pc,
      outlet: undefined,
      channel: undefined,
      handed: 0,
      sent: 0,
      timer: undefined,
      described: false,
      up: false,
      trips: new RoundTrips(),
    };
    this.connections.set(peer, c);
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "failed" || pc.connectionState === "closed") this.gone(peer, c);
    };
    begin(c).catch(() => this.gone(peer, c));
  }

  // A connection within the page's budget; undefined when there is none to spare.
  private make(): RTCPeerConnection | undefined {
    if (page.live >= liveMax || page.created >= createdMax) return undefined;
    try {
      const pc = new RTCPeerConnection({ iceServers: this.ice.map((urls) => ({ urls })) });
      page.created++;
      return pc;
    } catch {
      // The browser's own bound, which other scripts of the page, or frames of it, may have used up.
      return undefined;
    }
  }

  private async dial(peer: number, c: Connection, spare?: Spare): Promise<void> {
    this.hand(peer, c, c.pc.createDataChannel("essaim", { ordered: true }), true);
    if (!spare) await c.pc.setLocalDescription(await c.pc.createOffer());
    await this.describe(peer, c, spare?.gathered);
  }

  private async accept(peer: number, c: Connection, sdp: string): Promise<void> {
    c.pc.ondatachannel = (event) => {
      c.pc.ondatachannel = null; // one channel
      this.hand(peer, c, event.channel, false);
    };
    await c.pc.setRemoteDescription({ type: "offer", sdp });
    await c.pc.setLocalDescription(await c.pc.createAnswer());
    await this.describe(peer, c);
  }

  // Sends the description with the candidates that came in time: other clients know no trickle.
  private async describe(peer: number, c: Connection, gathered = this.gathered(c.pc)): Promise<void> {
    await gathered;
    const sdp = c.pc.localDescription?.sdp;
    if (this.connections.get(peer) !== c || !sdp) return;
    c.described = true;
    c.timer = setTimeout(() => this.gone(peer, c), connectWithin);
    this.post({ type: "described", peer, sdp: this.lan ? sdp : withoutLocalAddresses(sdp) });
  }

  private gathered(pc: RTCPeerConnection): Promise<void> {
    return new Promise((resolve) => {
      const answered = new Set<string>();
      const timer = setTimeout(() => {
        // A server that said nothing in time is dropped for the session.
        this.ice = this.ice.filter((url) => answered.has(url));
        done();
      }, gatherWithin);
      const done = () => {
        clearTimeout(timer);
        pc.onicecandidate = pc.onicegatheringstatechange = null;
        resolve();
      };
      pc.onicecandidate = (event) => {
        const url = (event.candidate as (RTCIceCandidate & { url?: string | null }) | null)?.url;
        if (url) answered.add(url);
      };
      pc.onicegatheringstatechange = () => {
        if (pc.iceGatheringState === "complete") done();
      };
      if (pc.iceGatheringState === "complete") done();
    });
  }

  // Hands a channel to the worker where the browser can, which must be at once; else relays for it.
  private hand(peer: number, c: Connection, channel: RTCDataChannel, initiator: boolean): void {
    channel.binaryType = "arraybuffer";
    if (page.transfer) {
      try {
        this.post({ type: "channel", peer, initiator, channel }, [channel as unknown as Transferable]);
        return;
      } catch {
        page.transfer = false;
      }
    }
    c.channel = channel;
    const open = () => {
      this.connected(c);
      this.post({ type: "open-relay", peer, initiator });
    };
    c.outlet = new Outlet(channel, () => this.reportHanded(peer, c, true), handedStep);
    channel.onmessage = (event) => {
      if (event.data instanceof ArrayBuffer) {
        this.post({ type: "bytes", peer, data: event.data }, [event.data]);
      }
    };
    channel.onclose = () => this.gone(peer, c);
    if (channel.readyState === "open") open();
    else channel.onopen = open;
  }

  // Tells what the browser found out about the way to a peer since the last time, if anything.
  private async measure(peer: number, c: Connection): Promise<void> {
    const report = await c.pc.getStats().catch(() => undefined);
    if (!report || this.connections.get(peer) !== c) return;
    const us = c.trips.read(report);
    if (us > 0) this.post({ type: "path", peer, us });
  }

  private reportHanded(peer: number, c: Connection, drained: boolean): void {
    const total = c.sent - (c.outlet?.queued ?? 0);
    if (total === c.handed || (!drained && total - c.handed < handedStep)) return;
    c.handed = total;
    this.post({ type: "handed", peer, total });
  }

  private connected(c: Connection): void {
    c.up = true;
    clearTimeout(c.timer);
  }

  // A connection ended, or came to nothing.
  private gone(peer: number, c: Connection): void {
    if (this.connections.get(peer) !== c) return;
    // Connected, and yet the channel that was handed over never opened: this browser's transfer is not to be trusted.
    if (!c.up && !c.channel && c.pc.connectionState === "connected") page.transfer = false;
    const fate = c.up || !c.described ? undefined : stage(c.pc);
    this.drop(peer);
    this.post({ type: "gone", peer, ...(fate && { fate }) });
  }

  private drop(peer: number): void {
    const c = this.connections.get(peer);
    if (!c) return;
    this.connections.delete(peer);
    clearTimeout(c.timer);
    if (c.channel) c.channel.onmessage = c.channel.onclose = c.channel.onopen = null;
    c.pc.onconnectionstatechange = c.pc.ondatachannel = null;
    c.pc.close();
    page.live--;
  }
}
