/**
 * The engine in WebAssembly, behind the core's `Stepper`. It must be light to call (one exported call a step) and must
 * never be trusted to live: any fault throws, and the host then gives the engine up for good.
 */

import type { Stepper } from "./surroundings";
import { GoRuntime } from "./goruntime";
import { inputSize, readOutputs, writeInput, type Input, type Output } from "./record";

/** The exports of internal/host/browser; boundary.go says what each does. */
interface EngineExports {
  mem: WebAssembly.Memory;
  essaim_open(): void;
  essaim_inbox(size: number): number;
  essaim_step(now: number, n: number): number;
  essaim_outbox(): number;
  essaim_deadline(): number;
}

/** One engine in one WebAssembly instance. */
export class WasmEngine implements Stepper {
  private readonly exports: EngineExports;
  private readonly runtime: GoRuntime;

  private constructor(exports: EngineExports, runtime: GoRuntime) {
    this.exports = exports;
    this.runtime = runtime;
  }

  /** Instantiates the module and opens an engine. `failed` hears of an end between two steps. */
  static async start(module: WebAssembly.Module, failed: (error: unknown) => void): Promise<WasmEngine> {
    const runtime = new GoRuntime(failed);
    const instance = await WebAssembly.instantiate(module, runtime.imports);
    runtime.start(instance);
    const exports = instance.exports as unknown as EngineExports;
    exports.essaim_open();
    return new WasmEngine(exports, runtime);
  }

  /** Applies one input at `now` (µs, never falling) and returns what to do. */
  step(now: number, input: Input): Output[] {
    const size = inputSize(input);
    const inbox = this.exports.essaim_inbox(size) >>> 0;
    writeInput(new Uint8Array(this.exports.mem.buffer), inbox, input);
    const n = this.exports.essaim_step(now, size);
    if (n < 0) throw new Error(`engine refused an input of kind ${input.kind} with code ${n}`);
    if (n === 0) return [];
    return readOutputs(new Uint8Array(this.exports.mem.buffer, this.exports.essaim_outbox() >>> 0, n));
  }

  /** Applies the records in `inputs`, and returns the output records as they are: for replays. */
  stepRecords(now: number, inputs: Uint8Array): Uint8Array {
    const inbox = this.exports.essaim_inbox(inputs.length) >>> 0;
    new Uint8Array(this.exports.mem.buffer).set(inputs, inbox);
    const n = this.exports.essaim_step(now, inputs.length);
    if (n < 0) throw new Error(`engine refused a record with code ${n}`);
    return new Uint8Array(this.exports.mem.buffer, this.exports.essaim_outbox() >>> 0, n).slice();
  }

  /** When to step with Tick if nothing happens first (µs); undefined: never. */
  deadline(): number | undefined {
    const at = this.exports.essaim_deadline();
    return at < 0 ? undefined : at;
  }

  /** Ends the instance. */
  close(): void {
    this.runtime.stop();
  }
}

/** Loads the engine's module, compiled while it arrives. Rejects when it cannot be had or is no WebAssembly. */
export async function loadModule(url: string, signal?: AbortSignal): Promise<WebAssembly.Module> {
  const response = await fetch(url, { credentials: "same-origin", signal: signal ?? null });
  if (!response.ok) throw new Error(`load ${url}: status ${response.status}`);
  // A server that does not know the type must not cost us the engine.
  if (response.headers.get("content-type")?.startsWith("application/wasm")) {
    return WebAssembly.compileStreaming(response);
  }
  return WebAssembly.compile(await response.arrayBuffer());
}
