/**
 * The room, with real parts: viewers in frames, WebRTC between them, every switch pressed and pressed again. Figures are held
 * against the server's own counter. Pictures go to test-results/room-*.png, and with ESSAIM_PICTURES=1 to docs/room.png.
 */

import { resolve } from "node:path";
import { expect, type Locator, type Page, test } from "@playwright/test";
import type { ServerState } from "../src/room/server";
import { type Service, startDemo } from "./service";

test.describe.configure({ mode: "serial", timeout: 240_000 });
test.use({ viewport: { width: 1280, height: 800 } });

/** What a button may take to answer on a starved machine, in ms; on a quiet one it is well under two seconds. */
const answer = 10_000;

let service: Service | undefined;
let url: string;
let page: Page;
const problems: string[] = [];

test.beforeAll(async ({ browser }) => {
  if (!process.env.ESSAIM_URL) service = await startDemo();
  url = process.env.ESSAIM_URL ?? service!.url;
  page = await browser.newPage({ viewport: { width: 1280, height: 800 }, locale: "en-GB" });
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
});

test.afterAll(async () => {
  await page?.close();
  await service?.stop();
});

const frames = () => page.locator("iframe[data-n]");
const line = (from: number, to: number) => page.locator(`.line[data-from="${from}"][data-to="${to}"]`);
const strip = (n: number) => page.locator(`[data-testid=strip][data-n="${n}"]`);
const button = (name: string): Locator => page.getByRole("button", { name, exact: false });

async function state(): Promise<ServerState> {
  return (await (await page.request.get(`${url}/room/api/state`)).json()) as ServerState;
}

/** Presses a switch and sees that it is on, or off, in time. */
async function press(name: string, on: boolean): Promise<void> {
  await button(name).click();
  await expect(button(name)).toHaveAttribute("aria-pressed", String(on), { timeout: answer });
}

/** A figure that the page keeps in its markup. */
async function figure(locator: Locator, attribute: string): Promise<number> {
  return Number(await locator.getAttribute(attribute));
}

/** Waits until the drawing shows bytes flowing along a line. */
async function flows(from: number, to: number, timeout: number): Promise<void> {
  await expect.poll(() => figure(line(from, to), "data-kbps"), { timeout, intervals: [100] }).toBeGreaterThan(0);
}

test("the second viewer joins by itself, and within fifteen seconds the first feeds it", async () => {
  await page.goto(`${url}/room`);
  await expect(frames()).toHaveCount(1, { timeout: answer });
  await expect(page.getByTestId("countdown")).toContainText(/Viewer 2 joins in \d+ s/);
  await flows(0, 1, 10_000);
  await expect(frames()).toHaveCount(2, { timeout: 30_000 });
  await flows(1, 2, 15_000);
  await expect.poll(() => figure(strip(2), "data-viewers"), { timeout: 30_000 }).toBeGreaterThan(0);
  expect(await figure(strip(1), "data-server")).toBeGreaterThan(0);
});

test("the figures are the server's own, and the saving is what the viewers gave", async () => {
  const headline = page.getByTestId("headline");
  await expect(page.getByTestId("saved")).toContainText("% saved", { timeout: 20_000 });
  const before = (await state()).origin_bytes;
  await expect.poll(() => figure(headline, "data-server-total"), { timeout: answer }).toBeGreaterThanOrEqual(before);
  const [origin, plain] = [await figure(headline, "data-origin-bytes"), await figure(headline, "data-plain-bytes")];
  expect(origin).toBeLessThanOrEqual((await state()).origin_bytes);
  expect(plain).toBeGreaterThan(origin);
  await expect(headline).toContainText(/The server sent \d+\.\d MB; plain streaming would have sent \d+\.\d MB\./);
  const { piece_count, pieces_per_file } = await state();
  expect(pieces_per_file.reduce((a, b) => a + b, 0)).toBe(piece_count);
});

test("the page fits a laptop, and is seen whole on a phone and on a large screen", async () => {
  for (const [width, height] of [
    [390, 844],
    [1920, 1080],
    [1280, 800],
  ]) {
    await page.setViewportSize({ width: width!, height: height! });
    await expect.poll(async () => (await frames().first().boundingBox())!.width).toBeLessThan(width! / 2 + 180);
    await flows(1, 2, 15_000);
    await page.screenshot({ path: `test-results/room-${width}.png`, fullPage: true });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width!);
  }
  expect(await page.evaluate(() => document.documentElement.scrollHeight)).toBeLessThanOrEqual(800);
});

