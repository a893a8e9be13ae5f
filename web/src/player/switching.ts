/**
 * The source that a player really has: direct at once, the engine as soon as it is there, direct again for good when the
 * engine fails in any way. It must never be worse than HTTP alone: a failed or hung engine costs a read one more request,
 * never playback.
 */

import type { DirectSource } from "./direct";
import { sourceError } from "./origin";
import { bannedMax, type PlayPolicy, type PlaySession, type PlayTickets } from "./session";
import {
  type EngineBytes,
  type EngineNote,
  type MediaSourceBytes,
  type OpenEngine,
  type PlaybackState,
  type ReadResult,
  SourceError,
  type Stats,
  type VerifiedPiece,
} from "./source";

/** How a switching source is set up. */
export interface SwitchingOptions {
  /** Gets the engine's opener; rejects where it cannot be had. By default a dynamic import of `web/src/host`. */
  load?: () => Promise<OpenEngine>;
  /** Where the engine keeps pieces: see `EngineOptions`. "memory" by default. */
  storage?: string;
  /** Empties such a place, false where another tab has it. By default `clearStore` of `web/src/host`. */
  clear?: (storage: string) => Promise<boolean>;
  /** Hears the engine's notes. */
  onNote?(note: EngineNote): void;
  /** The operator forbids peers from now on. */
  onForbidden?(): void;
  /** Hears that bytes come from another machinery now, and, where it was not planned, why. */
  onChange?(via: Via, reason?: unknown): void;
  /** For demonstrations: the engine sends wrong bits to its peers. */
  debugLie?: boolean;
}

/** Who verifies and delivers: the page itself, or the engine. */
export type Via = "page" | "engine";

/**
 * An engine whose read has brought no byte for so long, while the player is about to run dry, has failed. Five seconds:
 * longer than any wait the engine plans, shorter than a viewer's patience.
 */
const hangMs = 5_000;
const hangStepMs = 1_000;

/**
 * What plays later than this need not be fetched by the page while the engine is on its way: the engine may get it from
 * other viewers. Two segments more than a start needs.
 */
const laterMs = 4_000;

/** How long, from the first read on, such bytes wait for the engine at most: no longer than what was fetched plays. */
const waitForEngineMs = 3_000;

/** "About to run dry": less film than this lies ahead of the play head. */
const dryMs = 3_000;

/** Direct first, the engine when it is there. See {@link MediaSourceBytes} for the contract of its methods. */
export class SwitchingSource implements MediaSourceBytes {
  #session: PlaySession;
  #direct: DirectSource;
  #options: SwitchingOptions;
  #engine: EngineBytes | undefined;
  #lie: boolean;
  #engineState: "none" | "opening" | "open" | "failed" = "none";
  #counted: Stats | undefined; // of engines that were closed
  #closed = false;
  #policy: PlayPolicy;
  #tickets: PlayTickets;
  #state: PlaybackState = { position_ms: 0, buffered_end_ms: 0, rate: 1, paused: true };
  #renditions = new Set<number>();

  constructor(session: PlaySession, direct: DirectSource, options: SwitchingOptions = {}) {
    this.#session = session;
    this.#direct = direct;
    this.#options = options;
    this.#lie = options.debugLie ?? false;
    this.#policy = session.policy;
    this.#tickets = session.tickets;
  }

  /** Who delivers new reads. */
  get via(): Via {
    return this.#engine ? "engine" : "page";
  }

  /** The engine's own peer ID, 40 hexadecimal digits; empty while there is no engine. */
  get peerId(): string {
    return this.#engine?.peerId ?? "";
  }

  /** For demonstrations: the engine sends wrong bits to its peers from now on, or is honest again. */
  lie(on: boolean): void {
    this.#lie = on;
    this.#tell((engine) => engine.setLie?.(on));
  }

  /** Why the last engine ended or could not be opened; undefined while none did. */
  failure: unknown;

