import { expect, test } from "vitest";
import { Silence, silentAfterMs } from "./silence";

test("fifteen seconds of waiting without a byte are told of, until one comes", () => {
  const silence = new Silence();
  for (let now = 0; now < silentAfterMs; now += 1_000) expect(silence.look(true, 0, now)).toBe(false);
  expect(silence.look(true, 0, silentAfterMs)).toBe(true);
  expect(silence.look(true, 0, silentAfterMs + 60_000)).toBe(true);
  expect(silence.look(true, 16_384, 80_000)).toBe(false);
  expect(silence.look(true, 16_384, 80_000 + silentAfterMs - 1)).toBe(false);
  expect(silence.look(true, 16_384, 80_000 + silentAfterMs)).toBe(true);
});

test("a slow line is not silent, and who does not wait hears nothing", () => {
  const silence = new Silence();
  for (let second = 0; second < 600; second++)
    expect(silence.look(true, 100 * Math.floor(second / 10), second * 1_000)).toBe(false);
  for (let second = 600; second < 700; second++) expect(silence.look(false, 6_000, second * 1_000)).toBe(false);
  expect(silence.look(true, 6_000, 701_000)).toBe(false); // it begins to wait
});
