/**
 * What `essaim ingest` encrypts plays in browsers with its keys and with no others, whatever the scheme and the codec. No player of
 * ours takes part: a bare page appends the stored files to a video element, answers the browser's request for a licence (whose
 * names come out of the files' own pssh), and is photographed. Encrypted video reads back blank from a canvas, so the proof is the
 * element's screenshot. Firefox keeps the first key that it has seen under a name, so every playing gets names of its own.
 */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, request, test } from "@playwright/test";
import { launch } from "puppeteer-core";
import type { PlaySession } from "../src/player/session";
import { dataFolder, run, startServe } from "./service";
import { offBars } from "./bars";

const member = { name: "ada", password: "a long enough password" };

/** Colour bars and a tone, for a bit more than a segment. */
const source = [
  ...["-f", "lavfi", "-i", "smptebars=s=320x180:r=25:d=3,format=yuv420p"],
  ...["-f", "lavfi", "-i", "sine=r=48000:d=3"],
];
const codecs: Record<string, string[]> = {
  "h264.mp4": ["-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-c:a", "aac"],
  "vp9.webm": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-c:a", "libopus"],
  "av1.mp4": [
    ...["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "50", "-keyint_min", "50"],
    ...["-c:a", "aac"],
  ],
};

/** A film as the page plays it. */
interface Film {
  name: string;
  scheme: string;
  tracks: { url: string; type: string; kid: string }[];
  /** Keys by their names, both in hexadecimal. */
  keys: Record<string, string>;
}

/** What came of a playing. */
interface Played {
  seconds: number;
  /** How many names the browser asked for, out of the films' own boxes. */
  asked: number;
}

/** Runs in the page. */
async function play(film: Film, wrong: boolean): Promise<Played> {
  const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (digits) => parseInt(digits, 16));
  const text = (b: Uint8Array) =>
    btoa(String.fromCharCode(...b)).replace(/[+/=]/g, (c) => ({ "+": "-", "/": "_" })[c] ?? "");
  document.body.innerHTML = '<video muted width="320" height="180"></video>';
  const video = document.querySelector("video")!;
  const fresh = new Map(
    Object.entries(film.keys).map(([kid, key]) => {
      const value = bytes(key);
      if (wrong) value[3] ^= 1;
      return [kid, { kid: crypto.getRandomValues(new Uint8Array(16)), key: value }];
    }),
  );
  const { tracks, scheme } = film;
  const capabilities = (kind: string) =>
    tracks
      .filter(({ type }) => type.startsWith(kind))
      .map(({ type }) => ({ contentType: type, encryptionScheme: scheme }));
  const access = await navigator.requestMediaKeySystemAccess("org.w3.clearkey", [
    { initDataTypes: ["cenc"], videoCapabilities: capabilities("video"), audioCapabilities: capabilities("audio") },
  ]);
  const keys = await access.createMediaKeys();
  await video.setMediaKeys(keys);
  const names = new Set<string>();
  video.addEventListener("encrypted", ({ initDataType, initData }) => {
    const session = keys.createSession();
    session.addEventListener("message", ({ message }) => {
      const { kids } = JSON.parse(new TextDecoder().decode(message)) as { kids: string[] };
      for (const kid of kids) names.add(kid);
      const known = [...fresh.values()].filter(({ kid }) => kids.includes(text(kid)));
      const jwk = known.map(({ kid, key }) => ({ kty: "oct", kid: text(kid), k: text(key) }));
      void session.update(new TextEncoder().encode(JSON.stringify({ keys: jwk, type: "temporary" })));
    });
    void session.generateRequest(initDataType, initData!);
  });
  const media = new MediaSource();
  video.src = URL.createObjectURL(media);
  await new Promise((opened) => media.addEventListener("sourceopen", opened, { once: true }));
  const buffers = tracks.map(({ type }) => media.addSourceBuffer(type));
  for (const [i, { url }] of tracks.entries()) {
    const file = new Uint8Array(await (await fetch(url)).arrayBuffer());
    for (const [kid, { kid: name }] of fresh) {
      const old = bytes(kid);
      for (let at = 0; at < 4096; at++) if (old.every((b, j) => file[at + j] === b)) file.set(name, at);
    }
    const appended = new Promise((done) => buffers[i].addEventListener("updateend", done, { once: true }));
    buffers[i].appendBuffer(file);
    await appended;
  }
  if (media.readyState === "open") media.endOfStream();
  const failed = new Promise((done) => video.addEventListener("error", done, { once: true }));
  const shown = new Promise<void>((done) =>
    video.addEventListener("timeupdate", () => video.currentTime > 0.8 && done()),
  );
  void video.play().catch(() => undefined);
  // The event itself, or the time in which a browser that is silent about a wrong key has shown what it makes of it.
  await Promise.race([failed, shown, new Promise((done) => setTimeout(done, wrong ? 1_500 : 20_000))]);
  video.pause();
  return { seconds: video.currentTime, asked: names.size };
}

