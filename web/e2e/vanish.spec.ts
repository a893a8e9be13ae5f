/**
 * The origin's media vanish: pages, API and tracker answer, and not a byte of a film comes from the server. Who presses play then
 * sees it from its start to its end out of another viewer, who holds it, also when the tracker goes once the two have met; or out of
 * an edge.
 */

import { type AddressInfo, connect, type Socket } from "node:net";
import { createServer, request, type Server } from "node:http";
import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Browser, expect, type Page, test } from "@playwright/test";
import type { PlayerStats } from "../src/player";
import type { PlaySession } from "../src/player/session";
import { addClip, byTheEngine, filmBytes, leapsTo, playsToTheEnd, sawTheFilm, session, stats } from "./film";
import { binary, dataFolder, freePort, run, type Service, startDemo } from "./service";

const seconds = 24;

/** Of what `essaim edge status` tells. */
interface EdgeReport {
  http_bytes: number;
  peer_bytes: number;
}

let site: Service;
let front: Server;
let url: string;
/** While set, requests for media and hashes are cut off; counted. */
let stopped = false;
let refused = 0;
/** While set, there is no tracker: its sockets are cut off, and no new ones let in. */
let alone = false;
const sockets = new Set<Socket>();

test.describe.configure({ timeout: 240_000 });

test.beforeAll(async () => {
  const data = dataFolder();
  addClip(data, { id: "vanish", title: "Vanish", seconds, size: "360p", open: true });
  addClip(data, { id: "closed", title: "For members", seconds, size: "360p", open: false });
  site = await startDemo(data, ["--edge-listen", `127.0.0.1:${await freePort()}`]);
  const { hostname, port } = new URL(site.url);
  front = createServer((from, to) => {
    if (stopped && /^\/(media|hashes|seed)\//.test(from.url!)) {
      refused++;
      from.socket.destroy();
      return;
    }
    const { method, headers, url: path } = from;
    const onward = request({ hostname, port, method, headers, path }, (answer) => {
      to.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(to);
    });
    onward.on("error", () => from.socket.destroy());
    from.pipe(onward);
  });
  front.on("upgrade", (from, socket: Socket, head) => {
    if (alone) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    const onward = connect(Number(port), hostname, () => {
      const lines = [];
      for (let i = 0; i < from.rawHeaders.length; i += 2)
        lines.push(`${from.rawHeaders[i]}: ${from.rawHeaders[i + 1]}`);
      onward.write(`${from.method} ${from.url} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      onward.destroy();
    });
  });
  await new Promise<void>((listening) => front.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
});

test.afterAll(async () => {
  front.closeAllConnections();
  front.close();
  await site.stop();
});

async function open(browser: Browser, path: string): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 640, height: 360 } });
  const page = await context.newPage();
  await page.goto(`${url}${path}`);
  return page;
}
const viewer = (n: number) => `/room/viewer?n=${n}&title=vanish`;

/** Sees all of the film, `then` having been done once it plays, and returns what the player counted. */
async function seesItAll(page: Page, then = () => {}): Promise<PlayerStats> {
  const before = refused;
  await page.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 0.1, undefined, {
    timeout: 120_000,
  });
  then();
  await leapsTo(page, seconds - 2);
  await playsToTheEnd(page);
  await sawTheFilm(page, site.data, { whole: true });
  const counted = await stats(page);
  const { startupMs, originBytes, peerBytes, badBlocks } = counted;
  console.log(
    `began after ${startupMs} ms; ${peerBytes} bytes by WebRTC, ${originBytes} by HTTP of ${filmBytes(await session(page))}; ` +
      `the server refused ${refused - before} requests`,
  );
  expect(badBlocks).toBe(0);
  return counted;
}

test("a film begins without the origin's media, out of a viewer who holds it, and ends without the tracker", async ({
  browser,
}) => {
  const holder = await open(browser, viewer(1));
  await byTheEngine(holder);
  await leapsTo(holder, seconds - 2);
  await playsToTheEnd(holder);

  stopped = true;
  const newcomer = await open(browser, viewer(2));
  const { originBytes } = await seesItAll(newcomer, () => {
    expect(sockets.size).toBeGreaterThan(0);
    alone = true;
    for (const socket of sockets) socket.destroy();
  });
  expect(originBytes).toBe(0);
  expect(refused).toBeGreaterThan(0);
  for (const page of [holder, newcomer]) await page.context().close();
});

test("a member's film and an open one begin and end out of an edge, by HTTP and by WebRTC, without the origin's media", async ({
  browser,
}) => {
  alone = false;
  stopped = true; // edges fill by a port of their own
  const folder = join(site.data, "box");
  const env = { ...process.env, ESSAIM_JOIN_TOKEN: run(["admin", "edge", "add", "box", "--data", site.data]) };
  await promisify(execFile)(binary, ["edge", "join", url, "--data", folder], { env });
  const at = `http://127.0.0.1:${await freePort()}`;
  const only = ["--node-listen", "off", "--bittorrent", "off", "--lan"];
  const box = spawn(
    binary,
    ["edge", "run", "--data", folder, "--listen", new URL(at).host, "--url", at, "--log-level", "warn", ...only],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const ended = new Promise((done) => box.once("exit", done));
  const served = (): EdgeReport => JSON.parse(run(["edge", "status", "--data", folder, "--json"])) as EdgeReport;
  try {
    const member = await open(browser, "/");
    const { request } = member;
    const { members } = (await (await request.get(`${url}/api/v1/demo`)).json()) as { members: string[] };
    expect((await request.post(`${url}/demo/sign-in`, { data: { name: members[0] } })).ok()).toBe(true);
    for (const title of ["closed", "vanish"]) {
      const told = async () => {
        const answer = await request.post(`${url}/api/v1/titles/${title}/play`, { data: {} });
        return ((await answer.json()) as PlaySession).nodes.origins;
      };
      await expect.poll(told, { timeout: 120_000 }).toContain(at);
    }
    await member.goto(`${url}/watch/closed?debug=1`);
    expect((await seesItAll(member)).originBytes).toBeGreaterThan(0);
    await member.context().close();

    // Where its address is not to be reached, the edge is a peer all the same.
    const other = await open(browser, "/room");
    await other.context().route(`${at}/**`, (route) => route.abort());
    await other.goto(`${url}${viewer(3)}`);
    expect((await seesItAll(other)).originBytes).toBe(0);
    const whole = filmBytes(await session(other));
    await other.context().close();
    await expect.poll(() => served().http_bytes, { timeout: 60_000 }).toBeGreaterThan(0);
    await expect.poll(() => served().peer_bytes, { timeout: 60_000 }).toBeGreaterThanOrEqual(whole);
  } finally {
    box.kill("SIGTERM");
    await ended;
  }
});
