/**
 * One door to the HTTP origins of a play session: addresses, tickets, time-outs and retries. It must tell failures apart
 * (ticket, missing, network), never wait in step with other viewers (back-off is jittered), and count every byte.
 */

import { type Bytes, type HashRequest } from "./merkle";
import type { PlayFile, PlaySession, PlayTickets } from "./session";
import { SourceError, type SourceErrorCode } from "./source";

/** What a test replaces; a page leaves it all out. */
export interface Surroundings {
  fetch: typeof globalThis.fetch;
  /** Resolves after so many milliseconds; rejects with the signal's reason. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
  /** In [0, 1). */
  random(): number;
  /** Milliseconds on a monotonic clock. */
  now(): number;
}

/** What the origins may call back. */
export interface OriginHooks {
  /** A ticket was refused: get new ones and hand them to `tickets()`. May reject. */
  renew?(): Promise<void>;
  /** An attempt failed and another will follow; then, with undefined, bytes flow again. */
  trouble?(error: SourceError | undefined): void;
}

/** How often the same thing is tried, by what went wrong. Twenty network tries outlast an origin that is away for a minute less ten. */
const triesMax: Record<SourceErrorCode, number> = {
  network: 20,
  corrupt: 4,
  missing: 2,
  refused: 3,
  closed: 1,
  range: 1,
  insecure: 1,
};

/** An answer that brings no byte for so long is given up: 2 s where another origin could be asked, else 10 s. */
const idleMs = { oneOfMany: 2_000, only: 10_000 };

/** One that brings no byte for so long is not waited for alone. */
const silentMs = 2_000;

/** One that has brought a byte within this long is left alone where the network may have changed. */
const nudgedMs = 1_000;

/** The rate is measured over this long. */
const rateWindowMs = 3_000;

const sentences: Record<SourceErrorCode, string> = {
  network: "The server does not answer. Check your connection, then try again.",
  corrupt: "The server sent bytes that are not this film's. Nothing wrong was shown. Try again later.",
  missing: "The server no longer has this film. Reload the page to see what it has now.",
  refused: "Your permission to watch has ended. Reload the page to go on.",
  closed: "Playback was closed.",
  range: "The film's index points outside the film.",
  insecure: "This page cannot check what it receives, because it was not opened over HTTPS. Open it over HTTPS.",
};

/** sourceError makes the error of that kind with its plain sentence. */
export function sourceError(code: SourceErrorCode, cause?: unknown): SourceError {
  return new SourceError(code, sentences[code], { cause });
}

/** browserSurroundings are the real clock, chance and network. */
export const browserSurroundings: Surroundings = {
  fetch: (input, init) => globalThis.fetch(input, init),
  random: () => Math.random(),
  now: () => performance.now(),
  wait: (ms, signal) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const stop = () => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", stop);
        resolve();
      }, ms);
      signal.addEventListener("abort", stop, { once: true });
    }),
};

/** Errors that a persist has given up on, so that one persist around another does not multiply the tries. */
const exhausted = new WeakSet<SourceError>();

