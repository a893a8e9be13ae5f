import { beforeEach, expect, test } from "vitest";
import type { Core } from "./core";
import type { FromWorker } from "./protocol";
import { Signalling } from "./signalling";
import { fromLatin1, toLatin1 } from "./title";
import type { Fate, Tracker } from "./tracker";

const low = fromLatin1("-ES0001-aaaaaaaaaaaa");
const self = fromLatin1("-ES0001-mmmmmmmmmmmm");
const high = fromLatin1("-ES0001-zzzzzzzzzzzz");
const sdp = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";

let said: FromWorker[];
let core: unknown[];
let sent: { what: string; to: string; offerId: string }[];
let reachable: boolean;
let told: [string, Fate][];
let s: Signalling;

beforeEach(() => {
  said = [];
  core = [];
  sent = [];
  reachable = true;
  s = new Signalling((m) => said.push(m), self, 65536);
  const note =
    (name: string) =>
    (...rest: unknown[]) =>
      core.push([name, ...rest.map((x) => (x instanceof Uint8Array ? toLatin1(x) : x))]);
  s.core = {
    introduced: note("introduced"),
    connected: note("connected"),
    closed: note("closed"),
    dialFailed: note("dialFailed"),
    received: note("received"),
    drained: note("drained"),
    measured: note("measured"),
    counted: note("counted"),
    revoked: note("revoked"),
  } as unknown as Core;
  const relay = (what: string) => (to: Uint8Array, offerId: string) => {
    if (reachable) sent.push({ what, to: toLatin1(to), offerId });
    return reachable;
  };
  told = [];
  s.tracker = {
    offer: relay("offer"),
    answer: relay("answer"),
    tell: (peer: Uint8Array, fate: Fate) => told.push([toLatin1(peer), fate]),
  } as unknown as Tracker;
  s.allow(true);
});

const dialled = () => {
  s.meet(high);
  s.dial(1);
  s.heard({ type: "described", peer: 1, sdp });
  return sent[0]!.offerId;
};

test("the tracker's count goes to the engine while peers are allowed", () => {
  const cohort = { id: 7, place: 1, size: 4 };
  s.counted(3, 497, cohort);
  s.allow(false);
  s.counted(3, 498, cohort);
  expect(core).toEqual([["counted", 3, 497, cohort]]);
});

test("an introduction leads to a dial, an offer, an answer and a channel under one reference", () => {
  const offerId = dialled();
  expect(sent).toEqual([{ what: "offer", to: toLatin1(high), offerId }]);
  expect(offerId).toHaveLength(20);
  s.answer(high, offerId, sdp);
  s.heard({ type: "open-relay", peer: 1, initiator: true });
  s.meet(high); // again, while connected
  expect(said).toEqual([
    { type: "dial", peer: 1 },
    { type: "answered", peer: 1, sdp },
  ]);
  expect(core).toEqual([
    ["introduced", 1, toLatin1(high)],
    ["connected", 1, toLatin1(high), true, false],
  ]);
});

test("the engine is told which connections lead into another network", () => {
  s.meet(high, true);
  s.dial(1);
  s.heard({ type: "described", peer: 1, sdp });
  s.answer(high, sent[0]!.offerId, sdp);
  s.heard({ type: "open-relay", peer: 1, initiator: true });
  s.offer(low, "o".repeat(20), sdp, true);
  s.heard({ type: "open-relay", peer: 2, initiator: false });
  expect(core.filter((said) => Array.isArray(said) && said[0] === "connected")).toEqual([
    ["connected", 1, toLatin1(high), true, true],
    ["connected", 2, toLatin1(low), false, true],
  ]);
});

test("only the peer that was offered to may answer, once, and with a data channel", () => {
  const offerId = dialled();
  s.answer(low, offerId, sdp);
  s.answer(high, offerId.slice(1) + "x", sdp);
  s.answer(high, offerId, "v=0\r\nm=video 9 x\r\n");
  expect(said).toHaveLength(1);
  s.answer(high, offerId, sdp);
  s.answer(high, offerId, sdp);
  expect(said.filter((m) => m.type === "answered")).toHaveLength(1);
});

test("an offer is answered under a new reference, and its end is no failed dial", () => {
  s.offer(high, "o".repeat(20), sdp);
  expect(said).toEqual([{ type: "accept", peer: 1, sdp }]);
  s.heard({ type: "described", peer: 1, sdp });
  expect(sent).toEqual([{ what: "answer", to: toLatin1(high), offerId: "o".repeat(20) }]);
  s.heard({ type: "gone", peer: 1 });
  expect(core).toEqual([]);
});

