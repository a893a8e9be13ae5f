import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { DirectSource } from "./direct";
import type { PlayPolicy } from "./session";
import type {
  EngineBytes,
  EngineOptions,
  MediaSourceBytes,
  OpenEngine,
  ReadResult,
  Stats,
  VerifiedPiece,
} from "./source";
import { SwitchingSource, type SwitchingOptions } from "./switching";
import { makeFilm, makeOrigin } from "./testing";

const piece = 32 * 1024;
const never = new AbortController().signal;
const sharing: PlayPolicy = { p2p: true, upload: true, lan: false, uplink_kbps: 0 };

/** An engine of which a test says how it reads. */
class FakeEngine implements EngineBytes {
  verified?: (piece: VerifiedPiece) => void;
  told: string[] = [];
  closed = 0;
  counts: Stats = {
    originBytes: 0,
    peerBytes: 7,
    cachedBytes: 0,
    sentBytes: 1,
    badBlocks: 0,
    peers: 2,
    downloadKbps: 5,
  };
  reading: (file: number, from: number, to: number, signal: AbortSignal) => Promise<ReadResult> = (_, from, to) =>
    Promise.resolve({ data: new ArrayBuffer(to - from), cached: true, timeMs: 0 });

  read(file: number, from: number, to: number, signal: AbortSignal) {
    return this.reading(file, from, to, signal);
  }
  moved = () => void this.told.push("moved");
  seeked = () => void this.told.push("seeked");
  rendition = (file: number) => void this.told.push(`rendition ${file}`);
  policy = (p: PlayPolicy) => void this.told.push(`p2p ${p.p2p}`);
  tickets = () => void this.told.push("tickets");
  stats = () => this.counts;
  close = () => {
    this.closed++;
    return Promise.resolve();
  };
}

function open(policy: PlayPolicy, options: SwitchingOptions = {}) {
  const film = makeFilm([new Uint8Array(randomBytes(5 * piece))]);
  film.session.policy = policy;
  const origin = makeOrigin(film);
  const direct = new DirectSource(film.session, { around: { fetch: origin.fetch } });
  const engine = new FakeEngine();
  const opened = vi.fn<OpenEngine>(() => Promise.resolve(engine));
  const changes: string[] = [];
  const source = new SwitchingSource(film.session, direct, {
    load: () => Promise.resolve(opened),
    onChange: (via) => changes.push(via),
    ...options,
  });
  return { film, source, engine, opened, changes, seen: origin.seen };
}

test("without leave to use peers no engine is loaded", async () => {
  const { source, opened } = open({ ...sharing, p2p: false });
  await source.start();
  expect(opened).not.toHaveBeenCalled();
  source.policy(sharing);
  await vi.waitFor(() => expect(source.via).toBe("engine"));
  expect(opened).toHaveBeenCalledOnce();
});

test("an engine whose viewer says no, or leaves, while its code is loading is not opened", async () => {
  let arrive!: () => void;
  const loaded = new Promise<void>((resolve) => (arrive = resolve));
  const opened = vi.fn<OpenEngine>(() => Promise.resolve(new FakeEngine()));
  const { source } = open(sharing, { load: () => loaded.then(() => opened) });
  const starting = source.start();
  source.policy({ ...sharing, p2p: false });
  arrive();
  await starting;
  expect(opened).not.toHaveBeenCalled();
  source.policy(sharing); // a changed mind finds the way open
  await vi.waitFor(() => expect(source.via).toBe("engine"));

  const left = open(sharing, { load: () => Promise.resolve(opened) }).source;
  const leaving = left.start();
  await left.close();
  await leaving;
  expect(opened).toHaveBeenCalledOnce();
});

test("the engine is seeded with verified pieces and told what happened before it came", async () => {
  const { source, opened, engine, changes, film } = open(sharing);
  const seeds: VerifiedPiece[] = [];
  opened.mockImplementation((_, options: EngineOptions) => {
    seeds.push(...options.seed);
    return Promise.resolve(engine);
  });
  await source.read(0, 0, piece + 1, never);
  source.rendition(0);
  source.moved({ position_ms: 1, buffered_end_ms: 2, rate: 1, paused: false });
  await source.start();
  seeds.sort((a, b) => a.piece - b.piece);
  expect(seeds.map((seed) => seed.piece)).toEqual([0, 1]);
  expect(Buffer.compare(new Uint8Array(seeds[1].data), film.files[0].data.subarray(piece, 2 * piece))).toBe(0);
  expect(engine.told).toEqual(["p2p true", "tickets", "rendition 0", "moved"]);
  expect(changes).toEqual(["engine"]);
  source.seeked(5);
  source.policy({ ...sharing, p2p: false });
  expect(engine.told.slice(4)).toEqual(["seeked", "p2p false"]);
});

