/**
 * The cache in a real Chromium with a profile on disk: a second visit takes next to nothing from the origin; a browser that is
 * killed in the middle of a write, and whose files are then cut and spoilt, plays the film's own bytes and nothing else; what
 * is spoilt under an open page reaches neither its player nor a neighbour, and keeps nobody waiting; of two tabs one owns the
 * cache. What the origin sent is the origin's own count.
 */

import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, expect, type Page, test } from "@playwright/test";
import * as film from "./film";
import { byTheEngine, filmBytes, leapsTo, playsPast, playsToTheEnd, session, stats } from "./film";
import { dataFolder, type Service, startDemo, traffic } from "./service";

const seconds = 48;

/** What the page fetches by itself before the engine is there, at most: the film's first seconds. */
const startSeconds = 12;
const title = "cache";

let service: Service;
let profile: string;

test.describe.configure({ mode: "serial", timeout: 240_000 });

test.beforeAll(async () => {
  const data = dataFolder();
  film.addClip(data, { id: title, title: "Cache", seconds, size: "720p", open: true });
  service = await startDemo(data);
});

test.beforeEach(() => {
  profile = mkdtempSync(join(tmpdir(), "essaim-profile-"));
});

test.afterEach(() => rmSync(profile, { recursive: true, force: true, maxRetries: 5 }));

test.afterAll(async () => {
  await service.stop();
});

/** A browser with its profile on disk: as at home, and not as in a test's context, whose storage is memory. */
function browse(): Promise<BrowserContext> {
  const { executablePath, args } = test.info().project.use.launchOptions ?? {};
  return chromium.launchPersistentContext(profile, { executablePath, args, viewport: { width: 640, height: 360 } });
}

