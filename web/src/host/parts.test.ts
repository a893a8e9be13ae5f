/** The host's small parts: hash answers, meter, outlet, descriptions, titles. */

import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { makeFilm } from "../player/testing";
import { knownHashes } from "./hashes";
import { Meter } from "./meter";
import { Outlet } from "./outlet";
import type { Bytes } from "./record";
import { isDataOnly, withoutLocalAddresses } from "./sdp";
import { encodeTitle, newPeerId, placeOf, titleOf, toLatin1 } from "./title";

const sha = (b: Uint8Array): Promise<Bytes> => Promise.resolve(new Uint8Array(createHash("sha256").update(b).digest()));

function bytes(length: number, seed: number): Bytes {
  return Uint8Array.from({ length }, (_, i) => i * 7 + seed);
}

test("hashes that came with the session answer every request within them as BEP 52 would, and no other", async () => {
  // All of the file's hashes came, or some; a file that fills its tree, or not.
  for (const [pieces, firstPieces] of [
    [2, 2],
    [5, 8],
    [16, 2],
    [16, 8],
    [37, 64],
  ] as const) {
    const film = makeFilm([bytes(pieces * 32768 - 100, pieces)], 32768, firstPieces);
    const first = film.session.files[0]!.first!;
    const known = knownHashes(film.session.files, sha);
    const width = film.files[0]!.tree.width / 2;
    let answered = 0;
    for (let length = 2; length <= width; length *= 2) {
      for (let index = 0; index < width; index += length) {
        for (let proof = 0; proof < Math.log2(width); proof++) {
          const got = known(0, 1, index, length, proof);
          if (index + length > first.length) {
            expect(got).toBeUndefined();
          } else if (got) {
            answered++;
            const want = film.files[0]!.tree.answer({ base: 1, index, length, proof });
            expect(Buffer.compare(await got, want), `${length} at ${index}, proof ${proof}`).toBe(0);
          }
        }
        const full = length === width ? 0 : Math.log2(width) - 1;
        if (index + length <= first.length) expect(known(0, 1, index, length, full)).toBeDefined();
      }
    }
    expect(answered).toBeGreaterThan(0);
    expect(known(0, 0, 0, 2, 0)).toBeUndefined();
    expect(known(1, 1, 0, 2, 0)).toBeUndefined();
  }
});

test("the meter leaves waiting out of the rate that the player is told, and not out of the other", () => {
  const m = new Meter();
  expect(m.rate()).toBe(0);
  m.began(990);
  for (let at = 1000; at < 1500; at += 10) m.received(1000, at); // 100 kB/s, in fact 100 bytes a ms
  m.ended(1490);
  m.began(59_990);
  for (let at = 60_000; at < 60_500; at += 10) m.received(1000, at);
  m.ended(60_490);
  expect(m.rate()).toBeGreaterThan(95);
  expect(m.rate()).toBeLessThan(110);
  expect(m.recentKbps(60_500)).toBe(Math.round((50_000 * 8) / 3000));
  expect(m.recentKbps(70_000)).toBe(0);
});

test("the meter counts a slow response's pauses", () => {
  const m = new Meter();
  m.began(0);
  for (let at = 1000; at <= 4000; at += 1000) m.received(16_384, at);
  m.ended(4000);
  expect(m.rate()).toBeCloseTo(16.384, 0);
});

// A channel whose queue the test empties.
function fakeChannel() {
  const sent: Uint8Array[] = [];
  const channel = {
    readyState: "open",
    bufferedAmount: 0,
    bufferedAmountLowThreshold: 0,
    closed: false,
    onbufferedamountlow: null as (() => void) | null,
    send(b: Uint8Array) {
      sent.push(b);
      this.bufferedAmount += b.length;
    },
    close() {
      this.closed = true;
    },
  };
  const timers: { ms: number; due: () => void }[] = [];
  const after = (ms: number, due: () => void) => void timers.push({ ms, due });
  return { sent, channel, timers, after, rtc: channel as unknown as RTCDataChannel };
}

const turn = () => new Promise<void>((resolve) => queueMicrotask(resolve));
const lengths = (sent: Uint8Array[]) => sent.map((b) => b.length);

test("an outlet hands over no more than a mebibyte, keeps the order, and says when the queue has drained", () => {
  const { sent, channel, timers, after, rtc } = fakeChannel();
  channel.readyState = "connecting";
  let drained = 0;
  const outlet = new Outlet(rtc, () => drained++, undefined, after);
  expect(channel.bufferedAmountLowThreshold).toBe(16_384);
  outlet.send(new Uint8Array(16_397).fill(0));
  expect(sent).toEqual([]);
  channel.readyState = "open";
  outlet.flush();
  for (let i = 1; i < 100; i++) outlet.send(new Uint8Array(16_397).fill(i));
  expect(channel.bufferedAmount).toBeLessThan(1.1 * 2 ** 20);
  expect(outlet.queued).toBe(100 * 16_397);
  channel.bufferedAmount = 16_384;
  channel.onbufferedamountlow!();
  expect(drained).toBe(0);
  while (timers.length > 0) timers.shift()!.due();
  channel.bufferedAmount = 0;
  channel.onbufferedamountlow!();
  expect(drained).toBe(1);
  expect(outlet.queued).toBe(0);
  const stream = sent.flatMap((b) => Array.from({ length: b.length / 16_397 }, (_, i) => b[16_397 * i]));
  expect(stream).toEqual(Array.from({ length: 100 }, (_, i) => i));
});