test("of two viewers who offer to one another the lesser ID's offer stands", () => {
  s.meet(high);
  s.dial(1);
  s.offer(high, "o".repeat(20), sdp);
  expect(said).toEqual([{ type: "dial", peer: 1 }]);
  s.meet(low);
  s.dial(2);
  s.offer(low, "p".repeat(20), sdp);
  expect(said.slice(1)).toEqual([
    { type: "dial", peer: 2 },
    { type: "drop", peer: 2 },
    { type: "accept", peer: 3, sdp },
  ]);
  expect(core).toContainEqual(["dialFailed", 2]);
});

test("nothing is dialled, accepted or introduced while peers are forbidden, and all ends when they become so", async () => {
  const offerId = dialled();
  s.answer(high, offerId, sdp);
  s.heard({ type: "open-relay", peer: 1, initiator: true });
  s.offer(low, "o".repeat(20), sdp);
  s.allow(false);
  expect(said.slice(-2)).toEqual([
    { type: "drop", peer: 1 },
    { type: "drop", peer: 2 },
  ]);
  expect(core.at(-1)).toEqual(["closed", 1]);
  const before = said.length;
  s.meet(high);
  s.offer(high, "o".repeat(20), sdp);
  s.dial(9);
  await Promise.resolve();
  expect(said).toHaveLength(before);
  expect(core.at(-1)).toEqual(["dialFailed", 9]);
});

test("a dial fails when no tracker can carry its offer", () => {
  s.meet(high);
  s.dial(1);
  reachable = false;
  s.heard({ type: "described", peer: 1, sdp });
  expect(core.at(-1)).toEqual(["dialFailed", 1]);
  expect(said.at(-1)).toEqual({ type: "drop", peer: 1 });
});

test("a relayed channel counts as queued what the page has not handed over, and says when that has drained", () => {
  dialled();
  s.heard({ type: "open-relay", peer: 1, initiator: true });
  for (let i = 0; i < 5; i++) s.send(1, new Uint8Array(20_000));
  expect(s.queued(1)).toBe(100_000);
  s.heard({ type: "handed", peer: 1, total: 30_000 });
  expect(core.at(-1)).toMatchObject(["connected", 1, toLatin1(high), true, false]);
  s.heard({ type: "handed", peer: 1, total: 40_000 });
  expect(core.at(-1)).toEqual(["drained", 1]);
  expect(s.queued(1)).toBe(60_000);
});

test("the page measures round trips, and what it finds reaches the core", () => {
  dialled();
  s.heard({ type: "open-relay", peer: 1, initiator: true });
  s.measure(1);
  expect(said.at(-1)).toEqual({ type: "measure", peer: 1 });
  s.heard({ type: "path", peer: 1, us: 25_000 });
  expect(core.at(-1)).toEqual(["measured", 1, 25_000]);
});

test("introductions that nobody follows up are forgotten beyond 64", () => {
  for (let i = 0; i < 70; i++) s.meet(fromLatin1(`-ES0001-${String(i).padStart(12, "0")}`));
  expect(core.filter((x) => (x as string[])[0] === "dialFailed").map((x) => (x as number[])[1])).toEqual([
    1, 2, 3, 4, 5, 6,
  ]);
});

test("the tracker is told what became of each introduction, once", () => {
  dialled();
  s.heard({ type: "open-relay", peer: 1, initiator: true });
  s.heard({ type: "open-relay", peer: 1, initiator: true });
  s.heard({ type: "gone", peer: 1 }); // later, and by itself: that says nothing of the pair
  s.offer(low, toLatin1(high), sdp);
  s.heard({ type: "gone", peer: 2, fate: "ice" });
  s.heard({ type: "gone", peer: 2, fate: "ice" });
  s.meet(low);
  s.dial(3);
  s.heard({ type: "gone", peer: 3, fate: "budget" });
  s.meet(low);
  s.dial(4);
  s.close(4); // by the engine's own decision
  s.heard({ type: "gone", peer: 4, fate: "answer" });
  expect(told).toEqual([
    [toLatin1(high), "connected"],
    [toLatin1(low), "ice"],
    [toLatin1(low), "budget"],
  ]);
});
