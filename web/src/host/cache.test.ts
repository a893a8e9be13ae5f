/** The stores: in memory, and in files that last, under kills, rot, full disks, quotas and new versions of a title. */

import { expect, test } from "vitest";
import { makeFilm } from "../player/testing";
import { openCache, type CacheStore, type Grant } from "./cache";
import { type CacheFile, headSize, readHead } from "./cachefile";
import type { Bytes } from "./record";
import { MemoryStore, type PieceStore } from "./store";
import { HashFile } from "./hashfile";
import { bytes, Disk } from "./testing";
import { placeOf, titleOf, type Title } from "./title";

const pieceLength = 32768;

const plenty: Grant = { quota: 100e9, usage: 0 };
const film = makeFilm([bytes(10 * pieceLength - 5000, 1), bytes(3 * pieceLength + 100, 2)], pieceLength);

const aTitle = (): Title => titleOf(film.session);
const piecesOf = (title: Title) =>
  title.files.flatMap((f) => Array.from({ length: Math.ceil(f.size / pieceLength) }, (_, n) => f.firstPiece + n));

function trueBytes(title: Title, piece: number): Bytes {
  const place = placeOf(title, piece)!;
  return film.files[place.file]!.data.slice(place.from, place.from + place.size) as Bytes;
}

function blocks(b: Bytes): Bytes[] {
  return [b.slice(0, 16384), b.slice(16384)].filter((part) => part.length > 0);
}

const openOn = (disk: Disk, title = aTitle(), grant = plenty, now = 1e12, released = () => {}): Promise<CacheStore> =>
  openCache(disk, title, grant, now, released);

function holds(store: PieceStore, title: Title, piece: number): void {
  const want = trueBytes(title, piece);
  const got = new Uint8Array(want.length + 7);
  store.read(piece, 0, want.length, got, 7);
  expect(Buffer.compare(got.subarray(7), want)).toBe(0);
}

test.each([
  ["memory", () => Promise.resolve(new MemoryStore())],
  ["files", () => openOn(new Disk())],
  [
    "files without room",
    () => {
      const disk = new Disk();
      disk.room = 3 * pieceLength;
      return openOn(disk);
    },
  ],
] as [string, () => Promise<PieceStore>][])(
  "a store in %s gives back what was put in, and counts it",
  async (_, make) => {
    const store = await make();
    const title = aTitle();
    const all = piecesOf(title);
    for (const piece of all) store.put(piece, blocks(trueBytes(title, piece)));
    store.put(all[0]!, blocks(trueBytes(title, all[0]!)));
    const size = title.files.reduce((sum, f) => sum + f.size, 0);
    expect(store.used).toBe(size);
    for (const piece of all) holds(store, title, piece);
    const last = trueBytes(title, all[9]!);
    expect(() => store.read(all[9]!, last.length - 10, 20, new Uint8Array(20), 0)).toThrow();
    expect(() => store.read(99, 0, 1, new Uint8Array(1), 0)).toThrow();
    store.delete(all[9]!);
    expect(store.has(all[9]!)).toBe(false);
    expect(store.used).toBe(size - last.length);
    store.close();
  },
);

test("what is cached is found again, counts only once it was accepted, and is given up with the lock", async () => {
  const disk = new Disk();
  const title = aTitle();
  let released = 0;
  const store = await openOn(disk, title, plenty, 1e12, () => released++);
  expect(store.shelf.found()).toEqual([]);
  for (const piece of [0, 4, 9, 11]) store.put(piece, blocks(trueBytes(title, piece)));
  store.delete(4);
  store.close();
  expect([released, disk.open.size]).toEqual([1, 0]);

  const again = await openOn(disk);
  expect(again.shelf.found()).toEqual([0, 9, 11]);
  expect(again.has(0)).toBe(false);
  expect(() => again.read(0, 0, 1, new Uint8Array(1), 0)).toThrow();
  expect(again.shelf.peek(9)).toEqual(trueBytes(title, 9));
  expect(again.shelf.peek(4)).toBeUndefined();
  expect(again.shelf.accept(4)).toBe(false);
  expect(again.shelf.accept(9)).toBe(true);
  holds(again, title, 9);
  expect(again.shelf.found()).toEqual([0, 11]);
  again.put(0, blocks(trueBytes(title, 0))); // what came meanwhile takes the place of what was found
  expect(again.shelf.found()).toEqual([11]);
  holds(again, title, 0);
  again.close();
});

