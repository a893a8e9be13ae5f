/**
 * Finds the messages in a data channel's bytes (BEP 3). Channel messages have no meaning of their own: other clients send
 * a piece's header and its payload apart, so the bytes are one stream. It must buffer nothing that nobody asked for: a
 * payload's fate is settled by its header, and a length out of bounds ends the channel before anything is allocated.
 */

import { blockSize } from "./title";
import type { Bytes } from "./record";

/** The largest message, piece messages excepted, in bytes: a bitfield of eight million pieces. */
const messageMax = 1 << 20;
const handshakeSize = 68;
const pieceId = 7;
const pieceHead = 9;

/** What a framer tells of, in order. After `violated`, or once `stop` was called within one of these, nothing more comes. */
export interface FramerEvents {
  /** The first 68 bytes. */
  handshake(data: Bytes): void;
  /** A whole message without its length; a keepalive is empty. The bytes hold until the call returns. */
  message(data: Bytes): void;
  /** A piece message's id, index and begin came; says whether to collect the payload of `length` bytes. */
  pieceHead(head: Bytes, length: number): boolean;
  /** The payload that was wanted is whole. The receiver owns the bytes. */
  payload(data: Bytes): void;
  /** The stream breaks the bounds. */
  violated(): void;
}

/** What the framer reads next. */
type Part = "handshake" | "length" | "id" | "message" | "head" | "payload" | "skip" | "end";

/** One channel's framer. */
export class Framer {
  private readonly events: FramerEvents;
  private part: Part = "handshake";
  private need = handshakeSize;
  private length = 0; // of the message being read
  private partial: Bytes | undefined; // of `need` bytes, `have` of them filled
  private have = 0;

  constructor(events: FramerEvents) {
    this.events = events;
  }

  /** Ends it: what is left of the chunk in hand, and all later ones, are dropped. */
  stop(): void {
    this.part = "end";
    this.partial = undefined;
  }

  /** Takes the next bytes of the channel. They must not change afterwards. */
  feed(chunk: Bytes): void {
    let at = 0;
    while (this.part !== "end") {
      if (this.part === "skip") {
        const n = Math.min(this.need, chunk.length - at);
        at += n;
        this.need -= n;
        if (this.need > 0) return;
        this.expect("length", 4);
        continue;
      }
      const left = chunk.length - at;
      let got: Bytes;
      if (this.have === 0 && left >= this.need) {
        got = chunk.subarray(at, at + this.need);
        at += this.need;
      } else {
        if (left === 0 && this.need > 0) return;
        this.partial ??= new Uint8Array(this.need);
        const n = Math.min(this.need - this.have, left);
        this.partial.set(chunk.subarray(at, at + n), this.have);
        this.have += n;
        at += n;
        if (this.have < this.need) return;
        got = this.partial;
      }
      this.partial = undefined;
      this.have = 0;
      this.take(got);
    }
  }

  private expect(part: Part, need: number): void {
    if (this.part === "end") return; // stopped by the receiver
    this.part = part;
    this.need = need;
  }

  private violate(): void {
    this.stop();
    this.events.violated();
  }

  private take(got: Bytes): void {
    switch (this.part) {
      case "handshake":
        this.events.handshake(got);
        this.expect("length", 4);
        return;
      case "length":
        this.length = uint32(got, 0);
        if (this.length > messageMax) this.violate();
        else if (this.length > 0) this.expect("id", 1);
        else this.finish(new Uint8Array(0)); // a keepalive
        return;
      case "id":
        this.id = got[0]!;
        if (this.id === pieceId) {
          if (this.length < pieceHead || this.length > pieceHead + blockSize) this.violate();
          else this.expect("head", pieceHead - 1);
        } else if (this.length === 1) {
          this.finish(got);
        } else {
          this.expect("message", this.length - 1);
        }
        return;
      case "message":
        this.finish(joined(this.id, got));
        return;
      case "head": {
        const size = this.length - pieceHead;
        const wanted = this.events.pieceHead(joined(pieceId, got), size);
        if (size > 0) {
          this.expect(wanted ? "payload" : "skip", size);
        } else {
          if (wanted && this.running) this.events.payload(new Uint8Array(0));
          this.expect("length", 4);
        }
        return;
      }
      case "payload":
        // A view that would pin a far larger buffer is worth a copy.
        this.events.payload(got.buffer.byteLength > 2 * got.length ? got.slice() : got);
        this.expect("length", 4);
        return;
      case "skip":
      case "end":
        return;
    }
  }

  private id = 0;

  // A getter, because TypeScript does not see that a callback may have stopped us.
  private get running(): boolean {
    return this.part !== "end";
  }

  private finish(message: Bytes): void {
    this.events.message(message);
    this.expect("length", 4);
  }
}

function joined(id: number, rest: Bytes): Bytes {
  const b = new Uint8Array(1 + rest.length);
  b[0] = id;
  b.set(rest, 1);
  return b;
}

/** Reads a big-endian number, as BEP 3 writes all its own. */
export function uint32(b: Uint8Array, at: number): number {
  return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
}
