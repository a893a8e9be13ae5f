/**
 * Nothing spins for ever: who waits and gets nothing is told so after fifteen seconds. It must not speak up while bytes come,
 * however slowly, nor where nobody waits.
 */

/** A wait without a byte is told of after so long, in ms. */
export const silentAfterMs = 15_000;

/** One player's silence. */
export class Silence {
  #bytes = 0;
  #since: number | undefined;

  /** Call about once a second, with all bytes that have come so far. True while nothing has come for too long. */
  look(waiting: boolean, bytes: number, now: number): boolean {
    if (!waiting || bytes !== this.#bytes) this.#since = undefined;
    this.#bytes = bytes;
    if (!waiting) return false;
    this.#since ??= now;
    return now - this.#since >= silentAfterMs;
  }
}
