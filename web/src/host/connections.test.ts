import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ToWorker } from "./protocol";

const made: FakePeerConnection[] = [];

class FakeChannel {
  binaryType = "";
  readyState = "connecting";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  sent: Uint8Array[] = [];
  send(b: Uint8Array): void {
    this.sent.push(b);
    this.bufferedAmount += b.length;
  }
}

class FakePeerConnection {
  connectionState = "new";
  iceGatheringState = "new";
  iceConnectionState = "new";
  signalingState = "stable";
  sctp: { transport: { state: string } } | null = null;
  onconnectionstatechange: (() => void) | null = null;
  onicegatheringstatechange: (() => void) | null = null;
  onicecandidate: ((event: { candidate: { url?: string } | null }) => void) | null = null;
  ondatachannel: ((event: { channel: FakeChannel }) => void) | null = null;
  localDescription: { sdp: string } | null = null;
  channel = new FakeChannel();
  closed = false;
  stats: Record<string, unknown>[] = [];
  async getStats() {
    return new Map(this.stats.map((s) => [s.id as string, s]));
  }
  constructor(readonly config: { iceServers: { urls: string }[] }) {
    made.push(this);
  }
  channels: { label: string; negotiated?: boolean }[] = [];
  createDataChannel(label: string, options: { negotiated?: boolean } = {}): FakeChannel {
    this.channels.push({ label, ...options });
    return options.negotiated ? new FakeChannel() : this.channel;
  }
  async createOffer() {
    return { type: "offer", sdp: local };
  }
  async createAnswer() {
    return { type: "answer", sdp: local };
  }
  async setLocalDescription(d: { type: string; sdp: string }) {
    this.localDescription = d;
    this.signalingState = d.type === "offer" ? "have-local-offer" : "stable";
  }
  async setRemoteDescription(d: { type: string }) {
    this.signalingState = d.type === "offer" ? "have-remote-offer" : "stable";
  }
  close(): void {
    this.closed = true;
  }
  gathered(): void {
    this.iceGatheringState = "complete";
    this.onicegatheringstatechange?.();
  }
}

const local = [
  "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
  "a=candidate:1 1 udp 1 0a1b.local 5000 typ host",
  "a=candidate:2 1 udp 1 192.168.1.2 5000 typ host",
  "a=candidate:3 1 udp 1 203.0.113.9 5000 typ srflx raddr 192.168.1.2 rport 5000",
].join("\r\n");

let said: ToWorker[];

async function connections(ice: string[] = [], transfer = false) {
  vi.resetModules(); // the page's own counts begin anew
  const { Connections } = await import("./connections");
  said = [];
  const c = new Connections((m) => {
    if (m.type === "channel" && !transfer) throw new DOMException("no", "DataCloneError");
    said.push(m);
  }, ice);
  return c;
}

const settle = async () => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

