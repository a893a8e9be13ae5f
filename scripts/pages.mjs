// Measures what it costs to pass a film from one page's cache to another page, through the player's own host: the processor time of all
// of Chromium's processes per 10^9 bytes that arrived. Beside it, in turns, the same bytes over a bare data channel between two pages, in
// messages of 16 KiB: less cannot be had in a browser. Figures are medians; the ratio holds when others use the machine too.
//
//   web/e2e/netns.sh node scripts/pages.mjs [--mib 96] [--runs 3] [--json] [--profile FOLDER]
//
// needs bin/essaim (make build) and Chromium; without an interface beside the loopback Chromium connects to nobody (netns.sh).
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const web = fileURLToPath(new URL("../web/", import.meta.url));
const require = createRequire(join(web, "package.json"));
const { chromium } = require("@playwright/test");
const { build } = await import(require.resolve("vite"));

const { values } = parseArgs({
  options: {
    mib: { type: "string", default: "96" },
    runs: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
    profile: { type: "string" },
  },
});
const mib = Number(values.mib);
const runs = Number(values.runs);
if (!Number.isInteger(mib) || mib < 8 || mib > 120 || !Number.isInteger(runs) || runs < 1 || runs > 100) {
  console.error("pages: --mib takes 8 to 120, --runs 1 to 100");
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), "essaim-pages-"));
const source = join(folder, "source");
mkdirSync(source);
writeFileSync(join(source, "index.html"), '<!doctype html><title>pages</title><script type="module" src="./page.ts"></script>');
writeFileSync(
  join(source, "page.ts"),
  `import { openEngine } from ${JSON.stringify(join(web, "src/host/index.ts"))};
const size = 16 * 1024, high = 1 << 20;
let engine, session, pc, channel;
window.essaim = {
  async open() {
    session = await (await fetch("/session")).json();
    engine = await openEngine(session, { onNote() {}, seed: [], storage: "scratch:pages" });
    engine.moved({ position_ms: -20000, buffered_end_ms: 0, rate: 1, paused: true });
    engine.rendition(0);
  },
  // Reads the whole film; as a player in no hurry does, so that peers' bytes come before the origin's.
  async read() {
    const all = session.files[0].size, step = 1 << 20;
    let next = 0;
    const signal = new AbortController().signal;
    await Promise.all(Array.from({ length: 8 }, async () => {
      while (next < all) {
        const from = next;
        next = Math.min(all, from + step);
        await engine.read(0, from, next, signal);
      }
    }));
  },
  stats: () => engine.stats(),
  close: () => engine.close(),
  async offer() {
    pc = new RTCPeerConnection();
    channel = pc.createDataChannel("raw");
    await pc.setLocalDescription(await pc.createOffer());
    return gathered();
  },
  async answer(sdp) {
    pc = new RTCPeerConnection();
    pc.ondatachannel = (e) => { channel = e.channel; channel.binaryType = "arraybuffer"; count(); };
    await pc.setRemoteDescription({ type: "offer", sdp });
    await pc.setLocalDescription(await pc.createAnswer());
    return gathered();
  },
  accept: (sdp) => pc.setRemoteDescription({ type: "answer", sdp }),
  async send(bytes) {
    if (channel.readyState !== "open") await new Promise((done) => (channel.onopen = done));
    channel.bufferedAmountLowThreshold = high / 2;
    const block = crypto.getRandomValues(new Uint8Array(size));
    for (let sent = 0; sent < bytes; sent += size) {
      if (channel.bufferedAmount > high) await new Promise((done) => (channel.onbufferedamountlow = done));
      channel.send(block);
    }
  },
  received: (bytes) => new Promise((done) => { const look = () => (got >= bytes ? done(got) : setTimeout(look, 20)); look(); }),
  end: () => pc.close(),
};
let got = 0;
function count() { channel.onmessage = (e) => { got += e.data.byteLength; }; }
async function gathered() {
  if (pc.iceGatheringState !== "complete") {
    await new Promise((done) => (pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && done()));
  }
  return pc.localDescription.sdp;
}
`,
);
await build({
  configFile: false,
  root: source,
  base: "/",
  logLevel: "error",
  worker: { format: "es" },
  build: { outDir: join(folder, "pages"), target: "es2023", minify: false },
});

const stage = spawn(resolve(process.env.ESSAIM_BIN ?? "bin/essaim"), ["bench", "stage", "--pages", join(folder, "pages"), "--mib", String(mib)], {
  stdio: ["pipe", "pipe", "inherit"],
});
const url = await new Promise((done, failed) => {
  stage.once("exit", () => failed(new Error("essaim bench stage has ended")));
  stage.stdout.once("data", (b) => done(b.toString().trim()));
});

// A profile on the disk: in a private window the file system is the browser process's memory, and each access a message to it.
const profile = join(folder, "profile");
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.ESSAIM_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const ticks = 100; // of the kernel's clock, per second: USER_HZ is 100 on all that Chromium runs on

// cpu is the processor time, in seconds, of all of Chromium's processes by kind, those that have ended included.
function cpu() {
  const all = new Map();
  let root = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const f = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const line = readFileSync(`/proc/${name}/cmdline`, "latin1");
      const kind = /--utility-sub-type=([\w.]+)/.exec(line)?.[1] ?? /--type=([\w-]+)/.exec(line)?.[1] ?? "browser";
      if (line.includes(profile) && Number(f[1]) === process.pid) root = Number(name);
      all.set(Number(name), { parent: Number(f[1]), kind, own: Number(f[11]) + Number(f[12]), ended: Number(f[13]) + Number(f[14]) });
    } catch {
      // it has ended meanwhile
    }
  }
  const ours = new Map();
  for (const [pid, p] of all) {
    let at = pid;
    while (at !== root && all.has(at)) at = all.get(at).parent;
    if (at === root) ours.set(p.kind, (ours.get(p.kind) ?? 0) + (p.own + p.ended) / ticks);
  }
  return ours;
}

