/**
 * Two viewers in virtual time: the real engine in WebAssembly, the real core, and between them channels, an origin and clocks
 * that are a list of events. What holds here holds for the host's whole road, network and browser apart.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { makeFilm, type TestFilm } from "../player/testing";
import { Core, type CoreRead } from "./core";
import { queueLow } from "./peers";
import type { Announce, Clock } from "./surroundings";
import { WasmEngine } from "./engine";
import { openCache } from "./cache";
import { knownHashes } from "./hashes";
import { Proofs } from "./proofs";
import type { Bytes } from "./record";
import { MemoryStore, type PieceStore } from "./store";
import { Disk } from "./testing";
import { newPeerId, titleOf } from "./title";
import type { EngineNote } from "../player/source";

const root = fileURLToPath(new URL("../../..", import.meta.url));
let folder = "";
let module: WebAssembly.Module;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "essaim-pair-"));
  const path = join(folder, "engine.wasm");
  const env = { ...process.env, GOOS: "js", GOARCH: "wasm" };
  execFileSync("go", ["build", "-trimpath", "-ldflags=-s -w", "-o", path, "./internal/host/browser"], {
    cwd: root,
    env,
  });
  module = await WebAssembly.compile(readFileSync(path));
}, 300_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sha = (b: Uint8Array): Bytes => new Uint8Array(createHash("sha256").update(b).digest());

/** Virtual time. Between two events every promise settles. */
class Time implements Clock {
  private us = 1_000_000;
  private readonly events: { at: number; due: () => void }[] = [];

  now(): number {
    return this.us;
  }

  after(us: number, due: () => void): () => void {
    const event = { at: this.us + Math.max(0, us), due };
    this.events.push(event);
    return () => {
      const i = this.events.indexOf(event);
      if (i >= 0) this.events.splice(i, 1);
    };
  }

  /** Runs until `done` or so many seconds have passed. */
  async run(seconds: number, done: () => boolean): Promise<void> {
    const end = this.us + seconds * 1e6;
    while (!done()) {
      await new Promise((resolve) => setImmediate(resolve));
      if (done()) return;
      let next = -1;
      this.events.forEach((e, i) => {
        if (next < 0 || e.at < this.events[next]!.at) next = i;
      });
      if (next < 0 || this.events[next]!.at > end) return;
      const [event] = this.events.splice(next, 1);
      this.us = Math.max(this.us, event!.at);
      event!.due();
    }
  }
}

/** One viewer: a core over the real engine, reading the film through from its start at the film's own pace. */
class Viewer {
  readonly notes: EngineNote[] = [];
  readonly announces: Announce[] = [];
  readonly queues = new Map<number, number>();
  core!: Core;
  originBytes = 0;
  hashRequests = 0;
  send: (peer: number, bytes: Bytes) => void = () => {};
  closePeer: (peer: number) => void = () => {};

