import { expect, test } from "vitest";
import { locateStun } from "./stun";

test("STUN addresses without a host are on the page's host, and none is asked on this machine", () => {
  const given = ["stun::3478", "stun:other.test:1"];
  expect(locateStun(given, "films.test")).toEqual(["stun:films.test:3478", "stun:other.test:1"]);
  expect(locateStun(given, "[2001:db8::1]")).toEqual(["stun:[2001:db8::1]:3478", "stun:other.test:1"]);
  for (const host of ["localhost", "127.0.0.1", "[::1]"])
    expect(locateStun(given, host)).toEqual(["stun:other.test:1"]);
});
