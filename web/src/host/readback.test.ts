/** What the disk gives back is held against what it was given: bytes that change under an open page reach nobody. */

import { expect, test } from "vitest";
import { makeFilm } from "../player/testing";
import { openCache, type CacheStore } from "./cache";
import { sumsOf } from "./cachefile";
import { Core } from "./core";
import { crc32c } from "./crc32c";
import { InputKind, OutputKind } from "./kinds.gen";
import type { Bytes, Input, Output } from "./record";
import { memoryAhead } from "./store";
import { Disk } from "./testing";
import { titleOf } from "./title";

const pieceLength = 65536;
// No two blocks are alike.
const data = Uint8Array.from({ length: 20 * pieceLength + 20_000 }, (_, i) => i * 7 + (i >> 8) * 13 + (i >> 14) * 5);
const film = makeFilm([data], pieceLength);
const title = titleOf(film.session);
const name = title.files[0]!.root + ".pieces";
const dataAt = 4096; // where the slots of a short film's cache begin

const open = (disk: Disk): Promise<CacheStore> => openCache(disk, title, { quota: 100e9, usage: 0 }, 1e12, () => {});
const pieceOf = (piece: number): Bytes =>
  film.files[0]!.data.slice(piece * pieceLength, (piece + 1) * pieceLength) as Bytes;

/** A store that holds the first pieces, in slots of the same order. */
async function holding(disk: Disk, pieces: number): Promise<CacheStore> {
  const store = await open(disk);
  for (let piece = 0; piece < pieces; piece++) store.put(piece, [pieceOf(piece)]);
  return store;
}

/** The piece's bytes [from, to), or undefined where the store does not give them. */
function read(store: CacheStore, piece: number, from: number, to: number): Bytes | undefined {
  const got = new Uint8Array(to - from);
  try {
    store.read(piece, from, got.length, got, 0);
    return got;
  } catch {
    return undefined;
  }
}

const whole = (store: CacheStore, piece: number) => read(store, piece, 0, pieceOf(piece).length);

/** Does something to the bytes of the cache file. */
const tamper = (disk: Disk, how: (b: Bytes) => Bytes | void) =>
  disk.files.set(name, how(disk.files.get(name)!) ?? disk.files.get(name)!);

test("the checksums of a piece do not depend on the parts in which it comes", () => {
  const piece = pieceOf(20);
  const want = [crc32c(piece.subarray(0, 16384)), crc32c(piece.subarray(16384))];
  expect(sumsOf([piece])).toEqual(want);
  expect(sumsOf([piece.subarray(0, 16384), piece.subarray(16384)])).toEqual(want);
  expect(sumsOf([piece.subarray(0, 100), piece.subarray(100, 17_000), piece.subarray(17_000)])).toEqual(want);
});

test("any part of a stored piece is read as it was, or not at all", async () => {
  const disk = new Disk();
  const edges = [0, 1, 16383, 16384, 16385, 19_999, 20_000, 32_768, 39_999, 40_001, 49_152, 49_153, 65_535, 65_536];
  for (const [piece, wrong] of [
    [1, 40_000],
    [20, 19_000],
  ] as const) {
    for (const from of edges) {
      const store = await holding(disk, 21);
      tamper(disk, (b) => void (b[dataAt + piece * pieceLength + wrong]! ^= 0x80));
      const size = pieceOf(piece).length;
      for (const to of edges.filter((edge) => edge > from && edge <= size).slice(0, 7)) {
        const spoilt = from < Math.min(size, wrong - (wrong % 16384) + 16384) && to > wrong - (wrong % 16384);
        const got = read(store, piece, from, to);
        expect(got !== undefined, `piece ${piece}, ${from} to ${to}`).toBe(!spoilt);
        if (got) expect(Buffer.compare(got, pieceOf(piece).subarray(from, to))).toBe(0);
      }
      store.close();
      disk.files.clear();
    }
  }
});

test.each<[string, (b: Bytes) => Bytes | void, number[]]>([
  ["a hole of zeros", (b) => void b.fill(0, dataAt + pieceLength, dataAt + 3 * pieceLength), [1, 2]],
  ["cut", (b) => b.slice(0, dataAt + 3 * pieceLength + 5), [3, 4]],
  [
    "two blocks exchanged",
    (b) => {
      const first = b.slice(dataAt, dataAt + 16384);
      b.copyWithin(dataAt, dataAt + 16384, dataAt + 32768);
      b.set(first, dataAt + 16384);
    },
    [0],
  ],
  ["one slot over another", (b) => void b.copyWithin(dataAt, dataAt + pieceLength, dataAt + 2 * pieceLength), [0]],
])("%s: what changed under an open page is not given, all else is", async (_, how, spoilt) => {
  const disk = new Disk();
  const store = await holding(disk, 5);
  tamper(disk, how);
  for (let piece = 0; piece < 5; piece++) {
    const got = whole(store, piece);
    if (spoilt.includes(piece)) expect(got, `piece ${piece}`).toBeUndefined();
    else expect(Buffer.compare(got!, pieceOf(piece)), `piece ${piece}`).toBe(0);
  }
  for (const piece of spoilt) {
    store.delete(piece);
    store.put(piece, [pieceOf(piece)]); // fetched again
    expect(Buffer.compare(whole(store, piece)!, pieceOf(piece))).toBe(0);
  }
});

