/**
 * The drawing between the frames: nodes, lines as wide as what flows along them now, and one bead for each block that really
 * arrived. It must cost little (a picture plays beside it), stop when nobody sees it, and move nothing for those who asked
 * for stillness.
 */

import { at, curve, lengthOf, type Curve, type Places, type Point } from "./layout";
import { elsewhere, server, type Line, type Room, type RoomEvent } from "./model";
import { hexagon, set, svg } from "./svg";
import { rate, type RoomWords } from "./words";

/** Colours of the nodes by number, as room.css names them. */
export const nodeColours = ["--from-server", "--from-1", "--from-2", "--from-3", "--from-4", "--from-elsewhere"];

/** What the nodes show beside the room's own state. */
export interface DrawnState {
  words: RoomWords;
  /** The server's rate by its own counter, in kbit/s. */
  serverKbps: number;
  lying: number | undefined;
  /** The nodes that take part, frames that are yet to open left out. */
  viewers: number[];
}

interface DrawnLine {
  line: Line;
  group: SVGGElement;
  halo: SVGPathElement;
  core: SVGPathElement;
  arrow: SVGPathElement;
  label: SVGTextElement;
  cross: SVGGElement;
  curve: Curve;
  length: number;
  waiting: number; // beads that are yet to start
  startedAt: number;
}

interface Bead {
  key: string;
  t: number;
}

/** Beads travel at this pace, in pixels per second, and follow one another at this distance, in ms. */
const pace = 250;
const spacingMs = 34;
/** More than so many are not drawn at once, nor kept waiting on one line: a start's burst would take minutes to pass. */
const beadsMax = 220;
const waitingMax = 48;
/** 60 pictures a second at most. */
const frameMs = 1000 / 61;

