import { describe, expect, test } from "vitest";
import { type Box, place } from "./layout";

const overlap = (a: Box, b: Box) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

describe.each([
  [354, 400],
  [1164, 371],
  [1164, 480],
  [1740, 640],
])("a stage of %i by %i pixels", (width, height) => {
  test.each([1, 2, 3, 4])("has room for %i viewers of one size", (count) => {
    const places = place(width, height, count);
    expect(places.frames).toHaveLength(Math.max(2, count));
    for (const [i, frame] of places.frames.entries()) {
      expect(frame.x).toBeGreaterThanOrEqual(0);
      expect(frame.x + frame.w).toBeLessThanOrEqual(width);
      expect(frame.y).toBeGreaterThanOrEqual(0);
      expect(frame.y + frame.h).toBeLessThanOrEqual(places.height);
      expect([frame.w, frame.h]).toEqual([places.frames[0]!.w, places.frames[0]!.h]);
      for (const other of places.frames.slice(i + 1)) expect(overlap(frame, other)).toBe(false);
      const node = places.nodes[i + 1]!;
      expect(overlap({ ...node, w: 1, h: 1 }, { x: frame.x - 2, y: frame.y - 2, w: frame.w + 4, h: frame.h + 4 })).toBe(
        true,
      );
    }
    const server = { x: places.nodes[0]!.x - 30, y: places.nodes[0]!.y - 30, w: 60, h: 60 };
    for (const frame of places.frames) expect(overlap(frame, server)).toBe(false);
  });
});
