/**
 * Everybody else's client in a browser: the unmodified npm package `webtorrent`, in both versions that are about, on a page
 * of another site. It meets our viewers over our tracker and trades an open title's pieces with them, pads included, and it
 * takes the title from our origin as a web seed. Who sent what is counted on both sides and by the origin.
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { type Browser, type BrowserContext, expect, type Page, test } from "@playwright/test";
import type { TitleDetail } from "../src/player";
import type { PlaySession } from "../src/player/session";
import { addClip, leapsTo, playsPast, playsToTheEnd, stats } from "./film";
import { dataFolder, type Service, startDemo, traffic } from "./service";

const seconds = 16;
const title = "traded";

test.describe.configure({ mode: "serial", timeout: 240_000 });

let service: Service;
let elsewhere: Server;

/** Where the page of another site is. */
const site = () => `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;

/** A data folder into which the first seconds of the demo film were ingested, open to all: two files, a pad between them. */
function withFilm(): string {
  const data = dataFolder();
  addClip(data, { id: title, title: "Traded", seconds, size: "360p", open: true });
  return data;
}

test.beforeAll(async () => {
  service = await startDemo(withFilm());
  elsewhere = createServer((request, response) => {
    const version = /^\/webtorrent-([23])\.js$/.exec(request.url ?? "")?.[1];
    if (version) {
      response.setHeader("content-type", "text/javascript");
      response.end(readFileSync(resolve(`node_modules/webtorrent-${version}/dist/webtorrent.min.js`)));
    } else {
      response.setHeader("content-type", "text/html");
      response.end("<!doctype html><title>another site</title>");
    }
  });
  await new Promise<void>((done) => elsewhere.listen(0, "127.0.0.1", done));
});

test.afterAll(async () => {
  elsewhere.close();
  await service.stop();
});

/** What of WebTorrent's torrent the tests look at. */
interface Torrent {
  done: boolean;
  progress: number;
  received: number;
  uploaded: number;
  infoHash: string;
  wires: { type: string; peerChoking: boolean; amInterested: boolean; requests: object[]; downloaded: number }[];
  files: { path: string; arrayBuffer(): Promise<ArrayBuffer> }[];
}

/** WebTorrent on a page of its own. */
class Stranger {
  constructor(
    readonly context: BrowserContext,
    readonly page: Page,
  ) {}

  /** Opens the page and adds the title by its torrent file, or by its magnet link. */
  static async open(browser: Browser, version: 2 | 3, { seeds = true, magnet = false } = {}): Promise<Stranger> {
    const context = await browser.newContext();
    if (!seeds) await context.route("**/seed/**", (route) => route.abort());
    const page = await context.newPage();
    page.on("console", (message) => console.log(`webtorrent ${version}: ${message.text()}`));
    await page.goto(site());
    const { magnet: link, torrent } = await detail();
    await page.evaluate(
      async ([script, source]) => {
        const { default: WebTorrent } = (await import(script)) as {
          default: new (options: object) => {
            add(source: string | Uint8Array, options: object): Torrent;
            on(event: "error", heard: (error: Error) => void): void;
          };
        };
        const client = new WebTorrent({ tracker: { rtcConfig: { iceServers: [] } } });
        client.on("error", (error) => console.error(String(error)));
        let what: string | Uint8Array = source;
        if (!source.startsWith("magnet:")) what = new Uint8Array(await (await fetch(source)).arrayBuffer());
        (window as unknown as { torrent: Torrent }).torrent = client.add(what, {});
      },
      [`/webtorrent-${version}.js`, magnet ? link! : service.url + torrent!] as const,
    );
    return new Stranger(context, page);
  }

  /** Waits until WebTorrent has the whole title, and checks every file of it. */
  async hasTheTitle(): Promise<void> {
    const done = () => (window as unknown as { torrent: Torrent }).torrent.done;
    await this.page.waitForFunction(done, undefined, { timeout: 60_000 }).catch(async (error: unknown) => {
      throw new Error(`WebTorrent is not done: ${JSON.stringify(await this.stats())}`, { cause: error });
    });
    const files = await this.page.evaluate(async () => {
      const hex = (bytes: ArrayBuffer) =>
        [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, "0")).join("");
      const { files } = (window as unknown as { torrent: Torrent }).torrent;
      return Promise.all(
        files.map(async (file) => ({
          path: file.path,
          sha256: hex(await crypto.subtle.digest("SHA-256", await file.arrayBuffer())),
        })),
      );
    });
    for (const file of await published()) {
      expect(files.find((found) => found.path.endsWith(`/${file.path}`))?.sha256, file.path).toBe(file.sha256);
    }
  }

  stats() {
    return this.page.evaluate(() => {
      const { received, uploaded, progress, wires } = (window as unknown as { torrent: Torrent }).torrent;
      const plain = wires.map(({ type, peerChoking, amInterested, requests, downloaded }) => {
        return { type, peerChoking, amInterested, requests: requests.length, downloaded };
      });
      return { received, uploaded, progress, wires: plain };
    });
  }
}

/** The title as its page is told of it. */
async function detail(): Promise<TitleDetail> {
  return (await (await fetch(`${service.url}/api/v1/titles/${title}`)).json()) as TitleDetail;
}

/** The title's files, and what is in them. */
async function published(): Promise<{ path: string; size: number; sha256: string }[]> {
  const response = await fetch(`${service.url}/api/v1/titles/${title}/play`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const { files } = (await response.json()) as PlaySession;
  return files.map(({ path, size, root }) => {
    const bytes = readFileSync(join(service.data, "objects", "objects", "media~", root));
    return { path, size, sha256: createHash("sha256").update(bytes).digest("hex") };
  });
}

const sizeOf = (files: { size: number }[]) => files.reduce((sum, { size }) => sum + size, 0);

/** One of our viewers, who has agreed to share. */
async function viewer(browser: Browser): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 640, height: 360 } });
  const page = await context.newPage();
  await page.goto(`${service.url}/room/viewer?n=1&title=${title}`);
  return page;
}

/** Goes through the whole title, so that the viewer has it all; the first seconds as they play. */
async function goesThrough(page: Page, played: number): Promise<void> {
  await playsPast(page, played);
  await leapsTo(page, seconds - 2);
  await playsToTheEnd(page);
}

for (const version of [3, 2] as const) {
  const details = version === 3 ? {} : { tag: "@soak" };
  test(
    `WebTorrent ${version} takes the whole title from our viewer, and gives it to the next`,
    details,
    async ({ browser }) => {
      const first = await viewer(browser);
      await goesThrough(first, 1);
      const before = (await traffic(service)).origin_bytes;
      const stranger = await Stranger.open(browser, version, { seeds: false });
      await stranger.hasTheTitle();
      const size = sizeOf(await published());
      expect((await traffic(service)).origin_bytes, "media bytes that the origin sent meanwhile").toBe(before);
      // The page hears of what its worker sent from time to time.
      await expect.poll(async () => (await stats(first)).sentBytes, { timeout: 15_000 }).toBeGreaterThanOrEqual(size);
      const gave = (await stats(first)).sentBytes;
      const { received, wires } = await stranger.stats();
      console.log(
        `webtorrent ${version}: ${received} bytes received, ${gave} sent by our viewer, of a title of ${size}`,
      );
      expect(wires.map(({ type }) => type)).toContain("webrtc");
      await first.context().close();

      const second = await viewer(browser);
      await goesThrough(second, 6);
      const took = await stats(second);
      // WebTorrent counts what it sent when it is on its way.
      await expect.poll(async () => (await stranger.stats()).uploaded).toBeGreaterThanOrEqual(took.peerBytes);
      const { uploaded } = await stranger.stats();
      console.log(
        `webtorrent ${version}: our viewer took ${took.peerBytes} bytes from it and ${took.originBytes} from the origin; ` +
          `it counts ${uploaded} sent`,
      );
      expect(took.stalls).toBe(0);
      expect(took.badBlocks).toBe(0);
      expect(took.peerBytes).toBeGreaterThan(size / 4);
      await second.context().close();
      await stranger.context.close();
    },
  );

  test(
    `WebTorrent ${version} takes the title from our origin, by the magnet link alone`,
    details,
    async ({ browser }) => {
      const before = (await traffic(service)).titles[title] ?? 0;
      const stranger = await Stranger.open(browser, version, { magnet: true });
      await stranger.hasTheTitle();
      const size = sizeOf(await published());
      const sent = ((await traffic(service)).titles[title] ?? 0) - before;
      console.log(`webtorrent ${version}: ${sent} bytes by the web seed, of a title of ${size}`);
      expect(sent).toBeGreaterThanOrEqual(size);
      expect((await stranger.stats()).wires.map(({ type }) => type)).toContain("webSeed");
      await stranger.context.close();
    },
  );
}