/** The drawing. `stage` holds it; frames stand in the stage too, below the nodes. */
export class Drawing {
  private readonly lines: SVGSVGElement;
  private readonly beadsCanvas: HTMLCanvasElement;
  private readonly nodes: SVGSVGElement;
  private readonly drawn = new Map<string, DrawnLine>();
  private readonly viewerNodes = new Map<number, { group: SVGGElement; flag: SVGTextElement }>();
  private readonly serverNode: Record<"group" | "name" | "rate" | "limit" | "gauge", SVGElement>;
  private readonly trackerNode: Record<"group" | "name" | "known", SVGElement>;
  private readonly elsewhereNode: Record<"group" | "name", SVGElement>;
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)");
  private readonly style: CSSStyleDeclaration;
  private beads: Bead[] = [];
  private places: Places | undefined;
  private ticket = 0;
  private last = 0;
  private blank = true;

  constructor(stage: HTMLElement) {
    this.style = getComputedStyle(stage);
    this.lines = svg(stage, "svg", { class: "lines", "aria-hidden": "true" });
    this.beadsCanvas = stage.appendChild(document.createElement("canvas"));
    this.beadsCanvas.className = "beads";
    this.beadsCanvas.setAttribute("aria-hidden", "true");
    this.nodes = svg(stage, "svg", { class: "nodes", role: "img" });

    const s = svg(this.nodes, "g", { class: "node server" });
    const gauge = svg(s, "path", { class: "gauge", d: hexagon(39), pathLength: 100 });
    svg(s, "path", { class: "shape", d: hexagon(30) });
    for (const y of [-9, 0, 9]) svg(s, "path", { class: "rack", d: `M-11 ${y}H6M11 ${y}h.01` });
    this.serverNode = {
      group: s,
      gauge,
      name: svg(s, "text", { class: "name" }),
      rate: svg(s, "text", { class: "rate" }),
      limit: svg(s, "text", { class: "limit" }),
    };

    const t = svg(this.nodes, "g", { class: "node tracker" });
    svg(t, "path", { class: "shape", d: hexagon(14) });
    svg(t, "path", { class: "sign", d: "M-5 3a2.500 2.500 0 1 1 .01 0M5 3a2.500 2.500 0 1 1 .01 0M-2.500 .5h5" });
    svg(t, "path", { class: "cross", d: "M-11 -11 11 11M11 -11-11 11" });
    this.trackerNode = {
      group: t,
      name: svg(t, "text", { class: "name" }),
      known: svg(t, "text", { class: "known" }),
    };

    const e = svg(this.nodes, "g", { class: "node elsewhere" });
    svg(e, "path", { class: "shape", d: hexagon(15) });
    this.elsewhereNode = { group: e, name: svg(e, "text", { class: "name", y: 32 }) };
    document.addEventListener("visibilitychange", this.visible);
  }

  /** Ends the drawing. */
  destroy(): void {
    document.removeEventListener("visibilitychange", this.visible);
    cancelAnimationFrame(this.ticket);
    this.lines.remove();
    this.beadsCanvas.remove();
    this.nodes.remove();
  }

  /** Stands everything where it belongs. */
  arrange(places: Places, width: number): void {
    this.places = places;
    for (const layer of [this.lines, this.nodes]) {
      set(layer, { width, height: places.height, viewBox: `0 0 ${width} ${places.height}` });
    }
    const { field } = places;
    const scale = Math.min(1.5, devicePixelRatio);
    const canvas = this.beadsCanvas;
    canvas.width = Math.round(field.w * scale);
    canvas.height = Math.round(field.h * scale);
    canvas.style.left = `${field.x}px`;
    canvas.style.top = `${field.y}px`;
    canvas.style.width = `${field.w}px`;
    canvas.style.height = `${field.h}px`;
    const s = this.serverNode;
    move(s.group, places.nodes[server]!);
    // Beside the server its words stand on the left and the tracker's on the right; stacked, all stand below.
    const { stacked } = places;
    const beside = stacked ? { x: 0, "text-anchor": "middle" } : { x: -46, "text-anchor": "end" };
    set(s.name, { ...beside, y: stacked ? 52 : -4 });
    set(s.rate, { ...beside, y: stacked ? 68 : 13 });
    set(s.limit, { y: stacked ? 84 : -46 });
    const right = stacked ? { x: 0, "text-anchor": "middle" } : { x: 20, "text-anchor": "start" };
    set(this.trackerNode.name, { ...right, y: stacked ? 30 : -1 });
    set(this.trackerNode.known, { ...right, y: stacked ? 45 : 13 });
    move(this.trackerNode.group, places.tracker);
    move(this.elsewhereNode.group, places.nodes[elsewhere]!);
    for (const [n, node] of this.viewerNodes) move(node.group, places.nodes[n]!);
    for (const key of this.drawn.keys()) this.bend(key);
  }

  /** Brings lines and nodes up to date. Called a few times a second; CSS makes the changes smooth. */
  update(room: Room, now: number, state: DrawnState): void {
    this.updateViewers(room, state);
    this.updateServer(room, state);
    const lines = room.lines(now);
    const seen = new Set<string>();
    for (const line of lines) {
      const key = `${line.from}>${line.to}`;
      seen.add(key);
      const drawn = this.drawn.get(key) ?? this.addLine(key, line);
      drawn.line = line;
      this.updateLine(drawn, state.words);
    }
    for (const [key, drawn] of this.drawn) {
      if (seen.has(key)) continue;
      drawn.group.remove();
      this.drawn.delete(key);
    }
    const strangers = lines.some((l) => l.from === elsewhere);
    this.elsewhereNode.group.toggleAttribute("hidden", !strangers);
    this.elsewhereNode.name.textContent = state.words.elsewhere;
    this.wake();
  }

  /** A block arrived, or was refused. */
  event(event: RoomEvent): void {
    if (event.kind === "bad") {
      const node = this.viewerNodes.get(event.to)?.group;
      node?.classList.remove("hit");
      node?.getBoundingClientRect(); // begins the animation anew
      node?.classList.add("hit");
      return;
    }
    if (event.kind !== "block" || document.hidden || this.still.matches) return;
    const drawn = this.drawn.get(`${event.from}>${event.to}`);
    if (!drawn) return;
    drawn.waiting = Math.min(waitingMax, drawn.waiting + 1);
    this.wake();
  }

  private addLine(key: string, line: Line): DrawnLine {
    const group = svg(this.lines, "g", { class: "line" });
    const halo = svg(group, "path", { class: "halo" });
    const core = svg(group, "path", { class: "core" });
    const arrow = svg(group, "path", { class: "arrow", d: "M-4 -4 2 0-4 4" });
    const label = svg(group, "text", { class: "kbps" });
    const cross = svg(group, "g", { class: "cross" });
    svg(cross, "circle", { r: 11 });
    svg(cross, "path", { d: "M-5 -5 5 5M5 -5-5 5" });
    const colour = `var(${nodeColours[line.from]})`;
    group.style.setProperty("--colour", colour);
    const origin = { x: 0, y: 0 };
    const drawn: DrawnLine = {
      line,
      group,
      halo,
      core,
      arrow,
      label,
      cross,
      curve: { from: origin, bend: origin, to: origin },
      length: 1,
      waiting: 0,
      startedAt: 0,
    };
    this.drawn.set(key, drawn);
    this.bend(key);
    return drawn;
  }

  private bend(key: string): void {
    const drawn = this.drawn.get(key);
    const places = this.places;
    if (!drawn || !places) return;
    const { from, to } = drawn.line;
    const fromServer = from === server;
    const a = places.nodes[from]!;
    const b = places.nodes[to]!;
    const c = curve(a, b, bowOf(from, to, places), { from: fromServer ? 40 : 22, to: 24 });
    drawn.curve = c;
    drawn.length = lengthOf(c);
    const d = `M${fix(c.from)}Q${fix(c.bend)} ${fix(c.to)}`;
    set(drawn.halo, { d });
    set(drawn.core, { d });
    const where = at(c, fromServer ? 0.38 : crossing(from, to) ? 0.28 : 0.5);
    const before = at(c, 0.66);
    const after = at(c, 0.7);
    const angle = (Math.atan2(after.y - before.y, after.x - before.x) * 180) / Math.PI;
    set(drawn.arrow, { transform: `translate(${fix(after)}) rotate(${angle.toFixed(1)})` });
    set(drawn.label, labelAt(where, c, fromServer, places.stacked));
    move(drawn.cross, at(c, 0.5));
  }

  private updateLine(drawn: DrawnLine, words: RoomWords): void {
    const { line } = drawn;
    const mbps = line.kbps / 1000;
    // 9 px for each Mbit/s, between a thread and a band.
    const width = Math.min(16, 1.4 + 9 * mbps);
    const flowing = line.kbps >= 5;
    set(drawn.group, {
      "data-from": line.from,
      "data-to": line.to,
      "data-kbps": Math.round(line.kbps),
      "data-state": line.state,
      class: `line ${line.state}${flowing ? " flowing" : ""}${line.from === server ? " server" : ""}`,
    });
    drawn.core.style.strokeWidth = `${width.toFixed(1)}px`;
    drawn.halo.style.strokeWidth = `${(width * 2.2 + 4).toFixed(1)}px`;
    // Where little room is left, the figure stands without its unit, which the server's has.
    const bare = this.places?.stacked === true && this.places.frames.length > 2;
    const figure = bare ? words.mbps(line.kbps) : rate(words, line.kbps);
    const text = flowing && line.state === "up" ? figure : "";
    if (drawn.label.textContent !== text) drawn.label.textContent = text;
  }

  private updateViewers(room: Room, state: DrawnState): void {
    for (const [n, node] of this.viewerNodes) {
      if (state.viewers.includes(n)) continue;
      node.group.remove();
      this.viewerNodes.delete(n);
    }
    for (const n of state.viewers) {
      let node = this.viewerNodes.get(n);
      if (!node) {
        const group = svg(this.nodes, "g", { class: "node viewer", "data-n": n });
        group.style.setProperty("--colour", `var(${nodeColours[n]})`);
        svg(group, "path", { class: "pulse", d: hexagon(20) });
        svg(group, "path", { class: "shape", d: hexagon(20) });
        svg(group, "text", { class: "number", y: 6 }).textContent = String(n);
        node = { group, flag: svg(group, "text", { class: "flag", y: -29 }) };
        this.viewerNodes.set(n, node);
        if (this.places) move(group, this.places.nodes[n]!);
      }
      const dropped = room.bannedBy(n).length > 0;
      const lies = state.lying === n;
      node.group.classList.toggle("lies", lies);
      node.group.classList.toggle("dropped", dropped);
      const flag = dropped ? state.words.droppedFlag : lies ? state.words.liesFlag : "";
      if (node.flag.textContent !== flag) node.flag.textContent = flag;
    }
  }

  private updateServer(room: Room, state: DrawnState): void {
    const { words } = state;
    const figures = room.server;
    const s = this.serverNode;
    text(s.name, words.server);
    text(s.rate, rate(words, state.serverKbps));
    text(s.limit, figures?.throttled ? words.atMost(rate(words, figures.rate_bps / 1000)) : "");
    s.group.classList.toggle("throttled", figures?.throttled === true);
    const used = figures?.throttled ? Math.min(100, (state.serverKbps * 100_000) / Math.max(1, figures.rate_bps)) : 0;
    set(s.gauge, { "stroke-dasharray": `${used.toFixed(0)} 100` });
    const stopped = figures?.tracker_stopped === true;
    this.trackerNode.group.classList.toggle("stopped", stopped);
    text(this.trackerNode.name, words.tracker);
    text(this.trackerNode.known, stopped ? words.trackerStopped : words.trackerKnows(figures?.tracker_peers ?? 0));
    set(this.nodes, { "aria-label": words.drawing });
  }

  private readonly visible = (): void => {
    if (document.hidden) {
      cancelAnimationFrame(this.ticket);
      this.ticket = 0;
      this.beads = [];
      for (const drawn of this.drawn.values()) drawn.waiting = 0;
    } else {
      this.wake();
    }
  };

  private wake(): void {
    if (this.ticket === 0 && !document.hidden) this.ticket = requestAnimationFrame(this.frame);
  }

  private readonly frame = (now: number): void => {
    this.ticket = 0;
    const passed = now - this.last;
    if (passed >= frameMs) {
      this.last = now;
      this.moveBeads(now, Math.min(100, passed) / 1000);
      this.paintBeads();
    }
    const waiting = [...this.drawn.values()].some((d) => d.waiting > 0);
    if (this.beads.length > 0 || waiting) this.wake();
  };

  private moveBeads(now: number, seconds: number): void {
    for (const [key, drawn] of this.drawn) {
      if (drawn.waiting > 0 && now - drawn.startedAt >= spacingMs && this.beads.length < beadsMax) {
        drawn.waiting--;
        drawn.startedAt = now;
        this.beads.push({ key, t: 0 });
      }
    }
    this.beads = this.beads.filter((bead) => {
      const drawn = this.drawn.get(bead.key);
      if (!drawn) return false;
      bead.t += (pace * seconds) / drawn.length;
      return bead.t < 1;
    });
  }

  private paintBeads(): void {
    const context = this.beadsCanvas.getContext("2d");
    const field = this.places?.field;
    if (!context || !field || (this.blank && this.beads.length === 0)) return;
    this.blank = this.beads.length === 0;
    const scale = this.beadsCanvas.width / field.w;
    context.setTransform(scale, 0, 0, scale, -field.x * scale, -field.y * scale);
    context.clearRect(field.x, field.y, field.w, field.h);
    context.lineCap = "round";
    for (const bead of this.beads) {
      const drawn = this.drawn.get(bead.key);
      if (!drawn) continue;
      const head = at(drawn.curve, bead.t);
      const tail = at(drawn.curve, Math.max(0, bead.t - 9 / drawn.length));
      const ends = Math.min(1, bead.t * 8, (1 - bead.t) * 8);
      context.globalAlpha = ends;
      context.strokeStyle = this.colour(drawn.line.from);
      context.lineWidth = 5;
      line(context, tail, head);
      context.strokeStyle = "#fffaf0";
      context.lineWidth = 2.2;
      line(context, tail, head);
    }
    context.globalAlpha = 1;
  }

  private readonly colours = new Map<number, string>();
  private colour(node: number): string {
    let value = this.colours.get(node);
    if (!value) {
      value = this.style.getPropertyValue(nodeColours[node]!).trim() || "#fff";
      this.colours.set(node, value);
    }
    return value;
  }
}

