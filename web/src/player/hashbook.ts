/**
 * The hashes of a session's pieces, each proven against its file's v2 root before anybody sees it: first those that came
 * with the play session, then `/hashes/…` in chunks of up to 512, fetched as they are needed.
 */

import {
  blockSize,
  blocks,
  checkHashes,
  digestSize,
  fromBase64,
  fromHex,
  fullProof,
  log2,
  nextPower,
  type Bytes,
  type HashRequest,
} from "./merkle";
import { type Origin, sourceError } from "./origin";
import type { PlayFile, PlaySession } from "./session";

/** BEP 52 advises at most 512 hashes a request: 16 KiB, seven minutes of film at 512 KiB a piece and 5 Mbit/s. */
const chunkHashes = 512;

/** The hashes of all pieces of a play session. */
export class HashBook {
  #session: PlaySession;
  #origin: Origin;
  #signal: AbortSignal;
  #first: Promise<Bytes | undefined>[];
  #chunks = new Map<string, Promise<Bytes>>();

  /** The signal ends every fetch of the book. */
  constructor(session: PlaySession, origin: Origin, signal: AbortSignal) {
    this.#session = session;
    this.#origin = origin;
    this.#signal = signal;
    this.#first = session.files.map((file) => this.#checkFirst(file));
  }

  /**
   * The proven hash of a file's piece (counted within the file), and the number of leaves in the tree it is the root of.
   * Rejects with a SourceError when no origin gives a provable answer.
   */
  async piece(file: number, index: number): Promise<{ hash: Bytes; width: number }> {
    const { size, root } = this.#session.files[file];
    const width = this.#session.piece_length / blockSize;
    if (size <= this.#session.piece_length) return { hash: fromHex(root), width: nextPower(blocks(size)) };
    const first = await this.#first[file];
    if (first && index < first.length / digestSize) return { hash: at(first, index), width };
    const chunk = await this.#chunk(file, Math.floor(index / chunkHashes));
    return { hash: at(chunk, index % chunkHashes), width };
  }

  async #checkFirst(file: PlayFile): Promise<Bytes | undefined> {
    if (!file.first || file.first.index !== 0) return undefined;
    try {
      const answer = fromBase64(file.first.hashes);
      if (file.first.base !== this.#layer() || !(await this.#proven(file, file.first, answer))) return undefined;
      return answer.subarray(0, file.first.length * digestSize);
    } catch {
      return undefined; // then they are asked for like all others
    }
  }

  #chunk(file: number, number: number): Promise<Bytes> {
    const key = `${file}/${number}`;
    let chunk = this.#chunks.get(key);
    if (!chunk) {
      chunk = this.#fetch(this.#session.files[file], number);
      chunk.catch(() => this.#chunks.delete(key)); // so that a later reader may try again
      this.#chunks.set(key, chunk);
    }
    return chunk;
  }

  async #fetch(file: PlayFile, number: number): Promise<Bytes> {
    const base = this.#layer();
    const length = Math.min(chunkHashes, nextPower(Math.ceil(file.size / this.#session.piece_length)));
    const proof = fullProof(base, length, blocks(file.size));
    const request: HashRequest = { base, index: number * length, length, proof };
    return this.#origin.persist(this.#signal, async () => {
      const answer = await this.#origin.hashes(file, request, this.#signal);
      if (!(await this.#proven(file, request, answer))) throw sourceError("corrupt", "hashes do not lead to the root");
      return answer.subarray(0, length * digestSize);
    });
  }

  #proven(file: PlayFile, request: HashRequest, answer: Bytes): Promise<boolean> {
    return checkHashes(fromHex(file.root), request, blocks(file.size), answer);
  }

  #layer(): number {
    return log2(this.#session.piece_length / blockSize);
  }
}

function at(hashes: Bytes, index: number): Bytes {
  return hashes.subarray(index * digestSize, (index + 1) * digestSize);
}
