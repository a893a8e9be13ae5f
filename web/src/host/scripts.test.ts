/** Plays the language-neutral scripts of internal/host/hosttest (its README defines them) against this host's core. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Core } from "./core";
import { queueLow } from "./peers";
import type { Announce } from "./surroundings";
import type { HttpEvents } from "./fetches";
import { Flags, InputKind, OutputKind } from "./kinds.gen";
import type { Bytes, Input, Output } from "./record";
import { MemoryStore, type Shelf } from "./store";
import { fromHex, type Title } from "./title";

const folder = new URL("../../../internal/host/hosttest/scripts/", import.meta.url);

type Part = {
  hex?: string;
  text?: string;
  u32?: number;
  fill?: string;
  length?: number;
  seed?: number;
  offset?: number;
};
type Fields = Partial<Record<"reason" | "peer" | "file" | "piece" | "begin" | "length" | "from" | "to", number>> & {
  kind: string;
  flags?: string[];
  ref?: number | string;
  data?: Part[];
};
type OutputSpec = Fields & { source?: number; index?: number; base?: number; proof?: number };
type InputSpec = Fields & { digest?: string | { sha256: Part[] }; deadline_ms?: number; outputs?: OutputSpec[] };
type EventSpec = {
  type: string;
  peer?: number;
  peer_id?: string;
  initiator?: boolean;
  data?: Part[];
  every?: number;
  cuts?: number[];
  to?: number;
  from?: number;
  fetch?: string;
  status?: number;
  headers?: Record<string, string>;
  read?: string;
  file?: number;
  ms?: number;
  us?: number;
  complete?: number;
  incomplete?: number;
  cohort?: number;
  place?: number;
  size?: number;
};
type Effect = {
  type: string;
  peer?: number;
  data?: Bytes;
  piece?: number;
  handle?: HttpEvents;
  url?: string;
  headers?: Record<string, string>;
  read?: string;
  failed?: boolean;
  position_ms?: number;
  rendition?: number;
  want?: number;
  event?: string;
};
type EffectSpec = Omit<Effect, "data" | "handle"> & { data?: Part[]; as?: string; fetch?: string };
type Step = { event: EventSpec; inputs?: InputSpec[]; effects?: EffectSpec[] };
type Script = {
  claim: string;
  title: {
    piece_length: number;
    info_hash: string;
    info_hash_v2: string;
    peer_id: string;
    files: { size: number; root: string; first_piece: number; track: number }[];
    found?: { piece: number; data: Part[] }[];
  };
  steps: Step[];
};

const allFlags = Object.entries(Flags).map(([name, bit]) => [name.toLowerCase(), bit] as const);
const flagsOf = (names: string[]) => names.reduce((f, n) => f | allFlags.find(([name]) => name === n)![1], 0);
const completions: number[] = [
  InputKind.Hashed,
  InputKind.PieceHashed,
  InputKind.Checked,
  InputKind.Stored,
  InputKind.Evicted,
];
const passing: number[] = [
  InputKind.IndexLoaded,
  InputKind.StoreRestored,
  InputKind.StoreFound,
  InputKind.StoreBounded,
  InputKind.PolicyChanged,
];

function bytesOf(parts: Part[] = []): Bytes {
  const chunks = parts.map((p) => {
    if (p.u32 !== undefined) return Buffer.from([p.u32 >>> 24, p.u32 >>> 16, p.u32 >>> 8, p.u32]);
    if (p.fill === "zero") return Buffer.alloc(p.length!);
    if (p.fill === "pattern") {
      return Buffer.from(
        Uint8Array.from({ length: p.length! }, (_, i) => {
          const j = (p.offset ?? 0) + i;
          return 7 * j + 13 * Math.floor(j / 256) + 31 * p.seed!;
        }),
      );
    }
    return Buffer.concat([Buffer.from(p.hex ?? "", "hex"), Buffer.from(p.text ?? "", "latin1")]);
  });
  return new Uint8Array(Buffer.concat(chunks));
}

const sha256 = (b: Uint8Array): Bytes => new Uint8Array(createHash("sha256").update(b).digest());
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

/** The scripted engine, the clock and the recording transports of one script. */
class World {
  now = 0;
  did: Effect[] = [];
  readonly core: Core;
  private step: Step = { event: { type: "open" } };
  private matched: boolean[] = [];
  private deadlineAt: number | undefined;
  private lastNow = 0;
  private readonly queues = new Map<number, number>();
  private readonly fetches = new Map<string, HttpEvents>();
  private readonly reads = new Map<string, { ref?: number; cancel?: () => void }>();
  private readonly progress = new Map<number, number>();
  private readonly timers = new Set<{ at: number; due: () => void }>();