function line(context: CanvasRenderingContext2D, a: Point, b: Point): void {
  context.beginPath();
  context.moveTo(a.x, a.y);
  context.lineTo(b.x, b.y);
  context.stroke();
}

/**
 * How far a line bends from the straight. The server's hang a little towards the middle; a pair's two lines part like a
 * lens, except beside a column of frames, where both bow towards the field.
 */
function bowOf(from: number, to: number, places: Places): number {
  const [a, b] = [places.nodes[from]!, places.nodes[to]!];
  if (from === server) return a.x < b.x === !places.stacked ? -14 : 14;
  const [along, across] = places.stacked ? [b.x - a.x, b.y - a.y] : [b.y - a.y, b.x - a.x];
  if (Math.abs(across) > 40) return 30;
  const { field } = places;
  const inward = places.stacked ? a.y < field.y + field.h / 2 : a.x < field.x + field.w / 2;
  // A bow is to the left of the way; inward lies there or opposite.
  const side = inward === along > 0 ? 1 : -1;
  return (places.stacked ? -side : side) * (from < to ? 36 : 78);
}

/** Whether a pair's lines cross others in the middle: the diagonals. */
function crossing(a: number, b: number): boolean {
  return a + b === 5 || (a === elsewhere) !== (b === elsewhere);
}

