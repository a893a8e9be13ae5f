/**
 * The player's controls on a film with two sounds, subtitles and a storyboard: by mouse, by keyboard alone and by finger; what a
 * viewer chose is there again at the next visit, by language.
 */

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, type Page, test } from "@playwright/test";
import { playsOn, playsPast, session } from "./film";
import { dataFolder, filmFolder, run, type Service, startDemo } from "./service";

const film = "tongues";
let service: Service;

/** Ingests forty seconds of the demo film with sound and subtitles in two languages. */
function addFilm(data: string): void {
  const text = (words: string) => `1\n00:00:00,000 --> 00:00:39,000\n${words}\n`;
  writeFileSync(join(data, "en.srt"), text("Every byte is <i>checked</i>."));
  writeFileSync(join(data, "fr.srt"), text("Chaque octet est vérifié."));
  const names = [join(filmFolder, "video-360p.mp4"), join(filmFolder, "audio.mp4"), join(filmFolder, "audio.mp4")];
  const inputs = [...names, join(data, "en.srt"), join(data, "fr.srt")].flatMap((name) => ["-i", name]);
  const maps = ["0:v", "1:a", "2:a", "3", "4"].flatMap((map) => ["-map", map]);
  const tags = ["a:0", "a:1", "s:0", "s:1"].flatMap((track, i) => [
    `-metadata:s:${track}`,
    `language=${i % 2 === 0 ? "eng" : "fra"}`,
  ]);
  const made = join(data, "film.mkv");
  execFileSync("ffmpeg", ["-v", "error", "-y", ...inputs, ...maps, "-t", "40", "-c", "copy", ...tags, made]);
  run(["ingest", made, "--title", "Tongues", "--id", film, "--open", "--data", data, "--json"]);
}

test.beforeAll(async () => {
  const data = dataFolder();
  addFilm(data);
  service = await startDemo(data);
});

test.afterAll(() => service.stop());

async function watch(page: Page): Promise<void> {
  await page.addInitScript(() => localStorage.setItem("essaim.share", "no"));
  await page.goto(`${service.url}/watch/${film}?debug=1`);
  await playsPast(page, 0.5);
}

const player = (page: Page) => page.getByRole("region", { name: "Player" });
const time = (page: Page) => page.evaluate(() => document.querySelector("video")!.currentTime);
const paths = (page: Page) =>
  page.evaluate(() => [...new Set(window.essaimDebug!.delivered().map(({ path }) => path))].sort());

test("by mouse: pause, a look at the storyboard, a jump; who does not stir sees the film alone", async ({ page }) => {
  await watch(page);
  const controls = page.locator(".controls");
  const seek = page.getByRole("slider", { name: "Position in the film" });
  await player(page).hover();
  await expect(controls).toHaveCSS("opacity", "1");
  await page.getByRole("button", { name: "Pause" }).click();
  await expect(page.locator("video")).toHaveJSProperty("paused", true);

  const { x, y, width, height } = (await seek.boundingBox())!;
  await page.mouse.move(x + width / 2, y + height / 2);
  const look = page.locator(".look");
  await expect(look).toContainText(/0:(19|20)/);
  const { storyboard } = await session(page);
  await expect(look.locator(".picture")).toHaveCSS("background-image", new RegExp(storyboard!.url));
  await page.mouse.click(x + width / 2, y + height / 2);
  await expect.poll(() => time(page)).toBeGreaterThan(19);
  await expect(seek).toHaveAttribute("aria-valuetext", /^(19|20|21) seconds of 40 seconds$/);

  await page.getByRole("button", { name: "Play" }).click();
  await playsPast(page, 21);
  await player(page).hover();
  await expect(controls).toHaveCSS("opacity", "0");
  await page.mouse.move(x + 5, y - 40);
  await expect(controls).toHaveCSS("opacity", "1");
});

test("by keyboard alone: the keys that people know, names and states, and the controls stay while the focus is within", async ({
  page,
}) => {
  await watch(page);
  const video = page.locator("video");
  await page.keyboard.press("k");
  await expect(video).toHaveJSProperty("paused", true);
  await page.keyboard.press("5");
  await expect.poll(() => time(page)).toBeCloseTo(20, 0);
  await page.keyboard.press("l");
  await expect.poll(() => time(page)).toBeCloseTo(30, 0);
  await page.keyboard.press("ArrowLeft");
  await expect.poll(() => time(page)).toBeCloseTo(25, 0);
  await page.keyboard.press("m");
  await expect(video).toHaveJSProperty("muted", true);
  await expect(page.getByRole("button", { name: "Turn the sound on" })).toHaveCount(1);
  await page.keyboard.press(">");
  await expect(video).toHaveJSProperty("playbackRate", 1.25);
  await page.keyboard.press("c");
  await expect(page.locator(".captions")).toHaveText("Every byte is checked.");

  await page.getByRole("button", { name: "Play" }).focus();
  await page.keyboard.press("Space");
  await expect(video).toHaveJSProperty("paused", false);
  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "Back 10 seconds" })).toBeFocused();
  // Longer than the controls stay otherwise.
  await page.keyboard.press("0");
  await playsPast(page, 5);
  await expect(page.locator(".controls")).toHaveCSS("opacity", "1");
  const menu = page.getByRole("button", { name: "Quality and speed" });
  await menu.focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("radio", { name: /^Automatic/ })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(menu).toBeFocused();
});

