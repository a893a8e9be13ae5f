/**
 * The client of WebTorrent's tracker protocol (JSON over WebSocket) with our extension: it announces without offers,
 * is told whom to meet, and makes one offer to each. It must never trouble playback: a tracker that is gone is
 * tried again in its time, and nothing malformed that it relays gets further than here.
 */

import type { Announce, Cohort } from "./surroundings";
import type { Bytes } from "./record";
import { Renewal, type Self } from "./renewal";
import { fromLatin1, toLatin1 } from "./title";

/** The part of a WebSocket that is used. */
export interface Socket {
  readonly bufferedAmount: number;
  send(text: string): void;
  close(): void;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
}

/** What the tracker tells. IDs are 20 bytes; descriptions are at most `sdpMax` characters. */
export interface TrackerEvents {
  /** A peer that we shall make an offer to. `far`: it is in another network than ours, as far as the tracker knows. */
  meet(peer: Bytes, far: boolean): void;
  /** How many seeds and how many others it counts in the swarm, ourselves among them; 0: it does not say. */
  counted(complete: number, incomplete: number, cohort?: Cohort): void;
  /** Peers to drop at once, as concatenated IDs. */
  revoked(peers: Bytes): void;
  offer(from: Bytes, offerId: string, sdp: string, far: boolean): void;
  answer(from: Bytes, offerId: string, sdp: string): void;
}

/** What became of an introduction: it connected, or the step that failed; `budget`: one of the two had no connection to spare. */
export type Fate = "connected" | "answer" | "ice" | "dtls" | "channel" | "budget";

/** What a tracker client is made of. */
export interface TrackerOptions {
  /** Addresses, best first; each failure moves to the next. */
  urls: string[];
  /** 20 bytes. */
  infoHash: Uint8Array;
  /** 20 bytes, ours. */
  peerId: Uint8Array;
  connect(url: string): Socket;
  /** Calls `due` after so many ms; returns what prevents it. */
  after(ms: number, due: () => void): () => void;
  /** ms on a clock that never falls. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
  /** The operator forbids peers from now on, or has revoked our ticket; a heartbeat may allow them again. */
  forbidden(): void;
  /** IDs of those to whom we are connected. */
  connected(): Bytes[];
  /** What an announce says of us, at the moment when it is sent. */
  self(): { ticket?: string; upKbps: number; uploaded: number; downloaded: number; left: number };
}

/** The longest session description that is passed on; those of data channels take less than 2 KiB. */
export const sdpMax = 8 << 10;
const messageMax = 64 << 10;
/** Of what became of introductions, so many wait for the next announce; beyond, the oldest is forgotten. */
const outcomesMax = 64;
/** An announce unanswered for so long counts against the tracker, twice closes, in ms. */
const answerWithin = 15_000;
/** A socket that takes longer to open is given up, in ms. */
const openWithin = 10_000;
/** The first wait before another try lies between these, in ms; both double so often. */
const retryFrom = 1_000;
const retryTo = 15_000;
const retryDoubled = 3;
/** The code with which the tracker closes once it was told that our ticket is revoked (StatusRevoked in internal/tracker). */
const closedRevoked = 4403;

/** One swarm's tracker client. It connects with the first announce. */
export class Tracker {
  private readonly options: TrackerOptions;
  private readonly events: TrackerEvents;
  private readonly infoHash: string;
  private readonly peerId: string;
  private socket: Socket | undefined;
  private open = false;
  private last: Announce | undefined; // what a new socket announces first; undefined: we are not in the swarm
  private outcomes: { peer_id: string; fate: Fate }[] = []; // not told yet
  private failures = 0;
  private unanswered = 0;
  private renewal = new Renewal();
  private stopWaiting: (() => void) | undefined; // for the socket to open, or for an answer
  private stopPatience: (() => void) | undefined; // with a tracker that need not answer
  private stopRetry: (() => void) | undefined;

  constructor(options: TrackerOptions, events: TrackerEvents) {
    this.options = options;
    this.events = events;
    this.infoHash = toLatin1(options.infoHash);
    this.peerId = toLatin1(options.peerId);
  }

