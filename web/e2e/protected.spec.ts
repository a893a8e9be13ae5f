/**
 * A film for members is stored, sent, exchanged and kept encrypted, and opened with the keys of a licence: by the browser itself where
 * it has ClearKey, and by the player's own worker where it has none. The picture that comes out is the film's.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, type Page, test } from "@playwright/test";
import type { PlaySession } from "../src/player/session";
import { addClip, byTheEngine, playsPast, sawTheFilm, session, stats } from "./film";
import { dataFolder, type Service, startDemo } from "./service";

const film = "for-members";
const licences = "/api/v1/license/clearkey";

let service: Service;

test.describe.configure({ timeout: 180_000 });

test.beforeAll(async () => {
  const data = dataFolder();
  addClip(data, { id: film, title: "A hive of our own", seconds: 40, size: "360p", open: false });
  service = await startDemo(data); // whose viewers may meet on one machine
});

test.afterAll(() => service.stop());

/** Opens the film as the first or second of the demonstration's members. */
async function watch(page: Page, nth: number): Promise<void> {
  await page.addInitScript(() => localStorage.setItem("essaim.share", "yes"));
  const { members } = (await (await page.request.get(`${service.url}/api/v1/demo`)).json()) as { members: string[] };
  expect((await page.request.post(`${service.url}/demo/sign-in`, { data: { name: members[nth] } })).ok()).toBe(true);
  await page.goto(`${service.url}/watch/${film}?debug=1`);
}

/** How many colours the picture has, coarsely; 1 where it is blank, as of a film that the browser itself decrypts. */
const colours = (page: Page) =>
  page.evaluate(() => {
    const video = document.querySelector("video")!;
    const canvas = new OffscreenCanvas(64, 36).getContext("2d")!;
    canvas.drawImage(video, 0, 0, 64, 36);
    const { data } = canvas.getImageData(0, 0, 64, 36);
    const seen = new Set<number>();
    for (let i = 0; i < data.length; i += 4)
      seen.add(((data[i] >> 4) << 8) | ((data[i + 1] >> 4) << 4) | (data[i + 2] >> 4));
    return seen.size;
  });

const opened = (page: Page) => page.evaluate(() => document.querySelector("video")!.mediaKeys !== null);

/** The pieces in the page's cache on disk, by media file: where in it they belong, and what the disk holds. */
async function cached(page: Page): Promise<{ root: string; at: number; bytes: Buffer }[]> {
  const files = await page.evaluate(async () => {
    const found: { name: string; text: string }[] = [];
    const walk = async (folder: FileSystemDirectoryHandle): Promise<void> => {
      for await (const entry of (folder as unknown as { values(): AsyncIterable<FileSystemHandle> }).values()) {
        if (entry.kind === "directory") await walk(entry as FileSystemDirectoryHandle);
        else {
          const bytes = new Uint8Array(await (await (entry as FileSystemFileHandle).getFile()).arrayBuffer());
          let text = "";
          for (let at = 0; at < bytes.length; at += 32_768)
            text += String.fromCharCode(...bytes.subarray(at, at + 32_768));
          found.push({ name: entry.name, text: btoa(text) });
        }
      }
    };
    await walk(await navigator.storage.getDirectory());
    return found;
  });
  return files.flatMap(({ name, text }) => {
    const file = Buffer.from(text, "base64");
    if (file.subarray(0, 6).toString() !== "essaim") return []; // kept hashes
    const [length, slots] = [file.readUInt32BE(8), file.readUInt32BE(12)];
    const first = Math.ceil((64 + 4 * slots) / 4096) * 4096; // see src/host/cachefile.ts
    return Array.from({ length: slots }, (_, slot) => slot).flatMap((slot) => {
      const piece = file.readUInt32BE(64 + 4 * slot);
      const from = first + slot * length;
      return piece
        ? [{ root: name.replace(".pieces", ""), at: (piece - 1) * length, bytes: file.subarray(from, from + length) }]
        : [];
    });
  });
}