  /**
   * Opens the engine if policy lets peers be used (without peers the page does all that it would, at a fraction of its
   * weight), and switches to it. Resolves when that is decided; never rejects. Once an engine has failed, no other is tried.
   */
  async start(): Promise<void> {
    if (this.#closed || !this.#policy.p2p || this.#engineState !== "none") return;
    this.#engineState = "opening";
    try {
      const open = await (this.#options.load ?? loadHost)();
      // While the host's code came, the viewer may have left, or said no.
      if (this.#closed || !this.#policy.p2p) {
        this.#engineState = "none";
        return;
      }
      // What is on its way to the page comes after the seed was read. Nobody asks for it again: without it the engine would lack the
      // film's beginning, and with it whoever has the film from this viewer.
      const late: VerifiedPiece[] = [];
      this.#direct.onVerified = (piece) => late.push(piece);
      const engine = await open(
        { ...this.#session, policy: this.#policy, tickets: this.#tickets },
        {
          onNote: (note) => this.#options.onNote?.(note),
          onForbidden: () => this.#options.onForbidden?.(),
          seed: this.#direct.verified(),
          storage: this.#options.storage ?? "memory",
          debugLie: this.#lie,
        },
      );
      if (this.#closed) {
        await engine.close();
        return;
      }
      this.#engine = engine;
      this.#engineState = "open";
      this.#direct.onVerified = (piece) => this.#tell((to) => to.verified?.(piece));
      late.forEach(this.#direct.onVerified);
      this.#direct.release(); // the engine has copies
      engine.policy(this.#policy);
      engine.tickets(this.#tickets);
      for (const file of this.#renditions) engine.rendition(file);
      engine.moved(this.#state);
      this.#decided();
      this.#isOpen();
      this.#options.onChange?.("engine");
    } catch (error) {
      this.#fail(this.#engine, error);
    }
  }

  async read(file: number, from: number, to: number, signal: AbortSignal): Promise<ReadResult> {
    if (!this.#engine && this.#expectsEngine() && this.#playsLater(file, from)) await this.#engineOrTimeOut(signal);
    return this.#engine ? this.#byEngine(this.#engine, file, from, to, signal) : this.#byPage(file, from, to, signal);
  }

  /**
   * The page's own way. An origin that fails must not keep from the viewer what other viewers have: once there is an engine, it
   * is asked beside the page, which goes on trying. What the origin is merely slow to send is not asked for twice.
   */
  async #byPage(file: number, from: number, to: number, signal: AbortSignal): Promise<ReadResult> {
    const own = this.#direct.read(file, from, to, signal);
    if (!this.#expectsEngine()) return own;
    const settled = new AbortController();
    const others = Promise.all([this.#direct.failed, this.#opened]).then(() => {
      settled.signal.throwIfAborted();
      if (!this.#engine) throw sourceError("network");
      return this.#byEngine(this.#engine, file, from, to, AbortSignal.any([signal, settled.signal]));
    });
    others.catch(() => undefined);
    try {
      const given = own.catch((error: unknown) => {
        if (!this.#engine || signal.aborted) throw error;
        return others;
      });
      return await Promise.race([given, others.catch(() => own)]);
    } finally {
      own.catch(() => undefined);
      settled.abort(new DOMException("answered", "AbortError"));
    }
  }

  async #byEngine(
    engine: EngineBytes,
    file: number,
    from: number,
    to: number,
    signal: AbortSignal,
  ): Promise<ReadResult> {
    signal.throwIfAborted();
    const settled = new AbortController();
    const stop = () => settled.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    const hung = this.#hung(engine, settled.signal);
    // The page reads beside a silent engine. Only if it has the bytes first has the engine failed: an origin that is
    // away must not cost the viewer the engine.
    const rescue = hung.then(async () => {
      const result = await this.#direct.read(file, from, to, settled.signal);
      this.#fail(engine, new SourceError("network", "The engine delivers nothing."));
      return result;
    });
    const own = engine.read(file, from, to, settled.signal).catch((error: unknown) => {
      settled.signal.throwIfAborted();
      if (error instanceof SourceError && error.code === "range") throw error;
      this.#fail(engine, error);
      return this.#direct.read(file, from, to, settled.signal);
    });
    rescue.catch(() => undefined);
    try {
      return await Promise.race([own, rescue.catch(() => own)]);
    } finally {
      own.catch(() => undefined);
      settled.abort(new DOMException("answered", "AbortError"));
      signal.removeEventListener("abort", stop);
    }
  }

  moved(state: PlaybackState): void {
    this.#state = state;
    this.#tell((engine) => engine.moved(state));
  }

  seeked(position_ms: number): void {
    this.#state = { ...this.#state, position_ms, buffered_end_ms: position_ms };
    this.#tell((engine) => engine.seeked(position_ms));
  }

  rendition(file: number): void {
    const kind = this.#session.files[file]?.kind;
    for (const other of this.#renditions) {
      if (this.#session.files[other].kind === kind) this.#renditions.delete(other);
    }
    this.#renditions.add(file);
    this.#tell((engine) => engine.rendition(file));
  }

  policy(p: PlayPolicy): void {
    this.#policy = p;
    if (!p.p2p) this.#decided();
    this.#tell((engine) => engine.policy(p));
    if (p.p2p) void this.start();
  }

  /** Connections are not to be trusted: see {@link DirectSource.nudge}. The engine finds out by itself. */
  nudge(): void {
    this.#direct.nudge();
  }

  /**
   * Goes on under another play session of the same title version, for instance one with the viewer's consent. Nodes
   * matter to an engine that is yet to be opened; tickets and policy hold at once.
   */
  renew(session: PlaySession): void {
    this.#session = session;
    this.tickets(session.tickets);
    this.policy(session.policy);
  }

  tickets(t: PlayTickets): void {
    this.#tickets = t;
    this.#direct.tickets(t);
    this.#tell((engine) => engine.tickets(t));
  }

  stats(): Stats {
    const parts = [this.#direct.stats(), this.#counted, this.#engine?.stats()].filter((part) => part !== undefined);
    return parts.reduce(addStats);
  }

  /**
   * Removes what is kept between visits, of all titles, and goes on with an engine that has nothing. Resolves to false where another
   * tab is using it; rejects where the browser does not let go of it.
   */
  async forget(): Promise<boolean> {
    const engine = this.#engine;
    this.#retire();
    await engine?.close().catch(() => undefined);
    try {
      return await (this.#options.clear ?? clearStore)(this.#options.storage ?? "memory");
    } finally {
      if (engine) void this.start();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#decided();
    const engine = this.#engine;
    this.#retire();
    await Promise.all([this.#direct.close(), engine?.close().catch(() => undefined)]);
  }

  #expectsEngine(): boolean {
    return this.#policy.p2p && !this.#closed && (this.#engineState === "none" || this.#engineState === "opening");
  }

  /** Whether a range plays so late that it can wait. */
  #playsLater(file: number, from: number): boolean {
    const segment = this.#session.files[file]?.segments.find(([, to]) => from < to);
    return segment !== undefined && from >= segment[0] && segment[2] - this.#state.position_ms > laterMs;
  }

  #patience: Promise<void> | undefined;

  /** Resolves when the engine delivers, has failed, or has had its time; rejects with the signal. */
  #engineOrTimeOut(signal: AbortSignal): Promise<void> {
    this.#patience ??= new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitForEngineMs);
      this.#decided = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      void this.#patience?.then(resolve);
    });
  }
  #decided: () => void = () => undefined;

  #isOpen: () => void = () => undefined;
  /** Resolves once there is an engine, if there ever is. */
  readonly #opened = new Promise<void>((resolve) => (this.#isOpen = resolve));

  /** Tells the engine something; an engine that throws has failed. */
  #tell(what: (engine: EngineBytes) => void): void {
    const engine = this.#engine;
    if (!engine) return;
    try {
      what(engine);
    } catch (error) {
      this.#fail(engine, error);
    }
  }

  /** Resolves once an engine has delivered nothing for too long while the player runs dry; rejects with the signal. */
  #hung(engine: MediaSourceBytes, signal: AbortSignal): Promise<void> {
    const arrived = () => {
      const { originBytes, peerBytes, cachedBytes } = engine.stats();
      return originBytes + peerBytes + cachedBytes;
    };
    return new Promise((resolve, reject) => {
      let mark = arrived();
      let silent = 0;
      const timer = setInterval(() => {
        const now = arrived();
        const dry = this.#state.buffered_end_ms - this.#state.position_ms < dryMs;
        silent = now === mark && dry ? silent + hangStepMs : 0;
        mark = now;
        if (silent < hangMs) return;
        clearInterval(timer);
        resolve();
      }, hangStepMs);
      signal.addEventListener("abort", () => {
        clearInterval(timer);
        reject(signal.reason as Error);
      });
    });
  }

  /** The engine is over, for good: what it counted is kept, and the page delivers from now on. */
  #fail(engine: MediaSourceBytes | undefined, reason: unknown): void {
    if (engine !== this.#engine || this.#engineState === "failed") return;
    this.failure = reason;
    this.#retire();
    this.#engineState = "failed";
    this.#decided();
    void engine?.close().catch(() => undefined);
    if (!this.#closed) this.#options.onChange?.("page", reason);
  }

  #retire(): void {
    this.#direct.onVerified = undefined;
    if (!this.#engine) return;
    try {
      const last = { ...this.#engine.stats(), peers: 0, downloadKbps: 0 };
      this.#counted = this.#counted ? addStats(this.#counted, last) : last;
    } catch {
      // An engine that cannot even count is not counted.
    }
    this.#engine = undefined;
    this.#engineState = "none";
  }
}

function addStats(a: Stats, b: Stats): Stats {
  const banned = [...(a.banned ?? []), ...(b.banned ?? [])].slice(0, bannedMax);
  return {
    ...(banned.length > 0 && { banned }),
    originBytes: a.originBytes + b.originBytes,
    peerBytes: a.peerBytes + b.peerBytes,
    cachedBytes: a.cachedBytes + b.cachedBytes,
    sentBytes: a.sentBytes + b.sentBytes,
    badBlocks: a.badBlocks + b.badBlocks,
    peers: a.peers + b.peers,
    downloadKbps: a.downloadKbps + b.downloadKbps,
    ...((b.connections ?? a.connections) && { connections: b.connections ?? a.connections }),
  };
}

async function clearStore(storage: string): Promise<boolean> {
  return (await import("../host")).clearStore(storage);
}

async function loadHost(): Promise<OpenEngine> {
  return (await import("../host")).openEngine;
}
