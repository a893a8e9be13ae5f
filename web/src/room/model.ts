/**
 * What the room knows, from the frames' messages and the server's counter alone: who is connected to whom, how fast bytes
 * flow, which piece came from where. It must invent nothing: every figure on the page is a sum of what was reported. It has no
 * clock of its own; `now` is in milliseconds and never falls.
 */

import type { FrameMessage, NoteMessage, StatsMessage } from "./messages";
import type { Film, FilmFile, ServerState } from "./server";

/** The server's number among the nodes; viewers are 1 to 4. */
export const server = 0;
/** Peers of this swarm that are none of the room's viewers: another window, another program. */
export const elsewhere = 5;
/** At most so many viewers. */
export const viewersMax = 4;

/** Where a piece that a viewer holds came from. 1 + a node's number, or one of the others. */
export const Origin = { none: 0, cache: 7, bad: 8 } as const;

/** The code of a piece that came from a node. */
export const cameFrom = (node: number) => 1 + node;

/** What the drawing flashes or sends along its lines. */
export type RoomEvent =
  | { kind: "block"; from: number; to: number; bytes: number }
  | { kind: "bad"; from: number; to: number; piece: number }
  | { kind: "banned"; from: number; to: number };

/** A block that was refused, and what became of it. */
export interface Incident {
  victim: number;
  liar: number;
  piece: number;
  at: number;
  /** Who gave the piece in the end; undefined while it is being fetched. */
  again: number | undefined;
}

/** A block, in bytes: BitTorrent's unit of requests. */
const blockBytes = 16 << 10;

/** The window over which speeds are measured. Blocks are 16 KiB, so less would flicker at a film's bitrate. */
const windowMs = 3_000;

/** Bytes per time over the last seconds. */
class Meter {
  private readonly entries: { at: number; bytes: number }[] = [];

  add(now: number, bytes: number): void {
    this.entries.push({ at: now, bytes });
    this.drop(now);
  }

  /** Kilobits per second over the window. */
  kbps(now: number): number {
    this.drop(now);
    return (this.entries.reduce((sum, e) => sum + e.bytes, 0) * 8) / windowMs;
  }

  private drop(now: number): void {
    while (this.entries.length > 0 && this.entries[0]!.at <= now - windowMs) this.entries.shift();
  }
}

/** One viewer of the room. */
export class Viewer {
  readonly n: number;
  /** When its frame was opened. */
  readonly since: number;
  stats: StatsMessage | undefined;
  statsAt = 0;
  /** Per torrent-wide piece: 0, 1 + the node that gave it, or another code of `Origin`. */
  readonly pieces: Uint8Array;
  /** Pieces of which a block was refused here. */
  readonly scars = new Map<number, number>();
  /** Pieces of which blocks have been reported since they were last complete. */
  readonly arriving = new Set<number>();
  /** Connections by their number in the engine: the peer's ID. */
  readonly peers = new Map<number, string>();
  /** IDs of peers that it dropped for lying. */
  readonly banned = new Set<string>();
  /** Verified bytes it received, by node. */
  readonly received = new Map<number, number>();

  constructor(n: number, pieceCount: number, now: number) {
    this.n = n;
    this.since = now;
    this.pieces = new Uint8Array(pieceCount);
  }

  /** Where its play head is, carried on since the last report. */
  positionMs(now: number, durationMs: number): number {
    const s = this.stats;
    if (!s) return 0;
    const on = s.paused || s.ended ? 0 : Math.min(1_500, now - this.statsAt);
    return Math.min(durationMs, s.positionMs + Math.min(on, Math.max(0, s.bufferedEndMs - s.positionMs)));
  }
}

/** A line of the drawing: from one node to another, with what flows along it now. */
export interface Line {
  from: number;
  to: number;
  kbps: number;
  /** `up`: connected. `dropped`: one of the two was caught lying, and is not spoken to. */
  state: "up" | "dropped";
}

/** The room. */
export class Room {
  readonly film: Film;
  readonly pieceCount: number;
  readonly viewers = new Map<number, Viewer>();
  server: ServerState | undefined;
  /** The latest incidents, the newest last. */
  readonly incidents: Incident[] = [];
  onEvent: (event: RoomEvent) => void = () => undefined;

  private readonly meters = new Map<string, Meter>();
  private readonly owners = new Map<string, number>(); // peer ID → viewer, those that have gone included
  /** Verified bytes that viewers received so far, from any node. */
  receivedBytes = 0;
  /**
   * What plain streaming would have sent for the same: the verified bytes that viewers had received, from whomever, when the
   * server's figures were asked for. No later, or a byte could count here before it counts there.
   */
  plainBytes = 0;
  private baseline: number | undefined;

  constructor(film: Film) {
    this.film = film;
    this.pieceCount = Math.max(0, ...film.files.map((f) => f.first_piece + f.starts_ms.length));
  }

  /** A frame was opened, or loaded anew. */
  open(n: number, now: number): Viewer {
    this.close(n);
    const viewer = new Viewer(n, this.pieceCount, now);
    this.viewers.set(n, viewer);
    return viewer;
  }

  /** A frame was closed. */
  close(n: number): void {
    this.viewers.delete(n);
    for (const key of [...this.meters.keys()]) {
      const [from, to] = key.split(">").map(Number);
      if (from === n || to === n) this.meters.delete(key);
    }
  }

  /**
   * The server's figures came; `plainBytes` is what `receivedBytes` was when they were asked for. The first are the room's
   * zero: what was sent before it opened is not its affair.
   */
  told(state: ServerState, plainBytes: number): void {
    this.baseline ??= state.origin_bytes;
    if (state.origin_bytes < this.baseline) this.baseline = 0; // the server was started again
    this.server = state;
    this.plainBytes = plainBytes;
  }

