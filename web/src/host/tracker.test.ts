import { readdirSync, readFileSync } from "node:fs";
import { beforeEach, expect, test } from "vitest";
import type { Bytes } from "./record";
import { fromLatin1, toLatin1 } from "./title";
import { Tracker, type Socket } from "./tracker";

class FakeSocket implements Socket {
  bufferedAmount = 0;
  sent: Record<string, unknown>[] = [];
  closed = false;
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  constructor(readonly url: string) {}
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(): void {
    this.closed = true;
  }
  says(message: object | string): void {
    const data = typeof message === "string" ? message : JSON.stringify(message);
    this.onmessage?.({ data } as MessageEvent);
  }
}

const all = Uint8Array.from({ length: 20 }, (_, i) => 236 + i); // bytes above 0x7f, up to 0xff
const me = fromLatin1("-ES0001-abcdefghijkl");
const them = "-ES0001-zyxwvutsrqpo";
const offerId = toLatin1(all);
const head = { action: "announce", info_hash: toLatin1(all), peer_id: toLatin1(me) };

let sockets: FakeSocket[];
let timers: { ms: number; due: () => void }[];
let heard: unknown[];
let drawn: number; // by chance
let now: number;
let ticket: string;
let connected: Bytes[];
let tracker: Tracker;

beforeEach(() => {
  sockets = [];
  timers = [];
  heard = [];
  drawn = 0.5;
  now = 0;
  ticket = "jwt";
  connected = [];
  const bytes = (b: Bytes) => toLatin1(b);
  tracker = new Tracker(
    {
      urls: ["ws://one/tracker", "ws://two/tracker"],
      infoHash: all,
      peerId: me,
      connect: (url) => {
        const s = new FakeSocket(url);
        sockets.push(s);
        return s;
      },
      after: (ms, due) => {
        const t = { ms, due };
        timers.push(t);
        return () => void timers.splice(timers.indexOf(t), 1);
      },
      now: () => now,
      connected: () => connected,
      random: () => drawn,
      forbidden: () => heard.push(["forbidden"]),
      self: () => ({ ticket, upKbps: 8000, uploaded: 1, downloaded: 2, left: 3 }),
    },
    {
      meet: (id) => heard.push(["meet", bytes(id)]),
      counted: (complete, incomplete) => complete + incomplete > 0 && heard.push(["counted", complete, incomplete]),
      revoked: (ids) => heard.push(["revoked", bytes(ids)]),
      offer: (from, id, sdp) => heard.push(["offer", bytes(from), id, sdp]),
      answer: (from, id, sdp) => heard.push(["answer", bytes(from), id, sdp]),
    },
  );
});

const reply = (essaim: object = { meet: [], revoked: [] }) => ({
  action: "announce",
  info_hash: toLatin1(all),
  interval: 30,
  essaim,
});

function open(): FakeSocket {
  tracker.announce({ positionMs: 1234.5, rendition: 1, want: 7, event: "started" });
  const socket = sockets.at(-1)!;
  socket.onopen!({} as Event);
  return socket;
}

test("an announce carries the swarm, ourselves and our extension, and no offers", () => {
  expect(open().sent).toEqual([
    {
      action: "announce",
      info_hash: toLatin1(all),
      peer_id: toLatin1(me),
      uploaded: 1,
      downloaded: 2,
      left: 3,
      numwant: 7,
      event: "started",
      essaim: { v: 1, ticket: "jwt", pos_ms: 1234, rendition: 1, up_kbps: 8000 },
    },
  ]);
});

test("whom to meet is told, others' doings are not: other swarms, ourselves, malformed IDs, and those who will offer", () => {
  const socket = open();
  socket.says({ ...reply({ meet: [{ peer_id: them, offer: true }] }), info_hash: "b".repeat(20) });
  socket.says("no JSON");
  socket.says("null");
  const id = "-ES0001-000000000000";
  socket.says(
    reply({
      meet: [
        { peer_id: toLatin1(me), offer: true },
        { peer_id: id, offer: false },
        { peer_id: "short", offer: true },
        { peer_id: "𝕊".repeat(10), offer: true },
        null,
        { peer_id: them, offer: true },
      ],
      revoked: [id, 7],
    }),
  );
  expect(heard).toEqual([
    ["revoked", id],
    ["meet", them],
  ]);
});

test("the operator's switch is told, and nobody is met with it", () => {
  const socket = open();
  socket.says(reply({ meet: [], revoked: [], p2p: true }));
  socket.says(reply({ meet: [{ peer_id: them, offer: true }], revoked: [], p2p: false }));
  expect(heard).toEqual([["forbidden"]]);
});

