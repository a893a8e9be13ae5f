import { randomBytes } from "node:crypto";
import { describe, expect, test, vi } from "vitest";
import { DirectSource, type DirectOptions } from "./direct";
import { SourceError } from "./source";
import { makeFilm, makeOrigin, type Meddle, partial, type TestFilm, truth } from "./testing";

const block = 16 * 1024;
const piece = 2 * block;
const random = (size: number) => new Uint8Array(randomBytes(size));
const never = new AbortController().signal;

/** A source over a film whose origin answers as meddle says; pauses are counted, not waited for. */
function open(film: TestFilm, meddle?: Meddle, options: DirectOptions = {}) {
  const origin = makeOrigin(film, meddle);
  const waits: number[] = [];
  let clock = 0;
  const source = new DirectSource(film.session, {
    ...options,
    around: {
      fetch: origin.fetch,
      random: () => 0.5,
      now: () => (clock += 10),
      wait: (ms, signal) => {
        waits.push(ms);
        signal.throwIfAborted();
        return Promise.resolve();
      },
      ...options.around,
    },
  });
  return { source, seen: origin.seen, waits, media: () => origin.seen.filter((r) => r.path.startsWith("/media/")) };
}

const film = () => makeFilm([random(20 * piece + 1234), random(block + 7)]);

const expectBytes = (data: ArrayBuffer, want: Uint8Array) => expect(Buffer.compare(new Uint8Array(data), want)).toBe(0);

describe("a read", () => {
  test("merges neighbouring pieces into one ranged request and returns exactly the bytes", async () => {
    const f = film();
    const { source, media } = open(f);
    const result = await source.read(0, piece + 5, 4 * piece + 1, never);
    expectBytes(result.data, f.files[0].data.subarray(piece + 5, 4 * piece + 1));
    expect(media().map((r) => r.range)).toEqual([`bytes=${piece}-${5 * piece - 1}`]);
    expect(media()[0].authorization).toBe("Bearer ticket");
    expect(result.cached).toBe(false);
    expect(result.timeMs).toBeGreaterThan(0);
    await source.close();
  });

  test("fetches no piece twice, and says when nothing had to be waited for", async () => {
    const f = film();
    const { source, media } = open(f);
    await source.read(0, 0, piece + 10, never);
    await source.read(0, piece + 10, 3 * piece, never);
    const again = await source.read(0, 100, 3 * piece, never);
    expect(again).toMatchObject({ cached: true, timeMs: 0 });
    expect(media().map((r) => r.range)).toEqual([`bytes=0-${2 * piece - 1}`, `bytes=${2 * piece}-${3 * piece - 1}`]);
  });

  test("shares what another read is fetching", async () => {
    const f = film();
    const { source, media } = open(f);
    const reads = await Promise.all([source.read(0, 0, 2 * piece, never), source.read(0, piece, 3 * piece, never)]);
    expectBytes(reads[1].data, f.files[0].data.subarray(piece, 3 * piece));
    expect(media()).toHaveLength(2);
    expect(source.stats().originBytes).toBe(3 * piece);
  });

  test("reaches the short last piece, and a file of one piece, whose hash is its root", async () => {
    const f = film();
    const { source } = open(f);
    const size = f.files[0].data.length;
    expectBytes((await source.read(0, size - 10, size, never)).data, f.files[0].data.subarray(size - 10));
    expectBytes((await source.read(1, 3, block + 7, never)).data, f.files[1].data.subarray(3));
  });

  test("refuses a range outside the file", async () => {
    const { source } = open(film());
    await expect(source.read(0, 0, 1e9, never)).rejects.toMatchObject({ code: "range" });
    await expect(source.read(0, 5, 5, never)).rejects.toMatchObject({ code: "range" });
    await expect(source.read(7, 0, 1, never)).rejects.toMatchObject({ code: "range" });
  });

  test("keeps no more than its bound, the latest used first", async () => {
    const { source, media } = open(film(), undefined, { cacheBytes: 2 * piece });
    for (const i of [0, 1, 0, 2]) await source.read(0, i * piece, i * piece + 1, never);
    expect([...source.verified()].map((v) => v.piece)).toEqual([0, 2]);
    await source.read(0, 0, 1, never);
    expect(media()).toHaveLength(3);
  });
});

describe("hashes", () => {
  test("are asked for beyond the session's first, once for many pieces", async () => {
    const f = film();
    const { source, seen } = open(f);
    await source.read(0, 4 * piece, 9 * piece, never);
    const asked = seen.filter((r) => r.path.startsWith("/hashes/"));
    expect(asked.map((r) => r.path)).toEqual([`/hashes/${f.session.files[0].root}?base=1&index=0&length=32&proof=0`]);
  });

  test("of the session are not believed without their proof", async () => {
    const f = film();
    const hashes = Buffer.from(f.session.files[0].first!.hashes, "base64");
    hashes[3] ^= 1;
    f.session.files[0].first!.hashes = hashes.toString("base64");
    const { source, seen } = open(f);
    expectBytes((await source.read(0, 0, 10, never)).data, f.files[0].data.subarray(0, 10));
    expect(seen.some((r) => r.path.startsWith("/hashes/"))).toBe(true);
  });

  test("that do not lead to the root are refused, and no byte is let through", async () => {
    const f = film();
    const { source } = open(f, (r) => (r.path.startsWith("/hashes/") ? new Response(random(32 * 32)) : undefined));
    await expect(source.read(0, 4 * piece, 5 * piece, never)).rejects.toMatchObject({ code: "corrupt" });
  });
});