function spent(before) {
  const now = cpu();
  const kinds = {};
  let total = 0;
  for (const [kind, seconds] of now) {
    const d = seconds - (before.get(kind) ?? 0);
    if (d > 0) kinds[kind] = d;
    total += d;
  }
  return { total, kinds };
}

async function page(host) {
  const p = await browser.newPage();
  await p.goto(url.replace("127.0.0.1", host)); // to a browser another name is another site, with a storage of its own
  await p.waitForFunction(() => window.essaim !== undefined);
  return p;
}

const until = async (p, what) => {
  for (let tries = 0; !(await what(await p.evaluate(() => window.essaim.stats()))); tries++) {
    if (tries > 300) throw new Error("pages: the two did not meet");
    await new Promise((done) => setTimeout(done, 100));
  }
};

// swarm: from the first page's cache to the second page, through the host.
async function swarm(run) {
  const a = await page("127.0.0.1");
  await a.evaluate(() => window.essaim.open());
  await a.evaluate(() => window.essaim.read()); // from the origin, into its cache
  const b = await page("localhost");
  await b.evaluate(() => window.essaim.open());
  await until(b, (s) => s.peers > 0);
  const cdp = values.profile && (await Promise.all([a, b].map((p) => profiled(p))));
  const before = cpu();
  const began = performance.now();
  await b.evaluate(() => window.essaim.read());
  const seconds = (performance.now() - began) / 1000;
  const took = spent(before);
  if (cdp) await Promise.all(cdp.map((stop, i) => stop(`swarm-${i ? "taking" : "serving"}-${run}.cpuprofile`)));
  const stats = await b.evaluate(() => window.essaim.stats());
  await Promise.all([a, b].map((p) => p.close()));
  const gb = stats.peerBytes / 1e9;
  return { perGB: took.total / gb, rate: (gb * 1e3) / seconds, share: stats.peerBytes / (stats.peerBytes + stats.originBytes), kinds: took.kinds, gb };
}

// profiled samples what the page's worker runs.
async function profiled(p) {
  const session = await p.context().newCDPSession(p);
  let worker;
  const waits = new Map();
  session.on("Target.attachedToTarget", ({ sessionId }) => (worker ??= sessionId));
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    waits.get(id)?.(result);
  });
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  let next = 1;
  const send = (method) => {
    const id = next++;
    const answer = new Promise((done) => waits.set(id, done));
    return session.send("Target.sendMessageToTarget", { sessionId: worker, message: JSON.stringify({ id, method }) }).then(() => answer);
  };
  await send("Profiler.enable");
  await send("Profiler.start");
  return async (name) => {
    mkdirSync(values.profile, { recursive: true });
    writeFileSync(join(values.profile, name), JSON.stringify((await send("Profiler.stop")).profile));
  };
}

// raw: as many bytes over a bare channel.
async function raw(bytes) {
  const [a, b] = [await page("127.0.0.1"), await page("localhost")];
  const offer = await a.evaluate(() => window.essaim.offer());
  const answer = await b.evaluate((sdp) => window.essaim.answer(sdp), offer);
  await a.evaluate((sdp) => window.essaim.accept(sdp), answer);
  await a.evaluate(() => window.essaim.send(16384));
  await b.evaluate(() => window.essaim.received(16384));
  const before = cpu();
  const began = performance.now();
  const arrived = b.evaluate((n) => window.essaim.received(n + 16384), bytes);
  await a.evaluate((n) => window.essaim.send(n), bytes);
  await arrived;
  const seconds = (performance.now() - began) / 1000;
  const took = spent(before);
  await Promise.all([a, b].map((p) => p.close()));
  return { perGB: took.total / (bytes / 1e9), rate: bytes / 1e6 / seconds, kinds: took.kinds };
}

const median = (list) => list.toSorted((x, y) => x - y)[Math.floor(list.length / 2)];
const round = (n) => Number(n.toFixed(1));
try {
  const bytes = mib << 20;
  const ours = [];
  const bare = [];
  for (let run = 0; run < runs; run++) {
    ours.push(await swarm(run));
    bare.push(await raw(bytes));
    const [o, r] = [ours.at(-1), bare.at(-1)];
    const parts = (x, gb) => Object.entries(x.kinds).map(([k, s]) => `${k} ${round(s / gb)}`).join(", ");
    console.error(`run ${run + 1} of ${runs}: ${round(o.perGB)} s per GB (${parts(o, o.gb)}) at ${round(o.rate)} MB/s, ${Math.round(100 * o.share)} % from the peer; ` +
      `bare channel ${round(r.perGB)} (${parts(r, bytes / 1e9)}) at ${round(r.rate)} MB/s`);
  }
  const result = {
    cpu_s_per_gb: round(median(ours.map((o) => o.perGB))),
    raw_cpu_s_per_gb: round(median(bare.map((r) => r.perGB))),
    ratio: Number(median(ours.map((o, i) => o.perGB / bare[i].perGB)).toFixed(3)),
    mb_per_s: round(median(ours.map((o) => o.rate))),
    raw_mb_per_s: round(median(bare.map((r) => r.rate))),
    peer_share: Number(median(ours.map((o) => o.share)).toFixed(3)),
    bytes,
    runs,
  };
  if (values.json) console.log(JSON.stringify(result));
  else console.log(`page to page: ${result.cpu_s_per_gb} s of Chromium's processor time per GB, ${result.ratio} times a bare data channel's ${result.raw_cpu_s_per_gb}`);
} finally {
  await browser.close();
  stage.stdin.end();
  rmSync(folder, { recursive: true, force: true });
}