  /**
   * Announces, or as soon as there is a socket; where the tracker knows all of it, says no more than that we are still there, or nothing.
   * `stopped` leaves the swarm and closes it.
   */
  announce(a: Announce): void {
    if (a.event === "stopped") {
      this.last = undefined;
      if (this.open) this.say(this.announcement(a));
      this.disconnect();
      return;
    }
    this.last = { positionMs: a.positionMs, rendition: a.rendition, want: a.want };
    if (!this.open) {
      this.connect();
      return;
    }
    const now = this.options.now();
    const self = this.self(a);
    const word = this.renewal.next(now, self, a.event !== undefined || a.want > 0 || this.outcomes.length > 0);
    if (word === "all") {
      this.sendAnnounce(a);
    } else if (word === "still") {
      this.renewal.tell(now, word, self);
      this.say({ ...this.head(), essaim: { v: 1, still: true } });
    }
  }

  /** Sends an offer to a peer; false when there is no tracker to send it through. */
  offer(to: Uint8Array, offerId: string, sdp: string): boolean {
    return this.relay(to, offerId, { offer: { type: "offer", sdp } });
  }

  /** Sends the answer to a peer's offer; false when there is no tracker to send it through. */
  answer(to: Uint8Array, offerId: string, sdp: string): boolean {
    return this.relay(to, offerId, { answer: { type: "answer", sdp } });
  }

  /** Notes what became of an introduction, for the next announce. */
  tell(peer: Uint8Array, fate: Fate): void {
    if (this.outcomes.length === outcomesMax) this.outcomes.shift();
    this.outcomes.push({ peer_id: toLatin1(peer), fate });
  }

  /** Leaves without a word; the tracker sees the socket close. */
  close(): void {
    this.last = undefined;
    this.disconnect();
  }

  private relay(to: Uint8Array, offerId: string, what: object): boolean {
    if (!this.open) return false;
    this.say({ ...this.head(), to_peer_id: toLatin1(to), offer_id: offerId, ...what });
    return true;
  }

  private connect(): void {
    const urls = this.options.urls;
    if (this.socket || this.stopRetry || urls.length === 0) return;
    let socket: Socket;
    try {
      socket = this.options.connect(urls[this.failures % urls.length]!);
    } catch {
      this.lost();
      return;
    }
    this.socket = socket;
    this.stopWaiting = this.options.after(openWithin, () => {
      this.stopWaiting = undefined;
      this.lost();
    });
    socket.onopen = () => {
      if (this.socket !== socket || !this.last) return;
      this.open = true;
      this.renewal = new Renewal();
      this.recall();
      this.sendAnnounce({ ...this.last, event: "started" });
    };
    socket.onmessage = (event) => {
      if (this.socket === socket && typeof event.data === "string") this.heard(event.data);
    };
    socket.onclose = ({ code }) => {
      if (this.socket !== socket) return;
      if (code === closedRevoked) this.revoked();
      else this.lost();
    };
  }

  private disconnect(): void {
    const socket = this.socket;
    this.socket = undefined;
    this.open = false;
    this.unanswered = 0;
    this.stopWaiting?.();
    this.stopWaiting = undefined;
    this.stopPatience?.();
    this.stopPatience = undefined;
    this.stopRetry?.();
    this.stopRetry = undefined;
    socket?.close();
  }

  private lost(): void {
    this.disconnect();
    if (!this.last) return;
    // As every host does (TrackerRetry in internal/host/native), so that a crowd that lost its tracker at one moment does not
    // come back at one moment.
    const wait =
      (retryFrom + this.options.random() * (retryTo - retryFrom)) * 2 ** Math.min(this.failures, retryDoubled);
    this.failures++;
    this.stopRetry = this.options.after(wait, () => {
      this.stopRetry = undefined;
      this.connect();
    });
  }

  // We are out, until we announce anew: nobody waits for the same ticket to be refused again.
  private revoked(): void {
    this.close();
    this.options.forbidden();
  }

  private sendAnnounce(a: Announce): void {
    this.renewal.tell(this.options.now(), "all", this.self(a));
    this.say(this.announcement(a));
    this.stopWaiting?.();
    this.stopWaiting = this.options.after(answerWithin, () => {
      this.stopWaiting = undefined;
      if (++this.unanswered >= 2 || !this.last) this.lost();
      else this.sendAnnounce(this.last);
    });
  }

  private self(a: Announce): Self {
    const { ticket, upKbps } = this.options.self();
    return { positionMs: a.positionMs, rendition: a.rendition, upKbps, ...(ticket !== undefined && { ticket }) };
  }

  private head() {
    return { action: "announce", info_hash: this.infoHash, peer_id: this.peerId };
  }