describe("a misbehaving origin", () => {
  /** Interferes with the first so many media requests. */
  const first = (count: number, meddle: Meddle): Meddle => {
    let left = count;
    return (r, n) => (r.path.startsWith("/media/") && left-- > 0 ? meddle(r, n) : undefined);
  };

  test("that flips a bit gets only that piece asked again, after a jittered pause", async () => {
    const f = film();
    const { source, media, waits } = open(
      f,
      first(1, () => {
        const bytes = f.files[0].data.slice(0, 4 * piece);
        bytes[2 * piece + 99] ^= 1;
        return partial(bytes, 0, 4 * piece - 1, f.files[0].data.length);
      }),
    );
    expectBytes((await source.read(0, 0, 4 * piece, never)).data, f.files[0].data.subarray(0, 4 * piece));
    expect(media().map((r) => r.range)).toEqual([`bytes=0-${4 * piece - 1}`, `bytes=${2 * piece}-${3 * piece - 1}`]);
    expect(source.stats().badBlocks).toBe(1);
    expect(waits).toEqual([2_500]);
  });

  test("that always lies is given up with a plain sentence", async () => {
    const f = film();
    const { source } = open(f, (r) =>
      r.path.startsWith("/media/") ? partial(random(piece), 0, piece - 1, f.files[0].data.length) : undefined,
    );
    const error = await source.read(0, 0, 10, never).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(SourceError);
    expect(error).toMatchObject({ code: "corrupt" });
    expect((error as Error).message).toMatch(/Nothing wrong was shown/);
    expect([...source.verified()]).toEqual([]);
  });

  test("that cuts a body short is asked for the rest", async () => {
    const f = film();
    const { source, media } = open(
      f,
      first(1, () => partial(f.files[0].data.slice(0, piece + 77), 0, 3 * piece - 1, f.files[0].data.length)),
    );
    expectBytes((await source.read(0, 0, 3 * piece, never)).data, f.files[0].data.subarray(0, 3 * piece));
    expect(media()[1].range).toBe(`bytes=${piece}-${3 * piece - 1}`);
  });

  test.each([
    ["another range", (f: TestFilm) => partial(f.files[0].data.slice(0, piece), 1, piece, f.files[0].data.length)],
    ["another size", (f: TestFilm) => partial(f.files[0].data.slice(0, piece), 0, piece - 1, 5)],
    [
      "too many bytes",
      (f: TestFilm) => partial(f.files[0].data.slice(0, 2 * piece), 0, piece - 1, f.files[0].data.length),
    ],
    ["the whole file", (f: TestFilm) => new Response(f.files[0].data)],
    ["an error of its own", () => new Response("oops", { status: 503 })],
    ["no body", () => new Response(null, { status: 206 })],
  ])("that answers with %s is asked again", async (_, answer) => {
    const f = film();
    const { source, media } = open(
      f,
      first(2, () => answer(f)),
    );
    expectBytes((await source.read(0, 0, piece, never)).data, f.files[0].data.subarray(0, piece));
    expect(media()).toHaveLength(3);
  });

  test("that is gone for a while is waited for, and the trouble is told and taken back", async () => {
    const f = film();
    const told: (string | undefined)[] = [];
    const { source, waits } = open(
      f,
      first(9, () => Promise.reject(new TypeError("connection refused"))),
      { trouble: (error) => told.push(error?.code) },
    );
    await source.read(0, 0, piece, never);
    expect(waits).toHaveLength(9);
    expect(told).toEqual([...Array<string>(9).fill("network"), undefined]);
  });

  test("that never answers fails with a sentence that says what to do", async () => {
    const f = film();
    const { source } = open(f, () => new Response(null, { status: 500 }));
    await expect(source.read(0, 0, piece, never)).rejects.toThrow("Check your connection, then try again.");
  });

  test("gives way to the next one", async () => {
    const f = film();
    f.session.nodes.origins = ["http://edge.test/e/", "http://test"];
    const asked: string[] = [];
    const fetch: typeof globalThis.fetch = (input, init) => {
      asked.push(new URL(input as string).host);
      if (asked.length === 1) return Promise.reject(new TypeError("refused"));
      return Promise.resolve(truth(f, new URL(input as string), new Headers(init?.headers).get("range")));
    };
    const { source } = open(f, undefined, { around: { fetch } });
    await source.read(0, 0, piece, never);
    expect(asked).toEqual(["edge.test", "test"]);
  });

  test("that refuses a ticket is asked again with a new one", async () => {
    const f = film();
    const renew = vi.fn(() => {
      source.tickets({ media: "fresh", expires_ms: 1 });
      return Promise.resolve();
    });
    const { source, media } = open(
      f,
      (r) => (r.authorization === "Bearer fresh" ? undefined : new Response(null, { status: 403 })),
      { renew },
    );
    await source.read(0, 0, piece, never);
    expect(renew).toHaveBeenCalledOnce();
    expect(media().map((r) => r.authorization)).toEqual(["Bearer ticket", "Bearer fresh"]);
  });

  test("that lost the film says so without many tries", async () => {
    const { source, media } = open(film(), () => new Response(null, { status: 404 }));
    await expect(source.read(0, 0, piece, never)).rejects.toMatchObject({ code: "missing" });
    expect(media()).toHaveLength(2);
  });

  test("that falls silent is left after ten seconds", async () => {
    vi.useFakeTimers();
    try {
      const f = film();
      const silent = (signal: AbortSignal | null | undefined) =>
        new Promise<Response>((_, reject) => {
          signal?.addEventListener("abort", () => reject(signal.reason as Error));
        });
      let asked = 0;
      const fetch: typeof globalThis.fetch = (input, init) =>
        asked++ === 0
          ? silent(init?.signal)
          : Promise.resolve(truth(f, new URL(input as string, "http://test"), new Headers(init?.headers).get("range")));
      const { source } = open(f, undefined, { around: { fetch } });
      const read = source.read(0, 0, piece, never);
      await vi.advanceTimersByTimeAsync(10_001);
      expectBytes((await read).data, f.files[0].data.subarray(0, piece));
      expect(asked).toBe(2);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("an aborted read", () => {
  test("rejects at once and ends its request when nobody else waits", async () => {
    const f = film();
    let ended: AbortSignal | null | undefined;
    const fetch: typeof globalThis.fetch = (_, init) => {
      ended = init?.signal;
      return new Promise((_resolve, reject) => {
        init?.signal?.addEventListener("abort", () => reject(init.signal?.reason as Error));
      });
    };
    const { source } = open(f, undefined, { around: { fetch } });
    const controller = new AbortController();
    const read = source.read(0, 0, piece, controller.signal);
    controller.abort();
    await expect(read).rejects.toMatchObject({ name: "AbortError" });
    expect(ended?.aborted).toBe(true);
  });

  test("leaves the request to those who still wait for it", async () => {
    const f = film();
    const { source, media } = open(f);
    const controller = new AbortController();
    const one = source.read(0, 0, 2 * piece, controller.signal);
    const two = source.read(0, piece, 2 * piece, never);
    controller.abort();
    await expect(one).rejects.toMatchObject({ name: "AbortError" });
    expectBytes((await two).data, f.files[0].data.subarray(piece, 2 * piece));
    expect(media()).toHaveLength(1);
  });

  test("may be asked again", async () => {
    const f = film();
    const { source } = open(f);
    const controller = new AbortController();
    const read = source.read(0, 0, piece, controller.signal);
    controller.abort();
    await expect(read).rejects.toMatchObject({ name: "AbortError" });
    expectBytes((await source.read(0, 0, piece, never)).data, f.files[0].data.subarray(0, piece));
  });
});

test("after sleep, or on another network, what is silent is asked for anew at once, and nobody waits out a pause", async () => {
  const f = film();
  let answers = 0;
  const pauses: (() => void)[] = [];
  let clock = 0;
  const origin = makeOrigin(f);
  const dead: AbortSignal[] = [];
  const source = new DirectSource(f.session, {
    around: {
      now: () => clock,
      random: () => 0,
      // The first two connections are dead ones; what then fails would pause for a second.
      fetch: (input, init) =>
        ++answers > 2
          ? origin.fetch(input, init)
          : new Promise((_, reject) => {
              dead.push(init!.signal!);
              init!.signal!.addEventListener("abort", () => reject(init!.signal!.reason as Error));
            }),
      wait: (_, signal) =>
        new Promise((resolve, reject) => {
          pauses.push(resolve);
          signal.addEventListener("abort", () => reject(signal.reason as Error));
        }),
    },
  });
  const read = source.read(1, 0, 10, never);
  await vi.waitFor(() => expect(dead).toHaveLength(1));
  source.nudge(); // it was asked a moment ago
  expect(dead[0].aborted).toBe(false);
  clock = 1_800_000;
  source.nudge();
  expect(dead[0].aborted).toBe(true);
  await vi.waitFor(() => expect(pauses).toHaveLength(1));
  source.nudge();
  await vi.waitFor(() => expect(dead).toHaveLength(2));
  clock += 2_000;
  source.nudge();
  await vi.waitFor(() => expect(pauses).toHaveLength(2));
  source.nudge();
  expectBytes((await read).data, f.files[1].data.subarray(0, 10));
  await source.close();
});

test("closing rejects what is pending and refuses what comes after", async () => {
  const { source } = open(film(), undefined, { around: { fetch: () => new Promise<never>(() => undefined) } });
  const read = source.read(0, 0, piece, never);
  await source.close();
  await expect(read).rejects.toMatchObject({ code: "closed" });
  await expect(source.read(0, 0, piece, never)).rejects.toMatchObject({ code: "closed" });
});