test("a viewer is added and taken out, up to four", async () => {
  await press("Add a viewer", true);
  await expect(frames()).toHaveCount(3, { timeout: answer });
  await press("Add a viewer", false);
  await expect(frames()).toHaveCount(2, { timeout: answer });
  await press("Add a viewer", true);
  await button("Add a fourth").click();
  await expect(frames()).toHaveCount(4, { timeout: answer });
  await expect
    .poll(async () => (await figure(strip(3), "data-viewers")) * (await figure(strip(4), "data-viewers")), {
      timeout: 45_000,
    })
    .toBeGreaterThan(0);
  await page.screenshot({ path: "test-results/room-four.png" });
  if (process.env.ESSAIM_PICTURES === "1") await page.screenshot({ path: resolve("../docs/room.png") });
  await button("Add a viewer").click();
  await expect(frames()).toHaveCount(3, { timeout: answer });
});

test("the server is cut to 1.2 × one bitrate and let go again", async () => {
  await press("Cut the server to 1.2 × one bitrate", true);
  const cut = await state();
  expect(cut.throttled).toBe(true);
  expect(cut.rate_bps).toBeGreaterThan(1.19 * cut.bitrate_bps);
  expect(cut.rate_bps).toBeLessThan(1.21 * cut.bitrate_bps);
  await expect(page.locator(".node.server .limit")).toContainText("at most", { timeout: answer });
  await press("Cut the server to 1.2 × one bitrate", false);
  expect(await state()).toMatchObject({ throttled: false, rate_bps: 0 });
  await expect(page.locator(".node.server .limit")).toBeEmpty({ timeout: answer });
});

test("without the tracker those who have met go on, and it can be started again", async () => {
  await press("Stop the tracker", true);
  expect((await state()).tracker_stopped).toBe(true);
  await expect(page.locator(".node.tracker")).toHaveClass(/stopped/, { timeout: answer });
  await expect(line(1, 2)).toHaveAttribute("data-state", "up");
  await press("Stop the tracker", false);
  expect((await state()).tracker_stopped).toBe(false);
  await expect(page.locator(".node.tracker")).not.toHaveClass(/stopped/, { timeout: answer });
});

test("a liar is found out, dropped, and comes back as a new peer once it is honest", async () => {
  await press("One viewer lies", true);
  await expect(page.locator('.node.viewer[data-n="1"]')).toHaveClass(/lies/, { timeout: answer });
  const bad = async () => (await figure(strip(2), "data-bad")) + (await figure(strip(3), "data-bad"));
  await expect.poll(bad, { timeout: 30_000, intervals: [100] }).toBeGreaterThan(0);
  await expect(page.locator('.line[data-from="1"][data-state="dropped"]').first()).toBeAttached();
  await page.screenshot({ path: "test-results/room-liar.png" });
  await expect(page.getByTestId("story")).toContainText("found a wrong bit", { timeout: 5_000 });

  await press("One viewer lies", false);
  await expect(page.locator('.line[data-from="1"][data-state="dropped"]')).toHaveCount(0, { timeout: answer });
  await expect(page.locator('.line[data-from="2"][data-to="1"][data-state="up"]')).toBeAttached({ timeout: 20_000 });
});

test("a viewer moves to a window of its own and back", async () => {
  const opened = page.waitForEvent("popup");
  await button("Open this viewer in its own window (viewer 2)").click();
  const popup = await opened;
  await expect(page.locator('iframe[data-n="2"]')).toHaveCount(0);
  await popup.waitForFunction(() => document.querySelector("video")!.currentTime > 0, undefined, { timeout: 20_000 });
  await expect.poll(() => figure(strip(2), "data-server"), { timeout: 10_000 }).toBeGreaterThan(0);
  await popup.close();
  await expect(page.locator('iframe[data-n="2"]')).toHaveCount(1, { timeout: answer });
});

test("the room speaks French too, and reported no error", async () => {
  await button("Français").click();
  await expect(page.getByTestId("headline")).toContainText("Le serveur a envoyé");
  await expect(button("Un spectateur ment")).toBeVisible();
  await button("English").click();
  await expect(page.getByTestId("headline")).toContainText("The server sent");
  expect(problems).toEqual([]);
});