test("a kill at any byte leaves a cache that opens, and names no piece whose write had not ended", async () => {
  const title = aTitle();
  for (let fuel = 0; ; fuel += 1499) {
    const disk = new Disk();
    disk.fuel = fuel;
    const ended = new Set<number>();
    const seen = new Map<number, Bytes>();
    let killed = false;
    const store = await openOn(disk, title);
    try {
      // The file layer itself, which does not hide what the disk refuses.
      for (const piece of [0, 1, 2, 3, 4, 5]) {
        const file = (store as unknown as { files: CacheFile[] }).files[0]!;
        file.put(piece, blocks(trueBytes(title, piece)));
        ended.add(piece);
        if (piece === 2) {
          ended.delete(1);
          file.delete(1);
        }
      }
    } catch {
      killed = true;
    }
    const after = await openOn(disk.rebooted(), title);
    for (const piece of after.shelf.found()) {
      const there = after.shelf.peek(piece);
      if (there) seen.set(piece, there);
    }
    for (const piece of ended) expect(seen.has(piece), `piece ${piece} after ${fuel} bytes`).toBe(true);
    for (const [piece, there] of seen) {
      // Only the piece whose table entry was being written may stand there as well, and it is whole.
      expect(Buffer.compare(there, trueBytes(title, piece)), `piece ${piece} after ${fuel} bytes`).toBe(0);
    }
    if (!killed) break;
  }
});

test("torn, rotten and forged files open, and nothing of them counts unasked", async () => {
  const title = aTitle();
  const name = title.files[0]!.root + ".pieces";
  const fill = async () => {
    const disk = new Disk();
    const store = await openOn(disk, title);
    for (const piece of [0, 1, 2, 9]) store.put(piece, blocks(trueBytes(title, piece)));
    store.close();
    return disk;
  };
  const tampered: [string, (b: Bytes) => Bytes, number[]][] = [
    ["cut within the last slot", (b) => b.slice(0, b.length - 3000), [0, 1, 2, 9]],
    ["cut within the table", (b) => b.slice(0, headSize + 6), []],
    ["cut within the head", (b) => b.slice(0, 40), []],
    ["empty", () => new Uint8Array(0), []],
    ["no head", (b) => (b.fill(0xff, 0, 8), b), []],
    ["another piece length", (b) => ((b[9] = 2), b), []],
    ["a name out of range", (b) => (b.fill(0xff, headSize, headSize + 4), b), [1, 2, 9]],
    ["two slots of one name", (b) => (b.copyWithin(headSize, headSize + 4, headSize + 8), b), [1, 2, 9]],
    ["names exchanged", (b) => ((b[headSize + 3] = 2), (b[headSize + 7] = 1), b), [0, 1, 2, 9]],
  ];
  for (const [what, tamper, found] of tampered) {
    const disk = await fill();
    disk.files.set(name, tamper(disk.files.get(name)!));
    const store = await openOn(disk, title);
    expect(store.shelf.found(), what).toEqual(found);
    expect(found.filter((piece) => store.has(piece))).toEqual([]);
    for (const piece of piecesOf(title)) store.put(piece, blocks(trueBytes(title, piece)));
    for (const piece of piecesOf(title)) holds(store, title, piece);
    store.close();
    expect((await openOn(disk, title)).shelf.found()).toHaveLength(piecesOf(title).length);
  }
});