  /** `away`: the origin answers nothing. */
  static async open(time: Time, film: TestFilm, store: PieceStore = new MemoryStore(), away = false): Promise<Viewer> {
    const v = new Viewer();
    const title = { ...titleOf(film.session), peerId: newPeerId(), seed: 7n };
    const engine = await WasmEngine.start(module, (error) => {
      throw error;
    });
    const session = knownHashes(film.session.files, (b) => Promise.resolve(sha(b)));
    const proofs = new Proofs(title, store.proofs, session);
    v.core = new Core({
      title,
      engine,
      clock: time,
      store,
      origins: ["http://origin"],
      ticket: "t",
      digest: (b) => Promise.resolve(sha(b)),
      known: proofs.known,
      onHashes: proofs.learned,
      net: {
        send: (peer, bytes) => v.send(peer, bytes),
        queued: (peer) => v.queues.get(peer) ?? 0,
        measure: () => {},
        close: (peer) => v.closePeer(peer),
        dial: () => {},
        announce: (a) => v.announces.push(a),
      },
      // 50 ms away, 16 Mbit/s for each response.
      http: {
        get: (url, headers, events) => {
          let over = false;
          const u = new URL(url);
          const [, kind, hex] = u.pathname.split("/");
          if (kind === "hashes") v.hashRequests++;
          if (away) {
            time.after(50_000, () => !over && events.fail());
            return () => {
              over = true;
            };
          }
          const index = film.session.files.findIndex((f) => f.root === hex);
          const { data, tree } = film.files[index]!;
          const n = (name: string) => Number(u.searchParams.get(name));
          const [from = 0, last = 0] = (headers.range ?? "").replace("bytes=", "").split("-").map(Number);
          const body =
            kind === "hashes"
              ? tree.answer({ base: n("base"), index: n("index"), length: n("length"), proof: n("proof") })
              : data.slice(from, last + 1);
          const range = `bytes ${from}-${last}/${data.length}`;
          time.after(50_000, () => !over && events.head(kind === "hashes" ? 200 : 206, () => range));
          for (let at = 0, chunk = 10_000; at < body.length; at += chunk) {
            time.after(50_000 + at / 2, () => {
              if (over) return;
              if (kind === "media") v.originBytes += Math.min(chunk, body.length - at);
              events.body(body.slice(at, at + chunk));
            });
          }
          time.after(50_001 + body.length / 2, () => !over && events.end());
          return () => {
            over = true;
          };
        },
      },
      onNote: (note) => v.notes.push(note),
      onFailed: (error) => {
        throw error;
      },
    });
    v.core.open({ p2p: true, upload: true, lan: true, uplink_kbps: 0 });
    return v;
  }

  /** Reads all of a file, in steps, and moves the play head with it; resolves with the bytes. */
  async play(time: Time, film: TestFilm, bytesPerSecond: number): Promise<Bytes> {
    const { size } = film.session.files[0]!;
    const out = new Uint8Array(size);
    const step = 100_000;
    const startUs = time.now();
    this.core.rendition(0);
    for (let at = 0; at < size; at += step) {
      const to = Math.min(size, at + step);
      const state = (positionMs: number) => ({
        position_ms: positionMs,
        buffered_end_ms: (at / bytesPerSecond) * 1000,
        rate: 1,
        paused: false,
      });
      this.core.moved(state(Math.max(0, (time.now() - startUs) / 1000 - 200)));
      const read: CoreRead = await this.core.read(0, at, to).answer;
      out.set(new Uint8Array(read.data), at);
      const ahead = startUs + (at / bytesPerSecond) * 1e6 - 4e6 - time.now();
      if (ahead > 0) await new Promise<void>((resolve) => void time.after(ahead, resolve));
    }
    return out;
  }
}

/** Joins two viewers by a channel of 10 ms and so many bytes per µs each way. */
function join2(time: Time, a: Viewer, b: Viewer, speed: number): void {
  const over = { now: false };
  const connect = (from: Viewer, to: Viewer) => {
    let free = 0;
    from.queues.set(1, 0);
    from.send = (_, bytes) => {
      const size = bytes.length;
      const data = bytes.slice();
      const was = from.queues.get(1)!;
      from.queues.set(1, was + size);
      free = Math.max(free, time.now()) + size / speed;
      time.after(free - time.now(), () => {
        const before = from.queues.get(1)!;
        from.queues.set(1, before - size);
        if (!over.now && before > queueLow && before - size <= queueLow) from.core.drained(1);
      });
      time.after(free - time.now() + 10_000, () => !over.now && to.core.received(1, data));
    };
    from.closePeer = () => {
      if (over.now) return;
      over.now = true;
      time.after(0, () => to.core.closed(1));
    };
  };
  connect(a, b);
  connect(b, a);
  a.core.connected(1, undefined, false);
  b.core.connected(1, undefined, true);
}