/** The origins of one play session. */
export class Origin {
  #session: PlaySession;
  #ticket: string;
  #around: Surroundings;
  #hooks: OriginHooks;
  #current = 0;
  #troubled = false;
  #failed: () => void = () => undefined;
  /** Resolves once an attempt has failed, or brought no byte for two seconds, the first of all. */
  readonly failed = new Promise<void>((resolve) => (this.#failed = resolve));
  #renewing: Promise<void> | undefined;
  #nudged = new Set<() => void>();
  #received = 0;
  #recent: { at: number; bytes: number }[] = [];

  constructor(session: PlaySession, hooks: OriginHooks = {}, around: Partial<Surroundings> = {}) {
    this.#session = session;
    this.#ticket = session.tickets.media;
    this.#hooks = hooks;
    this.#around = { ...browserSurroundings, ...around };
  }

  /** Media bytes received so far, wasted ones included. */
  get received(): number {
    return this.#received;
  }

  /** Milliseconds on the monotonic clock of this session's surroundings. */
  now(): number {
    return this.#around.now();
  }

  /** The receiving rate of the last seconds, in kbit/s. */
  rateKbps(): number {
    const since = this.now() - rateWindowMs;
    this.#recent = this.#recent.filter((entry) => entry.at > since);
    return Math.round((this.#recent.reduce((sum, entry) => sum + entry.bytes, 0) * 8) / rateWindowMs);
  }

  /** Brings new tickets. */
  tickets(t: PlayTickets): void {
    this.#ticket = t.media;
  }

  /**
   * Connections are not to be trusted, as after sleep or a change of network: who has got no byte for a second asks anew, and
   * who waits waits no more.
   */
  nudge(): void {
    for (const hear of [...this.#nudged]) hear();
  }

  /**
   * Asks for bytes `[from, to)` of a file, once, and hands each chunk on as it comes. Rejects with a SourceError when
   * the answer is anything but those bytes in full, and with the signal's reason when it fires.
   */
  async media(
    file: PlayFile,
    from: number,
    to: number,
    signal: AbortSignal,
    onBytes: (chunk: Uint8Array) => void,
  ): Promise<void> {
    await this.#ask(
      `media/${file.root}`,
      signal,
      { Range: `bytes=${from}-${to - 1}` },
      "no-store",
      async (response, alive) => {
        const whole = response.status === 200 && from === 0 && to === file.size;
        const range = response.headers.get("Content-Range");
        if (!whole && (response.status !== 206 || range !== `bytes ${from}-${to - 1}/${file.size}`)) {
          throw sourceError("network", `status ${response.status}, Content-Range ${range}`);
        }
        if (!response.body) throw sourceError("network", "no body");
        let got = 0;
        const reader = response.body.getReader();
        try {
          for (;;) {
            const { done, value } = await reader.read();
            if (done) break;
            alive();
            this.#count(value.length);
            if (got + value.length > to - from) throw sourceError("network", "more bytes than asked for");
            got += value.length;
            onBytes(value);
          }
        } catch (error) {
          reader.cancel().catch(() => undefined);
          throw error;
        }
        if (got < to - from) throw sourceError("network", `${got} of ${to - from} bytes`);
      },
    );
  }

  /** Asks for hashes (BEP 52's request over HTTP), once. The answer is not checked here. */
  async hashes(file: PlayFile, r: HashRequest, signal: AbortSignal): Promise<Bytes> {
    const query = `base=${r.base}&index=${r.index}&length=${r.length}&proof=${r.proof}`;
    let answer: Bytes = new Uint8Array();
    await this.#ask(`hashes/${file.root}?${query}`, signal, {}, "default", async (response) => {
      if (response.status !== 200) throw sourceError("network", `status ${response.status}`);
      answer = new Uint8Array(await response.arrayBuffer());
    });
    return answer;
  }

  /**
   * Repeats an action until it succeeds, with a jittered pause of 1 to 4 s after each failure and another origin where
   * there is one. Rejects with the last SourceError once that kind of failure has come too often since `progress()` last
   * grew, and at once when the signal fires.
   */
  async persist<T>(signal: AbortSignal, action: () => Promise<T>, progress: () => number = () => 0): Promise<T> {
    const failures = new Map<SourceErrorCode, number>();
    let mark = progress();
    for (;;) {
      try {
        const result = await action();
        this.#trouble(undefined);
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof SourceError) || exhausted.has(error)) throw error;
        if (progress() > mark) {
          mark = progress();
          failures.clear();
        }
        const count = (failures.get(error.code) ?? 0) + 1;
        failures.set(error.code, count);
        const origins = Math.max(1, this.#session.nodes.origins.length);
        if (count >= triesMax[error.code] * (error.code === "missing" ? origins : 1)) {
          exhausted.add(error);
          throw error;
        }
        this.#trouble(error);
        if (error.code === "refused") await this.#renew();
        else this.#current = (this.#current + 1) % origins;
        const pause = new AbortController();
        const go = () => pause.abort();
        this.#nudged.add(go);
        await this.#around
          .wait(1_000 + 3_000 * this.#around.random(), AbortSignal.any([signal, pause.signal]))
          .catch(() => signal.throwIfAborted())
          .finally(() => this.#nudged.delete(go));
      }
    }
  }

  #trouble(error: SourceError | undefined): void {
    if (!error && !this.#troubled) return;
    this.#troubled = error !== undefined;
    if (error) this.#failed();
    this.#hooks.trouble?.(error);
  }

  /** One renewal at a time, however many requests were refused; whether it helped shows at the next attempt. */
  #renew(): Promise<void> {
    this.#renewing ??= (this.#hooks.renew?.() ?? Promise.resolve())
      .catch(() => undefined)
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }

  #count(bytes: number): void {
    this.#received += bytes;
    this.#recent.push({ at: this.now(), bytes });
    if (this.#recent.length > 512) this.rateKbps();
    this.#trouble(undefined);
  }

  #address(path: string): string {
    const origins = this.#session.nodes.origins;
    const prefix = origins.length > 0 ? origins[this.#current % origins.length] : "/";
    return prefix.endsWith("/") ? prefix + path : `${prefix}/${path}`;
  }

  async #ask(
    path: string,
    signal: AbortSignal,
    headers: Record<string, string>,
    cache: RequestCache,
    take: (response: Response, alive: () => void) => Promise<void>,
  ): Promise<void> {
    signal.throwIfAborted();
    const attempt = new AbortController();
    const stop = () => attempt.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    const patience = this.#session.nodes.origins.length > 1 ? idleMs.oneOfMany : idleMs.only;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let silence: ReturnType<typeof setTimeout> | undefined;
    let heard = this.now();
    const anew = () =>
      this.now() - heard > nudgedMs && attempt.abort(sourceError("network", "the network has changed"));
    this.#nudged.add(anew);
    const alive = () => {
      heard = this.now();
      clearTimeout(timer);
      clearTimeout(silence);
      silence = setTimeout(() => this.#failed(), silentMs);
      timer = setTimeout(() => attempt.abort(sourceError("network", "no byte for too long")), patience);
    };
    alive();
    try {
      const response = await this.#around.fetch(this.#address(path), {
        headers: { ...headers, Authorization: `Bearer ${this.#ticket}` },
        signal: attempt.signal,
        cache,
        credentials: "omit",
      });
      alive();
      if (response.status === 401 || response.status === 403) throw sourceError("refused", `status ${response.status}`);
      if (response.status === 404 || response.status === 410 || response.status === 416) {
        throw sourceError("missing", `status ${response.status}`);
      }
      await take(response, alive);
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof SourceError ? error : sourceError("network", error);
    } finally {
      clearTimeout(timer);
      clearTimeout(silence);
      signal.removeEventListener("abort", stop);
      this.#nudged.delete(anew);
      // What was not read of a refused answer must not keep its connection busy.
      attempt.abort();
    }
  }
}
