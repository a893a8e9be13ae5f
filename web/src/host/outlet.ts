/**
 * The sending side of a data channel. It must never make the channel throw (Chromium's queue ends at 16 MiB), so it hands
 * over only what fits below a high-water mark and keeps the rest in order; and it must say when the queue has drained.
 *
 * The channel carries a stream, and each `send` costs the browser a hop between threads and often a packet, which is more
 * than a request for a block is worth. So what is said in one go, or shortly after something else, goes out together; what
 * nothing went before waits for no clock.
 */

import { queueLow } from "./peers";
import type { Bytes } from "./record";

/** What the channel itself may hold, in bytes. */
const highWater = 1 << 20;
/** The longest message made of several, in bytes: clients that use pion's own reader take no longer ones. */
const bundleMax = (1 << 16) - 1;
/** How long after a message the next ones are gathered, in ms. */
const gatherFor = 4;

/** One channel's outlet. It takes over the channel's `bufferedamountlow`. */
export class Outlet {
  private readonly channel: RTCDataChannel;
  private readonly drained: () => void;
  private readonly low: number;
  private readonly after: (ms: number, due: () => void) => void;
  private readonly held: Bytes[] = [];
  private heldBytes = 0;
  private due = false; // all that is held is to be sent at the end of this turn, or of the gathering
  private gathering = false;
  private above = false; // the queue was longer than `low`, and `drained` was not called since

  /** `drained` is called when the queue falls to `low` after having been above. `after` calls once so many ms have passed. */
  constructor(
    channel: RTCDataChannel,
    drained: () => void,
    low = queueLow,
    after: (ms: number, due: () => void) => void = (ms, due) => void setTimeout(due, ms),
  ) {
    this.channel = channel;
    this.drained = drained;
    this.low = low;
    this.after = after;
    channel.bufferedAmountLowThreshold = low;
    channel.onbufferedamountlow = () => {
      if (this.due || this.gathering) this.hand(bundleMax);
      else this.flush();
      this.tell();
    };
  }

  /** Bytes not yet handed to the network. */
  get queued(): number {
    return this.heldBytes + this.channel.bufferedAmount;
  }

  /**
   * Sends: with what else is sent in this turn, or until the gathering ends, or as soon as there is room. Bytes for a channel
   * that has closed are dropped: its end will be told.
   */
  send(bytes: Bytes): void {
    this.held.push(bytes);
    this.heldBytes += bytes.length;
    if (this.queued > this.low) this.above = true;
    if (this.heldBytes >= bundleMax) this.hand(bundleMax);
    if (this.due || this.gathering || this.held.length === 0) return;
    this.due = true;
    queueMicrotask(() => {
      this.due = false;
      this.flush();
      this.tell();
    });
  }

  /** Hands over what there is room for. To be called when the channel opens, too. */
  flush(): void {
    if (this.hand(1) && !this.gathering) this.gather();
  }

  /** Hands over what there is room for, and closes the channel, which sends that first. */
  close(): void {
    this.hand(1);
    this.channel.close();
  }

  private gather(): void {
    this.gathering = true;
    this.after(gatherFor, () => {
      this.gathering = false;
      this.flush();
      this.tell();
    });
  }

  private tell(): void {
    if (!this.above || this.queued > this.low) return;
    this.above = false;
    this.drained();
  }

  // Hands over bundles as long as at least so many bytes are held and there is room; says whether it did.
  private hand(least: number): boolean {
    const { channel } = this;
    if (channel.readyState === "connecting") return false;
    let handed = false;
    while (this.heldBytes >= least && this.held.length > 0 && channel.bufferedAmount < highWater) {
      const bytes = this.bundle();
      if (channel.readyState !== "open") continue;
      handed = true;
      try {
        channel.send(bytes);
      } catch {
        channel.close();
      }
    }
    return handed;
  }

  // Takes the first messages, as many as fit into one.
  private bundle(): Bytes {
    let length = this.held[0]!.length;
    let n = 1;
    while (n < this.held.length && length + this.held[n]!.length <= bundleMax) length += this.held[n++]!.length;
    this.heldBytes -= length;
    const taken = this.held.splice(0, n);
    if (n === 1) return taken[0]!;
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const b of taken) {
      bytes.set(b, at);
      at += b.length;
    }
    return bytes;
  }
}