  constructor(script: Script) {
    const title: Title = {
      pieceLength: script.title.piece_length,
      infoHash: fromHex(script.title.info_hash),
      infoHashV2: fromHex(script.title.info_hash_v2),
      peerId: fromHex(script.title.peer_id),
      seed: 1n,
      files: script.title.files.map((f) => ({
        size: f.size,
        root: f.root,
        firstPiece: f.first_piece,
        track: f.track,
        segments: [],
      })),
    };
    const store: MemoryStore & { shelf?: Shelf } = new MemoryStore();
    const put = store.put.bind(store);
    const drop = store.delete.bind(store);
    const found = new Map((script.title.found ?? []).map(({ piece, data }) => [piece, bytesOf(data)]));
    store.put = (piece, blocks) => {
      this.did.push({ type: "stored", piece, data: new Uint8Array(Buffer.concat(blocks)) });
      found.delete(piece);
      put(piece, blocks);
    };
    store.delete = (piece) => {
      this.did.push({ type: "evicted", piece });
      found.delete(piece);
      drop(piece);
    };
    store.shelf = {
      found: () => [...found.keys()],
      peek: (piece) => (found.get(piece)?.length ? found.get(piece) : undefined),
      accept: (piece) => {
        const data = found.get(piece);
        if (data) store.put(piece, [data]);
        return data !== undefined;
      },
      others: () => [],
      removeOther: () => undefined,
      mark: () => undefined,
    };
    this.core = new Core({
      title,
      store,
      origins: ["https://origin.test"],
      ticket: "ticket-1",
      digest: (b) => Promise.resolve(sha256(b)),
      engine: { step: (now, input) => this.answer(now, input), deadline: () => this.deadlineAt },
      clock: {
        now: () => this.now,
        after: (us, due) => {
          const timer = { at: this.now + us, due };
          this.timers.add(timer);
          return () => this.timers.delete(timer);
        },
      },
      net: {
        send: (peer, data) => {
          this.queues.set(peer, this.queued(peer) + data.length);
          const before = this.did.find((e) => e.type === "sent" && e.peer === peer);
          if (before) before.data = new Uint8Array(Buffer.concat([before.data!, data]));
          else this.did.push({ type: "sent", peer, data: data.slice() });
        },
        queued: (peer) => this.queued(peer),
        measure: (peer) => this.did.push({ type: "measure", peer }),
        close: (peer) => this.did.push({ type: "closed", peer }),
        dial: (peer) => this.did.push({ type: "dial", peer }),
        announce: (a: Announce) => {
          const effect: Effect = { type: "announce", position_ms: a.positionMs, rendition: a.rendition, want: a.want };
          if (a.event) effect.event = a.event;
          this.did.push(effect);
        },
      },
      http: {
        get: (url, headers, handle) => {
          this.did.push({ type: "fetch", url, headers, handle });
          return () => this.did.push({ type: "abort", handle });
        },
      },
      onFailed: (error) => {
        throw error;
      },
    });
  }

  private queued(peer: number): number {
    return this.queues.get(peer) ?? 0;
  }

