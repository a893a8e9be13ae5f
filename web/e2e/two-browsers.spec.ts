/**
 * The road, end to end, with real parts: the binary, a film that it ingested, Chromium contexts with storage of their
 * own, WebRTC between them. What reached each player is compared with the film, hash for hash, and what the origin sent is
 * taken from the origin's own counter.
 *
 * Nothing here may answer a viewer's requests while it plays: Playwright holds up every request of a context that has a
 * route, and on a machine at work that takes seconds, which no viewer has ever waited for.
 */

import { type Browser, type BrowserContext, expect, type Page, test } from "@playwright/test";
import type { PlaySession } from "../src/player/session";
import * as film from "./film";
import { connections, watchConnections } from "./peers";
import { dataFolder, type Service, startDemo, traffic } from "./service";

const seconds = 64;
const title = "two-browsers";

/** So much is played as it comes, before leaps and after them: what is a start's and an end's. */
const watched = 10;
const ending = 6;

let service: Service;

test.describe.configure({ mode: "serial", timeout: 300_000 });

/** A data folder into which the first seconds of the demo film were ingested as a film of their own. */
function withFilm(): string {
  const data = dataFolder();
  // Small pictures: what is under test is not how many of them two cores decode at once.
  film.addClip(data, { id: title, title: "Two browsers", seconds, size: "360p", open: true });
  return data;
}

test.beforeAll(async () => {
  service = await startDemo(withFilm());
});

test.afterAll(async () => {
  await service.stop();
});

/** How a viewer is opened. */
interface Opening {
  /** Called before its first page. */
  prepare?: (context: BrowserContext) => Promise<unknown>;
  at?: Service;
  /** Whether it plays at once. */
  autoplay?: boolean;
}

/** One viewer in a context of its own. */
class Viewer {
  constructor(
    readonly context: BrowserContext,
    readonly page: Page,
    readonly at: Service,
  ) {}

  static async open(browser: Browser, { prepare, at = service, autoplay = true }: Opening = {}): Promise<Viewer> {
    const context = await browser.newContext({ viewport: { width: 640, height: 360 } });
    await watchConnections(context);
    await prepare?.(context);
    const page = await context.newPage();
    await page.goto(`${at.url}/room/viewer?n=1&title=${title}&autoplay=${autoplay ? 1 : 0}`);
    return new Viewer(context, page, at);
  }

  stats = () => film.stats(this.page);
  playsPast = (second: number) => film.playsPast(this.page, second);

  /** Plays the film's first seconds and its last, and goes through what lies between in leaps. */
  async goesThrough(): Promise<void> {
    await film.playsPast(this.page, watched);
    await film.leapsTo(this.page, seconds - ending);
    await film.playsToTheEnd(this.page);
  }
}

/** What every viewer must have seen and never felt; prints and returns its share of bytes from the origin. */
async function account(name: string, viewer: Viewer): Promise<number> {
  const session = await film.session(viewer.page);
  const stats = await viewer.stats();
  const bytes = film.filmBytes(session);
  const fromOrigin = (await traffic(viewer.at)).sessions[session.id] / bytes;
  console.log(
    `${name}: ${(100 * fromOrigin).toFixed(1)} % of the film from the origin, ` +
      `${((100 * stats.peerBytes) / bytes).toFixed(1)} % from viewers, ` +
      `start ${stats.startupMs} ms, ${stats.stalls} stalls, by the ${stats.via}`,
  );
  expect(stats.stalls, `stalls of the viewer ${name}`).toBe(0);
  await film.sawTheFilm(viewer.page, viewer.at.data, { whole: true });
  return fromOrigin;
}

/** A viewer for whom the engine's program is not there. It plays once the page has found that out. */
async function withoutEngine(browser: Browser): Promise<Viewer> {
  const viewer = await Viewer.open(browser, {
    prepare: (context) =>
      context.route("**/engine.wasm", (route) => route.fulfill({ status: 404, body: "" }), { times: 1 }),
    autoplay: false,
  });
  await viewer.page.waitForFunction(() => window.essaimDebug!.player.engineFailure !== undefined);
  await viewer.page.evaluate(() => window.essaimDebug!.player.play());
  return viewer;
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
  const viewers = await Promise.all([
    Viewer.open(browser),
    Viewer.open(browser, { prepare: withoutWebRTC }),
    withoutEngine(browser),
    Viewer.open(browser, { at: elsewhere }),
  ]);
  first = viewers[0];
  await Promise.all(viewers.map((viewer) => viewer.goesThrough()));
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

test("the second gets at least 80 % of its bytes from the first; one whose session forbids peers plays without", async ({
  browser,
}) => {
  const forbidden = await Viewer.open(browser, {
    prepare: (context) =>
      context.addInitScript(() => {
        // Whatever the service answers, it says that peers are forbidden; it sends no events, which could say otherwise.
        const ask = window.fetch.bind(window);
        window.fetch = async (input, init) => {
          const { pathname } = new URL(input instanceof Request ? input.url : input, location.href);
          if (pathname.endsWith("/events")) return Response.error();
          const answer = await ask(input, init);
          if (!answer.ok || !/\/(play|heartbeat)$/.test(pathname)) return answer;
          const body = (await answer.json()) as Pick<PlaySession, "policy">;
          return Response.json({ ...body, policy: { ...body.policy, p2p: false } });
        };
      }),
  });
  const second = await Viewer.open(browser);
  await Promise.all([forbidden.playsPast(14), second.goesThrough()]);
  const fromOrigin = await account("the second", second);
  expect(fromOrigin).toBeLessThanOrEqual(0.2);
  const { peerBytes } = await second.stats();
  expect(peerBytes).toBeGreaterThan(0.75 * film.filmBytes(await film.session(second.page)));
  expect((await film.session(forbidden.page)).policy.p2p).toBe(false);
  expect(await connections(forbidden.page), "connections made where policy forbids peers").toEqual([]);
  await forbidden.context.close();
  await second.context.close();
});

test("a peer that flips one bit is dropped, and the film is right all the same", async ({ browser }) => {
  await first.page.evaluate(() => window.essaimDebug!.player.lie(true));
  const victim = await Viewer.open(browser);
  await victim.page.waitForFunction(() => {
    const { badBlocks, peers } = window.essaimDebug!.stats();
    return badBlocks > 0 && peers === 0; // found out, and gone
  });
  await film.leapsTo(victim.page, 24); // by bytes that came since
  const stats = await victim.stats();
  expect(stats.peers, "the liar stays away").toBe(0);
  expect(stats.stalls).toBe(0);
  await film.sawTheFilm(victim.page, service.data);
  await victim.context.close();
  await first.page.evaluate(() => window.essaimDebug!.player.lie(false));
});

test("the switch p2p: false is obeyed at once", async ({ browser }) => {
  const switched = await Viewer.open(browser);
  await switched.page.waitForFunction(() => window.essaimDebug!.stats().peers > 0);
  const before = (await connections(switched.page)).length;
  await switched.page.evaluate(() => window.essaimDebug!.player.restrict({ p2p: false }));
  await switched.page.waitForFunction(() => window.essaimDebug!.stats().peers === 0);
  const peerBytes = (await switched.stats()).peerBytes;
  await film.leapsTo(switched.page, 24); // by bytes that came since
  expect((await connections(switched.page)).length).toBe(before);
  const stats = await switched.stats();
  expect(stats.peerBytes).toBe(peerBytes);
  expect(stats.stalls).toBe(0);
  await switched.context.close();
  await first.context.close();
});
