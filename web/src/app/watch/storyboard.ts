/** The small pictures that whoever seeks is shown. */

import type { PlayStoryboard } from "../../player";

/** Where a picture lies in the storyboard, as a background is placed, in pixels. */
export interface Cell {
  x: number;
  y: number;
}

/** cellAt finds the picture of a second of film. */
export function cellAt({ interval_ms, pictures, across, width, height }: PlayStoryboard, second: number): Cell {
  const n = Math.min(pictures - 1, Math.max(0, Math.floor((second * 1_000) / interval_ms)));
  const row = Math.floor(n / across);
  return { x: -(n - row * across) * width, y: -row * height };
}
