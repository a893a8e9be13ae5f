/** The host's small parts: store, pieces, hash answers, meter, outlet, descriptions, titles. */

import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { makeFilm } from "../player/testing";
import { knownHashes } from "./hashes";
import { Meter } from "./meter";
import { Outlet } from "./outlet";
import { Pieces } from "./pieces";
import type { Bytes } from "./record";
import { isDataOnly, withoutLocalAddresses } from "./sdp";
import { FileStore, MemoryStore, type PieceStore, type ScratchFile } from "./store";
import { encodeTitle, newPeerId, placeOf, titleOf, toLatin1 } from "./title";

const sha = (b: Uint8Array): Promise<Bytes> => Promise.resolve(new Uint8Array(createHash("sha256").update(b).digest()));

function bytes(length: number, seed: number): Bytes {
  return Uint8Array.from({ length }, (_, i) => i * 7 + seed);
}

/** A file in memory that refuses to grow past a size. */
class FakeFile implements ScratchFile {
  data = new Uint8Array(0);
  closed = false;
  constructor(readonly room: number) {}
  read(to: Uint8Array, { at }: { at: number }): number {
    const part = this.data.subarray(at, at + to.length);
    to.set(part);
    return part.length;
  }
  write(from: Uint8Array, { at }: { at: number }): number {
    if (at + from.length > this.room) throw new DOMException("full", "QuotaExceededError");
    const grown = new Uint8Array(Math.max(this.data.length, at + from.length));
    grown.set(this.data);
    grown.set(from, at);
    this.data = grown;
    return from.length;
  }
  truncate(size: number): void {
    this.data = this.data.slice(0, size);
  }
  close(): void {
    this.closed = true;
  }
}

const stores: [string, () => PieceStore][] = [
  ["memory", () => new MemoryStore(1000)],
  ["a file", () => new FileStore(new FakeFile(1e6), 100, 1000, () => {})],
  ["a file without room", () => new FileStore(new FakeFile(150), 100, 1000, () => {})],
];

test.each(stores)("a store in %s gives back what was put in, counts it, and knows what was used last", (_, make) => {
  const s = make();
  for (let piece = 0; piece < 4; piece++) s.put(piece, [bytes(60, piece), bytes(30, piece + 100)]);
  s.put(2, [bytes(60, 50), bytes(30, 51)]);
  expect(s.used).toBe(360);
  for (let piece = 0; piece < 4; piece++) {
    const to = new Uint8Array(50);
    s.read(piece, 45, 40, to, 5);
    expect(to.subarray(5, 20)).toEqual(bytes(60, piece).subarray(45));
    expect(to.subarray(20, 45)).toEqual(bytes(30, piece + 100).subarray(0, 25));
  }
  expect(() => s.read(0, 80, 20, new Uint8Array(20), 0)).toThrow();
  expect(() => s.read(9, 0, 1, new Uint8Array(1), 0)).toThrow();
  s.delete(1);
  expect(s.has(1)).toBe(false);
  s.put(7, [bytes(90, 7)]);
  expect([...s.pieces()].sort()).toEqual([0, 2, 3, 7]);
  expect(s.used).toBe(360);
  const to = new Uint8Array(90);
  s.read(7, 0, 90, to, 0);
  expect(to).toEqual(bytes(90, 7));
  s.read(3, 0, 90, to, 0);
  expect(to.subarray(0, 60)).toEqual(bytes(60, 3));
});

test("a memory store lists the longest unused first", () => {
  const s = new MemoryStore();
  for (const piece of [1, 2, 3]) s.put(piece, [bytes(10, piece)]);
  s.read(1, 0, 1, new Uint8Array(1), 0);
  expect([...s.pieces()]).toEqual([2, 3, 1]);
});

test("a file store is empty when it opens, and leaves the file empty, closed and unlocked", () => {
  const file = new FakeFile(1e6);
  file.data = bytes(500, 1);
  let released = false;
  const s = new FileStore(file, 100, 1000, () => (released = true));
  expect(file.data).toHaveLength(0);
  s.put(1, [bytes(90, 1)]);
  s.close();
  expect([file.data.length, file.closed, released]).toEqual([0, true, true]);
});

test("a file store whose disk is full holds no more in memory than a memory store", () => {
  const s = new FileStore(new FakeFile(150), 100, 2 ** 31, () => {});
  s.put(1, [bytes(90, 1)]);
  expect(s.limit).toBe(2 ** 31);
  s.put(2, [bytes(90, 2)]);
  expect(s.limit).toBe(90 + 2 ** 28);
});

test("room is made behind the play head first, then anywhere, and never of what is pinned", () => {
  const film = makeFilm([bytes(10 * 32768, 1)]);
  film.session.files[0]!.segments = Array.from({ length: 10 }, (_, i) => [i * 32768, (i + 1) * 32768, i * 1000, 1000]);
  const title = titleOf(film.session);
  const store = new MemoryStore(3 * 32768);
  const pieces = new Pieces(title, store);
  for (const piece of [9, 2, 8, 0, 7]) store.put(piece, [bytes(32768, piece)]);
  expect(pieces.makeRoom(3500, () => false)).toEqual([2, 0]);
  store.put(6, [bytes(32768, 6)]);
  expect(pieces.makeRoom(3500, (piece) => piece === 9)).toEqual([8]);
  store.put(5, [bytes(32768, 5)]);
  expect(pieces.makeRoom(3500, () => true)).toEqual([]);
});

test("hashes that came with the session answer every request within them as BEP 52 would, and no other", async () => {
  for (const pieces of [2, 5, 16, 37]) {
    for (const firstPieces of [2, 8, 64]) {
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
              expect(await got).toEqual(film.files[0]!.tree.answer({ base: 1, index, length, proof }));
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

test("an outlet hands over no more than a mebibyte, keeps the order, and says when the queue has drained", () => {
  const sent: number[] = [];
  let drained = 0;
  const channel = {
    readyState: "connecting",
    bufferedAmount: 0,
    bufferedAmountLowThreshold: 0,
    onbufferedamountlow: null as (() => void) | null,
    send(b: Uint8Array) {
      sent.push(b[0]!);
      this.bufferedAmount += b.length;
    },
    close() {},
  };
  const outlet = new Outlet(channel as unknown as RTCDataChannel, () => drained++);
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
  channel.bufferedAmount = 0;
  channel.onbufferedamountlow!();
  expect(drained).toBe(1);
  expect(sent).toEqual(Array.from({ length: 100 }, (_, i) => i));
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
