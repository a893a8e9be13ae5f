/**
 * The engine's host in a browser, seen from the page: `openEngine` is a `MediaSourceBytes` whose bytes come from peers and
 * origin through the engine in a worker. It must reject, or fail reads at once, whenever any part of that is missing or
 * dies, because the player has another way; and it must make no peer connection unless policy allows peers.
 */

import { Connections } from "./connections";
import type { FromWorker, ToWorker } from "./protocol";
import { locateStun } from "./stun";
import type { PlayPolicy, PlaySession, PlayTickets } from "../player/session";
import {
  SourceError,
  type EngineBytes,
  type EngineOptions,
  type PlaybackState,
  type ReadResult,
  type Stats,
  type VerifiedPiece,
} from "../player/source";

export { clearStore } from "./cache";
export { reasonName, type ReasonName } from "./notes";

/** The engine's WebAssembly, as the server serves it. */
const engineUrl = "/engine.wasm";

/** How long the engine may take to open, in ms: it is 0.5 MB that nothing waits for. */
const openWithin = 30_000;
/** How long it may take to close before it is ended, in ms. */
const closeWithin = 1_000;

interface Pending {
  resolve(result: ReadResult): void;
  reject(error: unknown): void;
}

/**
 * Opens an engine for a play session. Rejects when the browser lacks WebAssembly, workers or a secure context, and when
 * the engine cannot be loaded or started. Without RTCPeerConnection it opens, and has no peers.
 */
export async function openEngine(session: PlaySession, options: EngineOptions): Promise<EngineBytes> {
  if (typeof WebAssembly !== "object" || typeof Worker !== "function" || !globalThis.crypto?.subtle) {
    throw new SourceError("insecure", "This browser cannot run the engine.");
  }
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "essaim" });
  const host = new Host(worker, session, options);
  try {
    await host.open(session, options);
  } catch (error) {
    await host.close();
    throw error;
  }
  return host;
}

/** A promise with its ends in hand. */
class Deferred {
  resolve!: () => void;
  reject!: (error: unknown) => void;
  readonly promise = new Promise<void>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

/** A play session's engine. */
class Host implements EngineBytes {
  peerId = "";
  private readonly worker: Worker;
  private readonly connections: Connections;
  private readonly onNote: EngineOptions["onNote"];
  private readonly onForbidden: () => void;
  private readonly lan: boolean;
  private readonly pending = new Map<number, Pending>();
  private counts: Stats = {
    originBytes: 0,
    peerBytes: 0,
    cachedBytes: 0,
    sentBytes: 0,
    badBlocks: 0,
    peers: 0,
    downloadKbps: 0,
  };
  private next = 1;
  private ended: SourceError | undefined;
  private readonly opened = new Deferred();
  private readonly closed = new Deferred();

  constructor(worker: Worker, session: PlaySession, options: EngineOptions) {
    this.worker = worker;
    this.onNote = (note) => options.onNote(note);
    this.onForbidden = () => options.onForbidden?.();
    this.lan = session.policy.lan;
    this.connections = new Connections(
      (m, transfer) => this.tell(m, transfer),
      locateStun(session.nodes.ice, location.hostname),
    );
    this.connections.allow(session.policy.p2p, session.policy.lan);
    this.opened.promise.catch(() => undefined);
    worker.onmessage = (event: MessageEvent<FromWorker>) => this.heard(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.end(new SourceError("network", `The engine failed: ${event.message || "its worker did not start"}.`));
    };
    worker.onmessageerror = () => this.end(new SourceError("network", "The engine said something unreadable."));
  }

  async open(session: PlaySession, options: EngineOptions): Promise<void> {
    this.tell({
      type: "open",
      // As plain data: a session may be wrapped by the page's framework, and proxies cannot be posted.
      session: JSON.parse(JSON.stringify(session)) as PlaySession,
      origins: session.nodes.origins.map((o) => absolute(o).replace(/\/+$/, "")),
      trackers: session.nodes.trackers.map((t) => absolute(t).replace(/^http/, "ws")),
      engineUrl: absolute(engineUrl),
      storage: options.storage,
      seeds: [...options.seed].map(({ file, piece, data }) => ({ file, piece, data })),
      lie: options.debugLie ?? false,
      canPeer: Connections.supported(),
    });
    const timer = setTimeout(() => this.end(new SourceError("network", "The engine takes too long.")), openWithin);
    await this.opened.promise.finally(() => clearTimeout(timer));
  }