  /** Media bytes that the server has sent since the room opened, by its own count. */
  get originBytes(): number {
    return this.server ? this.server.origin_bytes - (this.baseline ?? 0) : 0;
  }

  /** A message came from the frame of viewer `n`. */
  take(message: FrameMessage, now: number): void {
    const viewer = this.viewers.get(message.n);
    if (!viewer) return;
    if (message.essaim === "stats") {
      viewer.stats = message;
      viewer.statsAt = now;
      if (message.peerId) this.owners.set(message.peerId, viewer.n);
      return;
    }
    this.note(viewer, message, now);
  }

  /** Every line there is, in a fixed order. */
  lines(now: number): Line[] {
    const lines: Line[] = [];
    const viewers = [...this.viewers.values()].sort((a, b) => a.n - b.n);
    for (const to of viewers) {
      lines.push({ from: server, to: to.n, kbps: this.kbps(server, to.n, now), state: "up" });
    }
    for (const to of viewers) {
      for (const from of viewers) {
        if (from === to) continue;
        const state = this.between(from, to);
        if (state) lines.push({ from: from.n, to: to.n, kbps: this.kbps(from.n, to.n, now), state });
      }
      if ([...to.peers.values()].some((id) => !this.owners.has(id))) {
        lines.push({ from: elsewhere, to: to.n, kbps: this.kbps(elsewhere, to.n, now), state: "up" });
      }
    }
    return lines;
  }

  /** Kilobits per second from one node to another, over the last three seconds. */
  kbps(from: number, to: number, now: number): number {
    return this.meters.get(`${from}>${to}`)?.kbps(now) ?? 0;
  }

  /** The viewer whose peer ID this is, or was; else `elsewhere`. */
  ownerOf(peerId: string | undefined): number {
    return (peerId !== undefined && this.owners.get(peerId)) || elsewhere;
  }

  /** Who has dropped viewer n for lying. */
  bannedBy(n: number): number[] {
    const id = this.viewers.get(n)?.stats?.peerId;
    if (!id) return [];
    return [...this.viewers.values()].filter((v) => v.banned.has(id)).map((v) => v.n);
  }

  /** The file that holds a piece. */
  fileOf(piece: number): FilmFile | undefined {
    return this.film.files.find((f) => piece >= f.first_piece && piece < f.first_piece + f.starts_ms.length);
  }

  private between(a: Viewer, b: Viewer): Line["state"] | undefined {
    const [idA, idB] = [a.stats?.peerId, b.stats?.peerId];
    if (!idA || !idB) return undefined;
    if (a.banned.has(idB) || b.banned.has(idA)) return "dropped";
    const up = [...a.peers.values()].includes(idB) || [...b.peers.values()].includes(idA);
    return up ? "up" : undefined;
  }

  private note(viewer: Viewer, m: NoteMessage, now: number): void {
    if (m.peer !== 0 && m.peerId && m.note !== "peer_down") viewer.peers.set(m.peer, m.peerId);
    const id = viewer.peers.get(m.peer);
    const from = m.peer === 0 ? server : this.ownerOf(id);
    const known = m.piece < this.pieceCount;
    switch (m.note) {
      case "block":
        viewer.arriving.add(m.piece);
        this.flowed(from, viewer.n, m.length, now);
        break;
      case "piece":
        // The page's own fetches, before the engine runs, are told by whole pieces.
        if (!viewer.arriving.delete(m.piece)) this.flowed(from, viewer.n, m.length, now);
        if (known) this.got(viewer, m.piece, from, m.length);
        break;
      case "restored":
        // Pieces that the page had fetched before its engine ran come this way too; they keep their colour.
        if (known && viewer.pieces[m.piece] === Origin.none) viewer.pieces[m.piece] = Origin.cache;
        break;
      case "evicted":
        if (known) viewer.pieces[m.piece] = Origin.none;
        break;
      case "bad_block":
        if (!known) break;
        viewer.pieces[m.piece] = Origin.bad;
        viewer.scars.set(m.piece, now);
        this.incidents.push({ victim: viewer.n, liar: from, piece: m.piece, at: now, again: undefined });
        if (this.incidents.length > 20) this.incidents.shift();
        this.onEvent({ kind: "bad", from, to: viewer.n, piece: m.piece });
        break;
      case "banned":
        if (id) viewer.banned.add(id);
        this.onEvent({ kind: "banned", from, to: viewer.n });
        break;
      case "peer_down":
        viewer.peers.delete(m.peer);
        break;
      default: // peer_up is told by its ID above; the others are not drawn
    }
  }

  private flowed(from: number, to: number, bytes: number, now: number): void {
    this.meter(from, to).add(now, bytes);
    for (let left = bytes; left > 0; left -= blockBytes) {
      this.onEvent({ kind: "block", from, to, bytes: Math.min(blockBytes, left) });
    }
  }

  private got(viewer: Viewer, piece: number, from: number, bytes: number): void {
    const before = viewer.pieces[piece]!;
    if (before !== Origin.none && before !== Origin.bad) return; // told twice
    viewer.pieces[piece] = cameFrom(from);
    viewer.received.set(from, (viewer.received.get(from) ?? 0) + bytes);
    this.receivedBytes += bytes;
    for (const incident of this.incidents) {
      if (incident.victim === viewer.n && incident.piece === piece) incident.again ??= from;
    }
  }

  private meter(from: number, to: number): Meter {
    const key = `${from}>${to}`;
    let meter = this.meters.get(key);
    if (!meter) this.meters.set(key, (meter = new Meter()));
    return meter;
  }
}
