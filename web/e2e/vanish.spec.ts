/**
 * The origin's media vanish: pages, API and tracker answer, and not a byte of a film comes from the server. Who presses play then
 * sees it from its start to its end out of another viewer, who holds it; also when the tracker goes once the two have met.
 */

import { type AddressInfo, connect, type Socket } from "node:net";
import { createServer, request, type Server } from "node:http";
import { expect, test } from "@playwright/test";
import { addClip, byTheEngine, filmBytes, leapsTo, playsToTheEnd, sawTheFilm, session, stats } from "./film";
import { dataFolder, type Service, startDemo } from "./service";

const seconds = 24;

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
  site = await startDemo(data);
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

test("a film begins without the origin's media, out of a viewer who holds it, and ends without the tracker", async ({
  browser,
}) => {
  const open = async (n: number) => {
    const context = await browser.newContext({ viewport: { width: 640, height: 360 } });
    const page = await context.newPage();
    await page.goto(`${url}/room/viewer?n=${n}&title=vanish`);
    return page;
  };
  const holder = await open(1);
  await byTheEngine(holder);
  await leapsTo(holder, seconds - 2);
  await playsToTheEnd(holder);

  stopped = true;
  const pressed = Date.now();
  const newcomer = await open(2);
  await newcomer.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 0.1, undefined, {
    timeout: 60_000,
  });
  const began = Date.now() - pressed;
  expect(sockets.size).toBeGreaterThan(0);
  alone = true;
  for (const socket of sockets) socket.destroy();
  await leapsTo(newcomer, seconds - 2);
  await playsToTheEnd(newcomer);
  await sawTheFilm(newcomer, site.data, { whole: true });
  const { originBytes, peerBytes, badBlocks } = await stats(newcomer);
  const whole = filmBytes(await session(newcomer));
  console.log(
    `began after ${began} ms; ${peerBytes} of ${whole} bytes from the other viewer, ${originBytes} from the origin, which refused ${refused} requests`,
  );
  expect(originBytes).toBe(0);
  expect(badBlocks).toBe(0);
  expect(refused).toBeGreaterThan(0);
});