test("what an answer counts is told, and what is no count is none", () => {
  const socket = open();
  socket.says({ ...reply(), complete: 3, incomplete: 497 });
  socket.says({ ...reply(), complete: 2 });
  for (const x of [-1, 1.5, "7", null, 2 ** 60, {}]) socket.says({ ...reply(), complete: x, incomplete: x });
  socket.says({ ...reply(), complete: 1, incomplete: 1, "failure reason": "no" });
  socket.says({ ...reply(), complete: 1, incomplete: 1, info_hash: "b".repeat(20) });
  expect(heard).toEqual([
    ["counted", 3, 497],
    ["counted", 2, 0],
  ]);
});

test("relayed offers and answers are told, and malformed ones are not", () => {
  const socket = open();
  const from = { action: "announce", info_hash: toLatin1(all), peer_id: them, offer_id: offerId };
  socket.says({ ...from, offer: { type: "offer", sdp: "o" } });
  socket.says({ ...from, answer: { type: "answer", sdp: "a" } });
  socket.says({ ...from, offer: { type: "answer", sdp: "o" } });
  socket.says({ ...from, offer_id: "19 characters long.", offer: { type: "offer", sdp: "o" } });
  socket.says({ ...from, offer: { type: "offer", sdp: "x".repeat(9000) } });
  socket.says({ ...from, peer_id: toLatin1(me), offer: { type: "offer", sdp: "o" } });
  expect(heard).toEqual([
    ["offer", them, offerId, "o"],
    ["answer", them, offerId, "a"],
  ]);
});

test("offers and answers go out to one peer, and only while there is a tracker", () => {
  expect(tracker.offer(all, offerId, "sdp")).toBe(false);
  const socket = open();
  expect(tracker.offer(fromLatin1(them), offerId, "sdp")).toBe(true);
  expect(tracker.answer(fromLatin1(them), offerId, "sdp2")).toBe(true);
  expect(socket.sent.slice(1)).toMatchObject([
    { to_peer_id: them, offer_id: offerId, offer: { type: "offer", sdp: "sdp" } },
    { to_peer_id: them, offer_id: offerId, answer: { type: "answer", sdp: "sdp2" } },
  ]);
});

test("a socket that does not open within ten seconds is given up", () => {
  tracker.announce({ positionMs: 0, rendition: 0, want: 10, event: "started" });
  expect(timers.map((t) => t.ms)).toEqual([10_000]);
  timers.pop()!.due();
  expect(sockets[0]!.closed).toBe(true);
  expect(timers.map((t) => t.ms)).toEqual([8000]);
});

test("what is lost is tried again from one second on, by chance", () => {
  for (const [chance, wait] of [
    [0, 1_000],
    [0.999999, 15_000],
  ]) {
    drawn = chance!;
    open().says(reply()); // it was there
    tracker.announce({ positionMs: 0, rendition: 0, want: 10, event: "started" });
    sockets.at(-1)!.onclose!({} as CloseEvent);
    expect(timers.at(-1)!.ms).toBeCloseTo(wait!, -1);
    tracker.close();
  }
});

test("a lost tracker is tried again, the next one first, after waits that double up to two minutes", () => {
  tracker.announce({ positionMs: 0, rendition: 0, want: 10, event: "started" });
  const waits: number[] = [];
  for (let i = 0; i < 6; i++) {
    sockets.at(-1)!.onclose!({} as CloseEvent);
    expect(timers).toHaveLength(1);
    waits.push(timers[0]!.ms);
    timers.pop()!.due();
  }
  expect(waits).toEqual([8000, 16000, 32000, 64000, 64000, 64000]);
  expect(sockets.map((s) => s.url).slice(0, 3)).toEqual(["ws://one/tracker", "ws://two/tracker", "ws://one/tracker"]);
  sockets.at(-1)!.onopen!({} as Event);
  expect(sockets.at(-1)!.sent[0]).toMatchObject({ event: "started" });
  sockets.at(-1)!.says(reply());
  sockets.at(-1)!.onclose!({} as CloseEvent);
  expect(timers.at(-1)!.ms).toBe(8000);
});

test("who is told that its ticket is revoked is out of the swarm, and tries nothing until it is told to announce anew", () => {
  const socket = open();
  socket.says({ action: "announce", info_hash: toLatin1(all), "failure reason": "ticket was revoked" });
  socket.onclose!({ code: 4403 } as CloseEvent);
  expect(heard).toEqual([["forbidden"]]);
  expect(timers).toEqual([]);
  expect(tracker.offer(all, offerId, "sdp")).toBe(false);
  tracker.announce({ positionMs: 5, rendition: 0, want: 10, event: "started" });
  expect(sockets).toHaveLength(2);
  sockets.at(-1)!.onclose!({ code: 4401 } as CloseEvent); // for another reason, which may pass
  expect(timers.map((t) => t.ms)).toEqual([8000]);
});

