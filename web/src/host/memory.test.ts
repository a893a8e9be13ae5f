/**
 * A film of three hours at 8 Mbit/s through the real engine and the real core, with nothing but memory to keep it in: what the
 * host holds beside the player's own buffers must stay below 64 MiB. The film is zeros, so that 10.8 GB of it need be
 * neither stored nor hashed anew.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Core } from "./core";
import { WasmEngine } from "./engine";
import type { HttpEvents } from "./fetches";
import type { Bytes } from "./record";
import { memoryAhead, memoryLimit, MemoryStore } from "./store";
import { blockSize, newPeerId, type Title } from "./title";
import type { PlaySegment } from "../player/session";

const limit = 64 << 20;
const seconds = 3 * 3600;
const rate = 1e6; // bytes a second
const size = seconds * rate;
const pieceLength = 256 << 10;
const perPiece = pieceLength / blockSize;
const pieces = Math.ceil(size / pieceLength);

const sha = (b: Uint8Array): Bytes => new Uint8Array(createHash("sha256").update(b).digest());
const pair = (a: Uint8Array, b: Uint8Array): Bytes => sha(Buffer.concat([a, b]));

/** The layers of the film's tree from its pieces up: nearly all nodes of a layer are alike. */
function makeTree(): Bytes[][] {
  const leaf = sha(new Uint8Array(blockSize));
  const blocks = Math.ceil(size / blockSize);
  const last = sha(new Uint8Array(size - (blocks - 1) * blockSize));
  const fold = (leaves: Bytes[]): Bytes => {
    while (leaves.length > 1) leaves = leaves.filter((_, i) => i % 2 === 0).map((a, i) => pair(a, leaves[2 * i + 1]!));
    return leaves[0]!;
  };
  const none = new Uint8Array(32);
  const whole = fold(Array.from({ length: perPiece }, () => leaf));
  const pad = fold(Array.from({ length: perPiece }, () => none));
  const tail = blocks - (pieces - 1) * perPiece;
  const end = fold(Array.from({ length: perPiece }, (_, i) => (i < tail - 1 ? leaf : i === tail - 1 ? last : none)));
  const layers: Bytes[][] = [];
  const width = 2 ** Math.ceil(Math.log2(pieces));
  layers.push(Array.from({ length: width }, (_, i) => (i < pieces - 1 ? whole : i === pieces - 1 ? end : pad)));
  for (let layer = layers[0]!; layer.length > 1; layers.push(layer)) {
    const above: Bytes[] = [];
    for (let i = 0; i < layer.length; i += 2) {
      const alike = i >= 2 && layer[i] === layer[i - 2] && layer[i + 1] === layer[i - 1];
      above.push(alike ? above.at(-1)! : pair(layer[i]!, layer[i + 1]!));
    }
    layer = above;
  }
  return layers;
}

/** The answer to a hash request of the piece layer (BEP 52). */
function answer(layers: Bytes[][], index: number, length: number, proof: number): Bytes {
  const parts = layers[0]!.slice(index, index + length);
  const low = Math.log2(length);
  for (let height = low; height < proof + 1 && height < layers.length - 1; height++) {
    parts.push(layers[height]![(index >> height) ^ 1]!);
  }
  return new Uint8Array(Buffer.concat(parts));
}