  async play(step: Step): Promise<void> {
    this.step = step;
    this.matched = (step.inputs ?? []).map(() => false);
    this.did = [];
    const e = step.event;
    const chunks = [...this.chunks(e)];
    for (const chunk of chunks) {
      this.happen(e, chunk);
      await this.core.rest();
      await new Promise((resolve) => setImmediate(resolve)); // reads are answered by promises
    }
    (step.inputs ?? []).forEach((x, i) =>
      expect(this.matched[i], `input ${i + 1}, ${x.kind}, did not come`).toBe(true),
    );
    for (const x of step.effects ?? []) {
      const i = this.did.findIndex((d) => this.is(x, d));
      expect(i, `${JSON.stringify(x)} did not happen; what did: ${this.list()}`).toBeGreaterThanOrEqual(0);
      if (x.as) this.fetches.set(x.as, this.did[i]!.handle!);
      this.did.splice(i, 1);
    }
    expect(this.list(), "unexpected effects").toBe("");
  }

  private list(): string {
    return this.did.map((d) => JSON.stringify({ ...d, data: d.data && Buffer.from(d.data).toString("hex") })).join(" ");
  }

  private *chunks(e: EventSpec): Generator<Bytes> {
    if (e.type !== "bytes" && e.type !== "body") {
      yield new Uint8Array(0);
      return;
    }
    let rest = bytesOf(e.data);
    for (const n of e.cuts ?? []) {
      yield rest.slice(0, n);
      rest = rest.slice(n);
    }
    while (e.every && rest.length > e.every) {
      yield rest.slice(0, e.every);
      rest = rest.slice(e.every);
    }
    if (rest.length > 0) yield rest;
  }

  private happen(e: EventSpec, chunk: Bytes): void {
    const peer = e.peer ?? 0;
    const id = e.peer_id === undefined ? undefined : fromHex(e.peer_id);
    const fetch = e.fetch === undefined ? undefined : this.fetches.get(e.fetch)!;
    switch (e.type) {
      case "open":
        return this.core.open();
      case "introduced":
        return this.core.introduced(peer, id!);
      case "dial_failed":
        return this.core.dialFailed(peer);
      case "channel":
        return this.core.connected(peer, id, e.initiator ?? false);
      case "bytes":
        return this.core.received(peer, chunk);
      case "closed":
        return this.core.closed(peer);
      case "measured":
        return this.core.measured(peer, e.us!);
      case "answered":
        return this.core.counted(e.complete ?? 0, e.incomplete ?? 0, {
          id: e.cohort ?? 0,
          place: e.place ?? 0,
          size: e.size ?? 0,
        });
      case "drain": {
        const was = this.queued(peer);
        this.queues.set(peer, e.to!);
        if (was > queueLow && e.to! <= queueLow) this.core.drained(peer);
        return;
      }
      case "response":
        return fetch!.head(e.status!, (name) => e.headers?.[name] ?? null);
      case "body":
        return fetch!.body(chunk);
      case "end":
        return fetch!.end();
      case "fail":
        return fetch!.fail();
      case "read": {
        const name = e.read!;
        this.reads.set(name, {});
        const { answer, cancel } = this.core.read(e.file!, e.from!, e.to!);
        this.reads.get(name)!.cancel = cancel;
        answer.then(
          (r) => this.did.push({ type: "read", read: name, data: new Uint8Array(r.data) }),
          () => this.did.push({ type: "read", read: name, failed: true }),
        );
        return;
      }
      case "cancel_read":
        return this.reads.get(e.read!)!.cancel!();
      case "advance": {
        this.now += e.ms! * 1000;
        for (const t of [...this.timers]) {
          if (t.at <= this.now && this.timers.delete(t)) t.due();
        }
        return;
      }
      default:
        throw new Error(`event ${e.type}`);
    }
  }

