/**
 * The film as a strip of pieces, one strip for each viewer: a lane for each rendition and one for the sound, every piece where it
 * lies in time, in the colour of whoever gave it.
 */

import { cameFrom, elsewhere, Origin, type Room, server, type Viewer, viewersMax } from "./model";
import { nodeColours } from "./drawing";
import type { FilmFile } from "./server";

/** How long a refused block flashes, in ms. */
const flashMs = 2_400;

/** A lane: a file and its place in the strip, in CSS pixels. */
interface Lane {
  file: FilmFile;
  y: number;
  h: number;
}

/** The files of a film in the order of their lanes: the highest picture first, sound last. */
export function laneFiles(files: readonly FilmFile[]): FilmFile[] {
  return [...files].sort((a, b) => Number(a.kind === "audio") - Number(b.kind === "audio") || b.height - a.height);
}

/** One viewer's strip on a canvas. */
export class Strip {
  private readonly canvas: HTMLCanvasElement;
  private readonly colours: string[] = [];
  private width = 0;
  private height = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.canvas = canvas;
    const style = getComputedStyle(canvas);
    const read = (name: string) => style.getPropertyValue(name).trim();
    this.colours[Origin.none] = read("--piece-none");
    this.colours[Origin.cache] = read("--from-cache");
    this.colours[Origin.bad] = read("--bad");
    for (const node of [server, ...Array.from({ length: viewersMax }, (_, i) => i + 1), elsewhere]) {
      this.colours[cameFrom(node)] = read(nodeColours[node]!);
    }
  }

  /** Takes the canvas's size on the page. */
  fit(): void {
    const scale = Math.min(2, devicePixelRatio);
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * scale);
    this.canvas.height = Math.round(this.height * scale);
  }

  /** Draws every piece. Returns whether something flashes, so that it should soon be drawn again. */
  draw(room: Room, viewer: Viewer | undefined, now: number): boolean {
    const context = this.canvas.getContext("2d");
    if (!context || this.width === 0) return false;
    const scale = this.canvas.width / this.width;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    let flashing = false;
    for (const lane of this.lanes(room.film.files)) {
      const { file, y, h } = lane;
      file.starts_ms.forEach((start, k) => {
        const piece = file.first_piece + k;
        const end = file.starts_ms[k + 1] ?? room.film.duration_ms;
        const x = this.x(room, start);
        const w = Math.max(1, this.x(room, end) - x);
        const code = viewer?.pieces[piece] ?? Origin.none;
        context.fillStyle = this.colours[code] ?? "#fff";
        context.fillRect(x, y, w - (w > 3 ? 0.8 : 0), h);
        const hurt = viewer?.scars.get(piece);
        if (hurt === undefined) return;
        // A refused block: a flash around its piece, then a red mark for good.
        context.fillStyle = this.colours[Origin.bad]!;
        const age = now - hurt;
        if (age < flashMs) {
          flashing = true;
          const grow = 3 * (1 - age / flashMs) * (Math.floor(age / 200) % 2 === 0 ? 1 : 0.3);
          context.globalAlpha = 1 - age / flashMs;
          context.fillRect(x - 2 - grow, 0, w + 4 + 2 * grow, this.height);
          context.globalAlpha = 1;
        }
        context.fillRect(x, y, Math.max(2.5, w - 0.8), 3);
      });
    }
    return flashing;
  }

  /** The piece under a point of the canvas. */
  pieceAt(room: Room, x: number, y: number): number | undefined {
    const lane = this.lanes(room.film.files).find((l) => y >= l.y - 1 && y < l.y + l.h + 1);
    if (!lane || this.width === 0) return undefined;
    const ms = (x / this.width) * room.film.duration_ms;
    const next = lane.file.starts_ms.findIndex((start) => start > ms);
    return lane.file.first_piece + (next === -1 ? lane.file.starts_ms.length : next) - 1;
  }

  private x(room: Room, ms: number): number {
    return (ms / room.film.duration_ms) * this.width;
  }

  private lanes(files: readonly FilmFile[]): Lane[] {
    const ordered = laneFiles(files);
    const gap = 2;
    const weights = ordered.map((f) => (f.kind === "audio" ? 1 : 2));
    const unit = (this.height - gap * (ordered.length - 1)) / weights.reduce((a, b) => a + b, 0);
    let y = 0;
    return ordered.map((file, i) => {
      const h = unit * weights[i]!;
      const lane = { file, y, h };
      y += h + gap;
      return lane;
    });
  }
}