test("what was on its way to the page when the engine opened is given to the engine, and nothing twice", async () => {
  let arrive!: () => void;
  const slow = new Promise<void>((resolve) => (arrive = resolve));
  let opening!: (engine: MediaSourceBytes) => void;
  const film = makeFilm([new Uint8Array(randomBytes(5 * piece))]);
  film.session.policy = sharing;
  // Piece 1 comes while the engine opens, piece 2 after that.
  const origin = makeOrigin(film);
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const answer = await origin.fetch(input, init);
    if (new Headers(init?.headers).get("range")?.startsWith(`bytes=${2 * piece}`)) await slow;
    return answer;
  };
  const given: number[] = [];
  const opened: OpenEngine = (_, { seed }) => {
    given.push(...[...seed].map((each) => each.piece));
    return new Promise((resolve) => (opening = resolve));
  };
  const source = new SwitchingSource(film.session, new DirectSource(film.session, { around: { fetch } }), {
    load: () => Promise.resolve(opened),
  });
  const engine = new FakeEngine();
  engine.verified = ({ file, piece: number, data }) => {
    const { data: bytes } = film.files[file];
    expect(Buffer.compare(new Uint8Array(data), bytes.subarray(number * piece, (number + 1) * piece))).toBe(0);
    given.push(number);
  };
  await source.read(0, 0, 9, never);
  const starting = source.start();
  await vi.waitFor(() => expect(given).toEqual([0]));
  const late = source.read(0, 2 * piece, 2 * piece + 9, never);
  await source.read(0, piece, piece + 9, never);
  opening(engine);
  await starting;
  expect(given).toEqual([0, 1]);
  arrive();
  await late;
  expect(given).toEqual([0, 1, 2]);
  await source.close();
});

describe("an engine that", () => {
  test("cannot be loaded leaves everything to the page, for good", async () => {
    const { source, opened, changes, film } = open(sharing, {
      load: () => Promise.reject(new Error("no WebAssembly")),
    });
    await source.start();
    await source.start();
    expect(opened).not.toHaveBeenCalled();
    expect(changes).toEqual(["page"]);
    expect(source.failure).toEqual(new Error("no WebAssembly"));
    const { data } = await source.read(0, 0, 9, never);
    expect(Buffer.compare(new Uint8Array(data), film.files[0].data.subarray(0, 9))).toBe(0);
  });

  test("fails a read costs that read one direct request, and is closed", async () => {
    const { source, engine, changes, film } = open(sharing);
    await source.start();
    engine.reading = () => Promise.reject(new Error("panic"));
    const { data } = await source.read(0, 5, 50, never);
    expect(Buffer.compare(new Uint8Array(data), film.files[0].data.subarray(5, 50))).toBe(0);
    expect(source.via).toBe("page");
    expect(engine.closed).toBe(1);
    expect(changes).toEqual(["engine", "page"]);
    expect(source.stats()).toMatchObject({ originBytes: piece, peerBytes: 7, sentBytes: 1, peers: 0 });
    await source.start();
    expect(source.via).toBe("page");
  });

  test("throws at being told something has failed", async () => {
    const { source, engine } = open(sharing);
    await source.start();
    engine.seeked = () => {
      throw new Error("worker is gone");
    };
    source.seeked(3);
    expect(source.via).toBe("page");
  });

  test("opens after the source was closed is closed at once", async () => {
    const { source, engine, opened } = open(sharing);
    const starting = source.start();
    let deliver!: () => void;
    opened.mockImplementation(() => new Promise((resolve) => (deliver = () => resolve(engine))));
    await vi.waitFor(() => expect(opened).toHaveBeenCalled());
    await source.close();
    deliver();
    await starting;
    expect(engine.closed).toBe(1);
    expect(engine.told).toEqual([]);
  });

  describe("falls silent", () => {
    beforeEach(() => void vi.useFakeTimers());
    afterEach(() => void vi.useRealTimers());
    const hang: FakeEngine["reading"] = (_, __, ___, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));

    test("while the player runs dry is overtaken by the page after five seconds", async () => {
      const { source, engine, seen } = open(sharing);
      await source.start();
      engine.reading = hang;
      const read = source.read(0, 0, 10, never);
      await vi.advanceTimersByTimeAsync(4_900);
      expect(seen).toEqual([]);
      await vi.advanceTimersByTimeAsync(200);
      await vi.waitFor(async () => expect((await read).data.byteLength).toBe(10));
      expect(source.via).toBe("page");
      expect(vi.getTimerCount()).toBe(0);
    });

    test("while enough lies ahead is waited for", async () => {
      const { source, engine, seen } = open(sharing);
      await source.start();
      engine.reading = hang;
      source.moved({ position_ms: 0, buffered_end_ms: 9_000, rate: 1, paused: false });
      const controller = new AbortController();
      const read = source.read(0, 0, 10, controller.signal);
      const rejected = expect(read).rejects.toMatchObject({ name: "AbortError" });
      await vi.advanceTimersByTimeAsync(60_000);
      expect(seen).toEqual([]);
      controller.abort();
      await rejected;
      expect(source.via).toBe("engine");
      expect(vi.getTimerCount()).toBe(0);
    });
  });
});