const size = 6_000_000;
const rate = 200_000; // bytes of film a second: it lasts 30 s

function film(): TestFilm {
  const data = new Uint8Array(size);
  for (let i = 0, x = 1; i < size; i++) {
    x = (x * 1103515245 + 12345) >>> 0;
    data[i] = x >>> 16;
  }
  const f = makeFilm([data], 32 << 10, 64);
  f.session.duration_ms = 30_000;
  f.session.files[0]!.segments = Array.from({ length: 15 }, (_, i) => [i * 400_000, (i + 1) * 400_000, i * 2000, 2000]);
  return f;
}

// At 5 Gbyte/s no queue ever fills, and none is ever reported.
test.each([5, 5000])(
  "a second viewer gets the film from the first, byte for byte, at %d MB/s",
  async (speed) => {
    const time = new Time();
    const f = film();
    const a = await Viewer.open(time, f);
    let played: Bytes | undefined;
    void a.play(time, f, rate).then((b) => (played = b));
    await time.run(120, () => played !== undefined);
    expect(sha(played!)).toEqual(sha(f.files[0]!.data));

    const b = await Viewer.open(time, f);
    join2(time, a, b, speed);
    let second: Bytes | undefined;
    void b.play(time, f, rate).then((bytes) => (second = bytes));
    await time.run(120, () => second !== undefined);
    expect(second).toBeDefined();
    expect(sha(second!)).toEqual(sha(f.files[0]!.data));
    const stats = b.core.stats();
    expect(stats.peerBytes / size).toBeGreaterThan(0.75);
    expect(b.originBytes / size).toBeLessThan(0.25);
    expect(stats.peers).toBe(1);
    expect(b.notes.filter((n) => n.kind === "piece" && n.peer === 1).length).toBeGreaterThan(100);
    a.core.close();
    b.core.close();
  },
  60_000,
);

test("what the page verified after the engine opened is the engine's to give to others", async () => {
  const time = new Time();
  const f = film();
  const a = await Viewer.open(time, f);
  const b = await Viewer.open(time, f, undefined, true);
  join2(time, a, b, 5);
  const { data } = f.files[0]!;
  let read: CoreRead | undefined;
  void b.core.read(0, 0, 40_000).answer.then((r) => (read = r));
  await time.run(1, () => false);
  for (const piece of [0, 1, 0]) a.core.verified(piece, data.slice(piece << 15, (piece + 1) << 15));
  await time.run(60, () => read !== undefined);
  expect(new Uint8Array(read!.data)).toEqual(data.slice(0, 40_000));
  expect(b.core.stats().peerBytes).toBe(2 << 15);
  expect(a.core.stats()).toMatchObject({ sentBytes: 2 << 15, cachedBytes: 0 });
  expect(a.notes.filter((n) => n.kind === "restored")).toEqual([]); // the page has told of them
  a.core.close();
  b.core.close();
}, 60_000);

test("a viewer that is lied to drops the liar and plays the film all the same", async () => {
  const time = new Time();
  const f = film();
  const a = await Viewer.open(time, f);
  let done = false;
  void a.play(time, f, rate * 10).then(() => (done = true));
  await time.run(60, () => done);
  a.core.setLie(true);
  const b = await Viewer.open(time, f);
  join2(time, a, b, 5);
  let played: Bytes | undefined;
  void b.play(time, f, rate).then((bytes) => (played = bytes));
  await time.run(120, () => played !== undefined);
  expect(sha(played!)).toEqual(sha(f.files[0]!.data));
  expect(b.core.stats().badBlocks).toBeGreaterThan(0);
  expect(b.core.stats().banned).toEqual([{ peer_id: expect.stringMatching(/^[0-9a-f]{40}$/), proven: true }]);
  expect(b.core.stats().peers).toBe(0);
  expect(b.notes.some((n) => n.kind === "banned")).toBe(true);
  a.core.close();
  b.core.close();
}, 60_000);

