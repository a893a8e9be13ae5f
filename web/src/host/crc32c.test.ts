import { expect, test } from "vitest";
import { crc32c } from "./crc32c";

const of = (length: number, at: (i: number) => number) => Uint8Array.from({ length }, (_, i) => at(i));

test.each([
  ["32 bytes of zeros", of(32, () => 0), 0x8a9136aa],
  ["32 bytes of ones", of(32, () => 0xff), 0x62a8ab43],
  ["32 rising bytes", of(32, (i) => i), 0x46dd794e],
  ["32 falling bytes", of(32, (i) => 31 - i), 0x113fdb5c],
  ["the digits from 1 to 9", new TextEncoder().encode("123456789"), 0xe3069283],
  ["nothing", new Uint8Array(0), 0],
])("RFC 3720's checksum of %s", (_, bytes, sum) => {
  expect(crc32c(bytes)).toBe(sum);
});

test("a checksum goes on where another ended, at any byte", () => {
  const bytes = of(41, (i) => i * 37);
  const whole = crc32c(bytes);
  for (let at = 0; at <= bytes.length; at++)
    expect(crc32c(bytes.subarray(at), crc32c(bytes.subarray(0, at)))).toBe(whole);
});

test("a checksum does not depend on where the bytes lie", () => {
  const room = new Uint8Array(64);
  for (let at = 0; at < 8; at++) {
    const bytes = room.subarray(at, at + 45);
    bytes.set(of(45, (i) => i * 37));
    expect(crc32c(bytes)).toBe(crc32c(of(45, (i) => i * 37)));
    expect(crc32c(bytes)).toBe(0xa49ea26a);
  }
});
