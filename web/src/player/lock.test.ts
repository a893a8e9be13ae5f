import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Api, ApiError } from "./api";
import { hasClearKey, openLock, withoutProtection } from "./lock";
import type { PlaySession } from "./session";

const file = (kind: "audio" | "video", kid: string) => ({
  kind,
  kid,
  codec: kind === "video" ? "avc1.64001e" : "mp4a.40.2",
});

const session = {
  id: "s",
  manifest: "<MPD/>",
  files: [
    file("audio", "000102030405060708090a0b0c0d0e0f"),
    file("video", "fbff".repeat(8)),
    file("video", "fbff".repeat(8)),
  ],
  protection: { scheme: "cbcs", clearkey: "/keys" },
  tickets: { media: "m", license: "l", expires_ms: 1 },
} as unknown as PlaySession;

const licence = { keys: [{ kty: "oct", kid: "AAECAwQFBgcICQoLDA0ODw", k: "AAAA" }], type: "temporary" };

const withClearKey = (access: () => Promise<unknown>) =>
  vi.stubGlobal("navigator", { requestMediaKeySystemAccess: vi.fn(access) });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("the licence is asked for at once, each key once, with the licence ticket", async () => {
  withClearKey(() => Promise.resolve({}));
  const fetch = vi.fn<typeof globalThis.fetch>(() => Promise.resolve(Response.json(licence)));
  const opening = openLock(new Api("", fetch), session, new AbortController().signal);
  expect(fetch).toHaveBeenCalledTimes(1); // before anybody asked
  const [path, init] = fetch.mock.lastCall!;
  expect(path).toBe("/keys");
  expect(JSON.parse(init!.body as string)).toEqual({
    kids: ["AAECAwQFBgcICQoLDA0ODw", "-__7__v_-__7__v_-__7_w"],
    type: "temporary",
  });
  expect(new Headers(init!.headers).get("Authorization")).toBe("Bearer l");
  const lock = await opening;
  expect(lock.native).toBe(true);
  expect(JSON.parse(new TextDecoder().decode(await lock.licence!()))).toEqual(licence);
  await lock.licence!();
  expect(fetch).toHaveBeenCalledTimes(1);
});

test("a service that is away is asked again; a refusal is not, and is told", async () => {
  withClearKey(() => Promise.resolve({}));
  const answers = [new Response(null, { status: 503 }), new Response(null, { status: 502 }), Response.json(licence)];
  const fetch = vi.fn<typeof globalThis.fetch>(() => Promise.resolve(answers.shift()!));
  const lock = await openLock(new Api("", fetch), session, new AbortController().signal);
  const had = lock.licence!();
  await vi.advanceTimersByTimeAsync(1_500);
  expect(new TextDecoder().decode(await had)).toContain("temporary");
  expect(fetch).toHaveBeenCalledTimes(3);

  const refusing = vi.fn<typeof globalThis.fetch>(() =>
    Promise.resolve(Response.json({ detail: "No." }, { status: 403 })),
  );
  const refused = await openLock(new Api("", refusing), session, new AbortController().signal);
  const error: unknown = await refused.licence!().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ kind: "forbidden", message: "No." });
  expect(refusing).toHaveBeenCalledTimes(1);
});

test("a service that stays away is given up", async () => {
  withClearKey(() => Promise.resolve({}));
  const fetch = vi.fn<typeof globalThis.fetch>(() => Promise.reject(new TypeError("refused")));
  const lock = await openLock(new Api("", fetch), session, new AbortController().signal);
  const failed = lock.licence!().catch((reason: unknown) => reason);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await failed).toMatchObject({ kind: "offline" });
  expect(fetch).toHaveBeenCalledTimes(5);
});

test("ClearKey is there where the browser takes the session's own codecs and scheme", async () => {
  withClearKey(() => Promise.resolve({}));
  expect(await hasClearKey(session)).toBe(true);
  const ask = vi.mocked(navigator.requestMediaKeySystemAccess);
  expect(ask).toHaveBeenCalledExactlyOnceWith("org.w3.clearkey", [
    {
      initDataTypes: ["cenc"],
      videoCapabilities: [{ contentType: 'video/mp4; codecs="avc1.64001e"', encryptionScheme: "cbcs" }],
      audioCapabilities: [{ contentType: 'audio/mp4; codecs="mp4a.40.2"', encryptionScheme: "cbcs" }],
    },
  ]);
  withClearKey(() => Promise.reject(new DOMException("no", "NotSupportedError")));
  expect(await hasClearKey(session)).toBe(false);
  vi.stubGlobal("navigator", {});
  expect(await hasClearKey(session)).toBe(false);
});

test("a manifest forgets that anything was encrypted, and nothing else", () => {
  const around = (inside: string) =>
    `<MPD><Representation id="v">${inside}<BaseURL>v.mp4</BaseURL></Representation></MPD>`;
  const both = '<ContentProtection a="1"></ContentProtection><ContentProtection b="2"/>';
  const deep = "<ContentProtection><pssh>AAAA</pssh>\n</ContentProtection>";
  expect(withoutProtection(around(both + deep))).toBe(around(""));
  expect(withoutProtection(around(""))).toBe(around(""));
});
