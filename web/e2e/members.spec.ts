/**
 * What is for members, and who is asked: a film ingested without `--open` shows nothing to a stranger and plays for a
 * member, encrypted and in a swarm of members alone; no connection to another viewer is made before a yes, and none outlives a no or the page. Then
 * what viewers do with a player beside watching: pause, jump, change the speed.
 */

import { expect, type Page, test } from "@playwright/test";
import type { TitleDetail, TitleSummary } from "../src/player";
import type { PlaySession } from "../src/player/session";
import { addClip, playsOn, playsPast, sawTheFilm, session, stats } from "./film";
import { connections, watchConnections } from "./peers";
import { dataFolder, run, type Service, startDemo, startServe } from "./service";

const seconds = 20;
const closed = "for-members";
const open = "for-all";
const member = { name: "ada", password: "a long enough password" };

test.beforeEach(({ context }) => watchConnections(context));

const rest = (page: Page, answer: string) => page.addInitScript((a) => localStorage.setItem("essaim.share", a), answer);

test.describe("a service with a film for members", () => {
  let service: Service;

  test.beforeAll(async () => {
    const data = dataFolder();
    // Two clips of the demo's film, from different places: what they have in common would be open to all.
    const size = "360p";
    addClip(data, { id: closed, title: "A hive of our own", seconds, size, open: false });
    addClip(data, { id: open, title: "A hive for all", seconds, from: 60, size, open: true });
    run(["admin", "member", "add", member.name, "--data", data], `${member.password}\n`);
    service = await startServe(data);
  });

  test.afterAll(() => service.stop());

  test("a stranger finds no trace of it, and gets not a byte of it", async ({ page, playwright }) => {
    const inside = await playwright.request.newContext({ baseURL: service.url });
    expect((await inside.post("/api/v1/session", { data: member })).status()).toBe(200);
    const title = (await (await inside.get(`/api/v1/titles/${closed}`)).json()) as TitleDetail;
    const pressed = await inside.post(`/api/v1/titles/${closed}/play`, { data: {} });
    const { files } = (await pressed.json()) as PlaySession;
    expect(title.poster).not.toBe("");
    expect((await inside.get(title.poster)).headers()["content-type"]).toMatch(/^image\//);
    await inside.dispose();

    const outside = await playwright.request.newContext({ baseURL: service.url });
    const listed = (await (await outside.get("/api/v1/titles")).json()) as { titles: TitleSummary[] };
    expect(listed.titles.map(({ id }) => id)).toEqual([open]);
    const shown = await outside.post(`/api/v1/titles/${open}/play`, { data: { share: true } });
    const { tickets } = (await shown.json()) as PlaySession;
    const refusals = [
      await outside.get(`/api/v1/titles/${closed}`),
      await outside.get(`/api/v1/titles/${closed}/torrent`),
      await outside.post(`/api/v1/titles/${closed}/play`, { data: { share: true } }),
    ];
    // A poster is had by whoever knows its digest, and nothing that a stranger is told holds it.
    expect(JSON.stringify(listed)).not.toContain(title.poster);
    for (const { root, first } of files) {
      const hashes = `/hashes/${root}?base=${first?.base ?? 0}&index=0&length=2&proof=0`;
      // With no ticket, and with one for another film.
      for (const headers of [{}, { Authorization: `Bearer ${tickets.media}` }] as Record<string, string>[]) {
        refusals.push(await outside.get(`/media/${root}`, { headers: { ...headers, Range: "bytes=0-99" } }));
        refusals.push(await outside.get(`/media/${root}`, { headers }));
        refusals.push(await outside.get(hashes, { headers }));
      }
    }
    for (const refusal of refusals) {
      expect([401, 403, 404], refusal.url()).toContain(refusal.status());
      expect(refusal.headers()["content-type"], refusal.url()).toBe("application/problem+json");
      for (const secret of ["A hive of our own", title.poster]) expect(await refusal.text()).not.toContain(secret);
    }
    await outside.dispose();

    const media: string[] = [];
    page.on("request", (request) => /\/(media|hashes)\//.test(request.url()) && media.push(request.url()));
    await page.goto(service.url);
    await expect(page.getByRole("heading", { level: 3 })).toHaveText(["A hive for all"]);
    for (const path of ["title", "watch"]) {
      await page.goto(`${service.url}/${path}/${closed}`);
      await expect(page.getByRole("alert")).toHaveText("Sign in first; this film is for members.");
      await expect(page.getByRole("main").getByRole("link", { name: "Sign in" })).toBeVisible();
      await expect(page.getByText("A hive of our own")).toHaveCount(0);
    }
    expect(media).toEqual([]);
  });

  test("a member signs in, sees it, and plays it with a place in its swarm, until they sign out", async ({ page }) => {
    await rest(page, "yes");
    await page.goto(`${service.url}/title/${closed}`);
    await page.getByRole("main").getByRole("link", { name: "Sign in" }).click();
    await page.getByLabel("Name").fill(member.name);
    await page.getByLabel("Password").fill(member.password);
    await page.keyboard.press("Enter");
    await expect(page.getByRole("heading", { level: 1, name: "A hive of our own" })).toBeVisible();
    await expect(page.getByRole("link", { name: "Torrent file" })).toHaveCount(0);
    await page.goto(`${service.url}/watch/${closed}?debug=1`);
    await playsPast(page, 5);

    const { nodes, tickets, policy } = await session(page);
    expect(nodes.trackers).toEqual(["/tracker"]);
    expect(tickets.swarm).toBeDefined();
    expect(policy).toMatchObject({ p2p: true, upload: true });
    expect(await stats(page)).toMatchObject({ peerBytes: 0, sentBytes: 0, badBlocks: 0 });
    await sawTheFilm(page, service.data);
    await expect(page.getByText("Every byte verified")).toBeVisible();

    // A server that cannot be reached has not signed anybody out, and the page does not pretend so.
    await page.route("**/api/v1/session", (route) => route.abort());
    await page.getByRole("button", { name: "Sign out" }).click();
    await expect(page.getByRole("alert")).toContainText("You are still signed in.");
    await page.unroute("**/api/v1/session");
    await page.getByRole("button", { name: "Sign out" }).click();
    await expect(page.getByRole("link", { name: "Sign in" })).toBeVisible();
    const again = await page.request.post(`${service.url}/api/v1/titles/${closed}/play`, { data: {} });
    expect(again.status()).toBe(401);
    await page.reload();
    await expect(page.getByRole("alert")).toHaveText("Sign in first; this film is for members.");
  });

  test("unanswered is no; a yes begins sharing, also one said before the film is there", async ({ page }) => {
    await page.goto(`${service.url}/watch/${open}?debug=1`);
    await expect(page.getByText("Share while you watch?")).toBeVisible();
    await playsPast(page, 3);
    expect((await session(page)).policy).toMatchObject({ p2p: false, upload: false });
    expect((await stats(page)).via).toBe("page");
    expect(await connections(page)).toEqual([]);
    expect((await page.request.get(`${service.url}/room/viewer`, { headers: { Accept: "*/*" } })).status()).toBe(404);

    // A yes that the server cannot take is taken back, and asked for again.
    await page.route("**/heartbeat", (route) => route.abort());
    await page.getByRole("button", { name: "Yes" }).click();
    await expect(page.getByRole("status")).toHaveText(/Sharing could not begin/);
    await expect(page.getByText("Share while you watch?")).toBeVisible();
    await page.unroute("**/heartbeat");
    await page.getByRole("button", { name: "Yes" }).click();
    await expect(page.getByText("You are sharing while you watch.")).toBeVisible();
    await expect(page.getByRole("button", { name: "Change" })).toBeFocused();
    await page.waitForFunction(() => window.essaimDebug!.stats().via === "engine");
    expect((await session(page)).policy).toMatchObject({ p2p: true, upload: true });

    await page.evaluate(() => localStorage.removeItem("essaim.share"));
    let answer!: () => void;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    await page.route("**/play", async (route) => {
      await answered;
      await route.continue();
    });
    await page.reload();
    await page.waitForFunction(() => window.essaimDebug !== undefined);
    const early = page.evaluate(() => window.essaimDebug!.player.share(true));
    answer();
    await early;
    await page.waitForFunction(() => window.essaimDebug!.stats().via === "engine");
    expect((await session(page)).policy.upload).toBe(true);
    await sawTheFilm(page, service.data);
  });
});

test.describe("the open film of a demonstration", () => {
  const film = "essaim-demo";
  let service: Service;

  test.beforeAll(async () => {
    service = await startDemo();
  });

  test.afterAll(() => service.stop());

  test("pause, resume, one and a half times the speed, and a jump to the middle", async ({ page }) => {
    await rest(page, "no");
    await page.goto(`${service.url}/watch/${film}?debug=1`);
    const video = page.locator("video");
    await playsPast(page, 1);
    await page.keyboard.press("Space");
    await expect(video).toHaveJSProperty("paused", true);
    await page.keyboard.press("Space");
    await expect(video).toHaveJSProperty("paused", false);
    await video.evaluate((v: HTMLVideoElement) => void (v.playbackRate = 1.5));
    await playsPast(page, 4);
    await expect(video).toHaveJSProperty("playbackRate", 1.5);

    const middle = await video.evaluate((v: HTMLVideoElement) => {
      v.playbackRate = 1;
      return (v.currentTime = v.duration / 2);
    });
    await playsPast(page, middle + 2);
    expect(await stats(page)).toMatchObject({ via: "page", badBlocks: 0 });
    expect(await connections(page)).toEqual([]);
    const delivered = await sawTheFilm(page, service.data);
    // It jumped: what lies between was not fetched.
    const { files } = await session(page);
    const given = delivered.flatMap(({ file, from, to }) =>
      files[file].segments.filter((segment) => segment[0] >= from && segment[1] <= to).map(([, , start]) => start),
    );
    expect(given.some((start) => start > middle * 1_000)).toBe(true);
    expect(given.filter((start) => start > 40_000 && start < middle * 1_000 - 20_000)).toEqual([]);
  });

  test("a no, a mobile network, leaving the page: each ends all connections at once", async ({
    browser,
    context,
    page,
  }) => {
    await page.addInitScript(() =>
      Object.defineProperty(navigator, "connection", { value: Object.assign(new EventTarget(), { type: "wifi" }) }),
    );
    const other = await browser.newContext();
    await watchConnections(other);
    const neighbour = await other.newPage();
    for (const viewer of [page, neighbour]) {
      await rest(viewer, "yes");
      await viewer.setViewportSize({ width: 640, height: 480 });
      await viewer.goto(`${service.url}/watch/${film}?debug=1`);
    }
    const connected = () => window.essaimDebug!.stats().peers > 0;
    await page.waitForFunction(connected);
    await neighbour.waitForFunction(connected);

    // Said in another tab, it holds here.
    const tab = await context.newPage();
    await tab.goto(`${service.url}/sign-in`);
    await tab.evaluate(() => localStorage.setItem("essaim.share", "no"));
    await expect(page.getByText("You are not sharing.")).toBeVisible();
    await expect.poll(() => connections(page).then((states) => new Set(states))).toEqual(new Set(["closed"]));
    const made = await connections(page);
    await page.waitForFunction(() => window.essaimDebug!.stats().peers === 0);
    const { peerBytes, sentBytes } = await stats(page);
    await playsOn(page, 3);
    expect(await stats(page)).toMatchObject({ peerBytes, sentBytes, peers: 0 });
    expect(await connections(page)).toEqual(made);
    await sawTheFilm(page, service.data);

    // Yes once more; then the home's network is left for the street's.
    await page.getByRole("button", { name: "Change" }).click();
    await page.getByRole("button", { name: "Yes" }).click();
    await page.waitForFunction(connected);
    const moves = (type: string) =>
      page.evaluate((to) => {
        const { connection } = navigator as unknown as { connection: EventTarget };
        Object.assign(connection, { type: to }).dispatchEvent(new Event("change"));
      }, type);
    await moves("cellular");
    await expect.poll(() => connections(page).then((states) => new Set(states))).toEqual(new Set(["closed"]));
    const before = (await connections(page)).length;
    await playsOn(page, 2);
    expect(await connections(page)).toHaveLength(before);
    await moves("wifi");
    await page.waitForFunction(connected);

    // What this browser shares and keeps, and its limits.
    await page.getByRole("button", { name: "Details" }).click();
    await expect(page.getByRole("img", { name: /from other viewers/ })).toBeVisible();
    await expect(page.getByText(/^You agreed to share on /)).toBeVisible();
    await page.getByRole("combobox", { name: /Upload at most/ }).selectOption({ label: "2 Mbit/s" });
    expect(await page.evaluate(() => localStorage.getItem("essaim.limits"))).toContain('"uplinkKbps":2000');
    await page.setViewportSize({ width: 1280, height: 1100 });
    await page.screenshot({ path: "test-results/sharing-laptop.png", fullPage: true });
    await page.getByRole("button", { name: "Clear" }).click();
    await expect(page.getByText("Cleared.")).toBeVisible();
    await page.setViewportSize({ width: 390, height: 844 });
    await page.screenshot({ path: "test-results/sharing-phone.png", fullPage: true });
    await page.setViewportSize({ width: 640, height: 480 });
    await page.waitForFunction(connected);
    await page.getByRole("link", { name: "Essaim" }).click();
    await expect(page.getByRole("heading", { name: "All films" })).toBeVisible();
    await expect.poll(() => connections(page).then((states) => new Set(states))).toEqual(new Set(["closed"]));
    await neighbour.waitForFunction(() => window.essaimDebug!.stats().peers === 0);
    await expect.poll(() => page.workers().length).toBe(0);
    await other.close();
  });
});
