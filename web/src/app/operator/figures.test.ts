import { expect, test } from "vitest";
import { lines, verdict } from "./figures";
import type { Comparison } from "./requests";

const measured = (measure: Comparison["measure"], low: number, high: number, known = true): Comparison => ({
  measure,
  known,
  low,
  high,
  sharing: 0,
  hold_out: 0,
  sharing_sessions: 0,
  hold_out_sessions: 0,
  difference: 0,
});

test.each([
  [measured("stalls_per_hour", -0.2, -0.1), "better"],
  [measured("stalls_per_hour", -0.2, 0.1), "same"],
  [measured("stalls_per_hour", 0.1, 0.2), "worse"],
  [measured("startup_ms", 0.8, 0.9), "better"],
  [measured("startup_ms", 0.9, 1.1), "same"],
  [measured("startup_ms", 1.01, 1.2), "worse"],
  [measured("failed_share", 0, 0, false), "unknown"],
])("an interval that leaves out no difference is told: %o", (comparison, want) => {
  expect(verdict(comparison)).toBe(want);
});

test("a list is read line by line", () => {
  expect(lines(" AS64500 \n\n192.0.2.0/24\nAS64500\n")).toEqual(["AS64500", "192.0.2.0/24"]);
  expect(lines("")).toEqual([]);
});
