/**
 * Answers the engine's hash requests from what came with the play session, so that no round trip stands before the first
 * byte. It must give exactly what BEP 52 would answer, or nothing: the engine checks it against the root like any other.
 */

import type { PlayFile } from "../player/session";
import type { KnownHashes } from "./fetches";
import type { Bytes } from "./record";

type Digest = (bytes: Bytes) => Promise<Bytes>;

/** Answers from the files' `first` hashes. */
export function knownHashes(files: readonly PlayFile[], digest: Digest): KnownHashes {
  return (file, base, index, length, proof) => {
    const first = files[file]?.first;
    if (!first || first.base !== base || length < 2 || index < first.index) return undefined;
    if (index + length > first.index + first.length || index % length !== 0) return undefined;
    const nodes = decodeBase64(first.hashes);
    if (nodes.length % 32 !== 0 || nodes.length < 32 * first.length) return undefined;
    // An answer's uncles are the siblings on layers log2(length) to proof above base; those within the known range
    // can be computed, those above it are its own uncles.
    const low = Math.log2(length);
    const top = Math.log2(first.length);
    const own = nodes.length / 32 - first.length;
    if (proof > 0 && proof - top >= own) return undefined;
    return answer(nodes, first.length, index - first.index, length, low, top, proof, digest);
  };
}

async function answer(
  nodes: Bytes,
  known: number,
  at: number,
  length: number,
  low: number,
  top: number,
  proof: number,
  digest: Digest,
): Promise<Bytes> {
  const uncles = Math.max(0, proof - low + 1);
  const out = new Uint8Array(32 * (length + uncles));
  out.set(nodes.subarray(32 * at, 32 * (at + length)));
  let layer: Bytes = nodes.slice(0, 32 * known);
  let index = at;
  for (let height = 0; height < low + uncles; height++) {
    if (height >= low) {
      const sibling = height < top ? layer.subarray(32 * (index ^ 1)) : nodes.subarray(32 * (known + height - top));
      out.set(sibling.subarray(0, 32), 32 * (length + height - low));
    }
    if (height < top) layer = await above(layer, digest);
    index >>= 1;
  }
  return out;
}

async function above(layer: Bytes, digest: Digest): Promise<Bytes> {
  const out = new Uint8Array(layer.length / 2);
  const parents: Promise<void>[] = [];
  for (let at = 0; at < layer.length; at += 64) {
    parents.push(digest(layer.slice(at, at + 64)).then((d) => out.set(d, at / 2)));
  }
  await Promise.all(parents);
  return out;
}

function decodeBase64(s: string): Bytes {
  const text = atob(s);
  const b = new Uint8Array(text.length);
  for (let i = 0; i < b.length; i++) b[i] = text.charCodeAt(i);
  return b;
}
