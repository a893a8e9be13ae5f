/**
 * The pages, as a visitor finds them: catalogue, title, sign-in, player, in English and French, at three sizes. No page
 * may break its own Content-Security-Policy, and none may move under the reader's eyes. Pictures of them are written to
 * test-results/.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { test as base, expect, type Page } from "@playwright/test";
import type { DeliveredRange, PlayerStats } from "../src/player";
import type { PlaySession } from "../src/player/session";
import { leapsTo } from "./film";
import { startDemo } from "./service";

const film = "essaim-demo";

/** What must not have happened on a page by the end of a test. */
interface Faults {
  list: string[];
}

const test = base.extend<{ faults: Faults }, { url: string }>({
  url: [
    // eslint-disable-next-line no-empty-pattern -- Playwright reads the fixtures wanted off this pattern
    async ({}, use) => {
      if (process.env.ESSAIM_URL) return use(process.env.ESSAIM_URL);
      const service = await startDemo();
      await use(service.url);
      await service.stop();
    },
    { scope: "worker", timeout: 120_000 },
  ],
  baseURL: async ({ url }, use) => use(url),
  faults: [
    async ({ page }, use) => {
      const faults: Faults = { list: [] };
      page.on("pageerror", (error) => faults.list.push(`uncaught: ${error.message}`));
      page.on("console", (message) => {
        if (/Content Security Policy/i.test(message.text())) faults.list.push(message.text());
      });
      await use(faults);
      expect(faults.list).toEqual([]);
    },
    { auto: true },
  ],
});

const sizes = [
  { name: "phone", width: 390, height: 844 },
  { name: "laptop", width: 1280, height: 800 },
  { name: "tv", width: 1920, height: 1080 },
];

/** How far things moved by themselves since the page was opened (Cumulative Layout Shift). */
async function layoutShift(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((done) => {
        let sum = 0;
        type Shift = PerformanceEntry & { value: number; hadRecentInput: boolean };
        const observer = new PerformanceObserver((list) => {
          for (const entry of list.getEntries() as Shift[]) if (!entry.hadRecentInput) sum += entry.value;
        });
        observer.observe({ type: "layout-shift", buffered: true });
        // Buffered entries are delivered before the next frame but one.
        requestAnimationFrame(() => requestAnimationFrame(() => done(sum)));
      }),
  );
}

async function noSidewaysScroll(page: Page): Promise<void> {
  const { content, room } = await page.evaluate(() => ({
    content: document.documentElement.scrollWidth,
    room: document.documentElement.clientWidth,
  }));
  expect(content).toBeLessThanOrEqual(room);
}

for (const { name, width, height } of sizes) {
  test.describe(`at the size of a ${name}`, () => {
    test.use({ viewport: { width, height } });

    test("a stranger finds the open film and its page, and nothing moves", async ({ page }) => {
      await page.goto("/");
      const hero = page.getByRole("heading", { level: 1 });
      await expect(hero).toBeVisible();
      await expect(page.getByRole("heading", { name: "All films" })).toBeVisible();
      await page.waitForLoadState("networkidle");
      expect(await layoutShift(page)).toBeLessThan(0.02);
      await noSidewaysScroll(page);
      await page.screenshot({ path: `test-results/catalogue-${name}.png`, fullPage: true });

      const title = await hero.textContent();
      await page.getByRole("link", { name: "About this film" }).click();
      await expect(page).toHaveURL(new RegExp(`/title/${film}$`));
      await expect(page.getByRole("heading", { level: 1, name: title! })).toBeVisible();
      await expect(page.getByRole("link", { name: "Torrent file" })).toBeVisible();
      const magnet = page.getByRole("link", { name: "Magnet link" });
      await expect(magnet).toHaveAttribute("href", /^magnet:\?xt=urn:btih:[0-9a-f]{40}&xt=urn:btmh:1220[0-9a-f]{64}&/);
      await noSidewaysScroll(page);
      await page.screenshot({ path: `test-results/title-${name}.png`, fullPage: true });
    });

    test("the way in and the player have their room, and nothing moves", async ({ page }) => {
      await page.goto("/sign-in");
      await expect(page.getByRole("button", { name: "Enter as demo" })).toBeVisible();
      await expect(page.getByRole("heading", { level: 1 })).toHaveCount(1);
      expect(await layoutShift(page)).toBeLessThan(0.02);
      await noSidewaysScroll(page);
      await page.screenshot({ path: `test-results/sign-in-${name}.png`, fullPage: true });

      await page.addInitScript(() => localStorage.setItem("essaim.share", "no"));
      await page.goto(`/watch/${film}`);
      await expect(page.getByText("You are not sharing.")).toBeInViewport({ ratio: 1 });
      await expect(page.getByText("Every byte verified")).toBeVisible();
      await expect(page.getByRole("heading", { level: 1 })).toBeInViewport({ ratio: 1 });
      await expect(page.getByText("Open to all")).toBeInViewport({ ratio: 1 });
      expect(await layoutShift(page)).toBeLessThan(0.02);
      await noSidewaysScroll(page);
      await page.screenshot({ path: `test-results/watch-${name}.png` });
    });
  });
}