beforeEach(() => {
  made.length = 0;
  vi.useFakeTimers();
  vi.stubGlobal("RTCPeerConnection", FakePeerConnection);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("no connection is made before peers are allowed, and all close at once when they no longer are", async () => {
  const c = await connections();
  c.heard({ type: "dial", peer: 1 });
  c.heard({ type: "accept", peer: 2, sdp: "" });
  expect(made).toHaveLength(0);
  expect(said).toEqual([
    { type: "gone", peer: 1 },
    { type: "gone", peer: 2 },
  ]);
  c.allow(true, true);
  c.heard({ type: "dial", peer: 3 });
  c.heard({ type: "accept", peer: 4, sdp: "" });
  expect(made).toHaveLength(2);
  c.allow(false, true);
  expect(made.every((pc) => pc.closed)).toBe(true);
});

test("at most 20 connections live at once, and none is made past 400 in a page's life", async () => {
  const c = await connections();
  c.allow(true, true);
  for (let peer = 1; peer <= 25; peer++) c.heard({ type: "dial", peer });
  expect(made).toHaveLength(20);
  for (let peer = 1; peer <= 490; peer++) {
    c.heard({ type: "drop", peer });
    c.heard({ type: "dial", peer: 1000 + peer });
    c.heard({ type: "drop", peer: 1000 + peer });
  }
  expect(made).toHaveLength(400);
  expect(made.filter((pc) => !pc.closed).length).toBeLessThanOrEqual(20);
});

test("gathering ends after 1.5 s with what there is, and the STUN server that said nothing is dropped", async () => {
  const c = await connections(["stun:dead.test", "stun:live.test"]);
  c.allow(true, true);
  c.heard({ type: "dial", peer: 1 });
  await settle();
  made[0]!.onicecandidate!({ candidate: { url: "stun:live.test" } });
  await vi.advanceTimersByTimeAsync(1400);
  expect(said).toEqual([]);
  await vi.advanceTimersByTimeAsync(100);
  expect(said).toEqual([{ type: "described", peer: 1, sdp: local }]);
  c.heard({ type: "dial", peer: 2 });
  expect(made[1]!.config.iceServers).toEqual([{ urls: "stun:live.test" }]);
});

test("a connection that does not open within 15 s is given up", async () => {
  const c = await connections();
  c.allow(true, true);
  c.heard({ type: "dial", peer: 1 });
  await settle();
  made[0]!.gathered();
  await settle();
  await vi.advanceTimersByTimeAsync(14_999);
  expect(made[0]!.closed).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(made[0]!.closed).toBe(true);
  expect(said.at(-1)).toEqual({ type: "gone", peer: 1, fate: "answer" });
});

test("local addresses are offered only where policy has a LAN mode", async () => {
  const c = await connections();
  c.allow(true, false);
  c.heard({ type: "dial", peer: 1 });
  await settle();
  made[0]!.gathered();
  await settle();
  const { sdp } = said.find((m) => m.type === "described")!;
  expect(sdp).not.toMatch(/\.local|192\.168/);
  expect(sdp).toContain("203.0.113.9 5000 typ srflx raddr 0.0.0.0 rport 0");
});

test("a channel that cannot be transferred is relayed, and what left its queue is reported", async () => {
  const c = await connections();
  c.allow(true, true);
  c.heard({ type: "dial", peer: 1 });
  const { channel } = made[0]!;
  channel.readyState = "open";
  channel.onopen!();
  expect(said.at(-1)).toEqual({ type: "open-relay", peer: 1, initiator: true });
  const data = new ArrayBuffer(5);
  channel.onmessage!({ data });
  expect(said.at(-1)).toEqual({ type: "bytes", peer: 1, data });
  c.heard({ type: "send", peer: 1, data: new ArrayBuffer(100_000) });
  expect(channel.bufferedAmount).toBe(100_000);
  expect(said.at(-1)).toMatchObject({ type: "bytes" });
  channel.bufferedAmount = 0;
  channel.onbufferedamountlow!();
  expect(said.at(-1)).toEqual({ type: "handed", peer: 1, total: 100_000 });
  channel.onclose!();
  expect(said.at(-1)).toEqual({ type: "gone", peer: 1 });
});

test("what the worker takes for queued on a relayed channel falls below its mark though no more is sent", async () => {
  const c = await connections();
  c.allow(true, true);
  c.heard({ type: "dial", peer: 1 });
  const { channel } = made[0]!;
  channel.readyState = "open";
  channel.onopen!();
  let sent = 0;
  const handed = () => said.flatMap((m) => (m.type === "handed" ? [m.total] : [])).at(-1) ?? 0;
  for (const size of [16_397, 17, 8_000, 100, 8_193, 17, 17, 4_000, 4_000, 4_000, 17]) {
    c.heard({ type: "send", peer: 1, data: new ArrayBuffer(size) });
    sent += size;
    await vi.advanceTimersByTimeAsync(4); // it is gathered for so long
    const low = channel.bufferedAmount > channel.bufferedAmountLowThreshold;
    channel.bufferedAmount = 0; // it leaves at once
    if (low) channel.onbufferedamountlow!();
    expect(sent - handed()).toBeLessThanOrEqual(16_384);
  }
});

test("a round trip is told as often as the browser measured one, and only when it is asked for", async () => {
  const c = await connections();
  c.allow(true, true);
  c.heard({ type: "dial", peer: 1 });
  const pc = made[0]!;
  await settle();
  const paths = () => said.filter((m) => m.type === "path");
  const pair = { id: "P1", type: "candidate-pair", state: "succeeded", nominated: true };
  pc.stats = [{ ...pair, responsesReceived: 2, totalRoundTripTime: 0.05, currentRoundTripTime: 0.03 }];
  await settle();
  expect(paths()).toEqual([]);
  c.heard({ type: "measure", peer: 1 });
  await settle();
  expect(paths()).toEqual([{ type: "path", peer: 1, us: 25_000 }]);
  c.heard({ type: "measure", peer: 1 });
  await settle();
  expect(paths()).toHaveLength(1); // nothing new
  c.heard({ type: "measure", peer: 2 });
  c.heard({ type: "measure", peer: 1 });
  c.heard({ type: "drop", peer: 1 });
  pc.stats = [{ ...pair, responsesReceived: 3, totalRoundTripTime: 0.15 }];
  await settle();
  expect(paths()).toHaveLength(1); // gone meanwhile
});

test("a channel that was transferred and never opened makes the page relay from then on", async () => {
  const c = await connections([], true);
  c.allow(true, true);
  c.heard({ type: "dial", peer: 1 });
  expect(said.map((m) => m.type)).toEqual(["channel"]);
  await settle();
  made[0]!.gathered();
  await settle();
  made[0]!.connectionState = "connected";
  await vi.advanceTimersByTimeAsync(15_000);
  c.heard({ type: "dial", peer: 2 });
  expect(said.filter((m) => m.type === "channel")).toHaveLength(1);
});

test("why a connection never came is told: the first step that failed, and nothing once it was open", async () => {
  const c = await connections();
  c.allow(true, true);
  const begin = async (peer: number, answered: boolean) => {
    c.heard({ type: "dial", peer });
    await settle();
    made.at(-1)!.gathered();
    await settle();
    if (answered) c.heard({ type: "answered", peer, sdp: local });
    await settle();
    return made.at(-1)!;
  };
  await begin(1, false);
  await begin(2, true);
  const dtls = await begin(3, true);
  dtls.iceConnectionState = "connected";
  dtls.sctp = { transport: { state: "connecting" } };
  const channel = await begin(4, true);
  channel.iceConnectionState = "connected";
  channel.sctp = { transport: { state: "connected" } };
  const open = await begin(5, true);
  open.channel.onopen!();
  said = [];
  await vi.advanceTimersByTimeAsync(15_000);
  open.connectionState = "failed";
  open.onconnectionstatechange!();
  expect(said).toEqual([
    { type: "gone", peer: 1, fate: "answer" },
    { type: "gone", peer: 2, fate: "ice" },
    { type: "gone", peer: 3, fate: "dtls" },
    { type: "gone", peer: 4, fate: "channel" },
    { type: "gone", peer: 5 },
  ]);
});

test("a connection is made ready while the tracker is asked, and the first who is dialled gets it", async () => {
  const c = await connections();
  c.prepare(); // not allowed yet
  expect(made).toHaveLength(0);
  c.allow(true, true);
  c.prepare();
  c.prepare();
  expect(made).toHaveLength(1);
  await settle();
  made[0]!.gathered();
  await settle();
  expect(said).toEqual([]);
  c.heard({ type: "dial", peer: 1 });
  await settle();
  expect(made).toHaveLength(1);
  expect(made[0]!.channels.map(({ label, negotiated }) => [label, negotiated ?? false])).toEqual([
    ["", true],
    ["essaim", false],
  ]);
  expect(said).toEqual([{ type: "described", peer: 1, sdp: local }]); // at once
  c.heard({ type: "dial", peer: 2 });
  expect(made).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(made[0]!.closed).toBe(false);
});

test("a connection that was made ready for nobody is closed after ten seconds, and when peers are no longer allowed", async () => {
  const c = await connections();
  c.allow(true, true);
  c.prepare();
  await settle();
  made[0]!.gathered();
  await vi.advanceTimersByTimeAsync(9_999);
  expect(made[0]!.closed).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(made[0]!.closed).toBe(true);
  c.prepare();
  c.allow(false, true);
  expect(made[1]!.closed).toBe(true);
  c.allow(true, true);
  for (let peer = 1; peer <= 25; peer++) c.heard({ type: "dial", peer });
  expect(made.filter((pc) => !pc.closed)).toHaveLength(20); // none of them counts the two that are gone
});

test("a connection that is still gathering when it is needed is waited for no longer than any other", async () => {
  const c = await connections(["stun:dead.test"]);
  c.allow(true, true);
  c.prepare();
  await settle();
  await vi.advanceTimersByTimeAsync(1_000);
  c.heard({ type: "dial", peer: 1 });
  await vi.advanceTimersByTimeAsync(499);
  expect(said).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(said).toEqual([{ type: "described", peer: 1, sdp: local }]);
});

test("a browser that makes no more connections costs the peer and nothing else", async () => {
  const c = await connections();
  c.allow(true, true);
  vi.stubGlobal("RTCPeerConnection", function () {
    throw new DOMException("Cannot create so many PeerConnections", "UnknownError");
  });
  c.heard({ type: "dial", peer: 1 });
  c.heard({ type: "accept", peer: 2, sdp: local });
  expect(said).toEqual([
    { type: "gone", peer: 1, fate: "budget" },
    { type: "gone", peer: 2, fate: "budget" },
  ]);
});
