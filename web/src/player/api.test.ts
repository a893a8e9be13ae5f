import { expect, test, vi } from "vitest";
import { Api, type ApiError } from "./api";

const answering = (response: () => Response | Promise<Response>) => {
  const fetch = vi.fn<typeof globalThis.fetch>(() => Promise.resolve().then(response));
  return { api: new Api("", fetch), fetch };
};

const failed = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable(),
    (error: unknown) => error as ApiError,
  );

test("a problem document's sentence reaches the person", async () => {
  const problem = { title: "Unauthorized", status: 401, detail: "Sign in to watch this title." };
  const { api } = answering(() =>
    Response.json(problem, { status: 401, headers: { "Content-Type": "application/problem+json" } }),
  );
  expect(await failed(api.play("film", false))).toMatchObject({
    kind: "unauthorized",
    status: 401,
    message: "Sign in to watch this title.",
  });
});

test.each([
  [404, "missing"],
  [403, "forbidden"],
  [400, "invalid"],
  [503, "busy"],
  [500, "server"],
])("status %i without a document is %s", async (status, kind) => {
  const { api } = answering(() => new Response("<html>", { status }));
  expect(await failed(api.titles())).toMatchObject({ kind, status, detail: undefined });
});

test("no answer is offline, and nonsense a server's fault", async () => {
  expect(await failed(answering(() => Promise.reject(new TypeError("refused"))).api.titles())).toMatchObject({
    kind: "offline",
    status: 0,
  });
  expect(await failed(answering(() => new Response("nonsense")).api.titles())).toMatchObject({ kind: "server" });
});

test("an answer that never ends is given up, and is the connection's fault", async () => {
  const timeout = vi.spyOn(AbortSignal, "timeout").mockImplementation(() => AbortSignal.abort());
  const { api, fetch } = answering(() => {
    const body = new ReadableStream({ start: (stream) => stream.error(new DOMException("timed out", "TimeoutError")) });
    return new Response(body);
  });
  expect(await failed(api.titles())).toMatchObject({ kind: "offline" });
  expect(timeout).toHaveBeenCalledWith(20_000);
  expect(fetch.mock.lastCall![1]!.signal?.aborted).toBe(true);
  timeout.mockRestore();
});

test("nobody signed in and no demonstration are answers, not errors", async () => {
  expect(await answering(() => new Response(null, { status: 401 })).api.me()).toBeUndefined();
  expect(await answering(() => new Response(null, { status: 404 })).api.demoMembers()).toBeUndefined();
});

test("play carries the consent, and a heartbeat the session's ticket", async () => {
  const { api, fetch } = answering(() => Response.json({}));
  await api.play("a b", true);
  expect(fetch).toHaveBeenLastCalledWith(
    "/api/v1/titles/a%20b/play",
    expect.objectContaining({ method: "POST", body: '{"share":true}' }),
  );
  await api.play("film");
  expect(fetch.mock.lastCall![1]!.body).toBe("{}");
  const report = { position_ms: 1, origin_bytes: 2, peer_bytes: 3, sent_bytes: 4 };
  await api.heartbeat("s", "t", { ...report, stalls: 0, stalled_ms: 0, startup_ms: 5, bad_blocks: 0, last: true });
  const init = fetch.mock.lastCall![1]!;
  expect(new Headers(init.headers).get("Authorization")).toBe("Bearer t");
  expect(init.keepalive).toBe(true);
});

test("a refusal for too many streams names them, by a code that does not change", async () => {
  const stream = { session: "s1", title: "film", name: "The film", here: false, began: "2026-01-02T03:04:05Z" };
  const { api, fetch } = answering(() =>
    Response.json({ code: "too_many_streams", streams: [stream] }, { status: 409 }),
  );
  expect(await failed(api.play("film"))).toMatchObject({ code: "too_many_streams", streams: [stream] });
  fetch.mockResolvedValueOnce(new Response(null, { status: 204 }));
  await api.stopStream("s1");
  expect(fetch).toHaveBeenLastCalledWith("/api/v1/streams/s1", expect.objectContaining({ method: "DELETE" }));
});
