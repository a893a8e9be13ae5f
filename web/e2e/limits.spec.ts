/**
 * What a plan allows, and what a page says when it may not, or cannot, go on. One film of two tiers, whose pictures have a key
 * for each class of quality and whose sound has a third, and one service: the operator changes what a member may have while they
 * watch, and their players obey, and say so in a sentence with a way on.
 */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { type BrowserContext, expect, type Page, test } from "@playwright/test";
import { playsOn, playsPast, session } from "./film";
import { dataFolder, run, type Service, startServe } from "./service";
import { offBars as far } from "./bars";

const film = "bars";
const name = "Bars of two tiers";
const member = { name: "ada", password: "a long enough password" };
const licences = "/api/v1/license/clearkey";

/** Bounds waits for what the service promises within seconds; a loaded machine needs longer. */
const soon = { timeout: 30_000 };

let service: Service;

test.describe.configure({ mode: "serial", timeout: 240_000 });
// Large enough for the better picture.
test.use({ viewport: { width: 1600, height: 1100 } });

test.beforeAll(async () => {
  test.setTimeout(180_000);
  const data = dataFolder();
  const source = join(data, "bars.mp4");
  const bars = ["-f", "lavfi", "-i", "smptebars=s=1280x720:r=25:d=40,format=yuv420p"];
  const tone = ["-f", "lavfi", "-i", "sine=r=48000:d=40"];
  const codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac", "-shortest"];
  execFileSync("ffmpeg", ["-v", "error", "-y", ...bars, ...tone, ...codecs, source]);
  run(["ingest", source, "--id", film, "--title", name, "--ladder", "--data", data, "--json"]);
  run(["admin", "member", "add", member.name, "--data", data], `${member.password}\n`);
  service = await startServe(data);
});

test.afterAll(() => service.stop());

