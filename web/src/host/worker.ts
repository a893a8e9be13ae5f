/**
 * The worker: engine, core, tracker, fetches, digests and store, away from the page's thread. It must answer every read, and
 * when anything at all breaks it says `failed` once and lets the page go on without it.
 */

import { isBadRange, Core } from "./core";
import { queueLow } from "./peers";
import type { Clock } from "./surroundings";
import { loadModule, WasmEngine } from "./engine";
import type { Http } from "./fetches";
import { knownHashes } from "./hashes";
import { toHex } from "./notes";
import type { FromWorker, OpenMessage, ToWorker } from "./protocol";
import { Proofs } from "./proofs";
import type { Bytes } from "./record";
import { Signalling } from "./signalling";
import { storeFor } from "./cache";
import type { PieceStore } from "./store";
import { titleOf, type Title } from "./title";
import { Tracker } from "./tracker";
import type { PlayPolicy } from "../player/session";
import type { EngineNote, Stats } from "../player/source";

// The page's own library is compiled for windows; a dedicated worker's global differs in this.
const scope = globalThis as unknown as {
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
};

const post = (message: FromWorker, transfer: Transferable[] = []) => scope.postMessage(message, transfer);

/** How often the page is told the counts, in ms. */
const statsEvery = 250;
/** How long a note waits for others, in ms: a message for each costs worker and page more than the block that it tells of does. */
const notesEvery = 40;
/** How many notes are told at once. */
const notesMax = 500;

const digest = async (bytes: Bytes): Promise<Bytes> => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

// Reading the clock costs more than most of what is done by it: it stands still within a turn of the event loop.
let nowUs: number | undefined;

const clock: Clock = {
  now: () => {
    if (nowUs === undefined) {
      nowUs = Math.floor(performance.now() * 1000);
      queueMicrotask(() => (nowUs = undefined));
    }
    return nowUs;
  },
  after: (us, due) => {
    const timer = setTimeout(due, Math.ceil(us / 1000));
    return () => clearTimeout(timer);
  },
};

const http: Http = {
  get: (url, headers, events) => {
    const control = new AbortController();
    const { signal } = control;
    const run = async () => {
      const response = await fetch(url, { headers, signal, cache: "no-store", redirect: "error" });
      if (signal.aborted) return;
      events.head(response.status, (name) => response.headers.get(name));
      const reader = response.body?.getReader();
      for (;;) {
        if (signal.aborted) return;
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
        if (signal.aborted) return;
        if (done) break;
        events.body(value as Bytes);
      }
      events.end();
    };
    run().catch(() => {
      if (!signal.aborted) events.fail();
    });
    return () => control.abort();
  },
};

/** One play session in this worker. */
class Session {
  /** Ours in the swarm, in hexadecimal. */
  readonly peerId: string;
  private readonly core: Core;
  private readonly engine: WasmEngine;
  private readonly signalling: Signalling;
  private readonly tracker: Tracker;
  private readonly canPeer: boolean;
  private readonly reads = new Map<number, () => void>();
  private readonly statsTimer: ReturnType<typeof setInterval>;
  private swarmTicket: string | undefined;
  private upKbps: number;
  private lastStats = "";
  private notes: EngineNote[] = [];
  private notesTimer: ReturnType<typeof setTimeout> | undefined;

  static async open(m: OpenMessage): Promise<Session> {
    const title = titleOf(m.session);
    const store = storeFor(m.storage, title);
    try {
      const engine = await WasmEngine.start(await loadModule(m.engineUrl), (error) => fail(error));
      return new Session(m, title, engine, await store);
    } catch (error) {
      (await store).close(); // so that another tab may have it
      throw error;
    }
  }