test("the film plays past five seconds by verified HTTP alone, for a viewer who said no", async ({ page, url }) => {
  await page.addInitScript(() => localStorage.setItem("essaim.share", "no"));
  const engine: string[] = [];
  page.on("request", (request) => {
    if (/engine\.wasm|\/tracker/.test(request.url())) engine.push(request.url());
  });
  await page.goto(`/watch/${film}?debug=1`);
  await page.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) >= 5, undefined, {
    timeout: 45_000,
  });
  await page.waitForFunction(() => window.essaimDebug!.delivered().every((range) => range.sha256 !== ""));
  const [stats, session, delivered] = (await page.evaluate(() => {
    const debug = window.essaimDebug!;
    return [debug.stats(), debug.session(), debug.delivered()];
  })) as [PlayerStats, PlaySession, DeliveredRange[]];
  expect(stats).toMatchObject({ via: "page", peerBytes: 0, badBlocks: 0, stalls: 0 });
  expect(stats.startupMs).toBeGreaterThan(0);
  expect(session.policy).toMatchObject({ p2p: false, upload: false });
  expect(engine).toEqual([]);
  for (const { file, from, to, sha256 } of delivered) {
    const headers = { Range: `bytes=${from}-${to - 1}` };
    const answer = await page.request.get(`${url}/media/${session.files[file].root}`, { headers });
    expect(
      createHash("sha256")
        .update(await answer.body())
        .digest("hex"),
    ).toBe(sha256);
  }
});

test("a demonstration's member signs in with one click, and out again", async ({ page }) => {
  await page.goto(`/title/${film}`);
  await page.getByRole("link", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Enter as demo" }).click();
  await expect(page).toHaveURL(new RegExp(`/title/${film}$`));
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("link", { name: "Sign in" })).toBeVisible();
});

test("a film with an endless name and no poster that loads keeps the page whole", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  const name = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft";
  const given = { id: film, name, summary: `${name}, ${name}`, open: true, duration_ms: 60_000 };
  const titles = [
    { ...given, poster: `/objects/${"0".repeat(64)}` },
    { ...given, id: "another", poster: "" },
  ];
  await page.route("**/api/v1/titles", (route) => route.fulfill({ json: { titles } }));
  await page.route(`**/api/v1/titles/${film}`, (route) => route.fulfill({ json: { ...titles[0], files: [] } }));
  for (const path of ["/", `/title/${film}`, `/watch/${film}`]) {
    await page.goto(path);
    await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
    await noSidewaysScroll(page);
  }
  await page.goto("/");
  const pictures = page.locator("main img");
  await expect(pictures).toHaveCount(3);
  for (const picture of await pictures.all()) await expect(picture).toHaveAttribute("src", /blank|^data:/);
  await page.screenshot({ path: "test-results/endless.png", fullPage: true });
});

test("a wrong password is told in a sentence, and the form stays", async ({ page }) => {
  await page.goto("/sign-in");
  await page.getByLabel("Name").fill("demo");
  await page.getByLabel("Password").fill("not this one");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("alert").filter({ hasText: "do not go together" })).toBeVisible();
  await expect(page.getByLabel("Name")).toHaveValue("demo");
});

