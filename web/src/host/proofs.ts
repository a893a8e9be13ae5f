/**
 * Where the engine's hash requests are answered from before anybody is asked: what came with the play session, and what the store
 * keeps of earlier visits. It must answer with what leads to the file's root or not at all, and keep nothing but piece layers in
 * the form in which engines ask for them, so that nothing else fills the disk.
 */

import { blocks, blockSize, checkHashes, log2, nextPower, type HashRequest } from "../player/merkle";
import type { KnownHashes } from "./fetches";
import { layerChunk } from "./hashfile";
import type { Bytes } from "./record";
import type { ProofShelf } from "./store";
import { fromHex, type Title } from "./title";

/** One title's kept proofs. */
export class Proofs {
  /** Answers a request from the session's hashes, else from what is kept, if that is true; rejects when it is not. */
  readonly known: KnownHashes;
  /**
   * Keeps an answer to a request of a file's hashes. The origin's is checked when it is used, which may be never. A peer may lie
   * (`peer`), and must neither spoil what is kept nor keep us busy: its word is checked first, one at a time, and only where
   * there is none yet.
   */
  readonly learned: (file: number, request: HashRequest, answer: Bytes, peer: boolean) => void;
  private checking = false;
  private readonly title: Title;
  private readonly shelf: ProofShelf | undefined;

  /** `shelf` is the store's, where it has one; `session` answers from what came with the play session. */
  constructor(title: Title, shelf: ProofShelf | undefined, session: KnownHashes) {
    this.title = title;
    this.shelf = shelf;
    this.known = (file, base, index, length, proof) => {
      const brought = session(file, base, index, length, proof);
      if (brought) return brought;
      const request = { base, index, length, proof };
      const kept = this.isLayer(file, request) ? shelf?.proof(file, request) : undefined;
      return kept && this.checked(file, request, kept);
    };
    this.learned = (file, request, answer, peer) => {
      if (!shelf || !this.isLayer(file, request)) return;
      if (!peer) {
        shelf.keepProof(file, request, answer);
        return;
      }
      if (this.checking || shelf.proof(file, request)) return;
      this.checking = true;
      void this.proves(file, request, answer).then((good) => {
        this.checking = false;
        if (good) shelf.keepProof(file, request, answer);
      });
    };
  }

  private async checked(file: number, request: HashRequest, kept: Bytes): Promise<Bytes> {
    if (await this.proves(file, request, kept)) return kept;
    this.shelf?.dropProof(file, request);
    throw new Error("the disk does not give the hashes back as they were");
  }

  private proves(file: number, request: HashRequest, answer: Bytes): Promise<boolean> {
    const { root, size } = this.title.files[file]!;
    return checkHashes(fromHex(root), request, blocks(size), answer);
  }

  private isLayer(file: number, { base, length }: HashRequest): boolean {
    const f = this.title.files[file];
    const { pieceLength } = this.title;
    const pieces = f ? Math.ceil(f.size / pieceLength) : 0;
    return pieces > 1 && base === log2(pieceLength / blockSize) && length === Math.min(layerChunk, nextPower(pieces));
  }
}