/** Asks for something as the operator. */
async function operator<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${service.url}/api/v1/operator/${path}`, {
    method,
    headers: { Authorization: `Bearer ${service.token}`, "Content-Type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  expect(response.status, `${method} ${path}`).toBe(200);
  return (await response.json()) as T;
}

/** Changes the plan that everybody is on. */
const plan = (highest: string, streams: number) =>
  operator("PUT", "plans/standard", { name: "Standard", all_titles: true, highest, streams });

async function signIn(context: BrowserContext): Promise<void> {
  expect((await context.request.post(`${service.url}/api/v1/session`, { data: member })).status()).toBe(200);
}

/** Stops what the member watches: browsers that tests end say no goodbye. */
async function nothingPlays({ request }: BrowserContext): Promise<void> {
  const { streams } = (await (await request.get(`${service.url}/api/v1/streams`)).json()) as {
    streams: { session: string }[];
  };
  for (const { session } of streams) await request.delete(`${service.url}/api/v1/streams/${session}`);
}

const watch = (page: Page) => page.goto(`${service.url}/watch/${film}?debug=1`);

const lines = (page: Page) => page.locator("video").evaluate((video: HTMLVideoElement) => video.videoHeight);

const paused = (page: Page) => page.locator("video").evaluate((video: HTMLVideoElement) => video.paused);

/** How far a photograph of the video is from the bars, 0 to 255, at the worst of them: what is decrypted reads back blank. */
async function offBars(page: Page): Promise<number> {
  await page.evaluate(() => {
    for (const other of document.querySelectorAll<HTMLElement>("video ~ *")) other.style.visibility = "hidden";
  });
  const png = (await page.locator("video").screenshot()).toString("base64");
  return page.evaluate(far, png);
}

/** The files of the film's pictures, by their lines. */
async function pictures(page: Page) {
  const { files } = await session(page);
  const of = (height: number) => files.find((file) => file.kind === "video" && file.height === height)!;
  return { sd: of(480), hd: of(720), sound: files.find(({ kind }) => kind === "audio")! };
}

const base64 = (hex: string) => Buffer.from(hex, "hex").toString("base64url");

test("each tier has a key of its own; a plan that is lowered steps a running player down, for good", async ({
  context,
  page,
}) => {
  await plan("uhd", 1);
  await signIn(context);
  // With another key for the better tier, and for it alone, there is no picture.
  let better = "";
  await page.route("**/objects/**", (route) => route.abort()); // the poster shows the bars as well
  await page.route(`**${licences}`, async (route) => {
    const answer = await route.fetch();
    const licence = (await answer.json()) as { keys: { kid: string; k: string }[] };
    for (const key of licence.keys)
      if (key.kid === better) key.k = Buffer.from(key.k, "base64url").reverse().toString("base64url");
    await route.fulfill({ response: answer, json: licence });
  });
  await watch(page);
  await page.waitForFunction(() => window.essaimDebug?.session() !== undefined);
  const { sd, hd, sound } = await pictures(page);
  expect(new Set([sd.kid, hd.kid, sound.kid]).size).toBe(3);
  better = base64(hd.kid!);
  await page.reload();
  const shownOrRefused = () =>
    document.querySelector("[role=alert]") !== null || (document.querySelector("video")?.currentTime ?? 0) > 1;
  await page.waitForFunction(shownOrRefused, undefined, soon);
  expect(await offBars(page), "with a wrong key").toBeGreaterThan(80);

  await page.unroute(`**${licences}`);
  await page.reload();
  await playsPast(page, 1);
  expect(await lines(page)).toBe(720);
  expect(await offBars(page), "with the keys").toBeLessThan(40);
  expect(await page.locator("video").evaluate((video: HTMLVideoElement) => video.mediaKeys !== null)).toBe(true);

  // The operator lowers the plan under it.
  const before = (await session(page)).id;
  await plan("sd", 1);
  await expect.poll(() => lines(page), soon).toBe(480);
  expect(await offBars(page), "of the lesser picture").toBeLessThan(40);
  await playsOn(page, 2);
  await expect(page.getByRole("alert")).toHaveCount(0);
  const now = await session(page);
  expect(now.id).not.toBe(before);
  expect(now.protection?.max_height).toBeLessThan(720);

  // No keys to more, and nobody asks for it.
  const ask = (kids: string[]) =>
    context.request.post(`${service.url}${licences}`, {
      data: { kids, type: "temporary" },
      headers: { Authorization: `Bearer ${now.tickets.license}` },
    });
  expect((await ask([better])).status()).toBe(403);
  const had = (await (await ask([sd.kid!, hd.kid!, sound.kid!].map(base64))).json()) as { keys: { kid: string }[] };
  expect(had.keys.map(({ kid }) => kid).sort()).toEqual([sd.kid!, sound.kid!].map(base64).sort());
  const asked: string[] = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.reload();
  await playsPast(page, 12);
  expect(await lines(page)).toBe(480);
  expect(asked.some((path) => path.endsWith(sd.root))).toBe(true);
  expect(asked.filter((path) => path.endsWith(hd.root))).toEqual([]);
});

test("one screen too many says what runs where and takes its place; withdrawal and a plan's end stop it in a sentence", async ({
  browser,
  context,
  page,
}) => {
  await plan("sd", 1);
  await signIn(context);
  await nothingPlays(context);
  await watch(page);
  await playsPast(page, 1);

  const other = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await signIn(other);
  const tv = await other.newPage();
  await watch(tv);
  await expect(tv.getByRole("alert")).toHaveText(/as many screens as your plan has/);
  const running = tv.getByRole("listitem").filter({ hasText: name });
  await expect(running).toHaveCount(1);
  await expect(running).toContainText("Chromium · Linux, since");
  await tv.screenshot({ path: test.info().outputPath("too-many.png") });
  await tv.getByRole("button", { name: `Stop ${name} on Chromium · Linux and watch here` }).click();
  await playsPast(tv, 1);
  await expect(page.getByRole("alert")).toHaveText(/your account is watching elsewhere/, soon);
  await expect(page.getByRole("button", { name: "Watch here instead" })).toBeVisible();
  expect(await paused(page)).toBe(true);

  await operator("POST", `titles/${film}/withdraw`);
  await expect(tv.getByRole("alert")).toHaveText("This film has been withdrawn.", soon);
  expect(await paused(tv)).toBe(true);
  await operator("POST", `titles/${film}/restore`);
  await tv.getByRole("link", { name: "See all films" }).click();
  await tv.getByRole("link", { name }).first().click();
  await watch(tv);
  await playsPast(tv, 1);

  const { members } = await operator<{ members: { id: string; name: string }[] }>("GET", "members");
  const path = `members/${members.find((each) => each.name === member.name)!.id}/subscription`;
  await operator("PUT", path, { plan: "standard", state: "ended" });
  await expect(tv.getByRole("alert")).toHaveText(/Your plan has ended/, soon);
  expect(await paused(tv)).toBe(true);
  await tv.getByRole("link", { name: "See your plan" }).click();
  await expect(tv.getByRole("heading", { level: 1 })).toBeVisible();
  await operator("PUT", path, { plan: "standard", state: "active" });
  await other.close();
});

test("without a network the film goes on by itself once it is back; a full disk is not noticed; an old browser is told so", async ({
  browser,
  context,
  page,
}) => {
  await plan("sd", 1);
  await signIn(context);
  await nothingPlays(context);
  await page.addInitScript(() => localStorage.setItem("essaim.share", "yes"));
  const cdp = await context.newCDPSession(page);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin: service.url, quotaSize: 1 << 16 });
  await watch(page);
  await page.waitForFunction(() => window.essaimDebug?.stats().via === "engine", undefined, soon);
  await playsPast(page, 2);
  await expect(page.getByRole("alert")).toHaveCount(0);

  await context.setOffline(true);
  await expect(page.getByRole("alert")).toHaveText(/There is no network/, { timeout: 120_000 });
  await context.setOffline(false);
  await expect(page.getByRole("alert")).toHaveCount(0, soon);
  await playsOn(page, 2);

  const old = await browser.newContext();
  await signIn(old);
  const told = await old.newPage();
  await told.addInitScript(() => {
    for (const name of ["MediaSource", "ManagedMediaSource", "WebKitMediaSource"]) Reflect.deleteProperty(window, name);
  });
  const pressed: string[] = [];
  told.on("request", (request) => request.method() === "POST" && pressed.push(request.url()));
  await watch(told);
  await expect(told.getByRole("alert")).toHaveText(/too old to play films/);
  await expect(told.getByRole("button", { name: "Copy the address" })).toBeVisible();
  expect(pressed, "a place asked for in vain").toEqual([]);
  await old.close();
});
