/**
 * The record of the engine's inputs and outputs: the TypeScript twin of Go's package `internal/engine/record`, whose
 * package comment draws the layout. It must lose nothing and refuse what is malformed; all numbers are little-endian.
 */

import { inputHead, outputHead, sizeMax } from "./kinds.gen";

/** Bytes that can be transferred between threads: never a view of shared memory. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** One thing that happened. `kind` says which fields count (see internal/engine/step.go); those left out are zero. */
export interface Input {
  /** An `InputKind`. */
  kind: number;
  flags?: number;
  reason?: number;
  peer?: number;
  ref?: number;
  file?: number;
  piece?: number;
  begin?: number;
  length?: number;
  from?: number;
  to?: number;
  /** 32 bytes. */
  digest?: Uint8Array;
  /** Read while the input is written and not kept. */
  data?: Uint8Array;
}

/** One thing to do. `kind` says which fields count; the others are zero. */
export interface Output {
  /** An `OutputKind`. */
  kind: number;
  /** A `NoteKind`, of a note. */
  note: number;
  flags: number;
  reason: number;
  source: number;
  peer: number;
  ref: number;
  file: number;
  piece: number;
  begin: number;
  length: number;
  index: number;
  base: number;
  proof: number;
  from: number;
  to: number;
  /** A copy of its own. */
  data: Bytes;
}

/** The engine's host wrote or read bytes that are no record. */
export class RecordError extends Error {
  override readonly name = "RecordError";
}

const none: Bytes = new Uint8Array(0);
const two32 = 2 ** 32;

/** How many bytes `writeInput` will write. */
export function inputSize(input: Input): number {
  return inputHead + (input.data?.length ?? 0);
}

/** Writes the input's record into `to`, which must hold `inputSize` bytes at `at`; returns the offset behind it. */
export function writeInput(to: Uint8Array, at: number, input: Input): number {
  const size = inputSize(input);
  if (size > sizeMax) throw new RecordError(`an input of ${size} bytes`);
  const v = new DataView(to.buffer, to.byteOffset + at, inputHead);
  v.setUint32(0, size, true);
  v.setUint8(4, input.kind);
  v.setUint8(5, 0);
  v.setUint16(6, input.flags ?? 0, true);
  v.setUint16(8, input.reason ?? 0, true);
  v.setUint16(10, 0, true);
  v.setUint32(12, input.peer ?? 0, true);
  v.setUint32(16, input.ref ?? 0, true);
  v.setUint32(20, input.file ?? 0, true);
  v.setUint32(24, input.piece ?? 0, true);
  v.setUint32(28, input.begin ?? 0, true);
  v.setUint32(32, input.length ?? 0, true);
  v.setUint32(36, 0, true);
  setInt64(v, 40, input.from ?? 0);
  setInt64(v, 48, input.to ?? 0);
  setInt64(v, 56, 0);
  to.fill(0, at + 64, at + inputHead);
  if (input.digest) {
    if (input.digest.length !== 32) throw new RecordError("a digest that is not 32 bytes");
    to.set(input.digest, at + 64);
  }
  if (input.data) to.set(input.data, at + inputHead);
  return at + size;
}

/** Reads all output records in `from`. Throws a RecordError for anything else. */
export function readOutputs(from: Uint8Array): Output[] {
  const outputs: Output[] = [];
  const v = new DataView(from.buffer, from.byteOffset, from.byteLength);
  for (let at = 0; at < from.length;) {
    const size = recordSize(v, at, outputHead);
    outputs.push({
      kind: v.getUint8(at + 4),
      note: v.getUint8(at + 5),
      flags: v.getUint16(at + 6, true),
      reason: v.getUint16(at + 8, true),
      source: v.getUint16(at + 10, true),
      peer: v.getUint32(at + 12, true),
      ref: v.getUint32(at + 16, true),
      file: v.getUint32(at + 20, true),
      piece: v.getUint32(at + 24, true),
      begin: v.getUint32(at + 28, true),
      length: v.getUint32(at + 32, true),
      index: v.getUint32(at + 36, true),
      from: getInt64(v, at + 40),
      to: getInt64(v, at + 48),
      base: v.getUint32(at + 56, true),
      proof: v.getUint32(at + 60, true),
      data: size === outputHead ? none : (from.slice(at + outputHead, at + size) as Bytes),
    });
    at += size;
  }
  return outputs;
}

/** The size of the record at `at`, head and data, checked against what there is. */
export function recordSize(v: DataView, at: number, head: number): number {
  if (at + head > v.byteLength) throw new RecordError("a record cut short");
  const size = v.getUint32(at, true);
  if (size < head || size > sizeMax || at + size > v.byteLength) throw new RecordError(`a record of ${size} bytes`);
  return size;
}

// Offsets and film times stay far below 2^53, so the two halves of an int64 are enough and cheaper than a BigInt.
function setInt64(v: DataView, at: number, n: number): void {
  v.setUint32(at, n >>> 0, true);
  v.setInt32(at + 4, Math.floor(n / two32), true);
}

function getInt64(v: DataView, at: number): number {
  return v.getInt32(at + 4, true) * two32 + v.getUint32(at, true);
}