  private constructor(m: OpenMessage, title: Title, engine: WasmEngine, store: PieceStore) {
    this.peerId = toHex(title.peerId);
    this.engine = engine;
    this.canPeer = m.canPeer;
    this.swarmTicket = m.session.tickets.swarm;
    this.upKbps = m.session.policy.uplink_kbps;
    const proofs = new Proofs(title, store.proofs, knownHashes(m.session.files, digest));
    this.signalling = new Signalling(post, title.peerId, queueLow);
    this.core = new Core({
      title,
      engine,
      clock,
      net: this.signalling,
      http,
      digest,
      store,
      origins: m.origins,
      ticket: m.session.tickets.media,
      known: proofs.known,
      onHashes: proofs.learned,
      onNote: (note) => this.noted(note),
      onFailed: (error) => fail(error),
    });
    const size = title.files.reduce((sum, f) => sum + f.size, 0);
    this.tracker = new Tracker(
      {
        urls: m.trackers,
        infoHash: title.infoHash,
        peerId: title.peerId,
        connect: (url) => new WebSocket(url),
        after: (ms, due) => clock.after(ms * 1000, due),
        now: () => clock.now() / 1000,
        connected: () => this.signalling.connected(),
        random: Math.random,
        forbidden: () => {
          this.core.policy({ ...m.session.policy, p2p: false, upload: false, uplink_kbps: this.upKbps });
          this.signalling.allow(false);
          post({ type: "forbidden" });
        },
        self: () => {
          const { sentBytes, originBytes, peerBytes } = this.core.stats();
          return {
            ...(this.swarmTicket !== undefined && { ticket: this.swarmTicket }),
            upKbps: this.upKbps,
            uploaded: sentBytes,
            downloaded: originBytes + peerBytes,
            left: Math.max(1, size - store.used), // never 0: a viewer's store may evict, which a seed's does not
          };
        },
      },
      this.signalling,
    );
    this.signalling.core = this.core;
    this.signalling.tracker = this.tracker;
    const seeds: number[] = [];
    for (const s of m.seeds) {
      if (store.has(s.piece)) continue;
      store.put(s.piece, [new Uint8Array(s.data)]);
      seeds.push(s.piece);
    }
    this.core.setLie(m.lie);
    this.signalling.allow(m.canPeer && m.session.policy.p2p);
    this.core.open(this.allowed(m.session.policy), seeds);
    this.statsTimer = setInterval(() => this.tellStats(), statsEvery);
  }

  /** Does what the page says. */
  heard(m: Exclude<ToWorker, { type: "open" | "close" }>): void {
    switch (m.type) {
      case "read":
        this.read(m.id, m.file, m.from, m.to);
        return;
      case "cancel":
        this.reads.get(m.id)?.();
        this.reads.delete(m.id);
        return;
      case "verified":
        this.core.verified(m.piece.piece, new Uint8Array(m.piece.data));
        return;
      case "moved":
        this.core.moved(m.state);
        return;
      case "seeked":
        this.core.seeked(m.positionMs);
        return;
      case "rendition":
        this.core.rendition(m.file);
        return;
      case "policy": {
        const policy = this.allowed(m.policy);
        this.upKbps = policy.uplink_kbps;
        // Allowed first and forbidden last, so that the engine's own words to tracker and peers still go out.
        if (policy.p2p) this.signalling.allow(true);
        this.core.policy(policy);
        if (!policy.p2p) this.signalling.allow(false);
        return;
      }
      case "tickets":
        this.swarmTicket = m.tickets.swarm;
        this.core.ticket(m.tickets.media);
        return;
      case "lie":
        this.core.setLie(m.on);
        return;
      default:
        this.signalling.heard(m);
    }
  }

  /** Ends all of it. */
  close(): void {
    this.tellNotes();
    clearInterval(this.statsTimer);
    this.tracker.close();
    this.core.close();
    this.engine.close();
  }

  private allowed(p: PlayPolicy): PlayPolicy {
    return this.canPeer ? p : { ...p, p2p: false, upload: false };
  }

  private read(id: number, file: number, from: number, to: number): void {
    const { answer, cancel } = this.core.read(file, from, to);
    this.reads.set(id, cancel);
    answer
      .then(({ data, cached, timeMs }) => {
        post({ type: "data", id, data, cached, timeMs, stats: this.core.stats() }, [data]);
      })
      .catch((error: unknown) => {
        const [code, message] = isBadRange(error)
          ? (["range", "That part of the film does not exist."] as const)
          : (["network", "The film could not be fetched."] as const);
        post({ type: "refused", id, code, message });
      })
      .finally(() => this.reads.delete(id));
  }

  private noted(note: EngineNote): void {
    this.notes.push(note);
    if (this.notes.length >= notesMax) this.tellNotes();
    else this.notesTimer ??= setTimeout(() => this.tellNotes(), notesEvery);
  }

  private tellNotes(): void {
    clearTimeout(this.notesTimer);
    this.notesTimer = undefined;
    if (this.notes.length === 0) return;
    post({ type: "notes", notes: this.notes });
    this.notes = [];
  }

  private tellStats(): void {
    const stats: Stats = this.core.stats();
    const text = JSON.stringify(stats);
    if (text === this.lastStats) return;
    this.lastStats = text;
    post({ type: "stats", stats });
  }
}

let opening: Promise<Session> | undefined;
let session: Session | undefined;
let over = false;

function fail(error: unknown): void {
  if (over) return;
  over = true;
  session?.close();
  post({ type: "failed", message: error instanceof Error ? error.message : String(error) });
}

scope.onmessage = ({ data: m }) => {
  if (over) return;
  try {
    if (m.type === "open") {
      opening ??= Session.open(m);
      opening.then(
        (s) => {
          if (over) {
            s.close();
            return;
          }
          session = s;
          post({ type: "opened", peerId: s.peerId });
        },
        (error: unknown) => fail(error),
      );
    } else if (m.type === "close") {
      over = true;
      session?.close();
      post({ type: "closed" });
    } else {
      session?.heard(m);
    }
  } catch (error) {
    fail(error);
  }
};
