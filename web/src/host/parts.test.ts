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
