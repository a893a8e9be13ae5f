import { expect, test } from "vitest";
import type { HashRequest } from "../player/merkle";
import { HashFile } from "./hashfile";
import type { Bytes } from "./record";
import { bytes, Disk } from "./testing";

const request = (index: number): HashRequest => ({ base: 2, index, length: 512, proof: 9 });
const answer = (seed: number): Bytes => bytes(32 * 514, seed);
const is = (got: Bytes | undefined, seed: number) => got !== undefined && Buffer.compare(got, answer(seed)) === 0;
const open = (disk: Disk, pieces = 4 * 512) => new HashFile(disk.handle("h"), pieces);

test("kept answers are found again, and a file cut or killed at any byte keeps all that were whole", () => {
  const disk = new Disk();
  const kept = open(disk);
  for (const i of [0, 1, 2]) kept.put(request(512 * i), answer(i));
  kept.put(request(0), answer(0)); // it is there
  const whole = disk.files.get("h")!;
  const record = 20 + answer(0).length;
  expect(whole.length).toBe(3 * record);
  for (let cut = 0; cut <= whole.length; cut += 613) {
    const next = new Disk();
    next.files.set("h", whole.slice(0, cut));
    const found = open(next);
    const n = Math.floor(cut / record);
    for (const i of [0, 1, 2]) expect(is(found.get(request(512 * i)), i), `record ${i} of ${cut} bytes`).toBe(i < n);
    found.put(request(512 * 3), answer(3)); // over what is torn
    expect(next.files.get("h")!.length).toBe((n + 1) * record);
    expect(is(open(next).get(request(512 * 3)), 3)).toBe(true);
  }
});

test("the file never grows beyond what the answers of its piece layer need, and what is new is kept", () => {
  const disk = new Disk();
  const kept = open(disk);
  for (let round = 0; round < 20; round++) {
    kept.put(request(0), answer(round));
    expect(disk.files.get("h")!.length).toBeLessThanOrEqual(kept.max);
    expect(is(open(disk).get(request(0)), round)).toBe(true);
  }
  kept.put(request(512), bytes(32 * 100_000, 1));
  expect(kept.get(request(512))).toBeUndefined();
});

test("a disk that is full keeps what it had", () => {
  const disk = new Disk();
  const kept = open(disk);
  kept.put(request(0), answer(0));
  disk.room = disk.files.get("h")!.length;
  expect(() => kept.put(request(512), answer(1))).toThrow();
  expect(kept.get(request(512))).toBeUndefined();
  expect(is(open(disk).get(request(0)), 0)).toBe(true);
});