  private announcement(a: Announce): object {
    const met = this.outcomes;
    this.outcomes = [];
    const { ticket, upKbps, uploaded, downloaded, left } = this.options.self();
    return {
      ...this.head(),
      uploaded,
      downloaded,
      left,
      numwant: a.want,
      ...(a.event && { event: a.event }),
      essaim: {
        v: 1,
        ...(ticket && { ticket }),
        pos_ms: Math.max(0, Math.floor(a.positionMs)),
        rendition: a.rendition,
        up_kbps: upKbps,
        ...(met.length > 0 && { met }),
      },
    };
  }

  private say(message: object): void {
    this.socket?.send(JSON.stringify(message));
  }

  private heard(text: string): void {
    if (text.length > messageMax) return;
    let m: Record<string, unknown>;
    try {
      m = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return;
    }
    if (typeof m !== "object" || m === null || m.action !== "announce" || m.info_hash !== this.infoHash) return;
    if (m.peer_id !== undefined) {
      this.relayed(m);
      return;
    }
    this.stopWaiting?.();
    this.stopWaiting = undefined;
    this.unanswered = 0;
    if (m["failure reason"] !== undefined) {
      this.renewal.refused();
      this.bear();
      return;
    }
    this.failures = 0;
    this.renewal.answered(countOf(m.interval), countOf((m.essaim as { still?: unknown } | undefined)?.still));
    this.bear();
    this.events.counted(countOf(m.complete), countOf(m.incomplete), cohortOf(m.essaim));
    this.introductions(m.essaim);
  }

  // A tracker that does not know us may not know those to whom we are connected either, and is to find out who of them does not come
  // back to it.
  private recall(): void {
    for (const id of this.options.connected()) {
      const name = toLatin1(id);
      if (!this.outcomes.some((o) => o.peer_id === name)) this.tell(id, "connected");
    }
  }

  // Begins anew to wait for the next word of a tracker that promised one.
  private bear(): void {
    this.stopPatience?.();
    const { patience } = this.renewal;
    this.stopPatience = undefined;
    if (patience <= 0) return;
    this.stopPatience = this.options.after(patience, () => {
      this.stopPatience = undefined;
      this.lost();
    });
  }

  private relayed(m: Record<string, unknown>): void {
    const from = id20(m.peer_id);
    if (!from || m.peer_id === this.peerId || !id20(m.offer_id)) return;
    const offer = sdpOf(m.offer, "offer");
    const answer = sdpOf(m.answer, "answer");
    const far = (m.essaim as { far?: unknown } | null | undefined)?.far === true;
    if (offer !== undefined) this.events.offer(from, m.offer_id as string, offer, far);
    else if (answer !== undefined) this.events.answer(from, m.offer_id as string, answer);
  }

  private introductions(x: unknown): void {
    if (typeof x !== "object" || x === null) return;
    const { meet, revoked, p2p } = x as { meet?: unknown; revoked?: unknown; p2p?: unknown };
    if (p2p === false) {
      this.options.forbidden();
      return;
    }
    if (Array.isArray(revoked)) {
      const ids = revoked.map(id20).filter((id) => id !== undefined);
      if (ids.length > 0) this.events.revoked(fromLatin1(ids.map(toLatin1).join("")));
    }
    if (!Array.isArray(meet)) return;
    for (const m of meet.slice(0, 64) as { peer_id?: unknown; offer?: unknown; far?: unknown }[]) {
      const id = id20(m?.peer_id);
      if (id && m.offer === true && m.peer_id !== this.peerId) this.events.meet(id, m.far === true);
    }
  }
}

function countOf(x: unknown): number {
  return typeof x === "number" && Number.isSafeInteger(x) && x > 0 ? x : 0;
}

function cohortOf(x: unknown): Cohort {
  const c = (x as { cohort?: Partial<Record<keyof Cohort, unknown>> } | undefined)?.cohort;
  const small = (n: unknown) => Math.min(countOf(n), 2 ** 32 - 1);
  return { id: small(c?.id), place: small(c?.place), size: small(c?.size) };
}

// A binary string of exactly 20 code points, none above U+00FF.
function id20(x: unknown): Bytes | undefined {
  if (typeof x !== "string" || x.length !== 20) return undefined;
  for (let i = 0; i < 20; i++) if (x.charCodeAt(i) > 0xff) return undefined;
  return fromLatin1(x);
}

function sdpOf(x: unknown, type: "offer" | "answer"): string | undefined {
  if (typeof x !== "object" || x === null) return undefined;
  const { type: is, sdp } = x as { type?: unknown; sdp?: unknown };
  return is === type && typeof sdp === "string" && sdp.length <= sdpMax ? sdp : undefined;
}