/** What both drivers of browsers have in common. */
interface Browser {
  play(film: Film, wrong: boolean): Promise<Played>;
  offBars(): Promise<number>;
}

let films: Film[] = [];
let server: Server | undefined;
let address = "";

test.beforeAll(async () => {
  test.setTimeout(180_000);
  const data = dataFolder();
  const objects = join(data, "objects", "objects", "media~");
  run(["admin", "member", "add", member.name, "--data", data], `${member.password}\n`);
  for (const [name, args] of Object.entries(codecs)) {
    execFileSync("ffmpeg", ["-v", "error", "-y", ...source, ...args, join(data, name)]);
    for (const scheme of ["cbcs", "cenc"]) {
      const id = `${name.split(".")[0]}-${scheme}`;
      run(["ingest", join(data, name), "--id", id, "--title", id, "--scheme", scheme, "--data", data, "--json"]);
      films.push({ name: id, scheme, tracks: [], keys: {} });
    }
  }
  const stored = new Map<string, Buffer>();
  const service = await startServe(data);
  const inside = await request.newContext({ baseURL: service.url });
  expect((await inside.post("/api/v1/session", { data: member })).status()).toBe(200);
  for (const film of films) {
    const pressed = await inside.post(`/api/v1/titles/${film.name}/play`, { data: {} });
    const { id, files, tickets } = (await pressed.json()) as PlaySession;
    const kids = files.map(({ kid }) => Buffer.from(kid!, "hex").toString("base64url"));
    const licence = await inside.post("/api/v1/license/clearkey", {
      data: { kids, type: "temporary" },
      headers: { Authorization: `Bearer ${tickets.license}` },
    });
    expect(licence.status()).toBe(200);
    for (const { kid, k } of ((await licence.json()) as { keys: { kid: string; k: string }[] }).keys)
      film.keys[Buffer.from(kid, "base64url").toString("hex")] = Buffer.from(k, "base64url").toString("hex");
    for (const { root, kind, codec, kid } of files) {
      const url = `/${root}`;
      stored.set(url, readFileSync(join(objects, root)));
      film.tracks.push({ url, type: `${kind}/mp4; codecs="${codec}"`, kid: kid! });
    }
    expect(Object.keys(film.keys)).toHaveLength(2);
    const zero = { position_ms: 0, origin_bytes: 0, peer_bytes: 0, sent_bytes: 0, bad_blocks: 0 };
    const report = { ...zero, stalls: 0, stalled_ms: 0, startup_ms: 0, last: true };
    const left = await inside.post(`/api/v1/play/${id}/heartbeat`, {
      data: report, // so many streams at once are too many for a member
      headers: { Authorization: `Bearer ${tickets.media}` },
    });
    expect(left.status()).toBe(200);
  }
  await inside.dispose();
  await service.stop();
  const pages = createServer((asked, answer) => {
    const file = stored.get(asked.url ?? "");
    answer.setHeader("Content-Type", file ? "video/mp4" : "text/html");
    answer.end(file ?? "<!doctype html><title>Bars</title><body></body>");
  });
  server = pages;
  await new Promise<void>((done) => pages.listen(0, "127.0.0.1", done));
  address = `http://127.0.0.1:${(pages.address() as AddressInfo).port}/`;
});

test.afterAll(() => {
  server?.close();
  films = [];
});

async function proves(browser: Browser): Promise<void> {
  for (const film of films) {
    const right = await browser.play(film, false);
    expect(right.seconds, `${film.name}: seconds played with its keys`).toBeGreaterThan(0.8);
    expect(right.asked, `${film.name}: names in its pssh`).toBe(2);
    expect(await browser.offBars(), `${film.name}: its picture`).toBeLessThan(40);
    await browser.play(film, true);
    expect(await browser.offBars(), `${film.name}: its picture with other keys`).toBeGreaterThan(80);
  }
}

test("in Chromium", async ({ page }) => {
  test.setTimeout(180_000);
  await page.goto(address);
  await proves({
    play: (film, wrong) =>
      page.evaluate(({ code, film, wrong }) => (0, eval)(`(${code})`)(film, wrong) as Promise<Played>, {
        code: play.toString(),
        film,
        wrong,
      }),
    offBars: async () => page.evaluate(offBars, (await page.locator("video").screenshot()).toString("base64")),
  });
});

test("in Firefox", async () => {
  test.setTimeout(180_000);
  const firefox = await launch({
    browser: "firefox",
    executablePath: process.env.ESSAIM_FIREFOX ?? "/usr/bin/firefox-esr",
    headless: true,
    extraPrefsFirefox: { "media.eme.enabled": true, "media.autoplay.default": 0 },
  });
  try {
    const page = await firefox.newPage();
    await page.goto(address);
    await proves({
      play: (film, wrong) => page.evaluate(play, film, wrong),
      offBars: async () => {
        const video = await page.$("video");
        return page.evaluate(offBars, await video!.screenshot({ encoding: "base64" }));
      },
    });
  } finally {
    await firefox.close();
  }
});
