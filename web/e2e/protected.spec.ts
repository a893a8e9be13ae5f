/**
 * A film for members is stored, sent and kept encrypted, and opened with the keys of a licence: by the browser itself where it has
 * ClearKey, and by the player's own worker where it has none. The picture that comes out is the film's.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, type Page, test } from "@playwright/test";
import type { PlaySession } from "../src/player/session";
import { addClip, playsPast, sawTheFilm, session, stats } from "./film";
import { dataFolder, run, type Service, startServe } from "./service";

const film = "for-members";
const member = { name: "ada", password: "a long enough password" };
const licences = "/api/v1/license/clearkey";

let service: Service;

test.beforeAll(async () => {
  const data = dataFolder();
  addClip(data, { id: film, title: "A hive of our own", seconds: 12, size: "360p", open: false });
  run(["admin", "member", "add", member.name, "--data", data], `${member.password}\n`);
  service = await startServe(data);
});

test.afterAll(() => service.stop());

async function watch(page: Page): Promise<void> {
  expect((await page.request.post(`${service.url}/api/v1/session`, { data: member })).status()).toBe(200);
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

test("a member's browser opens it with the licence's keys, asked for once and beside the film's first bytes", async ({
  page,
}) => {
  const asked: string[] = [];
  page.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (pathname === licences || pathname.startsWith("/media/")) asked.push(pathname);
  });
  const refused: string[] = [];
  page.on("console", (message) => message.type() === "error" && refused.push(message.text()));
  await watch(page);
  await playsPast(page, 4);
  expect(await opened(page)).toBe(true);
  expect(asked.filter((path) => path === licences)).toHaveLength(1);
  expect(asked[0]).toBe(licences); // nothing waits for it, and it waits for nothing
  expect(await stats(page)).toMatchObject({ stalls: 0, badBlocks: 0 });
  expect(refused).toEqual([]);
  await sawTheFilm(page, service.data); // what came is what is stored, and that is encrypted:
  for (const { root, path, kid } of (await session(page)).files) {
    expect(kid).toMatch(/^[0-9a-f]{32}$/);
    const stored = readFileSync(join(service.data, "objects", "objects", "media~", root)).toString("latin1");
    expect(stored, path).toMatch(/encv|enca/);
  }
});

test("where the browser has no ClearKey the player decrypts, in a worker of its own", async ({ page }) => {
  await page.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "requestMediaKeySystemAccess", { value: undefined });
  });
  await watch(page);
  await playsPast(page, 4);
  expect(await opened(page)).toBe(false);
  expect(page.workers().some((worker) => worker.url().includes("decrypt"))).toBe(true);
  expect(await colours(page)).toBeGreaterThan(20);
  expect(await stats(page)).toMatchObject({ stalls: 0, badBlocks: 0 });
  await sawTheFilm(page, service.data);
  await page.getByRole("link", { name: "Essaim" }).click();
  await expect.poll(() => page.workers().length).toBe(0);
});

test("a refusal is told in a sentence; a stranger gets no key", async ({ page, playwright }) => {
  await page.route(`**${licences}`, (route) =>
    route.fulfill({
      status: 403,
      contentType: "application/problem+json",
      body: JSON.stringify({ title: "Forbidden", status: 403, code: "forbidden", detail: "That is not allowed." }),
    }),
  );
  await watch(page);
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
