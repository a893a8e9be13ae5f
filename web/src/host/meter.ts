/**
 * How fast bytes arrive: over the last seconds, for those who look, and while something asked for is on its way, for the
 * player. A rendition choice must trust the second: time in which nothing was under way is not counted, or just-in-time
 * delivery would read as a slow network.
 */

/** Both receiving rates. */
export class Meter {
  private bytes = 0;
  private busy = 0; // ms
  private last = -Infinity; // when the latest bytes came, ms
  private streams = 0; // responses whose body is arriving, and peers that owe us blocks

  private readonly slots: { start: number; bytes: number }[] = []; // of the last `window`, in order

  /** What "the last seconds" are, and how finely they are told apart, in ms. */
  private static readonly window = 3000;
  private static readonly slot = 500;
  /** The memory: past this much busy time what came before counts half, in ms. */
  private static readonly span = 3000;

  /** A response's body begins, or a peer owes us something: time counts until `ended`, bytes or not. */
  began(nowMs: number): void {
    if (this.streams++ === 0) this.touch(nowMs, false);
  }

  /** And ends. */
  ended(nowMs: number): void {
    if (this.streams > 0) {
      this.touch(nowMs, true);
      this.streams--;
    }
  }

  /** So many bytes came. */
  received(bytes: number, nowMs: number): void {
    this.touch(nowMs, this.streams > 0);
    this.bytes += bytes;
    const start = nowMs - (nowMs % Meter.slot);
    const latest = this.slots.at(-1);
    if (latest?.start === start) latest.bytes += bytes;
    else this.slots.push({ start, bytes });
    if (this.slots[0]!.start <= nowMs - Meter.window) this.slots.shift();
    if (this.busy > Meter.span) {
      this.busy /= 2;
      this.bytes /= 2;
    }
  }

  /** Kilobits per second of wall time, over the last three seconds. */
  recentKbps(nowMs: number): number {
    let bytes = 0;
    for (const s of this.slots) if (s.start > nowMs - Meter.window) bytes += s.bytes;
    return Math.round((bytes * 8) / Meter.window);
  }

  /** Bytes per millisecond of receiving; 0 while nothing has been measured (10 ms and 16 KiB at least). */
  rate(): number {
    return this.busy < 10 || this.bytes < 16384 ? 0 : this.bytes / this.busy;
  }

  private touch(nowMs: number, streaming: boolean): void {
    const gap = nowMs - this.last;
    if (streaming) this.busy += Math.max(0, Math.min(gap, 10_000));
    this.last = nowMs;
  }
}
