/**
 * What a player hears between its heartbeats, where no tracker's socket tells it: the event stream of its play session. It
 * must never be in playback's way: a browser that speaks HTTP/1.1 opens six connections to a host, for all its tabs
 * together, so that over it two streams at most are open in the whole browser, and whoever has none asks more often instead.
 */

import { type PlayEnd, playEndOf, type PlayPolicy, type PlaySession } from "./session";

/** What is done with what is heard. */
export interface NewsHooks {
  /** The session has ended. */
  ended(end: PlayEnd): void;
  /** What is allowed from now on. */
  policy(p: PlayPolicy): void;
  /** The stream has ended, or cannot be had: a heartbeat says what there is to know. */
  lost(): void;
}

/** What a test replaces; a page leaves it all out. */
export interface NewsSurroundings {
  /** Whether a stream costs no connection of its own (HTTP/2 and later). */
  multiplexed(): boolean;
  /** As navigator.locks; undefined where there are none. */
  locks: Pick<LockManager, "request"> | undefined;
  /** Resolves after so many milliseconds; rejects with the signal's reason. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
  /** In [0, 1). */
  random(): number;
}

/** Streams in a browser that pay for each with a connection. */
const slots = ["essaim-events-0", "essaim-events-1"];
/** How often to look for a free slot, in ms. */
const slotEveryMs = 30_000;
/** Before a stream is opened again, in ms: so long, and a random part of it more; it doubles with every failure up to the last. */
const againMs = 2_000;
const againMaxMs = 60_000;
/** The service says something at least every 25 s; a stream that is silent for so long is dead, in ms. */
const silenceMs = 60_000;
/** The longest event that is read, in characters. */
const eventMax = 16 << 10;

/** Opens a session's stream; rejects unless it is one. */
export type OpenNews = (session: string, ticket: string, signal: AbortSignal) => Promise<Response>;

/** One player's news. */
export class News {
  #open: OpenNews;
  #session: () => PlaySession | undefined;
  #hooks: NewsHooks;
  #around: NewsSurroundings;
  #listening: AbortController | undefined;
  #attempt: AbortController | undefined;
  #deaf = false;

  constructor(
    open: OpenNews,
    session: () => PlaySession | undefined,
    hooks: NewsHooks,
    around: Partial<NewsSurroundings> = {},
  ) {
    this.#open = open;
    this.#session = session;
    this.#hooks = hooks;
    this.#around = { ...browserNews, ...around };
  }

  /** Whether it should listen and cannot: then heartbeats have to come more often. */
  get deaf(): boolean {
    return this.#deaf;
  }

  /** Listens from now on, or no more. */
  listen(on: boolean): void {
    if (on === (this.#listening !== undefined)) return;
    this.#listening?.abort(new DOMException("no news is wanted", "AbortError"));
    this.#listening = undefined;
    this.#deaf = false;
    if (!on) return;
    const listening = new AbortController();
    this.#listening = listening;
    this.#follow(listening.signal).catch(() => undefined); // it ends by the signal alone
  }

  /** Opens its stream anew, within seconds, if it has one: it may be a dead one. */
  again(): void {
    this.#attempt?.abort(new DOMException("the stream may be dead", "AbortError"));
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for (;;) {
      if (!(await this.#inSlot(signal))) {
        this.#deaf = true;
        this.#hooks.lost();
        await this.#around.wait(slotEveryMs, signal);
      }
      signal.throwIfAborted();
    }
  }

  /** Listens while it has leave to; false where none was to be had. */
  async #inSlot(signal: AbortSignal): Promise<boolean> {
    const { locks, multiplexed } = this.#around;
    if (multiplexed()) {
      await this.#stream(signal);
      return true;
    }
    for (const name of locks ? slots : []) {
      const had = await locks!.request(name, { ifAvailable: true }, async (lock) => {
        if (lock) await this.#stream(signal);
        return lock !== null;
      });
      if (had) return true;
    }
    return false;
  }

  async #stream(signal: AbortSignal): Promise<void> {
    this.#deaf = false;
    for (let failures = 0; ;) {
      const heard = await this.#listen(signal);
      signal.throwIfAborted();
      failures = heard ? 0 : failures + 1;
      this.#hooks.lost();
      const wait = Math.min(againMaxMs, againMs * 2 ** failures);
      await this.#around.wait(wait * (1 + this.#around.random()), signal);
    }
  }

  /** Reads one stream to its end; false where nothing was heard. */
  async #listen(signal: AbortSignal): Promise<boolean> {
    const session = this.#session();
    if (!session) return false;
    const attempt = new AbortController();
    this.#attempt = attempt;
    const stop = () => attempt.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => attempt.abort(new DOMException("silent for too long", "TimeoutError")), silenceMs);
    };
    let heard = false;
    try {
      alive();
      const response = await this.#open(session.id, session.tickets.media, attempt.signal);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; reader;) {
        const { done, value } = await reader.read();
        if (done) break;
        alive();
        heard = true;
        const parts = (text + value).split("\n\n");
        text = parts.pop()!;
        for (const part of parts) this.#tell(part);
        if (text.length > eventMax) break;
      }
    } catch {
      // What is wrong, the heartbeat that follows is told.
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      attempt.abort();
    }
    return heard;
  }

  #tell(event: string): void {
    const field = (name: string) =>
      event
        .split("\n")
        .find((line) => line.startsWith(`${name}: `))
        ?.slice(name.length + 2);
    const data = field("data");
    if (data === undefined) return;
    const value = JSON.parse(data) as PlayPolicy & { code?: unknown };
    if (field("event") === "policy") this.#hooks.policy(value);
    const end = field("event") === "ended" ? playEndOf(value.code) : undefined;
    if (end) this.#hooks.ended(end);
  }
}

const browserNews: NewsSurroundings = {
  // Streams go to the page's own server, as the page did.
  multiplexed: () =>
    performance
      .getEntriesByType("navigation")
      .some((entry) => /^h[23]/.test((entry as PerformanceNavigationTiming).nextHopProtocol)),
  locks: globalThis.navigator?.locks,
  random: () => Math.random(),
  wait: (ms, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      });
    }),
};