  private answer(now: number, input: Input): Output[] {
    expect(now, "now fell").toBeGreaterThanOrEqual(this.lastNow);
    this.lastNow = now;
    if (input.kind === InputKind.Tick) {
      expect(this.deadlineAt, "Tick before the deadline").toBeLessThanOrEqual(this.now);
      this.deadlineAt = undefined;
    }
    if (input.kind === InputKind.FetchProgress) {
      expect(input.length, "progress fell").toBeGreaterThanOrEqual(this.progress.get(input.ref!) ?? 0);
      this.progress.set(input.ref!, input.length!);
    }
    const specs = this.step.inputs ?? [];
    let i: number;
    if (completions.includes(input.kind)) {
      i = specs.findIndex((x, n) => !this.matched[n] && this.fits(x, input));
    } else {
      i = specs.findIndex((x, n) => !this.matched[n] && !completions.includes(kindOf(x.kind)));
      if (i >= 0 && !this.fits(specs[i]!, input)) i = -1;
    }
    if (i < 0) {
      const open = this.step.event.type === "open" && this.matched[0] && passing.includes(input.kind);
      if (input.kind !== InputKind.FetchProgress && !open) {
        throw new Error(`unexpected input ${JSON.stringify({ ...input, data: input.data?.length })}`);
      }
      return [];
    }
    this.matched[i] = true;
    const x = specs[i]!;
    if (x.deadline_ms !== undefined) this.deadlineAt = x.deadline_ms * 1000;
    return (x.outputs ?? []).map((o) => ({
      kind: OutputKind[o.kind as keyof typeof OutputKind],
      note: 0,
      flags: flagsOf(o.flags ?? []),
      reason: o.reason ?? 0,
      source: o.source ?? 0,
      peer: o.peer ?? 0,
      ref: typeof o.ref === "string" ? this.reads.get(o.ref)!.ref! : (o.ref ?? 0),
      file: o.file ?? 0,
      piece: o.piece ?? 0,
      begin: o.begin ?? 0,
      length: o.length ?? 0,
      index: o.index ?? 0,
      base: o.base ?? 0,
      proof: o.proof ?? 0,
      from: o.from ?? 0,
      to: o.to ?? 0,
      data: bytesOf(o.data),
    }));
  }

  private fits(x: InputSpec, input: Input): boolean {
    if (kindOf(x.kind) !== input.kind) return false;
    if (x.ref !== undefined) {
      if (typeof x.ref === "string") {
        const read = this.reads.get(x.ref)!;
        if (input.kind === InputKind.RangeWanted) read.ref ??= input.ref!;
        if (read.ref !== input.ref) return false;
      } else if (x.ref !== (input.ref ?? 0)) {
        return false;
      }
    }
    if (input.kind === InputKind.FetchProgress) return x.length === undefined || input.length! >= x.length;
    for (const key of ["reason", "peer", "file", "piece", "begin", "length", "from", "to"] as const) {
      if (x[key] !== undefined && x[key] !== (input[key] ?? 0)) return false;
    }
    if (x.flags && flagsOf(x.flags) !== (input.flags ?? 0)) return false;
    if (x.data && !same(bytesOf(x.data), input.data ?? new Uint8Array(0))) return false;
    if (x.digest !== undefined) {
      const want = typeof x.digest === "string" ? fromHex(x.digest) : sha256(bytesOf(x.digest.sha256));
      if (!same(want, input.digest ?? new Uint8Array(0))) return false;
    }
    return true;
  }

  private is(x: EffectSpec, d: Effect): boolean {
    for (const key of ["type", "peer", "piece", "url", "read", "position_ms", "rendition", "want", "event"] as const) {
      if (x[key] !== d[key]) return false;
    }
    if ((x.failed ?? false) !== (d.failed ?? false)) return false;
    if (!same(bytesOf(x.data), d.data ?? new Uint8Array(0))) return false;
    if (x.type === "abort" && this.fetches.get(x.fetch!) !== d.handle) return false;
    return x.type !== "fetch" || JSON.stringify(sorted(x.headers)) === JSON.stringify(sorted(d.headers));
  }
}

const kindOf = (name: string): number => InputKind[name as keyof typeof InputKind];
const sorted = (h: Record<string, string> = {}) => Object.entries(h).sort();

for (const name of readdirSync(folder)
  .filter((n) => n.endsWith(".json"))
  .sort()) {
  const script = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as Script;
  test(`${name}: ${script.claim}`, async () => {
    const world = new World(script);
    for (const [i, step] of script.steps.entries()) {
      await world.play(step).catch((error: unknown) => {
        throw new Error(`step ${i + 1} (${step.event.type}): ${String(error)}`, { cause: error });
      });
    }
  });
}
