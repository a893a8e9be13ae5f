/**
 * The road, end to end, with real parts: the binary, a film that it ingested, Chromium contexts with storage of their
 * own, WebRTC between them. What reached each player is compared with the film, hash for hash, and what the origin sent is
 * taken from the origin's own counter.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Browser, type BrowserContext, expect, type Page, test } from "@playwright/test";
import type { DeliveredRange, PlayerStats } from "../src/player";
import type { PlaySession } from "../src/player/session";
import { dataFolder, filmFolder, run, type Service, startDemo, traffic } from "./service";

const seconds = 64;
const title = "two-browsers";

let service: Service;

test.describe.configure({ mode: "serial", timeout: 300_000 });

/** A data folder into which the first seconds of the demo film were ingested as a film of their own. */
function withFilm(): string {
  const data = dataFolder();
  const clip = join(data, "clip.mp4");
  const cut = ["-t", String(seconds), "-c", "copy", "-movflags", "+faststart", clip];
  const inputs = ["video-720p.mp4", "audio.mp4"].flatMap((name) => ["-i", join(filmFolder, name)]);
  execFileSync("ffmpeg", ["-v", "error", "-y", ...inputs, ...cut]);
  const ingested = JSON.parse(
    run(["ingest", clip, "--title", "Two browsers", "--id", title, "--open", "--data", data, "--json"]),
  ) as { id: string };
  expect(ingested.id).toBe(title);
  return data;
}

test.beforeAll(async () => {
  service = await startDemo(withFilm());
});

test.afterAll(async () => {
  await service.stop();
});

/** One viewer in a context of its own. */
class Viewer {
  constructor(
    readonly context: BrowserContext,
    readonly page: Page,
    readonly at: Service,
  ) {}

  static async open(
    browser: Browser,
    prepare?: (context: BrowserContext) => Promise<unknown>,
    at = service,
  ): Promise<Viewer> {
    const context = await browser.newContext({ viewport: { width: 640, height: 360 } });
    await context.addInitScript(() => {
      const Real = window.RTCPeerConnection;
      const counted = window as unknown as { connectionsMade: number };
      counted.connectionsMade = 0;
      if (!Real) return;
      window.RTCPeerConnection = new Proxy(Real, {
        construct(target, args: [RTCConfiguration?]) {
          counted.connectionsMade++;
          return new target(...args);
        },
      });
    });
    await prepare?.(context);
    const page = await context.newPage();
    await page.goto(`${at.url}/room/viewer?n=1&title=${title}`);
    return new Viewer(context, page, at);
  }

  stats(): Promise<PlayerStats> {
    return this.page.evaluate(() => window.essaimDebug!.stats());
  }

  session(): Promise<PlaySession> {
    return this.page.evaluate(() => window.essaimDebug!.session()!);
  }

  connectionsMade(): Promise<number> {
    return this.page.evaluate(() => (window as unknown as { connectionsMade: number }).connectionsMade);
  }

  async playsPast(second: number): Promise<void> {
    await this.page.waitForFunction((at) => document.querySelector("video")!.currentTime >= at, second, {
      timeout: (seconds + 40) * 1_000,
    });
  }

  async playsToTheEnd(): Promise<void> {
    await this.page.waitForFunction(() => document.querySelector("video")!.ended, undefined, {
      timeout: (seconds + 60) * 1_000,
    });
  }

  /** Every range given to the player is the film's own; with `whole`, every byte of the film was given. */
  async sawTheFilm(whole = true): Promise<void> {
    const session = await this.session();
    await this.page.waitForFunction(() => window.essaimDebug!.delivered().every((range) => range.sha256 !== ""));
    const delivered: DeliveredRange[] = await this.page.evaluate(() => window.essaimDebug!.delivered());
    expect(delivered.length).toBeGreaterThan(4);
    for (const [number, file] of session.files.entries()) {
      const bytes = readFileSync(join(this.at.data, "objects", "objects", "media~", file.root));
      const ranges = delivered.filter((range) => range.file === number).sort((a, b) => a.from - b.from);
      let seen = file.segments[0][0];
      for (const { from, to, sha256 } of ranges) {
        expect(createHash("sha256").update(bytes.subarray(from, to)).digest("hex")).toBe(sha256);
        if (from <= seen) seen = Math.max(seen, to);
      }
      if (whole) expect(seen, `${file.path} was given whole`).toBe(file.segments.at(-1)![1]);
    }
  }
}

/** The bytes of one viewing. */
function filmBytes(session: PlaySession): number {
  return session.files.reduce((sum, file) => sum + file.size, 0);
}

