/**
 * The answers to hash requests (BEP 52) of one media file's piece layer, in a file beside its cached pieces, so that these can be
 * proven at the next visit though neither origin nor peers have the hashes at hand. The form is that of Go's
 * `internal/host/native/hashfile.go`: records, each
 *
 *     base, index, length, proof (4 each, big-endian), number of digests (4), digests (32 each)
 *
 * It must stay small, and be of use after a kill at any byte. Records are only ever added, so that a kill leaves at most a torn
 * last one; that, and whatever else cannot be read, ends the reading and is written over. Nothing in it is believed: what it gives
 * is held against the file's root by who asks.
 */

import type { HashRequest } from "../player/merkle";
import type { SyncFile } from "./cachefile";
import type { Bytes } from "./record";

const headSize = 20;
const digestSize = 32;
/** So many pieces one answer covers at most: `KnownChunk` of internal/bt. */
export const layerChunk = 512;
const unclesMax = 64; // no tree has more levels
const chunksMax = 1 << 15;

const keyOf = ({ base, index, length, proof }: HashRequest): string => `${base} ${index} ${length} ${proof}`;

/** What is kept of one media file's piece layer. */
export class HashFile {
  /** Bytes that it takes at most: what all answers of its piece layer need. */
  readonly max: number;
  private readonly file: SyncFile;
  private readonly answers = new Map<string, Bytes>();
  private size = 0; // of the file, as far as it could be read

  /** Opens the file of a media file with so many pieces. Throws where it cannot be read. */
  constructor(file: SyncFile, pieces: number) {
    this.file = file;
    this.max = HashFile.most(pieces);
    const b = new Uint8Array(Math.min(file.getSize(), this.max));
    this.load(b.subarray(0, file.read(b, { at: 0 })));
  }

  /** Bytes that the file of a media file with so many pieces takes at most. */
  static most(pieces: number): number {
    const chunks = Math.min(Math.ceil(pieces / layerChunk), chunksMax);
    return chunks * (headSize + digestSize * (layerChunk + unclesMax));
  }

  /** The answer that is kept for a request, the digests in a row; undefined: none. */
  get(request: HashRequest): Bytes | undefined {
    return this.answers.get(keyOf(request));
  }

  /** Keeps an answer, in place of any other to that request. Throws when the disk will not take it; it is then not kept. */
  put(request: HashRequest, answer: Bytes): void {
    const key = keyOf(request);
    const old = this.answers.get(key);
    const length = headSize + answer.length;
    if (length > this.max || (old?.length === answer.length && old.every((x, i) => x === answer[i]))) return;
    // There is room for all true answers: what is full has others, and begins anew.
    if (this.size + length > this.max) this.clear();
    const b = new Uint8Array(length);
    const v = new DataView(b.buffer);
    const { base, index, length: nodes, proof } = request;
    [base, index, nodes, proof, answer.length / digestSize].forEach((n, i) => v.setUint32(4 * i, n));
    b.set(answer, headSize);
    this.file.truncate(this.size); // what a torn record left behind goes first
    if (this.file.write(b, { at: this.size }) !== length) throw new Error("the disk takes no more");
    this.size += length;
    this.answers.set(key, b.subarray(headSize));
  }

  /** Drops the answer to a request, which was found to be wrong. */
  forget(request: HashRequest): void {
    this.answers.delete(keyOf(request));
  }

  /** Lets the file go. */
  close(): void {
    this.file.close();
  }

  private clear(): void {
    this.answers.clear();
    this.size = 0;
  }

  private load(b: Bytes): void {
    const v = new DataView(b.buffer, b.byteOffset, b.length);
    for (let at = 0; at + headSize <= b.length; at = this.size) {
      const [base, index, length, proof, n] = [0, 4, 8, 12, 16].map((o) => v.getUint32(at + o)) as [
        number,
        number,
        number,
        number,
        number,
      ];
      const end = at + headSize + digestSize * n;
      if (n === 0 || end > b.length) return;
      this.answers.set(keyOf({ base, index, length, proof }), b.subarray(at + headSize, end));
      this.size = end;
    }
  }
}