async function openViewer(context: BrowserContext, n = 1, more = ""): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${service.url}/room/viewer?n=${n}&title=${title}&cache=1${more}`);
  return page;
}

/** Goes through the film to its end in leaps, by the engine. */
async function goesThrough(page: Page): Promise<void> {
  await byTheEngine(page);
  await leapsTo(page, seconds - 2);
  await playsToTheEnd(page);
}

const sawTheFilm = (page: Page) => film.sawTheFilm(page, service.data);

async function fromOrigin(page: Page): Promise<number> {
  const played = await session(page);
  return ((await traffic(service)).sessions[played.id] ?? 0) / filmBytes(played);
}

/** The processes that have the profile open: the browser is the one whose lock the profile holds. */
function browserPid(): number {
  return Number(readlinkSync(join(profile, "SingletonLock")).split("-").at(-1));
}

/** The files of the origin's private file system, wherever the browser keeps them. */
function cacheFiles(folder = profile): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.parentPath.includes("File System"))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => readFileSync(path).subarray(0, 6).toString("latin1") === "essaim");
}

test("the second visit plays from what the first one left; what is then spoilt under it reaches neither its player nor a peer", async () => {
  const context = await browse();
  const page = await openViewer(context);
  await goesThrough(page);
  await sawTheFilm(page);
  const first = await fromOrigin(page);
  await page.reload();
  await goesThrough(page);
  await sawTheFilm(page);
  const second = await fromOrigin(page);
  const { cachedBytes, stalls } = await stats(page);
  const share = cachedBytes / filmBytes(await session(page));
  console.log(
    `from the origin: ${(100 * first).toFixed(1)} % of the film on the first visit, ${(100 * second).toFixed(1)} % on the second, ` +
      `which had ${(100 * share).toFixed(1)} % in its cache`,
  );
  expect(first).toBeGreaterThan(0.9);
  expect(second * seconds).toBeLessThan(startSeconds);
  expect((1 - share) * seconds).toBeLessThan(startSeconds);
  expect(stalls).toBe(0);
  expect(await page.evaluate(() => navigator.storage.persisted()), "storage was made persistent").toBe(false);

  const before = await fromOrigin(page);
  spoil();

  const neighbour = await openViewer(context, 2);
  await neighbour.waitForFunction(() => window.essaimDebug!.stats().peers > 0);
  await playsPast(neighbour, 8);
  await sawTheFilm(neighbour);
  const gave = await stats(neighbour);
  expect(gave).toMatchObject({ badBlocks: 0, via: "engine", peers: 1 });
  expect(gave.banned).toBeUndefined();
  await neighbour.close();

  await page.evaluate(() => {
    const video = document.querySelector("video")!;
    video.currentTime = 0;
    return video.play();
  });
  await goesThrough(page);
  await sawTheFilm(page);
  const after = await fromOrigin(page);
  console.log(
    `of a film that was spoilt in the cache, ${((after - before) * 100).toFixed(0)} % came again from the origin`,
  );
  expect(await stats(page)).toMatchObject({ badBlocks: 0, via: "engine" });
  expect(after - before).toBeGreaterThan(0.25); // what the player itself did not hold any more
  await context.close();
});

test(
  "a browser that is killed while it writes, and whose cache is spoilt, delivers nothing wrong",
  { tag: "@soak" },
  async () => {
    const context = await browse();
    const page = await openViewer(context);
    await byTheEngine(page);
    await leapsTo(page, 18);
    const gone = new Promise((resolve) => context.once("close", resolve));
    process.kill(browserPid(), "SIGKILL");
    await gone;
    const files = cacheFiles();
    expect(files.length).toBeGreaterThan(0);
    const largest = files.sort((a, b) => statSync(b).size - statSync(a).size)[0]!;
    truncateSync(largest, statSync(largest).size - 50_000);
    const bytes = readFileSync(largest);
    for (let at = 300_000; at < bytes.length; at += 200_000) bytes[at]! ^= 1;
    writeFileSync(largest, bytes);

    const again = await browse();
    const later = await openViewer(again);
    await goesThrough(later);
    await sawTheFilm(later);
    const { cachedBytes, badBlocks, via } = await stats(later);
    console.log(
      `${(cachedBytes / 1e6).toFixed(1)} MB of what was left were right; ${((await fromOrigin(later)) * 100).toFixed(0)} % came anew`,
    );
    expect(cachedBytes).toBeGreaterThan(0);
    expect(badBlocks).toBe(0); // nobody but the disk was at fault
    expect(via).toBe("engine");
    await again.close();
  },
);

/** Flips a bit in every piece that lies in the cache, in place: whoever has the files open is not told. */
function spoil(): void {
  const files = cacheFiles();
  expect(files.length).toBeGreaterThan(0);
  for (const path of files) {
    const bytes = readFileSync(path);
    const file = openSync(path, "r+");
    // Where the slots begin: see cachefile.ts.
    for (let at = Math.ceil((64 + 4 * bytes.readUInt32BE(12)) / 4096) * 4096 + 9_000; at < bytes.length; at += 16_384) {
      writeSync(file, Uint8Array.of(bytes[at]! ^ 1), 0, 1, at);
    }
    closeSync(file);
  }
}

test(
  "a paused viewer gets its film although the cache of its paused neighbour is spoilt",
  { tag: "@soak" },
  async () => {
    const context = await browse();
    const page = await openViewer(context);
    await byTheEngine(page);
    await playsPast(page, 3);
    await page.evaluate(() => document.querySelector("video")!.pause());
    const held = () => window.essaimDebug!.stats().bufferedEndMs >= 12_000;
    await page.waitForFunction(held);
    spoil();

    const neighbour = await openViewer(context, 2, "&autoplay=0");
    await neighbour.waitForFunction(() => window.essaimDebug!.stats().peers > 0);
    await neighbour.waitForFunction(() => window.essaimDebug!.stats().bufferedEndMs >= 9_000);
    await sawTheFilm(neighbour);
    expect(await stats(neighbour)).toMatchObject({ badBlocks: 0, via: "engine", positionMs: 0 });
    await context.close();
  },
);

test("of two tabs one owns the cache, and the other keeps to memory", async () => {
  const context = await browse();
  const owner = await openViewer(context);
  await byTheEngine(owner);
  const guest = await openViewer(context);
  await byTheEngine(guest);
  const held = () => guest.evaluate(async () => ((await navigator.locks.query()).held ?? []).map((lock) => lock.name));
  expect(await held()).toEqual(["essaim:viewer-1"]);
  await Promise.all([playsPast(owner, 6), playsPast(guest, 6)]);
  await sawTheFilm(guest);
  expect((await stats(guest)).cachedBytes).toBe(0);
  await owner.close();
  await expect.poll(held).toEqual([]);
  await guest.reload(); // at its next title it owns the cache, and finds what the owner left
  await byTheEngine(guest);
  expect(await held()).toEqual(["essaim:viewer-1"]);
  await guest.waitForFunction(() => window.essaimDebug!.stats().cachedBytes > 0);
  await context.close();
});