test("what is sent in one turn goes out in one message at its end, and what follows shortly after in another", async () => {
  const { sent, timers, after, rtc } = fakeChannel();
  const outlet = new Outlet(rtc, () => undefined, undefined, after);
  for (let i = 0; i < 3; i++) outlet.send(Uint8Array.of(i, i));
  expect(outlet.queued).toBe(6);
  expect(sent).toEqual([]);
  await turn();
  expect(sent).toEqual([Uint8Array.of(0, 0, 1, 1, 2, 2)]);
  outlet.send(Uint8Array.of(3));
  await turn();
  outlet.send(Uint8Array.of(4));
  await turn();
  expect(sent).toHaveLength(1);
  expect(timers.map((t) => t.ms)).toEqual([4]);
  timers.shift()!.due();
  expect(sent.slice(1)).toEqual([Uint8Array.of(3, 4)]);
  // Nothing came while it gathered again: what comes now waits for nothing but the turn's end.
  timers.shift()!.due();
  expect(timers).toEqual([]);
  outlet.send(Uint8Array.of(5));
  await turn();
  expect(sent.at(-1)).toEqual(Uint8Array.of(5));
});

test("no message made of several passes what a reader built on pion takes, and a full one waits for nothing", () => {
  const { sent, after, rtc } = fakeChannel();
  const outlet = new Outlet(rtc, () => undefined, undefined, after);
  for (let i = 0; i < 5; i++) outlet.send(new Uint8Array(16_397));
  expect(lengths(sent)).toEqual([3 * 16_397]);
  outlet.send(new Uint8Array(100_000)); // one message, however long, is passed on as it is
  expect(lengths(sent)).toEqual([3 * 16_397, 2 * 16_397, 100_000]);
});

test("a queue that drained while more was gathered is told of once what was gathered has left", async () => {
  const { sent, channel, timers, after, rtc } = fakeChannel();
  let drained = 0;
  const outlet = new Outlet(rtc, () => drained++, undefined, after);
  outlet.send(new Uint8Array(17));
  await turn();
  outlet.send(new Uint8Array(16_397)); // above the mark without the channel's help
  channel.bufferedAmount = 0;
  expect(drained).toBe(0);
  timers.shift()!.due();
  expect(lengths(sent)).toEqual([17, 16_397]);
  channel.bufferedAmount = 0;
  channel.onbufferedamountlow!();
  expect(drained).toBe(1);
});

test("an outlet that is closed sends first what it gathered", async () => {
  const { sent, channel, after, rtc } = fakeChannel();
  const outlet = new Outlet(rtc, () => undefined, undefined, after);
  outlet.send(Uint8Array.of(1));
  await turn();
  outlet.send(Uint8Array.of(2));
  outlet.close();
  expect(sent).toEqual([Uint8Array.of(1), Uint8Array.of(2)]);
  expect(channel.closed).toBe(true);
});

test("descriptions lose their local addresses, and those for anything but one data channel are refused", () => {
  const line = (address: string) => `a=candidate:1 1 udp 1 ${address} 9 typ host`;
  const local = [
    "10.0.0.1",
    "172.16.9.9",
    "192.168.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "x.local",
    "::1",
    "fe80::1",
    "fd00::1",
  ];
  const open = ["203.0.113.1", "172.32.0.1", "2001:db8::1"];
  const out = withoutLocalAddresses([...local, ...open].map(line).join("\r\n"));
  expect(out.split("\r\n")).toEqual(open.map(line));
  expect(isDataOnly("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")).toBe(true);
  expect(isDataOnly("v=0\r\nm=audio 9 x\r\nm=application 9 x\r\n")).toBe(false);
  expect(isDataOnly("v=0\r\n")).toBe(false);
  expect(isDataOnly("m=application 9 x\r\n" + `${line("1.2.3.4")}\r\n`.repeat(33))).toBe(false);
});

test("a title knows where its pieces lie, and writes the form that Go reads", () => {
  const film = makeFilm([bytes(70_000, 1), bytes(20_000, 2)]);
  const title = titleOf(film.session);
  expect(placeOf(title, 0)).toEqual({ file: 0, from: 0, size: 32768 });
  expect(placeOf(title, 2)).toEqual({ file: 0, from: 65536, size: 4464 });
  expect(placeOf(title, 3)).toEqual({ file: 1, from: 0, size: 20_000 });
  expect(placeOf(title, 4)).toBeUndefined();
  const b = encodeTitle(title);
  expect(b).toHaveLength(76 + 2 * 45);
  expect(b.subarray(48, 68)).toEqual(title.peerId);
  expect(toLatin1(newPeerId())).toMatch(/^-ES0001-[0-9A-Za-z]{12}$/);
});
