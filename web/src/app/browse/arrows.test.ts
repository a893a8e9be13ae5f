import { expect, test } from "vitest";
import { type Box, nearest } from "./arrows";
import { collapsed } from "./collapse";
import type { Title } from "./requests";

const box = (left: number, top: number): Box => ({ left, top, right: left + 90, bottom: top + 50 });
// Two rows, the lower one scrolled by half a card.
const boxes = [box(0, 0), box(100, 0), box(200, 0), box(-50, 100), box(50, 100), box(150, 100)];

test("sideways one stays in the line, and stops at its end", () => {
  expect(nearest(boxes[1], boxes, "ArrowRight")).toBe(2);
  expect(nearest(boxes[1], boxes, "ArrowLeft")).toBe(0);
  expect(nearest(boxes[0], boxes, "ArrowLeft")).toBe(-1);
  expect(nearest(boxes[2], boxes, "ArrowRight")).toBe(-1);
});

test("up and down go to the nearest line, to what is most below or above", () => {
  expect(nearest(boxes[2], boxes, "ArrowDown")).toBe(5);
  expect(nearest(boxes[4], boxes, "ArrowUp")).toBe(0);
  expect(nearest(boxes[0], boxes, "ArrowUp")).toBe(-1);
  expect(nearest(boxes[0], [...boxes, box(0, 300)], "ArrowDown")).toBe(3);
});

test("a series stands in a list once", () => {
  const title = (id: string, series?: string) =>
    ({ id, ...(series && { series: { id: series, name: series, season: 1, episode: 1 } }) }) as Title;
  const list = [title("a"), title("e2", "s"), title("e1", "s"), title("x1", "t"), title("b")];
  expect(collapsed(list).map(({ id }) => id)).toEqual(["a", "e2", "x1", "b"]);
});
