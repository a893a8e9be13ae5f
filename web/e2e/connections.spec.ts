/**
 * A page whose browser makes no more RTCPeerConnections: Chromium counts closed ones until they are collected, and refuses
 * past 500. The film must go on by HTTP as if nothing were.
 */

import { expect, test } from "@playwright/test";
import { byTheEngine, playsPast, stats } from "./film";
import { type Service, startDemo } from "./service";

let service: Service;

test.describe.configure({ mode: "serial", timeout: 180_000 });

test.beforeAll(async () => {
  service = await startDemo();
});

test.afterAll(async () => {
  await service.stop();
});

test(
  "a page that made and closed 490 connections twice plays on by HTTP, and makes none",
  { tag: "@soak" },
  async ({ browser }) => {
    const sharer = await (await browser.newContext()).newPage();
    await sharer.goto(`${service.url}/room/viewer?n=1`);
    await byTheEngine(sharer);
    // The one that is made ready while the tracker is asked, though nobody is there.
    await expect.poll(async () => (await stats(sharer)).connections).toMatchObject({ live: 0, made: 1 });

    const context = await browser.newContext();
    await context.addInitScript(() => {
      if (location.protocol === "about:") return; // the empty page that each begins as
      const used = window as unknown as { used: { made: number; refused: number; kept: RTCPeerConnection[] } };
      used.used = { made: 0, refused: 0, kept: [] };
      for (let turn = 0; turn < 2; turn++) {
        for (let i = 0; i < 490; i++) {
          try {
            const pc = new RTCPeerConnection();
            used.used.made++;
            pc.close();
            used.used.kept.push(pc); // so that none is collected
          } catch {
            used.used.refused++;
          }
        }
      }
    });
    const page = await context.newPage();
    await page.goto(`${service.url}/room/viewer?n=2`);
    await playsPast(page, 8);
    const used = await page.evaluate(() => (window as unknown as { used: { made: number; refused: number } }).used);
    expect(used.refused, "the browser refuses, or this shows nothing").toBeGreaterThan(0);
    const counted = await stats(page);
    expect(counted).toMatchObject({ via: "engine", stalls: 0, peers: 0, peerBytes: 0 });
    expect(counted.connections).toEqual({ live: 0, made: 0, most: 400 });
    await page.close();
    await sharer.close();
  },
);