  read(file: number, from: number, to: number, signal: AbortSignal): Promise<ReadResult> {
    if (signal.aborted) return Promise.reject(abortError(signal));
    if (this.ended) return Promise.reject(this.ended);
    const id = this.next++;
    return new Promise<ReadResult>((resolve, reject) => {
      const aborted = () => {
        if (!this.pending.delete(id)) return;
        this.tell({ type: "cancel", id });
        reject(abortError(signal));
      };
      const settle = () => signal.removeEventListener("abort", aborted);
      signal.addEventListener("abort", aborted, { once: true });
      this.pending.set(id, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error as Error);
        },
      });
      this.tell({ type: "read", id, file, from, to });
    });
  }

  moved({ position_ms, buffered_end_ms, rate, paused }: PlaybackState): void {
    this.tell({ type: "moved", state: { position_ms, buffered_end_ms, rate, paused } });
  }

  seeked(position_ms: number): void {
    this.tell({ type: "seeked", positionMs: position_ms });
  }

  rendition(file: number): void {
    this.tell({ type: "rendition", file });
  }

  policy({ p2p, upload, lan, uplink_kbps }: PlayPolicy): void {
    if (p2p) this.connections.allow(p2p, lan);
    this.tell({ type: "policy", policy: { p2p, upload, lan, uplink_kbps } });
    // Here, too, and at once: the switch must not wait for a worker.
    if (!p2p) this.connections.allow(false, lan);
  }

  tickets({ media, swarm, expires_ms }: PlayTickets): void {
    this.tell({ type: "tickets", tickets: { media, expires_ms, ...(swarm !== undefined && { swarm }) } });
  }

  stats(): Stats {
    return { ...this.counts, connections: Connections.gauge() };
  }

  verified(piece: VerifiedPiece): void {
    this.tell({ type: "verified", piece }, [piece.data]);
  }

  setLie(on: boolean): void {
    this.tell({ type: "lie", on });
  }

  async close(): Promise<void> {
    if (!this.ended) {
      this.tell({ type: "close" });
      const timer = setTimeout(() => this.closed.resolve(), closeWithin);
      this.end(new SourceError("closed", "The player was closed."), false);
      await this.closed.promise;
      clearTimeout(timer);
    }
    this.worker.terminate();
  }

  private tell(message: ToWorker, transfer: Transferable[] = []): void {
    if (!this.ended) this.worker.postMessage(message, transfer);
  }

  private end(error: SourceError, terminate = true): void {
    if (this.ended) return;
    this.ended = error;
    this.connections.closeAll();
    this.counts = { ...this.counts, peers: 0, downloadKbps: 0 };
    for (const p of this.pending.values()) p.reject(error);
    this.pending.clear();
    this.opened.reject(error);
    if (terminate) this.worker.terminate();
  }

  private heard(m: FromWorker): void {
    switch (m.type) {
      case "opened":
        this.peerId = m.peerId;
        this.opened.resolve();
        return;
      case "failed":
        this.end(new SourceError("network", `The engine failed: ${m.message}`));
        return;
      case "closed":
        this.closed.resolve();
        return;
      case "data": {
        this.counts = m.stats;
        const p = this.pending.get(m.id);
        this.pending.delete(m.id);
        p?.resolve({ data: m.data, cached: m.cached, timeMs: m.timeMs });
        return;
      }
      case "refused": {
        const p = this.pending.get(m.id);
        this.pending.delete(m.id);
        p?.reject(new SourceError(m.code, m.message));
        return;
      }
      case "forbidden":
        this.connections.allow(false, this.lan);
        if (!this.ended) this.onForbidden();
        return;
      case "prepare":
        if (!this.ended) this.connections.prepare();
        return;
      case "notes":
        for (const note of m.notes) if (!this.ended) this.onNote(note);
        return;
      case "stats":
        if (!this.ended) this.counts = m.stats;
        return;
      default:
        if (!this.ended) this.connections.heard(m);
    }
  }
}

/** A path on the server that answered, or a URL, as a URL. */
function absolute(path: string): string {
  return new URL(path === "" ? "/" : path, location.href).href;
}

function abortError(signal: AbortSignal): unknown {
  const reason: unknown = signal.reason;
  return reason instanceof DOMException && reason.name === "AbortError"
    ? reason
    : new DOMException("aborted", "AbortError");
}
