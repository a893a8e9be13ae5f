/**
 * The sending side of a data channel. It must never make the channel throw (Chromium's queue ends at 16 MiB), so it hands
 * over only what fits below a high-water mark and keeps the rest in order; and it must say when the queue has drained.
 */

import { queueLow } from "./peers";
import type { Bytes } from "./record";

/** What the channel itself may hold, in bytes. */
const highWater = 1 << 20;

/** One channel's outlet. It takes over the channel's `bufferedamountlow`. */
export class Outlet {
  private readonly channel: RTCDataChannel;
  private readonly held: Bytes[] = [];
  private heldBytes = 0;

  /** `drained` is called when the queue falls to `low` after having been above. */
  constructor(channel: RTCDataChannel, drained: () => void, low = queueLow) {
    this.channel = channel;
    channel.bufferedAmountLowThreshold = low;
    channel.onbufferedamountlow = () => {
      this.flush();
      if (this.queued <= low) drained();
    };
  }

  /** Bytes not yet handed to the network. */
  get queued(): number {
    return this.heldBytes + this.channel.bufferedAmount;
  }

  /** Sends, now or as soon as there is room. Bytes for a channel that has closed are dropped: its end will be told. */
  send(bytes: Bytes): void {
    this.held.push(bytes);
    this.heldBytes += bytes.length;
    this.flush();
  }

  /** Hands over what there is room for. To be called when the channel opens, too. */
  flush(): void {
    if (this.channel.readyState === "connecting") return;
    while (this.held.length > 0 && this.channel.bufferedAmount < highWater) {
      const bytes = this.held.shift()!;
      this.heldBytes -= bytes.length;
      if (this.channel.readyState !== "open") continue;
      try {
        this.channel.send(bytes);
      } catch {
        this.channel.close();
      }
    }
  }
}