test("a file gives room back: what is evicted leaves no holes for long", async () => {
  const big = makeFilm([bytes(60 * pieceLength, 3)], pieceLength);
  const title = titleOf(big.session);
  const disk = new Disk();
  const store = await openOn(disk, title);
  for (let piece = 0; piece < 60; piece++) store.put(piece, [bytes(pieceLength, piece)]);
  const full = [...disk.files.values()][0]!.length;
  for (let piece = 0; piece < 50; piece++) store.delete((piece * 7) % 50);
  expect([...disk.files.values()][0]!.length).toBeLessThan(full - 30 * pieceLength);
  for (let piece = 50; piece < 60; piece++) {
    const got = new Uint8Array(pieceLength);
    store.read(piece, 0, pieceLength, got, 0);
    expect(Buffer.compare(got, bytes(pieceLength, piece))).toBe(0);
  }
  store.close();
  expect((await openOn(disk, title)).shelf.found()).toEqual([50, 51, 52, 53, 54, 55, 56, 57, 58, 59]);
});

test("a disk that is full bounds the store, and what came is not lost", async () => {
  const disk = new Disk();
  disk.room = 4096 + 3.5 * pieceLength;
  const title = aTitle();
  const store = await openOn(disk, title);
  const before = store.limit;
  expect(store.ahead).toBe(0);
  for (const piece of [0, 1, 2, 3, 4]) store.put(piece, blocks(trueBytes(title, piece)));
  expect(store.limit).toBeLessThan(before);
  expect(store.ahead).toBeGreaterThan(0);
  for (const piece of [0, 1, 2, 3, 4]) holds(store, title, piece);
});

test("a new version of a title keeps the file that did not change, whatever its pieces are called now", async () => {
  const disk = new Disk();
  const old = aTitle();
  const store = await openOn(disk, old);
  for (const piece of piecesOf(old)) store.put(piece, blocks(trueBytes(old, piece)));
  store.shelf.mark(0, 12, 40);
  store.close();
  const remade = makeFilm([bytes(20 * pieceLength, 9), film.files[1]!.data as Bytes], pieceLength);
  const title = titleOf(remade.session);
  expect(title.files[1]!.root).toBe(old.files[1]!.root);
  const later = await openOn(disk, title, plenty, 1e12 + 86_400_000);
  const first = title.files[1]!.firstPiece;
  expect(later.shelf.found()).toEqual([first, first + 1, first + 2, first + 3]);
  expect(later.shelf.peek(first)).toEqual(film.files[1]!.data.slice(0, pieceLength));
  const others = later.shelf.others();
  expect(others).toEqual([{ ref: 1, members: 12, copies: 40, idle: 86_400, bytes: expect.any(Number) as number }]);
  later.shelf.removeOther(1);
  expect(later.shelf.others()).toEqual([]);
  expect([...disk.files.keys()].some((name) => name.startsWith(old.files[0]!.root))).toBe(false);
});

test("the cache takes a tenth of what is granted, two gigabytes at most, and none of what is too little", async () => {
  const limitOf = async (grant: Grant) => (await openOn(new Disk(), aTitle(), grant)).limit;
  const proofs = HashFile.most(10) + HashFile.most(4);
  expect(await limitOf({ quota: 1e12, usage: 0 })).toBe(2 ** 31 - proofs);
  expect(await limitOf({ quota: 5e9, usage: 1e9 })).toBe(5e8 - proofs);
  expect(await limitOf({ quota: 5e9, usage: 4.8e9 })).toBe(1e8 - proofs);
  await expect(limitOf({ quota: 3e8, usage: 0 })).rejects.toThrow();
  await expect(limitOf({})).rejects.toThrow();
});

test("what is no cache file is swept out of the folder", async () => {
  const disk = new Disk();
  disk.files.set("scratch", bytes(100, 1));
  disk.files.set("f00.pieces", bytes(100, 1));
  disk.files.set("f01.hashes", bytes(100, 1)); // which prove nothing that is there
  await openOn(disk);
  const known = film.session.files.flatMap((f) => [`${f.root}.pieces`, `${f.root}.hashes`]);
  expect([...disk.files.keys()].sort()).toEqual(known.sort());
  expect(readHead(bytes(100, 1))).toBeUndefined();
});
