import { createHash, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  blocks,
  blockSize,
  checkHashes,
  type Bytes,
  fold,
  fromHex,
  fullProof,
  hashOf,
  leavesOf,
  toHex,
} from "./merkle";
import { makeTree } from "./testing";

const sha = (...parts: Uint8Array[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

describe("fold", () => {
  test("joins pairs and pads with zero digests", async () => {
    const [a, b, c] = [sha(Buffer.from("a")), sha(Buffer.from("b")), sha(Buffer.from("c"))];
    const zero = new Uint8Array(32);
    expect(toHex(await fold(Uint8Array.from([...a, ...b]), 2))).toBe(toHex(sha(a, b)));
    expect(toHex(await fold(Uint8Array.from([...a, ...b, ...c]), 4))).toBe(toHex(sha(sha(a, b), sha(c, zero))));
    expect(toHex(await fold(Uint8Array.from(a), 4))).toBe(toHex(sha(sha(a, zero), sha(zero, zero))));
    expect(toHex(await fold(new Uint8Array(0), 2))).toBe(toHex(sha(zero, zero)));
  });

  test("pads an inner layer with that layer's padding", async () => {
    const node = sha(Buffer.from("piece"));
    const zero = new Uint8Array(32);
    const p2 = sha(sha(zero, zero), sha(zero, zero));
    expect(toHex(await fold(Uint8Array.from(node), 2, 2))).toBe(toHex(sha(node, p2)));
  });

  test("refuses a width that does not hold the nodes", async () => {
    await expect(fold(new Uint8Array(96), 2)).rejects.toThrow(RangeError);
    await expect(fold(new Uint8Array(96), 3)).rejects.toThrow(RangeError);
  });
});

test("leavesOf digests a short last block as it is", async () => {
  const data = new Uint8Array(randomBytes(blockSize + 5));
  const want = toHex(sha(data.subarray(0, blockSize))) + toHex(sha(data.subarray(blockSize)));
  expect(toHex(await leavesOf(data))).toBe(want);
});

describe("checkHashes", () => {
  const sizes = [2, 3, 4, 5, 7, 8, 9, 16, 17, 33].map((pieces) => (pieces - 1) * 4 * blockSize + 777);

  test.each(sizes)("accepts every true answer over the piece layer of %i bytes", async (size) => {
    const tree = makeTree(new Uint8Array(randomBytes(size)), 4 * blockSize);
    const width = tree.width / 4;
    for (let length = 2; length <= width; length *= 2) {
      for (let index = 0; index < width; index += length) {
        const request = { base: 2, index, length, proof: fullProof(2, length, blocks(size)) };
        expect(await checkHashes(tree.root, request, blocks(size), tree.answer(request))).toBe(true);
      }
    }
  });

  test("refuses a wrong digest, uncle, order, place, count and root", async () => {
    const size = 23 * blockSize;
    const count = blocks(size);
    const tree = makeTree(new Uint8Array(randomBytes(size)), 4 * blockSize);
    const request = { base: 2, index: 2, length: 2, proof: fullProof(2, 2, count) };
    const answer = tree.answer(request);
    const check = (r: typeof request, a: Bytes, root = tree.root) => checkHashes(root, r, count, a);
    expect(await check(request, answer)).toBe(true);
    for (const at of [0, 63, 64, answer.length - 1]) {
      const wrong = answer.slice();
      wrong[at] ^= 1;
      expect(await check(request, wrong)).toBe(false);
    }
    const swapped = Uint8Array.from([...answer.subarray(32, 64), ...answer.subarray(0, 32), ...answer.subarray(64)]);
    expect(await check(request, swapped)).toBe(false);
    expect(await check({ ...request, index: 4 }, answer)).toBe(false);
    expect(await check({ ...request, index: 1 }, answer)).toBe(false);
    expect(await check({ ...request, length: 3 }, answer)).toBe(false);
    expect(await check({ ...request, proof: request.proof - 1 }, answer)).toBe(false);
    expect(await check({ ...request, proof: 99 }, answer)).toBe(false);
    expect(await check({ ...request, base: 40 }, answer)).toBe(false);
    expect(await check({ ...request, index: -2 }, answer)).toBe(false);
    expect(await check(request, answer.slice(0, -32))).toBe(false);
    expect(await check(request, Uint8Array.from([...answer, ...answer.subarray(0, 32)]))).toBe(false);
    expect(await check(request, answer, sha(tree.root))).toBe(false);
  });
});

test("a file of one piece has the tree of its own blocks as its root", async () => {
  const data = new Uint8Array(randomBytes(2 * blockSize + 9));
  expect(toHex(await hashOf(data, 4))).toBe(toHex(makeTree(data, 8 * blockSize).root));
});

test("fromHex refuses what is not lower-case hexadecimal", () => {
  expect(toHex(fromHex("00ff10"))).toBe("00ff10");
  for (const bad of ["0", "0G", "FF", "0x"]) expect(() => fromHex(bad)).toThrow(RangeError);
});
