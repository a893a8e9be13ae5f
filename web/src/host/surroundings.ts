/** What surrounds a core: the engine, time, and the network to peers and tracker, as the core sees them. */

import type { Bytes, Input, Output } from "./record";

/** The engine. Instants are microseconds on the core's clock. A throw is the engine's end. */
export interface Stepper {
  step(now: number, input: Input): Output[];
  /** When to step with Tick if nothing happens first; undefined: never. */
  deadline(): number | undefined;
}

/** Time. */
export interface Clock {
  /** Microseconds since an epoch of its own, whole and never falling. */
  now(): number;
  /** Calls `due` after that many microseconds; returns what prevents it. */
  after(us: number, due: () => void): () => void;
}

/** The peers' channels and the tracker. */
export interface Net {
  /** Sends bytes on an open channel; they belong to the channel from then on. */
  send(peer: number, bytes: Bytes): void;
  /** Bytes sent to a peer and not yet handed to the network. */
  queued(peer: number): number;
  /** Begins to measure the round trip to a peer; `measured` may follow. */
  measure(peer: number): void;
  /** Closes a channel, or gives up the connection that a dial began. Nothing more is told of it. */
  close(peer: number): void;
  /** Makes an offer through the tracker; `connected` or `dialFailed` follows. */
  dial(peer: number): void;
  announce(announce: Announce): void;
}

/** Our place among the viewers who are in step with us, by the tracker's count. `id` 0: it does not say. */
export interface Cohort {
  id: number;
  /** From 0. */
  place: number;
  size: number;
}

/** What the tracker is told. */
export interface Announce {
  positionMs: number;
  /** Index of the file that plays. */
  rendition: number;
  /** How many introductions we ask for. */
  want: number;
  event?: "started" | "completed" | "stopped";
}
