/**
 * The tracker fails in mid-film: its process is killed under two viewers, whose pages, origin and API are another process's.
 * They keep their channels, go on handing pieces to each other and play on; when a new process is there in its place they come
 * back to it each in a time of its own, and it brings newcomers to them.
 */

import { cpSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { type Browser, expect, type Page, test, type WebSocket } from "@playwright/test";
import { playsOn, playsPast, stats } from "./film";
import * as peers from "./peers";
import { dataFolder, type Service, startDemo } from "./service";

/** A viewer waits at least so long before it tries a lost tracker again, in ms; and at most so long, at first. */
const retryFrom = 1_000;
const retryTo = 15_000;

/** Bounds waits that take as long as a viewer happens to wait; longer only where something is wrong. */
const away = { timeout: 130_000 };

let site: Service;
let tracker: Service;
let front: Server;
let url: string;

test.describe.configure({ timeout: 300_000 });

const portOf = (service: Service) => Number(new URL(service.url).port);

/** Sends connections that begin with a request for the tracker to its process, and all others to the site. */
function route(client: Socket): void {
  client.on("error", () => client.destroy());
  client.once("data", (head) => {
    const port = portOf(head.toString("latin1").startsWith("GET /tracker ") ? tracker : site);
    const server = connect(port, "127.0.0.1");
    server.on("error", () => client.destroy());
    server.on("close", () => client.destroy());
    client.on("close", () => server.destroy());
    server.write(head);
    client.pipe(server).pipe(client);
  });
}

test.beforeAll(async () => {
  site = await startDemo();
  const data = dataFolder();
  cpSync(join(site.data, "ticket-keys"), join(data, "ticket-keys"), { recursive: true }); // so that it honours the site's tickets
  tracker = await startDemo(data);
  front = createServer(route);
  await new Promise<void>((listening) => front.listen(0, "127.0.0.1", listening));
  const address = front.address();
  url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
});

test.afterAll(async () => {
  front.close();
  await Promise.all([site.stop(), tracker.stop()]);
});

/** A viewer in a context of its own. */
class Viewer {
  /** Its sockets to the tracker, and when each was begun and closed. */
  readonly sockets: { socket: WebSocket; begun: number; closed: number }[] = [];

  private constructor(readonly page: Page) {
    page.on("websocket", (socket) => {
      const entry = { socket, begun: Date.now(), closed: 0 };
      this.sockets.push(entry);
      socket.on("close", () => (entry.closed = Date.now()));
    });
  }

  static async open(browser: Browser): Promise<Viewer> {
    const context = await browser.newContext({ viewport: { width: 640, height: 360 } });
    await peers.watchConnections(context);
    const viewer = new Viewer(await context.newPage());
    await viewer.page.goto(`${url}/room/viewer?n=1`);
    return viewer;
  }

  stats = () => stats(this.page);
  connections = () => peers.connections(this.page);
  playsPast = (second: number) => playsPast(this.page, second);

  async has(peers: number): Promise<void> {
    await this.page.waitForFunction((n) => window.essaimDebug!.stats().peers >= n, peers, { timeout: 60_000 });
  }
}

/** How many viewers the tracker's process knows. */
async function known(): Promise<number> {
  const state = (await (await fetch(`${tracker.url}/room/api/state`)).json()) as { tracker_peers: number };
  return state.tracker_peers;
}

test(
  "a tracker that is killed in mid-film is not missed, and found again when it is back",
  { tag: "@soak" },
  async ({ browser }) => {
    const viewers = [await Viewer.open(browser)];
    await viewers[0].playsPast(4);
    viewers.push(await Viewer.open(browser));
    for (const viewer of viewers) {
      await viewer.has(1);
      await viewer.page.waitForFunction(() => {
        const { peerBytes, sentBytes } = window.essaimDebug!.stats();
        return peerBytes + sentBytes > 0;
      });
    }
    expect(await known()).toBe(2);

    const connections = await Promise.all(viewers.map((viewer) => viewer.connections()));
    const before = await Promise.all(viewers.map((viewer) => viewer.stats()));
    const killed = Date.now();
    await tracker.kill();
    const traded = async () =>
      (await Promise.all(viewers.map((viewer) => viewer.stats()))).map(
        ({ peerBytes }, i) => peerBytes - before[i].peerBytes,
      );
    await expect.poll(async () => Math.max(...(await traded())), away).toBeGreaterThan(100_000);
    await Promise.all(viewers.map((viewer) => playsOn(viewer.page, 6)));
    const after = await Promise.all(viewers.map((viewer) => viewer.stats()));
    console.log(`while the tracker was away viewers handed each other ${(await traded()).join(" and ")} bytes`);
    for (const [i, viewer] of viewers.entries()) {
      expect(after[i], "while the tracker was away").toMatchObject({
        peers: 1,
        stalls: 0,
        badBlocks: 0,
        via: "engine",
      });
      const now = await viewer.connections();
      expect(now.filter((state) => state === "connected").length, "the channel stayed").toBe(1);
      expect(now.length, "no others were made").toBe(connections[i].length);
    }

    tracker = await startDemo(tracker.data);
    await expect.poll(known, away).toBe(2);
    for (const viewer of viewers) {
      const [first, second] = viewer.sockets;
      expect(first.closed).toBeGreaterThanOrEqual(killed);
      expect(second, "the tracker is tried again").toBeDefined();
      const waited = second.begun - first.closed;
      console.log(`tried again after ${waited} ms`);
      expect(waited).toBeGreaterThanOrEqual(retryFrom / 2); // this process hears of both, each in its time
      expect(waited).toBeLessThan(2 * retryTo);
    }
    expect(viewers[0].sockets[1].begun, "not all at one moment").not.toBe(viewers[1].sockets[1].begun);
    const newcomer = await Viewer.open(browser);
    await newcomer.has(2);
    await newcomer.playsPast(8);
    const all = [...viewers, newcomer];
    for (const viewer of all) {
      expect(await viewer.stats()).toMatchObject({ peers: 2, stalls: 0, badBlocks: 0, via: "engine" });
    }
    for (const viewer of all) await viewer.page.context().close();
  },
);