async function engineModule(): Promise<WebAssembly.Module> {
  const folder = mkdtempSync(join(tmpdir(), "essaim-memory-"));
  try {
    const path = join(folder, "engine.wasm");
    execFileSync("go", ["build", "-trimpath", "-ldflags=-s -w", "-o", path, "./internal/host/browser"], {
      cwd: fileURLToPath(new URL("../../..", import.meta.url)),
      env: { ...process.env, GOOS: "js", GOARCH: "wasm" },
    });
    return await WebAssembly.compile(readFileSync(path));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("three hours at 8 Mbit/s stay below 64 MiB where there is nothing but memory", { timeout: 300_000 }, async () => {
  const layers = makeTree();
  const segments = Array.from({ length: seconds / 2 }, (_, i): PlaySegment => [
    i * 2 * rate,
    (i + 1) * 2 * rate,
    i * 2000,
    2000,
  ]);
  const root = Buffer.from(layers.at(-1)![0]!).toString("hex");
  const title: Title = {
    pieceLength,
    infoHash: new Uint8Array(20).fill(1),
    infoHashV2: new Uint8Array(20).fill(2),
    peerId: newPeerId(),
    seed: 7n,
    files: [{ size, root, firstPiece: 0, track: 1, segments }],
  };
  const engine = await WasmEngine.start(await engineModule(), (error) => {
    throw error;
  });
  const store = new MemoryStore();
  const zeroDigests = new Map<number, Bytes>();
  let now = 1e6;
  let sent = 0;
  const jobs: (() => void)[] = [];
  const core = new Core({
    title,
    engine,
    store,
    clock: { now: () => now, after: () => () => undefined },
    net: {
      send: () => undefined,
      queued: () => 0,
      measure: () => undefined,
      close: () => undefined,
      dial: () => undefined,
      announce: () => undefined,
    },
    http: {
      get: (url: string, headers: Record<string, string>, events: HttpEvents) => {
        let over = false;
        jobs.push(() => {
          if (over) return;
          const [from, to] = (/bytes=(\d+)-(\d+)/.exec(headers.range ?? "") ?? []).slice(1).map(Number);
          if (from === undefined || to === undefined) {
            const query = new URL(url).searchParams;
            const [index, length, proof] = ["index", "length", "proof"].map((name) => Number(query.get(name)));
            events.head(200, () => null);
            events.body(answer(layers, index!, length!, proof!));
            events.end();
            return;
          }
          events.head(206, (name) => (name === "content-range" ? `bytes ${from}-${to}/${size}` : null));
          for (let at = from; at <= to && !over; at += blockSize) {
            const bytes = new Uint8Array(Math.min(blockSize, to + 1 - at));
            sent += bytes.length;
            events.body(bytes);
          }
          if (!over) events.end();
        });
        return () => (over = true);
      },
    },
    digest: (b) => {
      let d = zeroDigests.get(b.length);
      if (!d) zeroDigests.set(b.length, (d = sha(b)));
      return Promise.resolve(d);
    },
    origins: ["https://origin.test"],
    ticket: "t",
  });
  core.open();
  core.rendition(0);
  const memory = (engine as unknown as { exports: { mem: WebAssembly.Memory } }).exports.mem;
  const kept = (core as unknown as { kept: { pieces: { kept: Map<number, Bytes> } } }).kept.pieces.kept;
  let most = 0;
  let mostStored = 0;
  let delivered = 0;
  let read = 0;
  // A minute of every ten, so that all of the film's tables are in use, by the player's own reads: ten seconds ahead.
  for (let at = 0; at < seconds; at++) {
    if (at % 600 === 60) {
      at += 540;
      read = at;
      core.seeked(at * 1000);
    }
    for (; read < Math.min(at + 10, seconds); read += 2) {
      const from = read * rate;
      core.read(0, from, from + 2 * rate).answer.then(
        ({ data }) => (delivered += data.byteLength),
        () => undefined,
      );
    }
    for (let step = 0; step < 4; step++) {
      core.moved({ position_ms: at * 1000 + step * 250, buffered_end_ms: read * 1000, rate: 1, paused: false });
      now += 250_000;
      for (const job of jobs.splice(0)) job();
      await core.rest();
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, store.used + kept.size * blockSize + memory.buffer.byteLength);
      mostStored = Math.max(mostStored, store.used);
    }
  }
  engine.close();
  console.log(
    `${(delivered / 1e9).toFixed(2)} GB of a film of ${(size / 1e9).toFixed(1)} GB played; at most ` +
      `${(most / 2 ** 20).toFixed(1)} MiB held, of which ${(memory.buffer.byteLength / 2 ** 20).toFixed(1)} are the engine's`,
  );
  expect(delivered).toBeGreaterThan(0.09 * size);
  expect(sent).toBeLessThan(1.6 * delivered); // look-ahead that seeks left behind, and nothing fetched over and over
  expect(mostStored).toBeLessThanOrEqual(memoryLimit + 2 * pieceLength);
  expect(mostStored).toBeGreaterThan(memoryAhead / 2);
  expect(most).toBeLessThan(limit);
});
