/** What the operator's figures mean, apart from how they are shown. */

import type { Comparison } from "./requests";

/** What a comparison tells. */
export type Verdict = "better" | "same" | "worse" | "unknown";

/**
 * Whether viewers who share fare better or worse than those held out, beyond what chance does: the interval must leave out "no
 * difference", which is 1 for start-up times, whose difference is a ratio, and 0 for the others.
 */
export function verdict({ measure, known, low, high }: Comparison): Verdict {
  if (!known) return "unknown";
  const none = measure === "startup_ms" ? 1 : 0;
  if (high < none) return "better";
  return low > none ? "worse" : "same";
}

/** Reads a text of one item a line; spaces and empty lines do not count, and nothing twice. */
export function lines(text: string): string[] {
  return [
    ...new Set(
      text
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== ""),
    ),
  ];
}