/** Where a line's figure stands: beside the middle, on the side that the line bows to; the server's lines', outside. */
function labelAt(p: Point, c: Curve, fromServer: boolean, stacked: boolean): Record<string, string> {
  if (fromServer && !stacked) {
    const left = c.to.x < c.from.x;
    return { x: (p.x + (left ? -13 : 13)).toFixed(1), y: (p.y - 4).toFixed(1), "text-anchor": left ? "end" : "start" };
  }
  if (fromServer) {
    const up = c.to.y < c.from.y;
    return { x: (p.x - 4).toFixed(1), y: (p.y + (up ? -10 : 20)).toFixed(1), "text-anchor": up ? "end" : "start" };
  }
  const dx = c.bend.x - (c.from.x + c.to.x) / 2;
  const dy = c.bend.y - (c.from.y + c.to.y) / 2;
  const length = Math.hypot(dx, dy) || 1;
  const upright = Math.abs(dx) > Math.abs(dy);
  return {
    x: (p.x + (dx / length) * 13).toFixed(1),
    y: (p.y + (dy / length) * 15 + 4).toFixed(1),
    "text-anchor": upright ? (dx > 0 ? "start" : "end") : "middle",
  };
}

function move(element: Element, p: Point): void {
  set(element, { transform: `translate(${fix(p)})` });
}

function fix(p: Point): string {
  return `${p.x.toFixed(1)} ${p.y.toFixed(1)}`;
}

function text(element: Element, value: string): void {
  if (element.textContent !== value) element.textContent = value;
}