test("the language follows its switch and is remembered", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "Français" }).click();
  await expect(page.getByRole("heading", { name: "Tous les films" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "fr");
  await page.reload();
  await expect(page.getByRole("heading", { name: "Tous les films" })).toBeVisible();
});

test.describe("in a French browser", () => {
  test.use({ locale: "fr-CA" });
  test("the pages are French at once", async ({ page }) => {
    await page.goto("/sign-in");
    await expect(page.getByRole("heading", { name: "Ceci est une démonstration" })).toBeVisible();
    await page.goto(`/title/${film}`);
    await expect(page.getByRole("link", { name: "Fichier torrent" })).toBeVisible();
    await expect(page.getByRole("link", { name: "Lien magnet" })).toBeVisible();
  });
});

test("an address without a page says so and leads back", async ({ page }) => {
  for (const path of ["/nowhere", "/title/no-such-film"]) {
    await page.goto(path);
    await expect(page.getByRole("heading", { name: "An empty cell" })).toBeVisible();
    await page.getByRole("link", { name: "See all films" }).click();
    await expect(page).toHaveURL("/");
  }
});

test("the keyboard reaches the content first, and back and forth keep their pages", async ({ page }) => {
  await page.goto("/");
  await expect(page.getByRole("link", { name: "About this film" })).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to content" })).toBeFocused();
  await page.getByRole("link", { name: "About this film" }).focus();
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(new RegExp("/title/"));
  await page.goBack();
  await expect(page.getByRole("heading", { name: "All films" })).toBeVisible();
  await page.goForward();
  await expect(page.getByRole("link", { name: "Torrent file" })).toBeVisible();
});

test("the sharing answer is asked under the player, obeyed at once, and can be changed", async ({ page }) => {
  await page.addInitScript(() => {
    if (!localStorage.getItem("essaim.share")) localStorage.setItem("essaim.share", "no");
  });
  await page.goto(`/watch/${film}?debug=1`);
  const upload = () => page.evaluate(() => window.essaimDebug?.session()?.policy.upload);
  await page.getByRole("button", { name: "Change" }).click();
  const line = page.getByRole("region", { name: "Share while you watch?" });
  await line.getByRole("button", { name: "What this means" }).click();
  await expect(line.getByText("can see your network address")).toBeVisible();
  const [video, question] = await Promise.all([page.locator("video").boundingBox(), line.boundingBox()]);
  expect(question!.y).toBeGreaterThanOrEqual(video!.y + video!.height);
  await line.getByRole("button", { name: "Yes" }).click();
  await expect(line.getByText("From viewers")).toBeVisible();
  await expect.poll(upload).toBe(true);
  await line.getByRole("button", { name: "Change" }).click();
  await line.getByRole("button", { name: "No", exact: true }).click();
  await expect(line.getByText("You are not sharing.")).toBeVisible();
  expect(await page.evaluate(() => localStorage.getItem("essaim.share"))).toBe("no");
});

test("a server that vanishes in mid-play is told in a sentence, and playback goes on when it is back", async ({
  page,
}) => {
  await page.addInitScript(() => localStorage.setItem("essaim.share", "no"));
  await page.goto(`/watch/${film}?debug=1`);
  const at = (second: number) =>
    page.waitForFunction((want) => (document.querySelector("video")?.currentTime ?? 0) >= want, second);
  await at(1);
  await page.route("**/media/**", (route) => route.abort());
  await expect(page.getByRole("status")).toHaveText(/slow to answer/, { timeout: 30_000 });
  await page.unroute("**/media/**");
  // Everything that it held by then, and then by what comes anew.
  const held = (await page.evaluate(() => window.essaimDebug!.stats().bufferedEndMs)) / 1_000;
  await leapsTo(page, held + 4);
  await expect(page.getByRole("status")).toHaveText("");
});

test("the player's shapes were generated from the API that this service declares", ({ url }) => {
  const arguments_ = [`${url}/api/openapi.json`, "--output", "src/player/api.gen.ts", "--check"];
  execFileSync("npx", ["--no-install", "openapi-typescript", ...arguments_], { stdio: "pipe" }); // if it throws: npm run api
});