// WebCrypto's promises take real time, which virtual time does not wait for.
function promptDigests(): void {
  vi.spyOn(crypto.subtle, "digest").mockImplementation((_, data) => Promise.resolve(sha(data as Bytes).buffer));
}

const cacheOn = (disk: Disk, f: TestFilm) =>
  openCache(disk, titleOf(f.session), { quota: 100e9, usage: 0 }, 1e12, () => undefined);

/** Plays all of it, and returns what was played, if it came to an end. */
async function playAll(time: Time, v: Viewer, f: TestFilm): Promise<Bytes | undefined> {
  let played: Bytes | undefined;
  void v.play(time, f, rate * 10).then((b) => (played = b));
  await time.run(120, () => played !== undefined);
  return played;
}

test("a second visit plays what it holds, and proves it to others, while the origin is away", async () => {
  promptDigests();
  const time = new Time();
  const f = film();
  const disk = new Disk();
  const first = await Viewer.open(time, f, await cacheOn(disk, f));
  expect(sha((await playAll(time, first, f))!)).toEqual(sha(f.files[0]!.data));
  expect(first.hashRequests).toBeGreaterThan(0);
  first.core.close();

  const again = await Viewer.open(time, f, await cacheOn(disk.rebooted(), f), true);
  expect(sha((await playAll(time, again, f))!)).toEqual(sha(f.files[0]!.data));
  expect([again.originBytes, again.hashRequests]).toEqual([0, 0]);
  const other = await Viewer.open(time, f, await cacheOn(new Disk(), f), true);
  join2(time, again, other, 5);
  expect(sha((await playAll(time, other, f))!)).toEqual(sha(f.files[0]!.data));
  again.core.close();
  other.core.close();
}, 60_000);

test("hashes that a peer gave are kept too, where they are true", async () => {
  promptDigests();
  const time = new Time();
  const f = film();
  const a = await Viewer.open(time, f, await cacheOn(new Disk(), f));
  expect(await playAll(time, a, f)).toBeDefined();
  const disk = new Disk();
  const b = await Viewer.open(time, f, await cacheOn(disk, f), true);
  join2(time, a, b, 5);
  expect(await playAll(time, b, f)).toBeDefined();
  a.core.close();
  b.core.close();
  const again = await Viewer.open(time, f, await cacheOn(disk.rebooted(), f), true);
  expect(sha((await playAll(time, again, f))!)).toEqual(sha(f.files[0]!.data));
  again.core.close();
}, 60_000);

test.each<[string, (b: Bytes) => Bytes]>([
  ["torn", (b) => b.slice(0, b.length / 2)],
  ["changed in one bit", (b) => b.map((x, i) => (i === 1000 ? x ^ 1 : x))],
  ["no such file at all", (b) => b.map((_, i) => i * 31)],
])(
  "kept hashes that are %s are found out and fetched anew",
  async (_, spoil) => {
    promptDigests();
    const time = new Time();
    const f = film();
    const disk = new Disk();
    const name = `${f.session.files[0]!.root}.hashes`;
    const first = await Viewer.open(time, f, await cacheOn(disk, f));
    expect(await playAll(time, first, f)).toBeDefined();
    first.core.close();
    const whole = disk.files.get(name)!;
    const next = disk.rebooted();
    next.files.set(name, spoil(whole) as Bytes);
    const again = await Viewer.open(time, f, await cacheOn(next, f));
    expect(sha((await playAll(time, again, f))!)).toEqual(sha(f.files[0]!.data));
    expect(again.hashRequests).toBeGreaterThan(0);
    expect(again.originBytes).toBe(0);
    again.core.close();
    const last = await Viewer.open(time, f, await cacheOn(next.rebooted(), f), true);
    expect(sha((await playAll(time, last, f))!)).toEqual(sha(f.files[0]!.data));
    last.core.close();
  },
  60_000,
);