test("two unanswered announces of fifteen seconds each give the tracker up", () => {
  const socket = open();
  expect(timers.map((t) => t.ms)).toEqual([15000]);
  timers.pop()!.due();
  expect(socket.closed).toBe(false);
  expect(socket.sent).toHaveLength(2); // it asks once more at once
  timers.pop()!.due();
  expect(socket.closed).toBe(true);
  expect(timers.map((t) => t.ms)).toEqual([8000]);
});

test("stopped is said, the socket closed, and nothing tried again until the next announce", () => {
  const socket = open();
  tracker.announce({ positionMs: 5, rendition: 0, want: 0, event: "stopped" });
  expect(socket.sent.at(-1)).toMatchObject({ event: "stopped", numwant: 0 });
  expect(socket.closed).toBe(true);
  expect(timers).toEqual([]);
  tracker.announce({ positionMs: 5, rendition: 0, want: 10, event: "started" });
  expect(sockets).toHaveLength(2);
});

test("what became of introductions goes along with the next announce, once, and no more than 64 of it", () => {
  const socket = open();
  tracker.tell(fromLatin1(them), "ice");
  tracker.tell(all, "connected");
  tracker.announce({ positionMs: 1, rendition: 0, want: 0 });
  tracker.announce({ positionMs: 2, rendition: 0, want: 0 });
  const met = socket.sent.map((m) => (m.essaim as { met?: unknown }).met);
  const first = [
    { peer_id: them, fate: "ice" },
    { peer_id: toLatin1(all), fate: "connected" },
  ];
  expect(met).toEqual([undefined, first, undefined]);
  for (let i = 0; i < 100; i++) tracker.tell(all, i < 90 ? "ice" : "answer");
  tracker.announce({ positionMs: 3, rendition: 0, want: 0 });
  const last = (socket.sent.at(-1)!.essaim as { met: { fate: string }[] }).met;
  expect(last).toHaveLength(64);
  expect(last.filter((o) => o.fate === "answer")).toHaveLength(10); // the oldest are forgotten
});

test("who comes back tells to whom it is connected", () => {
  open().says(reply());
  tracker.tell(all, "ice");
  connected = [fromLatin1(them), all];
  sockets[0]!.onclose!({} as CloseEvent);
  timers.pop()!.due();
  sockets[1]!.onopen!({} as Event);
  expect((sockets[1]!.sent[0]!.essaim as { met: object[] }).met).toEqual([
    { peer_id: toLatin1(all), fate: "ice" },
    { peer_id: them, fate: "connected" },
  ]);
});

type Step = {
  at_ms: number;
  announce?: { position_ms: number; rendition?: number; want: number; event?: "started" };
  ticket?: string;
  outcome?: boolean;
  says?: "nothing" | "still" | "all";
  reply?: { interval?: number; still?: number };
  failure?: string;
};
const folder = new URL("../../../internal/host/hosttest/renewals/", import.meta.url);
for (const file of readdirSync(folder)) {
  const script = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as { claim: string; steps: Step[] };
  test(`renewals: ${script.claim}`, () => {
    for (const step of script.steps) {
      now = step.at_ms;
      if (step.ticket) ticket = step.ticket;
      if (step.outcome) tracker.tell(fromLatin1(them), "ice");
      const before = sockets.at(-1)?.sent.length ?? 0;
      if (step.announce) {
        const { position_ms, rendition = 0, want, event } = step.announce;
        tracker.announce({ positionMs: position_ms, rendition, want, ...(event && { event }) });
        if (before === 0) sockets.at(-1)!.onopen!({} as Event);
        const said = sockets.at(-1)!.sent.slice(before);
        const word = said.length === 0 ? "nothing" : (said[0]!.essaim as { still?: true }).still ? "still" : "all";
        expect([step.at_ms, said.length, word]).toEqual([step.at_ms, step.says === "nothing" ? 0 : 1, step.says]);
        if (word === "still") expect(said[0]).toEqual({ ...head, essaim: { v: 1, still: true } });
      } else {
        const { interval, still } = step.reply ?? {};
        sockets.at(-1)!.says({
          action: "announce",
          info_hash: toLatin1(all),
          ...(interval && { interval }),
          essaim: { meet: [], revoked: [], ...(still && { still }) },
          ...(step.failure && { "failure reason": step.failure }),
        });
      }
    }
  });
}

test("a tracker that breaks its promise to say something is given up, and one that made none is not", () => {
  const socket = open();
  socket.says(reply());
  expect(timers).toEqual([]);
  socket.says(reply({ meet: [], revoked: [], still: 100 }));
  expect(timers.map((t) => t.ms)).toEqual([150_000]);
  const first = timers[0];
  socket.says(reply({ meet: [], revoked: [], still: 100 }));
  expect(timers).toHaveLength(1);
  expect(timers[0]).not.toBe(first);
  timers[0]!.due();
  expect(socket.closed).toBe(true);
  expect(timers.at(-1)!.ms).toBe(8000); // until the next try
});
