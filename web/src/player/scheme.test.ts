import { expect, test } from "vitest";
import { parseRange } from "./scheme";

test.each([
  [undefined, [0, 100]],
  ["bytes=0-9", [0, 10]],
  ["bytes=90-", [90, 100]],
  ["bytes=90-500", [90, 100]],
  ["bytes=-30", [70, 100]],
  ["bytes=-300", [0, 100]],
])("the range %s of 100 bytes", (header, want) => {
  expect(parseRange(header, 100)).toEqual(want);
});

test.each(["bytes=100-", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=0-1,4-5", "items=0-1", "bytes=a-b", ""])(
  "the range %j cannot be satisfied",
  (header) => {
    expect(parseRange(header, 100)).toBeUndefined();
  },
);