test("an aborted read says so and blames nobody", async () => {
  const { source, engine } = open(sharing);
  await source.start();
  const controller = new AbortController();
  engine.reading = () => {
    controller.abort();
    return Promise.reject(new Error("whatever"));
  };
  await expect(source.read(0, 0, 10, controller.signal)).rejects.toMatchObject({ name: "AbortError" });
  expect(source.via).toBe("engine");
});

test("what the page waits for from an origin that fails comes from the engine once it is there", async () => {
  const film = makeFilm([new Uint8Array(randomBytes(5 * piece))]);
  film.session.policy = sharing;
  const asked = vi.fn(() => Promise.reject(new TypeError("connection refused")));
  const direct = new DirectSource(film.session, { around: { fetch: asked, wait: () => new Promise(() => undefined) } });
  const engine = new FakeEngine();
  const source = new SwitchingSource(film.session, direct, {
    load: () => Promise.resolve(() => Promise.resolve(engine)),
  });
  const start = source.read(0, 0, piece, never);
  await direct.failed;
  await source.start();
  expect((await start).data.byteLength).toBe(piece);
  expect(source.via).toBe("engine");
});

test("what the origin is merely slow to send is not asked for again by the engine", async () => {
  const film = makeFilm([new Uint8Array(randomBytes(5 * piece))]);
  film.session.policy = sharing;
  const origin = makeOrigin(film);
  let send!: () => void;
  const slow = new Promise<void>((resolve) => (send = resolve));
  const direct = new DirectSource(film.session, {
    around: { fetch: async (input, init) => slow.then(() => origin.fetch(input, init)) },
  });
  const engine = new FakeEngine();
  engine.reading = vi.fn(engine.reading);
  const source = new SwitchingSource(film.session, direct, {
    load: () => Promise.resolve(() => Promise.resolve(engine)),
  });
  const start = source.read(0, 0, piece, never);
  await source.start();
  send();
  expect((await start).data.byteLength).toBe(piece);
  expect(engine.reading).not.toHaveBeenCalled();
});

test("to forget is to close the engine, to empty its store, and to go on with another engine", async () => {
  const events: string[] = [];
  const { source, engine, opened } = open(sharing, {
    storage: "watch",
    clear: (storage) => {
      events.push(`clear ${storage}, closed ${engine.closed}`);
      return Promise.resolve(true);
    },
  });
  await source.start();
  expect(await source.forget()).toBe(true);
  expect(events).toEqual(["clear watch, closed 1"]);
  await vi.waitFor(() => expect(opened).toHaveBeenCalledTimes(2));
  expect(source.stats().peerBytes).toBe(14); // what the first has counted is not lost
  await source.close();
});

test("a store that cannot be emptied does not cost the viewer the engine", async () => {
  const { source, opened } = open(sharing, {
    clear: () => Promise.reject(new DOMException("busy", "InvalidStateError")),
  });
  await source.start();
  await expect(source.forget()).rejects.toThrow("busy");
  await vi.waitFor(() => expect(opened).toHaveBeenCalledTimes(2));
  await source.close();
});
