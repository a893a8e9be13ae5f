import { expect, test } from "vitest";
import type { PositionChange } from "../../player";
import { Bookmark, resumeAt } from "./bookmark";

const hour = 3_600_000;

function make() {
  const saved: (PositionChange & { leaving: boolean })[] = [];
  const bookmark = new Bookmark((change, leaving) => saved.push({ ...change, leaving }));
  /** Plays from there to there, a quarter of a second at a time. */
  const plays = (from: number, to: number, duration = hour) => {
    bookmark.jumped();
    for (let at = from; at <= to; at += 250) bookmark.moved(at, duration);
  };
  return { bookmark, saved, plays };
}

test("what was only looked into leaves no mark", () => {
  const { bookmark, saved, plays } = make();
  plays(0, 29_000);
  bookmark.tell();
  bookmark.tell(true);
  expect(saved).toEqual([]);
});

test("a jump is not watched", () => {
  const { bookmark, saved, plays } = make();
  plays(0, 10_000);
  plays(1_800_000, 1_810_000);
  bookmark.tell(true);
  expect(saved).toEqual([]);
});

test("the place is told every half minute, at a pause, and as the page is left, and nothing is told twice", () => {
  const { bookmark, saved, plays } = make();
  plays(600_000, 665_000);
  expect(saved.map(({ position_ms }) => position_ms)).toEqual([630_000, 660_000]);
  bookmark.tell();
  bookmark.tell();
  bookmark.tell(true);
  expect(saved.slice(2)).toEqual([{ position_ms: 665_000, duration_ms: hour, leaving: false }]);
  plays(665_000, 666_000);
  bookmark.tell(true);
  expect(saved.at(-1)).toEqual({ position_ms: 666_000, duration_ms: hour, leaving: true });
});

test("past 95 % the film is told to be over, once, and its credits are nobody's place", () => {
  const { bookmark, saved, plays } = make();
  plays(0.94 * hour, 0.97 * hour);
  bookmark.tell(true);
  const over = saved.filter(({ position_ms }) => position_ms > 0.95 * hour);
  expect(over).toEqual([{ position_ms: hour, duration_ms: hour, leaving: false }]);
});

test("who begins again after the end is told of again", () => {
  const { bookmark, saved, plays } = make();
  plays(0.94 * hour, hour);
  plays(0, 31_000);
  bookmark.tell();
  expect(saved.at(-1)).toMatchObject({ position_ms: 31_000 });
});

test("a film goes on a little before the place, and begins anew where it was hardly begun or is over", () => {
  expect(resumeAt({ position_ms: 600_000, duration_ms: hour })).toBe(597_000);
  expect(resumeAt({ position_ms: 29_999, duration_ms: hour })).toBe(0);
  expect(resumeAt({ position_ms: 0.951 * hour, duration_ms: hour })).toBe(0);
});
