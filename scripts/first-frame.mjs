// Measures the time from navigation to the first frame of the watch page, with the engine and without it, in a real
// Chromium, each run in a context of its own (nothing cached); the two take turns, and medians are printed. With the
// processor slowed four times the same again.
//
//   node scripts/first-frame.mjs [--runs 9] [--json]        needs bin/essaim (make build) and Chromium
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { chromium } = createRequire(new URL("../web/package.json", import.meta.url))("@playwright/test");
const { values } = parseArgs({ options: { runs: { type: "string", default: "9" }, json: { type: "boolean", default: false } } });
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1 || runs > 100) {
  console.error("first-frame: --runs takes a whole number from 1 to 100");
  process.exit(2);
}

const port = await new Promise((done) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const free = server.address().port;
    server.close(() => done(free));
  });
});
const data = mkdtempSync(join(tmpdir(), "essaim-measure-"));
const service = spawn("bin/essaim", ["demo", "--listen", `127.0.0.1:${port}`, "--data", data], { stdio: "ignore" });
const url = `http://127.0.0.1:${port}`;
for (let tries = 0; ; tries++) {
  if (service.exitCode !== null || tries > 200) throw new Error("essaim demo did not get ready");
  if (await fetch(`${url}/readyz`).then((r) => r.ok, () => false)) break;
  await new Promise((done) => setTimeout(done, 100));
}

const browser = await chromium.launch({
  executablePath: process.env.ESSAIM_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"],
});

// once: milliseconds from navigation to the first presented frame.
async function once(engine, slowdown) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.addInitScript(() => {
    const seen = new WeakSet();
    new MutationObserver(() => {
      const video = document.querySelector("video");
      if (!video || seen.has(video)) return;
      seen.add(video);
      video.requestVideoFrameCallback((now) => (window.firstFrame ??= now));
    }).observe(document, { childList: true, subtree: true });
  });
  if (!engine) {
    await context.route("**/play", async (route) => {
      const response = await route.fetch();
      const session = await response.json();
      await route.fulfill({ response, json: { ...session, policy: { ...session.policy, p2p: false } } });
    });
  } else {
    await context.route("**/play", async (route) => route.fulfill({ response: await route.fetch() })); // the same detour
  }
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: slowdown });
  await page.goto(`${url}/watch/essaim-demo`);
  await page.waitForFunction(() => window.firstFrame !== undefined, undefined, { timeout: 60_000 });
  const ms = await page.evaluate(() => window.firstFrame);
  await context.close();
  return ms;
}

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
const result = { runs };
for (const slowdown of [1, 4]) {
  const times = { with: [], without: [] };
  await once(true, slowdown); // the service's and the browser's own first time
  for (let run = 0; run < runs; run++) {
    for (const kind of run % 2 ? ["with", "without"] : ["without", "with"]) {
      times[kind].push(await once(kind === "with", slowdown));
      process.stderr.write(`\rslowed ${slowdown}×: ${run + 1} of ${runs} `);
    }
  }
  process.stderr.write("\n");
  const name = slowdown === 1 ? "" : "_slow4";
  result[`first_frame_engine_ms${name}`] = Math.round(median(times.with));
  result[`first_frame_no_engine_ms${name}`] = Math.round(median(times.without));
  result[`ratio${name}`] = Number((median(times.with) / median(times.without)).toFixed(3));
}
await browser.close();
service.kill("SIGTERM");
await new Promise((done) => service.once("exit", done));
rmSync(data, { recursive: true, force: true });
if (values.json) {
  console.log(JSON.stringify(result));
} else {
  console.log(`first frame, median of ${runs}: ${result.first_frame_engine_ms} ms with the engine, ${result.first_frame_no_engine_ms} ms without`);
  console.log(`processor slowed four times: ${result.first_frame_engine_ms_slow4} ms with, ${result.first_frame_no_engine_ms_slow4} ms without`);
}
