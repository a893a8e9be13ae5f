/** Where things stand in the room: frames at the sides, the drawing between them. Pure; all in CSS pixels of the stage. */

/** A point of the stage. */
export interface Point {
  x: number;
  y: number;
}

/** A place on the stage. */
export interface Box extends Point {
  w: number;
  h: number;
}

/** Where everything stands. */
export interface Places {
  /** The stage's height: what was given, or, where frames are stacked, what they need. */
  height: number;
  stacked: boolean;
  /** Frames with their bars, by viewer's number less one. Two at least: the second viewer's place is kept. */
  frames: Box[];
  /** The nodes: 0 the server, 1 to 4 the viewers (on their frames' inner edges), 5 peers elsewhere. */
  nodes: Point[];
  tracker: Point;
  /** What lies between the frames, nodes included. */
  field: Box;
}

/** The height of the bar under each picture. */
export const barHeight = 38;
/** From this width on, frames stand at the sides. */
export const wideFrom = 760;
const gap = 16;
const stackedField = 236;

/** Places `count` viewers (1 to 4) on a stage of that width and, where it is wide, height. */
export function place(width: number, height: number, count: number): Places {
  return width >= wideFrom ? beside(width, height, count) : stacked(width, count);
}

function beside(width: number, height: number, count: number): Places {
  const rows = count > 2 ? 2 : 1;
  const room = Math.min(Math.max(250, width * 0.24), 380);
  const w = Math.floor(
    Math.max(160, Math.min((width - room) / 2, ((height - (rows - 1) * gap) / rows - barHeight) * (16 / 9))),
  );
  const h = Math.floor((w * 9) / 16) + barHeight;
  const frames: Box[] = [];
  for (let i = 0; i < Math.max(2, count); i++) {
    const right = i % 2 === 1;
    const inColumn = Math.max(2, count) > (right ? 3 : 2) ? 2 : 1;
    const row = i >> 1;
    const tall = inColumn * h + (inColumn - 1) * gap;
    frames.push({ x: right ? width - w : 0, y: Math.floor((height - tall) / 2) + row * (h + gap), w, h });
  }
  // The upper row's docks lie low, so that its lines pass below the server; the lower row's in the middle.
  const docks = frames.map((f, i) => {
    const low = rows === 1 ? 0.68 : f.y + f.h / 2 > height / 2 + 1 ? 0.5 : 0.86;
    return { x: i % 2 === 1 ? f.x : f.x + f.w, y: f.y + (f.h - barHeight) * low };
  });
  // Above a single row there is mostly room for the server; among two rows it stands between the upper frames.
  const above = Math.min(...frames.map((f) => f.y));
  const top = above >= 72 ? above - 26 : above + 42;
  const field = { x: w - 26, y: 0, w: width - 2 * w + 52, h: height };
  return {
    height,
    stacked: false,
    frames,
    nodes: [
      { x: width / 2, y: top },
      ...docks,
      ...Array.from({ length: 4 - docks.length }, () => ({ x: width / 2, y: height / 2 })),
      { x: width / 2, y: height - 40 },
    ],
    tracker: { x: width / 2 + 64, y: top - 12 },
    field,
  };
}

function stacked(width: number, count: number): Places {
  const columns = count > 2 ? 2 : 1;
  const w = Math.floor((width - (columns - 1) * gap) / columns);
  const h = Math.floor((w * 9) / 16) + barHeight;
  const frames: Box[] = [];
  for (let i = 0; i < Math.max(2, count); i++) {
    frames.push({ x: (i >> 1) * (w + gap), y: i % 2 === 1 ? h + stackedField : 0, w, h });
  }
  const field = { x: 0, y: h - 26, w: width, h: stackedField + 52 };
  const middle = h + stackedField / 2;
  const docks = frames.map((f, i) => ({
    x: f.x + f.w * (columns === 1 ? 0.66 : i < 2 ? 0.86 : 0.72),
    y: i % 2 === 1 ? f.y : f.y + f.h,
  }));
  return {
    height: 2 * h + stackedField,
    stacked: true,
    frames,
    nodes: [
      { x: 56, y: middle - 56 },
      ...docks,
      ...Array.from({ length: 4 - docks.length }, () => ({ x: width / 2, y: middle })),
      { x: width - 40, y: middle },
    ],
    tracker: { x: 56, y: middle + 62 },
    field,
  };
}

/** A line's shape: a quadratic curve. */
export interface Curve {
  from: Point;
  bend: Point;
  to: Point;
}

/** The curve from one node to another; the two directions of a pair bow apart, each to its own left. */
export function curve(from: Point, to: Point, bow: number, cut: { from: number; to: number }): Curve {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const length = Math.hypot(dx, dy) || 1;
  const bend = {
    x: (from.x + to.x) / 2 + (dy / length) * bow,
    y: (from.y + to.y) / 2 - (dx / length) * bow,
  };
  return { from: towards(from, bend, cut.from), bend, to: towards(to, bend, cut.to) };
}

/** The point of a curve at t, 0 to 1. */
export function at(c: Curve, t: number): Point {
  const u = 1 - t;
  return {
    x: u * u * c.from.x + 2 * u * t * c.bend.x + t * t * c.to.x,
    y: u * u * c.from.y + 2 * u * t * c.bend.y + t * t * c.to.y,
  };
}

/** Roughly how long a curve is. */
export function lengthOf(c: Curve): number {
  const m = at(c, 0.5);
  return Math.hypot(m.x - c.from.x, m.y - c.from.y) + Math.hypot(c.to.x - m.x, c.to.y - m.y);
}

function towards(a: Point, b: Point, by: number): Point {
  const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  const part = Math.min(0.5, by / length);
  return { x: a.x + (b.x - a.x) * part, y: a.y + (b.y - a.y) * part };
}