test("two members' browsers, one with ClearKey and one without, play it and exchange and keep ciphertext", async ({
  browser,
  page: ada,
}) => {
  const asked: string[] = [];
  ada.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (pathname === licences || pathname.startsWith("/media/")) asked.push(pathname);
  });
  const refused: string[] = [];
  ada.on("console", (message) => message.type() === "error" && refused.push(message.text()));
  await watch(ada, 0);
  await byTheEngine(ada);
  await playsPast(ada, 6);
  expect(await opened(ada)).toBe(true);
  expect(asked.filter((path) => path === licences)).toHaveLength(1);
  expect(asked[0]).toBe(licences); // nothing waits for it, and it waits for nothing
  expect(refused).toEqual([]);

  const context = await browser.newContext();
  const bea = await context.newPage();
  await bea.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "requestMediaKeySystemAccess", { value: undefined });
  });
  await watch(bea, 1);
  await playsPast(bea, 4);
  await bea.waitForFunction(() => window.essaimDebug!.stats().peerBytes > 0);
  expect(await opened(bea)).toBe(false);
  expect(bea.workers().some((worker) => worker.url().includes("decrypt"))).toBe(true);
  expect(await colours(bea)).toBeGreaterThan(20);
  for (const page of [ada, bea]) {
    expect(await stats(page)).toMatchObject({ badBlocks: 0 });
    await sawTheFilm(page, service.data); // what came is what is stored, and that is encrypted:
  }
  const stored = new Map<string, Buffer>();
  for (const { root, path, kid } of (await session(ada)).files) {
    expect(kid).toMatch(/^[0-9a-f]{32}$/);
    const bytes = readFileSync(join(service.data, "objects", "objects", "media~", root));
    expect(bytes.toString("latin1"), path).toMatch(/encv|enca/);
    stored.set(root, bytes);
  }
  const kept = await cached(ada);
  expect(kept.length).toBeGreaterThan(3);
  for (const { root, at, bytes } of kept) {
    const want = stored.get(root)!.subarray(at, at + bytes.length);
    expect(want.equals(bytes.subarray(0, want.length)), `${root} at ${at}`).toBe(true);
  }
  await bea.getByRole("link", { name: "Essaim" }).click();
  await expect.poll(() => bea.workers().length).toBe(0);
  await context.close();
});

test("a refusal is told in a sentence; a stranger gets no key", async ({ page, playwright }) => {
  await page.route(`**${licences}`, (route) =>
    route.fulfill({
      status: 403,
      contentType: "application/problem+json",
      body: JSON.stringify({ title: "Forbidden", status: 403, code: "forbidden", detail: "That is not allowed." }),
    }),
  );
  await watch(page, 0);
  await expect(page.getByRole("alert")).toHaveText(/\w/);
  expect(await page.evaluate(() => document.querySelector("video")?.currentTime ?? 0)).toBe(0);
  const pressed = await page.request.post(`${service.url}/api/v1/titles/${film}/play`, { data: {} });
  const { files, tickets } = (await pressed.json()) as PlaySession;

  const outside = await playwright.request.newContext({ baseURL: service.url });
  const data = { kids: files.map(({ kid }) => Buffer.from(kid!, "hex").toString("base64url")), type: "temporary" };
  for (const headers of [{}, { Authorization: `Bearer ${tickets.media}` }] as Record<string, string>[]) {
    const answer = await outside.post(licences, { data, headers });
    expect(answer.status()).toBe(401);
    expect(await answer.text()).not.toContain('"k"');
  }
  const mine = await outside.post(licences, { data, headers: { Authorization: `Bearer ${tickets.license}` } });
  expect(mine.headers()["cache-control"]).toBe("no-store");
  expect(await mine.json()).toMatchObject({ type: "temporary" });
  await outside.dispose();
});
