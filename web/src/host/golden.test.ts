/** Holds the engine in WebAssembly to the engine on the machine that wrote the golden flight: the same inputs at the same instants, the same outputs. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WasmEngine } from "./engine";
import { inputHead, InputKind } from "./kinds.gen";
import { recordSize } from "./record";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const golden = (name: string) => readFileSync(join(root, "internal/engine/testdata", name));

let folder = "";
let module: WebAssembly.Module;

// Built here and now: a stale engine would prove nothing.
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "essaim-golden-"));
  const path = join(folder, "engine.wasm");
  const env = { ...process.env, GOOS: "js", GOARCH: "wasm" };
  execFileSync("go", ["build", "-trimpath", "-ldflags=-s -w", "-o", path, "./internal/host/browser"], {
    cwd: root,
    env,
  });
  module = await WebAssembly.compile(readFileSync(path));
}, 300_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const start = () =>
  WasmEngine.start(module, (error) => {
    throw error;
  });

test("the golden flight has the same outputs in WebAssembly", async () => {
  const engine = await start();
  const flight = new Uint8Array(golden("golden.rec"));
  const v = new DataView(flight.buffer, flight.byteOffset, flight.byteLength);
  const hash = createHash("sha256");
  let steps = 0;
  for (let at = 0; at < flight.length; steps++) {
    const now = Number(v.getBigInt64(at, true));
    at += 8;
    const size = recordSize(v, at, inputHead);
    hash.update(engine.stepRecords(now, flight.subarray(at, at + size)));
    at += size;
  }
  engine.close();
  expect(steps).toBeGreaterThan(100);
  expect(hash.digest("hex")).toBe(golden("golden.sha256").toString().trim());
});

test("the engine asks for nothing but the eight functions of Go's runtime", () => {
  const names = WebAssembly.Module.imports(module).map((i) => i.name);
  expect(names.filter((n) => !n.startsWith("runtime."))).toEqual([]);
  expect(names).toHaveLength(8);
});

test("an engine without a title has no deadline, and one that is given nonsense refuses it", async () => {
  const engine = await start();
  expect(engine.deadline()).toBeUndefined();
  expect(engine.step(1, { kind: InputKind.Tick })).toEqual([]);
  expect(() => engine.stepRecords(2, new Uint8Array([1, 2, 3]))).toThrow(/code -1/);
  engine.close();
});
