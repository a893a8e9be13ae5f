/**
 * Where a viewer has come to, so that they go on there on any device. It must not remember what was only looked into, nor
 * lose a film's place because a page was closed.
 */

import type { PositionChange } from "../../player";

/** Less than this watched in one visit is a look, and leaves no mark. */
const leastMs = 30_000;

/** How often the place is told while the film plays, in milliseconds of film. */
const everyMs = 30_000;

/** Past this part the film counts as seen: what is left are the credits. */
const seenPart = 0.95;

/** Who goes on finds the last moments again. */
const againMs = 3_000;

/** A title's place while it is watched. */
export class Bookmark {
  #save: (change: PositionChange, leaving: boolean) => void;
  #watchedMs = 0;
  #savedAtMs = 0; // of what was watched
  #position = { position_ms: 0, duration_ms: 0 };
  #seen = false;
  #jumped = true; // where the play head comes to next, it was not played to

  /** `save` tells the service; with `leaving` it must outlive the page. */
  constructor(save: (change: PositionChange, leaving: boolean) => void) {
    this.#save = save;
  }

  /** The play head is there, in milliseconds of film. Call several times a second while it moves. */
  moved(position: number, duration: number): void {
    const step = position - this.#position.position_ms;
    if (step > 0 && !this.#jumped) this.#watchedMs += step;
    this.#jumped = false;
    this.#position = { position_ms: Math.round(position), duration_ms: Math.round(duration) };
    if (this.#watchedMs - this.#savedAtMs >= everyMs || (!this.#seen && this.#isOver())) this.tell();
  }

  /** The viewer jumps: what lies between is not watched. */
  jumped(): void {
    this.#jumped = true;
  }

  /** Tells the place now, if there is anything to tell: at a pause, or when the page is left. */
  tell(leaving = false): void {
    if (this.#watchedMs < leastMs || this.#watchedMs === this.#savedAtMs || this.#position.duration_ms <= 0) return;
    const over = this.#isOver();
    if (over && this.#seen) return;
    this.#seen = over;
    this.#savedAtMs = this.#watchedMs;
    // A film that has been seen is not begun again at its credits.
    this.#save(over ? { ...this.#position, position_ms: this.#position.duration_ms } : this.#position, leaving);
  }

  #isOver(): boolean {
    const { position_ms, duration_ms } = this.#position;
    return duration_ms > 0 && position_ms > seenPart * duration_ms;
  }
}

/** resumeAt is where to begin, in milliseconds of film, given where the viewer had come to; 0: at the beginning. */
export function resumeAt({ position_ms, duration_ms }: PositionChange): number {
  if (position_ms < leastMs || position_ms > seenPart * duration_ms) return 0;
  return position_ms - againMs;
}
