import { expect, test, vi } from "vitest";
import { News, type NewsSurroundings } from "./news";
import { makeFilm } from "./testing";

/** A session, and what its player was told. */
function house(around: Partial<NewsSurroundings>, answers: (() => Response | Promise<Response>)[]) {
  const { session } = makeFilm([new Uint8Array(16 << 10)]);
  const told: string[] = [];
  const open = vi.fn(() => Promise.resolve().then(answers.shift() ?? (() => new Promise<Response>(() => undefined))));
  const news = new News(
    open,
    () => session,
    {
      ended: (end) => told.push(end),
      policy: (p) => told.push(`p2p ${p.p2p}`),
      lost: () => told.push("lost"),
    },
    { multiplexed: () => true, wait: () => Promise.resolve(), random: () => 0, ...around },
  );
  return { news, told, open };
}

const streaming = (...chunks: string[]) =>
  new Response(
    new ReadableStream({
      start(stream) {
        for (const chunk of chunks) stream.enqueue(new TextEncoder().encode(chunk));
        stream.close();
      },
    }),
  );

test("a player hears what it is allowed, and that it is over, however the bytes are cut", async () => {
  const { news, told, open } = house({}, [
    () =>
      streaming(
        'event: policy\ndata: {"p2p":true}\n\n:\n\nevent: pol',
        'icy\ndata: {"p2p":false}\n',
        '\nevent: ended\ndata: {"code":"plan_ended"}\n\n',
      ),
  ]);
  news.listen(true);
  await vi.waitFor(() => expect(told.slice(0, 4)).toEqual(["p2p true", "p2p false", "plan_ended", "lost"]));
  expect(open).toHaveBeenCalledWith(expect.any(String), "ticket", expect.any(AbortSignal));
  news.listen(false);
});

test("a stream that ends or fails is opened again, later each time", async () => {
  const waits: number[] = [];
  const { news, told, open } = house({ wait: (ms) => (waits.push(ms), Promise.resolve()) }, [
    () => Promise.reject(new TypeError("refused")),
    () => Promise.reject(new TypeError("refused")),
    () => streaming("nonsense\n\n"),
    () => streaming("event: ended\ndata: {\n\n"),
  ]);
  news.listen(true);
  await vi.waitFor(() => expect(open).toHaveBeenCalledTimes(5));
  expect(waits).toEqual([4_000, 8_000, 2_000, 2_000]);
  expect(told).toEqual(["lost", "lost", "lost", "lost"]);
  news.listen(false);
  expect((open.mock.lastCall as unknown as [string, string, AbortSignal])[2].aborted).toBe(true);
});

test("over HTTP/1.1 a browser has two streams, and whoever has none is deaf", async () => {
  const held = new Set<string>();
  const locks = {
    request: async (name: string, _: unknown, run: (lock: object | null) => Promise<unknown>) => {
      if (held.has(name)) return run(null);
      held.add(name);
      try {
        return await run({});
      } finally {
        held.delete(name);
      }
    },
  } as unknown as LockManager;
  const around = { multiplexed: () => false, locks, wait: () => new Promise<void>(() => undefined) };
  const all = [house(around, []), house(around, []), house(around, [])];
  for (const { news } of all) news.listen(true);
  await vi.waitFor(() => expect(all.map(({ news }) => news.deaf)).toEqual([false, false, true]));
  expect(all.map(({ open }) => open.mock.calls.length)).toEqual([1, 1, 0]);
  const none = house({ ...around, locks: undefined }, []);
  none.news.listen(true);
  await vi.waitFor(() => expect(none.news.deaf).toBe(true));
  for (const { news } of [...all, none]) news.listen(false);
});

test("after sleep a stream that may be dead is opened anew", async () => {
  let fail: (reason: Error) => void = () => undefined;
  const { news, told, open } = house({}, [() => new Promise<Response>((_, reject) => (fail = reject))]);
  news.again(); // there is none
  news.listen(true);
  await vi.waitFor(() => expect(open).toHaveBeenCalledTimes(1));
  news.again();
  fail(new DOMException("aborted", "AbortError")); // as fetch does
  await vi.waitFor(() => expect(open).toHaveBeenCalledTimes(2));
  const signals = (open.mock.calls as unknown as [string, string, AbortSignal][]).map(([, , signal]) => signal.aborted);
  expect([signals, told]).toEqual([[true, false], ["lost"]]);
  news.listen(false);
});
