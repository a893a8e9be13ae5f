/**
 * The hash trees of BEP 52, as a page without an engine checks them: SHA-256 leaves of 16 KiB blocks, padded with zero
 * digests to a power of two, folded in pairs up to the file's "pieces root". It must accept exactly what `internal/bt`
 * accepts. Digests are kept concatenated, 32 bytes each, as they travel.
 */

/** The size of a block: the leaf of a v2 hash tree, in bytes. */
export const blockSize = 16 * 1024;

/** The size of a digest, in bytes. */
export const digestSize = 32;

/** Bytes that own, or look into, an ordinary buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A hash request of BEP 52: `length` nodes of layer `base` from `index` on, with uncles for `proof` layers above. */
export interface HashRequest {
  base: number;
  index: number;
  length: number;
  proof: number;
}

/** sha256 digests by WebCrypto, which exists in secure contexts only (HTTPS and localhost). */
export async function sha256(data: BufferSource): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

/** blocks is the number of 16 KiB blocks, the last perhaps short, in `size` bytes. */
export function blocks(size: number): number {
  return Math.ceil(size / blockSize);
}

/** nextPower is the least power of two that is no less than `n`, and 1 for 0. */
export function nextPower(n: number): number {
  let power = 1;
  while (power < n) power *= 2;
  return power;
}

/** log2 is the exponent of a power of two. */
export function log2(power: number): number {
  return Math.round(Math.log2(power));
}

/** treeHeight is the layer of the root above a file of so many blocks; the leaves are layer 0. */
export function treeHeight(blockCount: number): number {
  return log2(nextPower(blockCount));
}

/** padding[n] is the node of layer n that covers no block. */
const padding: Promise<Bytes>[] = [Promise.resolve(new Uint8Array(digestSize))];

function paddingOf(layer: number): Promise<Bytes> {
  for (let n = padding.length; n <= layer; n++) {
    padding.push(padding[n - 1].then((below) => join(below, below)));
  }
  return padding[layer];
}

function join(left: Uint8Array, right: Uint8Array): Promise<Bytes> {
  const pair = new Uint8Array(2 * digestSize);
  pair.set(left);
  pair.set(right, digestSize);
  return sha256(pair);
}

/**
 * fold is the root of the balanced tree over `width` nodes, of which `nodes` holds the first and the others are padding.
 * The nodes belong to `layer` (0: leaves). It throws a RangeError unless `width` is a power of two that holds them.
 */
export async function fold(nodes: Bytes, width: number, layer = 0): Promise<Bytes> {
  let count = nodes.length / digestSize;
  if (!Number.isInteger(count) || width < 1 || width !== nextPower(width) || width < count) {
    throw new RangeError("a tree's width must be a power of two and hold its nodes");
  }
  if (count === 0) return paddingOf(layer + log2(width));
  for (; width > 1; width /= 2, layer++) {
    const above = Math.ceil(count / 2);
    const pairs = new Uint8Array(above * 2 * digestSize);
    pairs.set(nodes.subarray(0, count * digestSize));
    if (count % 2 === 1) pairs.set(await paddingOf(layer), count * digestSize);
    const joined = new Uint8Array(above * digestSize);
    await Promise.all(
      Array.from({ length: above }, async (_, i) => {
        joined.set(await sha256(pairs.subarray(2 * i * digestSize, 2 * (i + 1) * digestSize)), i * digestSize);
      }),
    );
    nodes = joined;
    count = above;
  }
  return nodes.subarray(0, digestSize);
}

/** leavesOf digests each 16 KiB block of `data`, which begins on a block. */
export async function leavesOf(data: Bytes): Promise<Bytes> {
  const count = blocks(data.length);
  const leaves = new Uint8Array(count * digestSize);
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      leaves.set(await sha256(data.subarray(i * blockSize, (i + 1) * blockSize)), i * digestSize);
    }),
  );
  return leaves;
}

/** hashOf is the node that covers `data` in a tree where it has `width` leaves: a piece's hash, or a small file's root. */
export async function hashOf(data: Bytes, width: number): Promise<Bytes> {
  return fold(await leavesOf(data), width);
}

/** fullProof is the `proof` with which a request for `length` nodes of layer `base` brings all that leads to the root. */
export function fullProof(base: number, length: number, blockCount: number): number {
  const height = treeHeight(blockCount);
  return length >= 2 ** (height - base) ? 0 : height - base - 1;
}

/**
 * checkHashes tells whether `answer` (`length` digests, then the uncles from below upwards) holds the very nodes that
 * the tree under `root`, of a file of so many blocks, has where `request` asked. It is false for a request that such a
 * file does not have or whose proof cannot reach the root. It trusts nothing, and never throws.
 */
export async function checkHashes(
  root: Uint8Array,
  request: HashRequest,
  blockCount: number,
  answer: Bytes,
): Promise<boolean> {
  const { base, index, length, proof } = request;
  if (![base, index, length, proof, blockCount].every((n) => Number.isSafeInteger(n) && n >= 0)) return false;
  const height = treeHeight(blockCount);
  if (blockCount < 1 || length < 2 || length !== nextPower(length) || index % length !== 0 || base >= height)
    return false;
  if (index + length > 2 ** (height - base) || proof >= height - base) return false;
  const uncles = Math.max(0, proof - (log2(length) - 1));
  if (base + log2(length) + uncles !== height) return false;
  if (answer.length !== (length + uncles) * digestSize) return false;
  let node = await fold(answer.subarray(0, length * digestSize), length, base);
  let place = index / length;
  for (let i = length; i < length + uncles; i++, place = Math.floor(place / 2)) {
    const uncle = answer.subarray(i * digestSize, (i + 1) * digestSize);
    node = await (place % 2 === 0 ? join(node, uncle) : join(uncle, node));
  }
  return sameDigest(node, root);
}

/** sameDigest tells whether two digests are equal. */
export function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** fromHex reads lower-case hexadecimal; it throws a RangeError for anything else. */
export function fromHex(text: string): Bytes {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) throw new RangeError("want lower-case hexadecimal");
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** toHex writes lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** fromBase64 reads standard base64; it throws a DOMException for anything else. */
export function fromBase64(text: string): Bytes {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