test("a found piece that changes after it was digested is not given; one that nobody looked at does not count", async () => {
  const disk = new Disk();
  (await holding(disk, 3)).close();
  const store = await open(disk);
  expect(store.shelf.accept(2)).toBe(false);
  for (const piece of [0, 1]) expect(Buffer.compare(store.shelf.peek(piece)!, pieceOf(piece))).toBe(0);
  tamper(disk, (b) => void (b[dataAt + 9]! ^= 1));
  expect([store.shelf.accept(0), store.shelf.accept(1)]).toEqual([true, true]);
  expect(whole(store, 0)).toBeUndefined();
  expect(Buffer.compare(whole(store, 1)!, pieceOf(1))).toBe(0);
});

test("what is moved within the file keeps its checksums", async () => {
  const disk = new Disk();
  const store = await holding(disk, 20);
  for (let piece = 0; piece < 19; piece++) store.delete(piece); // the last one ends up in front
  expect(disk.files.get(name)!.length).toBeLessThan(dataAt + 12 * pieceLength);
  expect(Buffer.compare(whole(store, 19)!, pieceOf(19))).toBe(0);
  tamper(disk, (b) => void b.fill(7, dataAt));
  expect(whole(store, 19)).toBeUndefined();
});

test("a disk that keeps nothing is given no more, and a film goes on in memory", async () => {
  const disk = new Disk();
  const store = await open(disk);
  const { limit } = store;
  let lost = 0;
  for (let round = 0; round < 3; round++) {
    for (let piece = 0; piece < 20; piece++) {
      if (!store.has(piece)) store.put(piece, [pieceOf(piece)]);
      tamper(disk, (b) => void b.fill(0, dataAt));
      const got = whole(store, piece);
      if (got) expect(Buffer.compare(got, pieceOf(piece))).toBe(0);
      else {
        lost++;
        store.delete(piece);
      }
    }
  }
  expect(lost).toBe(8);
  expect(store.limit).toBeLessThan(limit);
  expect(store.ahead).toBe(memoryAhead);
});

/** A core over a cache whose engine says what it is told to, and notes what it hears. */
async function scripted(disk: Disk, pieces: number) {
  const heard: Input[] = [];
  let says: Partial<Output>[] = [];
  const sent: Bytes[] = [];
  const core = new Core({
    title,
    store: await holding(disk, pieces),
    engine: {
      step: (_, input) => {
        heard.push(input);
        return says.splice(0) as Output[];
      },
      deadline: () => undefined,
    },
    clock: { now: () => 1, after: () => () => undefined },
    net: {
      send: (_, message) => sent.push(message),
      queued: () => 0,
      measure: () => undefined,
      close: () => undefined,
      dial: () => undefined,
      announce: () => undefined,
    },
    http: { get: () => () => undefined },
    digest: () => Promise.reject(new Error("nothing to digest")),
    origins: [],
    ticket: "",
  });
  core.open();
  core.connected(1, undefined, false);
  heard.length = 0;
  /** Has the engine say this next, and returns what it hears of it. */
  const say = (...outputs: Partial<Output>[]): Input[] => {
    says = outputs;
    heard.length = 0;
    core.seeked(0);
    return heard.splice(0).slice(1);
  };
  return { core, say, sent };
}

test("a peer gets the block as it was, and a word to the engine in place of one that has changed", async () => {
  const disk = new Disk();
  const { say, sent } = await scripted(disk, 3);
  tamper(disk, (b) => void (b[dataAt + pieceLength + 20_000]! ^= 1));
  const ask = (piece: number, begin: number) =>
    say({ kind: OutputKind.SendBlock, peer: 1, piece, begin, length: 16384 });
  expect(ask(1, 0)).toEqual([]);
  expect(sent.splice(0).map((m) => Buffer.compare(m.subarray(13), pieceOf(1).subarray(0, 16384)))).toEqual([0]);
  const lost = (piece: number, begin: number) => ({
    kind: InputKind.Evicted,
    piece,
    peer: 1,
    begin,
    length: 16384,
  });
  expect(ask(1, 16384)).toEqual([lost(1, 16384)]);
  expect(ask(1, 0)).toEqual([lost(1, 0)]); // all of the piece is gone, and every request has its answer
  expect(ask(9, 0)).toEqual([lost(9, 0)]);
  expect(sent).toEqual([]);
});

test("of a range the player gets all as it was; what has changed is given up at once, and the range asked for again", async () => {
  const disk = new Disk();
  const { core, say } = await scripted(disk, 5);
  const { answer } = core.read(0, 100, 5 * pieceLength - 100);
  const ready = { kind: OutputKind.RangeReady, ref: 1 };
  tamper(disk, (b) => {
    for (const piece of [1, 3, 4]) b[dataAt + piece * pieceLength + 5]! ^= 1;
  });
  expect(say(ready).map(({ kind, piece }) => [kind, piece])).toEqual([
    [InputKind.Evicted, 1],
    [InputKind.Evicted, 3],
    [InputKind.Evicted, 4],
    [InputKind.RangeWanted, undefined],
  ]);
  const store = (core as unknown as { parts: { store: CacheStore } }).parts.store;
  for (const piece of [1, 3, 4]) store.put(piece, [pieceOf(piece)]);
  expect(say(ready)).toEqual([]);
  const got = new Uint8Array((await answer).data);
  expect(Buffer.compare(got, film.files[0]!.data.slice(100, 5 * pieceLength - 100))).toBe(0);
});

test("hashes are made of no block that has changed", async () => {
  const disk = new Disk();
  const { say } = await scripted(disk, 2);
  tamper(disk, (b) => void (b[dataAt + 5]! ^= 1));
  expect(say({ kind: OutputKind.HashPiece, ref: 7, piece: 0 })).toEqual([{ kind: InputKind.Evicted, piece: 0 }]);
});
