/**
 * What a Go program compiled to WebAssembly (GOOS=js) asks of its surroundings when it uses no syscall/js: eight
 * functions. It stands in for Go's own wasm_exec.js, which is four times as long, writes to the console and speaks to
 * globals. It must fail loudly: a program that exits or asks for a function that is not here is an error at once, so
 * that playback can go on without it.
 */

/** The Go program ended, by a panic unless `status` is 0. `message` carries the end of what it wrote. */
export class GoExit extends Error {
  override readonly name = "GoExit";
  readonly status: number;
  constructor(status: number, written: string) {
    super(`engine stopped with status ${status}: ${written.trim()}`);
    this.status = status;
  }
}

interface GoExports {
  mem: WebAssembly.Memory;
  run(argc: number, argv: number): void;
  resume(): void;
}

/** How much of what the program writes is kept for the message of its end, in characters. */
const writtenMax = 4096;

/** One instance's runtime: `imports` to instantiate the module with, then `start`. */
export class GoRuntime {
  /** The import object's `gojs` module. Arguments lie on Go's stack, 8 bytes above the address that is passed. */
  readonly imports: { gojs: Record<string, (sp: number) => void> };

  private exports: GoExports | undefined;
  private view = new DataView(new ArrayBuffer(0));
  private written = "";
  private timers = new Map<number, ReturnType<typeof setTimeout>>();
  private timerNext = 1;
  private readonly failed: (error: unknown) => void;

  /** `failed` hears of an end that happens in a timer of Go's own, outside any exported call. */
  constructor(failed: (error: unknown) => void) {
    this.failed = failed;
    const origin = Date.now() - performance.now();
    this.imports = {
      gojs: {
        // func wasmExit(code int32)
        "runtime.wasmExit": (sp) => {
          const status = this.mem().getInt32((sp >>> 0) + 8, true);
          this.stop();
          throw new GoExit(status, this.written);
        },
        // func wasmWrite(fd uintptr, p unsafe.Pointer, n int32)
        "runtime.wasmWrite": (sp) => {
          const m = this.mem();
          const bytes = new Uint8Array(m.buffer, this.int64((sp >>> 0) + 16), m.getInt32((sp >>> 0) + 24, true));
          this.written = (this.written + new TextDecoder().decode(bytes)).slice(-writtenMax);
        },
        // func resetMemoryDataView(): mem() looks for itself
        "runtime.resetMemoryDataView": () => {},
        // func nanotime1() int64
        "runtime.nanotime1": (sp) => {
          this.setInt64((sp >>> 0) + 8, Math.round((origin + performance.now()) * 1e6));
        },
        // func walltime() (sec int64, nsec int32)
        "runtime.walltime": (sp) => {
          const ms = Date.now();
          this.setInt64((sp >>> 0) + 8, Math.floor(ms / 1000));
          this.mem().setInt32((sp >>> 0) + 16, (ms % 1000) * 1_000_000, true);
        },
        // func scheduleTimeoutEvent(delay int64) int32
        "runtime.scheduleTimeoutEvent": (sp) => {
          const id = this.timerNext++;
          this.timers.set(
            id,
            setTimeout(() => this.wake(id), this.int64((sp >>> 0) + 8)),
          );
          this.mem().setInt32((sp >>> 0) + 16, id, true);
        },
        // func clearTimeoutEvent(id int32)
        "runtime.clearTimeoutEvent": (sp) => {
          const id = this.mem().getInt32((sp >>> 0) + 8, true);
          clearTimeout(this.timers.get(id));
          this.timers.delete(id);
        },
        // func getRandomData(r []byte)
        "runtime.getRandomData": (sp) => {
          const m = this.mem();
          const bytes = new Uint8Array(m.buffer, this.int64((sp >>> 0) + 8), this.int64((sp >>> 0) + 16));
          crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
        },
      },
    };
  }

  /** Runs the program until main waits; its other exports may be called afterwards. Throws a GoExit when it ends instead. */
  start(instance: WebAssembly.Instance): void {
    this.exports = instance.exports as unknown as GoExports;
    // The arguments, where Go expects them (below the linker's wasmMinDataAddr): one, "js", no environment.
    const m = this.mem();
    const name = 4096;
    const argv = name + 8;
    [0x6a, 0x73, 0].forEach((c, i) => m.setUint8(name + i, c));
    [name, 0, 0].forEach((p, i) => m.setBigUint64(argv + 8 * i, BigInt(p), true));
    this.exports.run(1, argv);
  }

  /** Forgets the instance and its timers. */
  stop(): void {
    for (const t of this.timers.values()) clearTimeout(t);
    this.timers.clear();
    this.exports = undefined;
  }

  private wake(id: number): void {
    try {
      // Go deletes the timer itself when it takes the event; until it does it has not noticed (golang/go#28975).
      for (let tries = 0; this.exports && this.timers.has(id) && tries < 10; tries++) this.exports.resume();
    } catch (error) {
      this.failed(error);
    }
  }

  private mem(): DataView {
    const buffer = this.exports?.mem.buffer;
    if (!buffer) throw new Error("engine called after its end");
    if (this.view.buffer !== buffer) this.view = new DataView(buffer);
    return this.view;
  }

  private int64(at: number): number {
    return Number(this.mem().getBigInt64(at, true));
  }

  private setInt64(at: number, n: number): void {
    this.mem().setBigInt64(at, BigInt(n), true);
  }
}