/** What every viewer must have seen and never felt; prints and returns its share of bytes from the origin. */
async function account(name: string, viewer: Viewer): Promise<number> {
  const session = await viewer.session();
  const stats = await viewer.stats();
  const fromOrigin = (await traffic(viewer.at)).sessions[session.id] / filmBytes(session);
  console.log(
    `${name}: ${(100 * fromOrigin).toFixed(1)} % of the film from the origin, ` +
      `${((100 * stats.peerBytes) / filmBytes(session)).toFixed(1)} % from viewers, ` +
      `start ${stats.startupMs} ms, ${stats.stalls} stalls, by the ${stats.via}`,
  );
  expect(stats.stalls, `stalls of the viewer ${name}`).toBe(0);
  await viewer.sawTheFilm();
  return fromOrigin;
}

let first: Viewer;

test("the first viewer plays the film to its end; so do viewers without WebRTC, without the engine, without a tracker", async ({
  browser,
}) => {
  const elsewhere = await startDemo(withFilm());
  const stopped = await fetch(`${elsewhere.url}/room/api/tracker`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: elsewhere.url },
    body: JSON.stringify({ stopped: true }),
  });
  expect(stopped.ok).toBe(true);

  const withoutWebRTC = (context: BrowserContext) =>
    context.addInitScript(() => {
      Reflect.deleteProperty(window, "RTCPeerConnection");
      Reflect.deleteProperty(window, "webkitRTCPeerConnection");
    });
  const withoutEngine = (context: BrowserContext) =>
    context.route("**/engine.wasm", (route) => route.fulfill({ status: 404, body: "" }));
  const viewers = await Promise.all([
    Viewer.open(browser),
    Viewer.open(browser, withoutWebRTC),
    Viewer.open(browser, withoutEngine),
    Viewer.open(browser, undefined, elsewhere),
  ]);
  first = viewers[0];
  await Promise.all(viewers.map((viewer) => viewer.playsToTheEnd()));
  await account("the first", first);
  expect((await first.stats()).via).toBe("engine");
  for (const [name, viewer] of [
    ["without WebRTC", viewers[1]],
    ["without the engine", viewers[2]],
    ["without a tracker", viewers[3]],
  ] as const) {
    expect(await account(name, viewer)).toBeGreaterThan(0.95);
    expect((await viewer.stats()).peerBytes).toBe(0);
  }
  expect((await viewers[2].stats()).via).toBe("page");
  await Promise.all(viewers.slice(1).map((viewer) => viewer.context.close()));
  await elsewhere.stop();
});

test("the second gets at least 80 % of its bytes from the first", async ({ browser }) => {
  const second = await Viewer.open(browser);
  await second.playsToTheEnd();
  const fromOrigin = await account("the second", second);
  expect(fromOrigin).toBeLessThanOrEqual(0.2);
  expect((await second.stats()).peerBytes).toBeGreaterThan(0.75 * filmBytes(await second.session()));
  await second.context.close();
});

test("a peer that flips one bit is dropped, and the film is right all the same", async ({ browser }) => {
  await first.page.evaluate(() => window.essaimDebug!.player.lie(true));
  const victim = await Viewer.open(browser);
  await victim.playsPast(20);
  const stats = await victim.stats();
  expect(stats.badBlocks).toBeGreaterThan(0);
  expect(stats.peers, "the liar is gone").toBe(0);
  expect(stats.stalls).toBe(0);
  await victim.sawTheFilm(false);
  await victim.context.close();
  await first.page.evaluate(() => window.essaimDebug!.player.lie(false));
});

test("the switch p2p: false is obeyed at once", async ({ browser }) => {
  const forbidden = await Viewer.open(browser, (context) =>
    context.route("**/play", async (route) => {
      const response = await route.fetch();
      const session = (await response.json()) as PlaySession;
      await route.fulfill({ response, json: { ...session, policy: { ...session.policy, p2p: false } } });
    }),
  );
  const switched = await Viewer.open(browser);
  await switched.page.waitForFunction(() => window.essaimDebug!.stats().peers > 0);
  const before = await switched.connectionsMade();
  await switched.page.evaluate(() => window.essaimDebug!.player.restrict({ p2p: false }));
  await switched.page.waitForFunction(() => window.essaimDebug!.stats().peers === 0, undefined, { timeout: 1_000 });
  const peerBytes = (await switched.stats()).peerBytes;
  await Promise.all([forbidden.playsPast(14), switched.playsPast(20)]);
  expect(await forbidden.connectionsMade(), "connections made where policy forbids peers").toBe(0);
  expect(await switched.connectionsMade()).toBe(before);
  expect((await switched.stats()).peerBytes).toBe(peerBytes);
  expect((await switched.stats()).stalls).toBe(0);
  await forbidden.context.close();
  await switched.context.close();
  await first.context.close();
});