test("sound, subtitles, speed and volume are remembered by language", async ({ page }) => {
  await watch(page);
  expect(await paths(page)).not.toContain("audio-2.mp4");
  await page.getByRole("button", { name: "Audio and subtitles" }).click();
  await page.getByRole("group", { name: "Audio" }).getByText("French").click();
  await page.getByRole("group", { name: "Subtitles" }).getByText("French").click();
  await expect(page.locator(".captions")).toHaveText("Chaque octet est vérifié.");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Quality and speed" }).click();
  await page.getByText("1.5×").click();
  await page.getByRole("slider", { name: "Volume" }).fill("0.4");
  await playsOn(page, 2);
  await expect.poll(() => paths(page)).toContain("audio-2.mp4");

  await page.reload();
  await playsPast(page, 0.5);
  await expect(page.locator(".captions")).toHaveText("Chaque octet est vérifié.");
  expect(await paths(page)).not.toContain("audio.mp4");
  const video = page.locator("video");
  await expect(video).toHaveJSProperty("playbackRate", 1.5);
  await expect(video).toHaveJSProperty("volume", 0.4);
  const keeps = await page.evaluate(() => navigator.mediaSession.metadata?.title);
  expect(keeps).toBe("Tongues");
});

test("a member goes on where they left off, on another device too, or starts over; the place is kept", async ({
  page,
}) => {
  const signedIn = await page.request.post(`${service.url}/demo/sign-in`, { data: { name: "demo" } });
  expect(signedIn.ok()).toBe(true);
  const address = `${service.url}/api/v1/positions/${film}`;
  const elsewhere = { position_ms: 33_000, duration_ms: 40_000, audio: "fr", subtitles: "en" };
  expect((await page.request.put(address, { data: elsewhere })).ok()).toBe(true);

  await page.addInitScript(() => localStorage.setItem("essaim.share", "no"));
  await page.goto(`${service.url}/watch/${film}?debug=1`);
  await playsPast(page, 30);
  await expect(player(page).getByText("Resumed at 0:30")).toBeVisible();
  await expect(page.locator(".captions")).toHaveText("Every byte is checked.");
  expect(await paths(page)).not.toContain("audio.mp4");
  await page.getByRole("button", { name: "Start over" }).click();
  await expect.poll(() => time(page)).toBeLessThan(25);
  await expect(page.getByRole("button", { name: "Start over" })).toHaveCount(0);

  // Half a minute of film in an eighth of a minute.
  await page.evaluate(() => (document.querySelector("video")!.playbackRate = 4));
  await playsPast(page, 32);
  await page.keyboard.press("k");
  const kept = async () => ((await (await page.request.get(address)).json()) as { position_ms: number }).position_ms;
  const away = async () => Math.abs((await kept()) - (await time(page)) * 1_000);
  await expect.poll(away).toBeLessThan(1_000);
});

test.describe("by finger", () => {
  test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

  test("one tap shows the controls, two on a side jump ten seconds", async ({ page }) => {
    await watch(page);
    const controls = page.locator(".controls");
    await expect(controls).toHaveCSS("opacity", "0");
    const { x, y, width } = (await page.locator("video").boundingBox())!;
    await page.touchscreen.tap(x + width / 2, y + 20);
    await expect(controls).toHaveCSS("opacity", "1");
    await page.keyboard.press("k");
    await expect(page.locator("video")).toHaveJSProperty("paused", true);
    const before = await time(page);
    // In one go: how soon two taps of the test's own would follow one another is the machine's business.
    await page.evaluate(
      ([clientX, clientY]) => {
        const surface = document.elementFromPoint(clientX, clientY)!;
        for (let tap = 0; tap < 2; tap++) {
          surface.dispatchEvent(new PointerEvent("pointerdown", { pointerType: "touch", bubbles: true }));
          surface.dispatchEvent(new MouseEvent("click", { clientX, clientY, bubbles: true }));
        }
      },
      [x + width - 20, y + 20],
    );
    await expect.poll(() => time(page)).toBeGreaterThan(before + 9);
    await page.getByRole("button", { name: "Audio and subtitles" }).tap();
    const panel = (await page.getByRole("group", { name: "Subtitles" }).boundingBox())!;
    expect(panel.y).toBeGreaterThan(y + (width * 9) / 16); // below the picture, not squeezed into it
  });
});
