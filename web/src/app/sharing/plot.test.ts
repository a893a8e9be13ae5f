import { expect, test } from "vitest";
import { draw, follow, type Second, secondsMax, sum } from "./plot";

const totals = (peerBytes: number, originBytes: number, sentBytes: number) => ({ peerBytes, originBytes, sentBytes });

test("seconds are the differences of totals, and the latest minute of them is kept", () => {
  let seconds: Second[] = follow([], undefined, totals(5, 5, 5));
  expect(seconds).toEqual([]);
  for (let i = 0; i < secondsMax + 10; i++) {
    seconds = follow(seconds, totals(i * 10, i, 0), totals((i + 1) * 10, i + 1, i));
  }
  expect(seconds).toHaveLength(secondsMax);
  expect(seconds.at(-1)).toEqual({ viewers: 10, server: 1, given: secondsMax + 9 });
  expect(sum(seconds)).toMatchObject({ viewers: 600, server: 60 });
});

test("a new player, whose counts begin anew, does not draw a fall", () => {
  expect(follow([], totals(900, 900, 900), totals(7, 8, 9))).toEqual([{ viewers: 7, server: 8, given: 9 }]);
});

test("the tallest second reaches the top, the latest is at the right, and areas end on the ground", () => {
  const { viewers, server, given } = draw(
    [
      { viewers: 0, server: 0, given: 0 },
      { viewers: 50, server: 50, given: 100 },
    ],
    59,
    11,
  );
  expect(viewers).toBe("M58 11L58 11L59 6L59 11Z");
  expect(server).toBe("M58 11L58 11L59 1L59 11Z");
  expect(given).toBe("M58 11L59 1");
  expect(draw([{ viewers: 1, server: 1, given: 1 }], 59, 11).viewers).toBe("");
});
